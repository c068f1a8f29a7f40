//! Floor 0: the pure core. Values and decisions, no runtime, clock, file or chance.
//!
//! Everything here is a plain value or a function of its arguments. Time comes in as an
//! [`Instant`], chance as a seed. Nothing here names the raft crate, tokio or std::fs.

pub mod authority;
pub mod command;
pub mod id;
pub mod kv;
pub mod message;
pub mod release;
pub mod rng;
pub mod role;
pub mod secret;
pub mod snapshot;
pub mod standing;
pub mod state;
pub mod story;
pub mod time;
pub mod unit;

pub use id::{
    Address, ClusterId, Incarnation, Index, Invocation, MachineId, NodeId, NodeName, Term, Token,
};
pub use time::{Instant, Reading};
pub use unit::UnitName;
