//! What a turn of the replica asks for. The fields say BEFORE and AFTER; `node::flush` obeys.

use crate::core::message::{Entry, HardState, Message, Snapshot};
use crate::core::{Index, NodeId, Term};

/// Role of the replica in its term (thesis figure 3.3; pre-candidate: thesis 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RaftRole {
    /// Follows, or waits for a leader.
    Follower,
    /// Asks whether it would be voted for; its term has not changed.
    PreCandidate,
    /// Asks for votes in a new term.
    Candidate,
    /// Leads its term.
    Leader,
}

/// Where the replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Role now.
    pub role: RaftRole,
    /// Term now.
    pub term: Term,
    /// Leader of that term, if known.
    pub leader: Option<NodeId>,
    /// Commit index.
    pub commit: Index,
    /// Last index of the log, persisted or not.
    pub last: Index,
}

/// What to make durable. One write and one sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// Replaces the whole log and the state machine. BEFORE `entries`.
    pub snapshot: Option<Snapshot>,
    /// Consecutive entries; the first may supersede a suffix of the log.
    pub entries: Vec<Entry>,
    /// Term, vote and commit as of this turn; always written with the entries.
    pub hard_state: HardState,
}

/// Identity of one [`Fetch`], unique within a run of the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchId(pub u64);

/// Entries the replica needs from the log to bring a slow follower up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Names the request in the answer.
    pub id: FetchId,
    /// First index wanted.
    pub low: Index,
    /// First index no longer wanted.
    pub high: Index,
    /// Stop after this many bytes of entries, but deliver at least one.
    pub max_bytes: u64,
}

/// A confirmed linearizable read (thesis 6.4): serve it once `index` is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadReady {
    /// The context given to `Replica::read`.
    pub context: u64,
    /// Apply up to here BEFORE reading.
    pub index: Index,
}

/// Everything one turn asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Number of this turn, rising by one. `Replica::persisted(number)` says: this turn and all
    /// earlier ones are durable.
    pub number: u64,
    /// Send at once, even BEFORE `persist` is durable (thesis 10.2.1: the leader replicates in
    /// parallel with its own write; heartbeat answers promise nothing that is not durable yet).
    pub send_now: Vec<Message>,
    /// Make durable. `None`: nothing to write in this turn.
    pub persist: Option<Persist>,
    /// Send only AFTER this turn's and every earlier turn's `persist` is durable.
    pub send_after: Vec<Message>,
    /// Apply in order, AFTER everything committed earlier. Durable here and on a quorum.
    pub committed: Vec<Entry>,
    /// Reads confirmed by a quorum.
    pub reads: Vec<ReadReady>,
    /// Read these entries from the log, AFTER the persists already handed over.
    pub fetches: Vec<Fetch>,
    /// A follower needs a snapshot: call `Replica::provide_snapshot` with the applied state.
    pub snapshot_wanted: bool,
}
