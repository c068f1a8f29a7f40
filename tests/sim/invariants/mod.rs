//! One file for each promise. Each is a value that is shown what happens and says no.

pub mod acked_write_durable;
pub mod active_is_guarded;
pub mod active_within_bound;
pub mod durable_promises;
pub mod election_safety;
pub mod ineligible_never_active;
pub mod leader_completeness;
pub mod log_matching;
pub mod one_active_node;
pub mod paused_keeps_record;
pub mod paused_never_expires;
pub mod promote_only_own_term;
pub mod release_names_dead_invocation;
pub mod released_only_after_stopped;
pub mod resume_needs_word;
pub mod rows_agree;
pub mod safety_without_vote_lease;
pub mod script_order;
pub mod state_machine_safety;
pub mod tokens_increase;
