//! Names of the events that run a script: the word is the key in `[events]`.

pub use crate::core::role::EventName;
