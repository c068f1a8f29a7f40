//! What happens to a node, and what it asks for: two closed lists.
//!
//! [`Event`]s go in one at a time, [`Effect`]s come out in the order in which they must be carried
//! out. Carrying one out may take time (a sync, a message); its end, if it matters, is an event.

use crate::consensus::{Fetch, FetchId, Persist};
use crate::core::authority::{Order, Report};
use crate::core::command::Release;
use crate::core::kv::{KvFrame, Written};
use crate::core::message::{Entry, Message};
use crate::core::role::ScriptEvent;
use crate::core::{Incarnation, Index, Instant, NodeId, NodeName, Term, Token};
use crate::transport::Known;
use crate::transport::snapshot::SnapshotFrame;

pub use crate::core::release::ReleaseOutcome;

use super::handle::{PauseError, TakeoverError, TransferError};
use super::kv::{KvError, KvPage, KvRead, KvWrite};
use super::snapshot::{SnapshotDone, SnapshotNews, SnapshotRequest};
use super::status::{Change, NodeStatus};
use super::store::{StoreRequest, Stored};

/// Names a request whose answer is an [`Effect::Answer`]; chosen by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Everything that can happen to a node, except time.
#[derive(Clone, Debug)]
pub enum Event {
    /// A Raft message from a peer.
    Message(Message),
    /// The handshake with a peer is complete, or its process changed.
    Connected {
        /// The peer.
        peer: NodeId,
        /// Identity of its state directory.
        incarnation: Incarnation,
        /// Identity of its run.
        process: u64,
    },
    /// A connection with a peer closed. Not yet evidence of anything.
    Lost {
        /// The peer.
        peer: NodeId,
    },
    /// A peer's connection closed and a redial was refused or not answered: its process is gone.
    Silent {
        /// The peer.
        peer: NodeId,
    },
    /// The persist of this turn, and all earlier ones, are durable.
    Persisted {
        /// The turn.
        number: u64,
    },
    /// The entries of a fetch.
    Fetched {
        /// Which fetch.
        id: FetchId,
        /// The entries; empty if the log no longer has them.
        entries: Vec<Entry>,
    },
    /// The state machine is durable up to here.
    StateDurable {
        /// Applied index of the durable state.
        index: Index,
    },
    /// The store has done something.
    Stored(Stored),
    /// A peer says something about a snapshot.
    Snapshot {
        /// The peer.
        from: NodeId,
        /// What it says.
        frame: SnapshotFrame,
    },
    /// The thread of snapshots has done something.
    SnapshotDone(SnapshotDone),
    /// A surface writes to the store.
    KvWrite {
        /// Names the answer.
        request: RequestId,
        /// What.
        write: KvWrite,
        /// By when it is answered.
        deadline: Instant,
    },
    /// A surface reads from the store.
    KvRead {
        /// Names the answer.
        request: RequestId,
        /// What.
        read: KvRead,
        /// By when it is answered.
        deadline: Instant,
    },
    /// A peer has something to say about the store.
    KvFrame {
        /// The peer.
        from: NodeId,
        /// What.
        frame: KvFrame,
    },
    /// A client's command.
    Propose {
        /// Names the answer.
        request: RequestId,
        /// Payload of the entry.
        data: Vec<u8>,
    },
    /// Hand leadership over.
    Transfer {
        /// Names the answer.
        request: RequestId,
        /// To whom; `None` for the best follower.
        to: Option<NodeName>,
    },
    /// Hand over if this node leads, then stop.
    Shutdown,
    /// The host says something.
    Host(Report),
    /// The scripts of every [`Effect::Act`] up to this number have ended, or will never run.
    Acted {
        /// Number of the consequence.
        number: u64,
    },
    /// A release arrived: from a peer's connection, from an announcement (then it has a secret and
    /// somebody waits for the answer), from nobody else.
    Release {
        /// Who sent it; `None` for an announcement on a connection without a handshake.
        from: Option<NodeId>,
        /// Names the answer, if anybody waits for one.
        request: Option<RequestId>,
        /// What is released.
        release: Release,
    },
    /// The host is about to suspend (`true`) or is back (`false`): demote and hand over before.
    Suspend {
        /// Whether it is about to.
        before: bool,
    },
    /// Whether this host may be active changed. Where nothing says so, it may.
    Eligible {
        /// Whether it may.
        eligible: bool,
    },
    /// A peer says how it stands. Heard after each [`Event::Connected`], and at every change.
    PeerStanding {
        /// The peer.
        peer: NodeId,
        /// Whether it may be active.
        eligible: bool,
        /// How much it should be preferred.
        priority: u32,
    },
    /// An operator pauses the cluster, or lets it go on.
    Pause {
        /// Names the answer.
        request: RequestId,
        /// Whether to pause.
        on: bool,
        /// Resume without the active node's word.
        force: bool,
    },
    /// An operator takes the responsibility: what is active elsewhere has stopped.
    Takeover {
        /// Names the answer.
        request: RequestId,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The proposal is committed and applied at this index.
    Applied {
        /// Where.
        index: Index,
    },
    /// The proposal was not appended; it will never take effect.
    Refused {
        /// Why.
        reason: String,
    },
    /// Leadership changed before the outcome was known: it may or may not take effect.
    Unknown,
    /// Result of a transfer.
    Transferred(Result<NodeName, TransferError>),
    /// What became of a release.
    Release(ReleaseOutcome),
    /// Result of a takeover: the token it declared over, or why not.
    TakenOver(Result<Token, TakeoverError>),
    /// Result of a pause or resumption.
    Paused(Result<(), PauseError>),
    /// Result of a write to the store.
    Written(Result<Written, KvError>),
    /// Result of a read from the store.
    Read(Result<KvPage, KvError>),
}

/// Something to do on the host because of a role change, with what it needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// Rises by one with each; [`Event::Acted`] names it when its scripts are over.
    pub number: u64,
    /// Whether a demotion goes on under a lease that holds.
    pub planned: bool,
    /// The event whose script is due, with the roles it speaks of.
    pub script: ScriptEvent,
    /// Term now.
    pub term: Term,
    /// Token of the activation in force.
    pub token: Option<Token>,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// Why.
    pub reason: &'static str,
}

