//! Floor 1: consensus. The only folder that names the raft crate; synchronous and seeded.
//!
//! Owns: the engine (`raft` 0.7.0), the conversion between its messages and ours, the guard that
//! refuses what the engine could not bear, and the election timer. [`Replica`] is a value: time,
//! chance and messages go in, [`Output`] comes out. It reads no file, no clock and no socket.
//!
//! Does not do: decide what the host does about a role (`core::role`), order effects
//! (`node::flush`), persist anything (`storage`).

mod convert;
mod election;
mod guard;
mod leadership;
mod log_view;
mod output;
mod ready;
mod replica;
mod settings;
mod snapshots;
mod weights;

pub use election::Candidacy;
pub use guard::Refused;
pub use output::{Fetch, FetchId, Output, Persist, Position, RaftRole, ReadReady};
pub use replica::Replica;
pub use settings::{ProposeRefused, Recovered, ReplicaConfig, StartRefused, TransferRefused};

#[cfg(test)]
mod tests;
