//! What other tests have for networks and for agents, as far as this one needs it.

#![allow(unused, reason = "other test binaries use the rest")]

#[path = "../lab/support/command.rs"]
pub mod command;
#[path = "../lab/support/network.rs"]
pub mod network;
#[path = "../process/support/mod.rs"]
pub mod support;

pub use support::DEADLINE;