/// What a node asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand this to the transport. May be lost.
    Send(Message),
    /// Write and sync, then report [`Event::Persisted`]. In order.
    Persist {
        /// The turn to report.
        number: u64,
        /// What to write.
        persist: Persist,
    },
    /// Read entries from the log AFTER the persists above, then report [`Event::Fetched`].
    Fetch(Fetch),
    /// Hand this to the store; what is applied becomes durable within
    /// `limits::STATE_FLUSH_INTERVAL`, and then is reported as [`Event::StateDurable`].
    Store(StoreRequest),
    /// Hand this to the thread of snapshots.
    Snapshot(SnapshotRequest),
    /// Say this about a snapshot to a peer. May be lost.
    SendSnapshot {
        /// To whom.
        to: NodeId,
        /// What.
        frame: SnapshotFrame,
    },
    /// Something about a snapshot that an operator may look up.
    SnapshotNews(SnapshotNews),
    /// The log up to here may be dropped; it is durable in the state machine.
    Compact {
        /// Last index to drop.
        index: Index,
        /// Its term.
        term: Term,
    },
    /// Answer a request.
    Answer {
        /// Which one.
        request: RequestId,
        /// With what.
        answer: Answer,
    },
    /// Tell the transport who may connect.
    Learn(Known),
    /// Publish the status. BEFORE the changes of the same turn.
    Publish(Box<NodeStatus>),
    /// Tell subscribers.
    Changed(Change),
    /// Carry out a consequence of a role change, AFTER the status is published.
    Act(Consequence),
    /// Have the host do this, in order.
    Host(Order),
    /// Say to this member that an activation is released; said again until the record changes.
    Announce {
        /// To whom.
        to: NodeId,
        /// What.
        release: Release,
    },
    /// From now on tell every peer, now and whenever a connection is made, how this node stands.
    Standing {
        /// Whether it may be active.
        eligible: bool,
        /// How much it should be preferred.
        priority: u32,
    },
    /// Say this to a peer, if it can be reached.
    KvSend {
        /// To whom.
        to: NodeId,
        /// What.
        frame: KvFrame,
    },
    /// Something an operator should read once.
    Warn(String),
    /// The node has handed over (or could not) and does nothing more.
    Stopped,
}
