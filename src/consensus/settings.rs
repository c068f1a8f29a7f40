//! What a replica is told at its start, and why it refuses to start, propose or transfer.

use std::time::Duration;

use crate::core::message::{Entry, HardState, TermRuns};
use crate::core::{Index, NodeId, Term};
use crate::limits;

/// Settings of a replica.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// This node.
    pub id: NodeId,
    /// E: vote lease and check-quorum interval; a whole number of ticks.
    pub election_min: Duration,
    /// Longest pause before campaigning again after a failed election.
    pub election_max: Duration,
    /// Pause between heartbeats; a whole number of ticks.
    pub heartbeat: Duration,
    /// Granularity of the engine's clock.
    pub tick: Duration,
    /// Decides every random choice.
    pub seed: u64,
    /// Whether candidates are ignored while a leader is heard (liveness only).
    pub vote_lease: bool,
    /// Applied entries kept in memory, in bytes.
    pub cache_max_bytes: usize,
}

/// What was durable when the node started.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Term, vote, commit.
    pub hard_state: HardState,
    /// Position up to which the log was dropped; `(0, 0)` for none.
    pub truncated: (Index, Term),
    /// Terms from `truncated` to `last`.
    pub terms: TermRuns,
    /// Last index of the log; `truncated.0` if it is empty.
    pub last: Index,
    /// The end of the log, at least everything above `applied`, up to `last`.
    pub tail: Vec<Entry>,
    /// Last index that the durable state machine contains.
    pub applied: Index,
    /// Voters at `applied`.
    pub voters: Vec<NodeId>,
    /// Learners at `applied`.
    pub learners: Vec<NodeId>,
}

/// Why a replica cannot start from what was recovered.
#[derive(Debug, thiserror::Error)]
pub enum StartRefused {
    /// The state machine is ahead of the log.
    #[error("the state machine has applied index {applied}, but the log ends at {last}")]
    LogBehindState {
        /// Durable applied index.
        applied: Index,
        /// Last index of the log.
        last: Index,
    },
    /// The log does not reach back to what must be applied next.
    #[error("the log starts at index {first}, but index {applied} is the last one applied")]
    LogStartsTooLate {
        /// First index of the log.
        first: Index,
        /// Durable applied index.
        applied: Index,
    },
    /// The engine refused the settings.
    #[error("the consensus engine refused its settings")]
    Engine(#[source] raft::Error),
}

/// Why proposals were not appended. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeRefused {
    /// Only the leader appends.
    #[error("this node does not lead")]
    NotLeader,
    /// A hand-over is under way.
    #[error("leadership is being transferred")]
    Transferring,
    /// Too much is uncommitted (`limits::UNCOMMITTED_MAX_BYTES`).
    #[error("too many bytes are waiting to be committed")]
    Busy,
    /// A proposal is empty or larger than `limits::ENTRY_MAX_BYTES`.
    #[error("a proposal has {bytes} bytes; between 1 and {} are possible", limits::ENTRY_MAX_BYTES)]
    Size {
        /// Its size.
        bytes: usize,
    },
}

/// Why a transfer was not started. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferRefused {
    /// Only the leader can hand over.
    #[error("this node does not lead")]
    NotLeader,
    /// The target is this node, a learner or no member.
    #[error("the target cannot lead")]
    BadTarget,
    /// Another transfer is under way.
    #[error("a transfer is under way")]
    InProgress,
}

/// The engine's settings; see DESIGN section 8 for each.
pub(super) fn engine_config(config: &ReplicaConfig, applied: Index) -> raft::Config {
    let ticks = |time: Duration| (time.as_nanos() / config.tick.as_nanos()) as usize;
    raft::Config {
        id: config.id.0,
        applied,
        election_tick: ticks(config.election_min),
        // As late as the engine allows: our own rounds are the heartbeats (DESIGN 8).
        heartbeat_tick: ticks(config.election_min) - 1,
        // The engine's own timer never fires; ours is in `election`.
        min_election_tick: usize::MAX / 4,
        max_election_tick: usize::MAX / 2,
        check_quorum: true,
        pre_vote: true,
        max_size_per_msg: limits::APPEND_MAX_BYTES,
        max_inflight_msgs: limits::APPEND_INFLIGHT_MESSAGES,
        max_uncommitted_size: limits::UNCOMMITTED_MAX_BYTES,
        max_committed_size_per_ready: limits::COMMITTED_PER_TURN_MAX_BYTES,
        ..Default::default()
    }
}
