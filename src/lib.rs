//! raftctl: runs any systemd unit on exactly one of several Linux hosts.
//!
//! The floors of the house, top to bottom; a floor uses only the floors below it
//! (`tests/tidy.rs` holds the arrows):
//!
//! | floor | modules | rule |
//! |---|---|---|
//! | 5 | `daemon`, `cli`, `generator`, `helper`, `exit` | composition roots |
//! | 4 | `dbus`, `events`, `http`, `log`, `systemd` | surfaces: they translate, no more |
//! | 3 | `node` | one task owns the replica; everybody else holds a handle |
//! | 2 | `storage`, `transport` | files and fsync; sockets and frames |
//! | 1 | `consensus` | the only folder that names the raft crate; synchronous |
//! | 0 | `core`, `config`, `limits` | pure: no runtime, clock, files or randomness |

pub mod cli;
pub mod config;
pub mod consensus;
pub mod core;
pub mod daemon;
pub mod dbus;
pub mod events;
pub mod exit;
pub mod generator;
pub mod helper;
pub mod http;
pub mod limits;
pub mod log;
pub mod node;
pub mod storage;
pub mod systemd;
pub mod transport;
