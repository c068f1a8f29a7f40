//! Floor 4: what the agent has to do with systemd, beside being started by it.
//!
//! Translates: descriptors, notifications, trusted files. It decides nothing.

pub mod root_file;
