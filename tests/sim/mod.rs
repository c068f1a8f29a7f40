//! The simulator: production nodes over production logs, one thread, one seed.
//!
//! A [`world::World`] holds N nodes, their simulated disks, a network and a queue of things that
//! will happen. Every random choice comes from one `u64`; the same seed gives the same run. Each
//! run has a phase with faults and a phase without, in which the cluster must heal and serve.
//! The invariants are files in `invariants/`; the oracle asks them after every turn of a node.

pub mod authority;
#[path = "../checker_support/mod.rs"]
pub mod checker;
pub mod clients;
pub mod clock;
pub mod faults;
pub mod host;
pub mod invariants;
pub mod network;
pub mod oracle;
mod pauses;
pub mod plan;
pub mod recorder;
pub mod store;
pub mod systemd;
pub mod world;
