//! One file for each promise. Each is a value that is shown what happens and says no.

pub mod acked_write_durable;
pub mod durable_promises;
pub mod election_safety;
pub mod leader_completeness;
pub mod log_matching;
pub mod state_machine_safety;
