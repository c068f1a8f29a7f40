//! What surfaces ask of the store through the handle.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::core::kv::{Invalid, Operation, Page, Query, Written};
use crate::core::{Index, Token};

/// A write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvWrite {
    /// What to do.
    pub operation: Operation,
    /// Refused unless this is the token of the activation in force.
    pub token: Option<Token>,
    /// How long to wait for an outcome; at most [`crate::limits::KV_DEADLINE_MAX`].
    pub within: Duration,
    /// Whether a node that does not lead sends it to the leader; else it is
    /// [`KvError::NotLeader`].
    pub forward: bool,
}

/// A read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvRead {
    /// What to read.
    pub query: Query,
    /// How new it must be.
    pub consistency: Consistency,
    /// How long to wait; at most [`crate::limits::KV_DEADLINE_MAX`].
    pub within: Duration,
}

/// How new a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It sees every write that was acknowledged before it was asked, anywhere.
    #[default]
    Linearizable,
    /// It sees what this node has applied, and says how old that may be.
    Stale,
}

/// The answer to a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvPage {
    /// The rows.
    pub page: Page,
    /// Index up to which this node had applied the log when it read.
    pub revision: Index,
    /// Of a stale read: for how long this node has not known that it has everything; `None`: it
    /// never has since its start. Of a linearizable one: zero.
    pub age: Option<Duration>,
}

/// A request of a surface, with the place where the answer goes.
#[derive(Debug)]
pub enum KvRequest {
    /// A write.
    Write {
        /// What.
        write: KvWrite,
        /// The answer.
        reply: oneshot::Sender<Result<Written, KvError>>,
    },
    /// A read.
    Read {
        /// What.
        read: KvRead,
        /// The answer.
        reply: oneshot::Sender<Result<KvPage, KvError>>,
    },
}

/// Why a request of the store was not carried out. Nothing was changed, but for
/// [`KvError::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// It cannot be asked.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Its token is not that of the activation in force.
    #[error("token {given} is not that of the activation in force")]
    Token {
        /// What was given.
        given: u64,
    },
    /// It would grow the store beyond its quota.
    #[error("the store is full: its quota is {quota_bytes} bytes; delete something first")]
    Quota {
        /// The quota of the node that took the write.
        quota_bytes: u64,
    },
    /// Too many requests wait.
    #[error("too many requests are waiting on this node, expected at most {most}")]
    Busy {
        /// How many may wait.
        most: usize,
    },
    /// This node does not lead, and was asked not to forward.
    #[error("this node is not the leader; the leader is {}", or_unknown(leader))]
    NotLeader {
        /// Name of the leader, if known.
        leader: Option<String>,
    },
    /// There was no leader, or no quorum, for all the time; nothing was written.
    #[error("no leader answered within {waited_ms} ms; nothing was written")]
    Unavailable {
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The write was sent, and whether it takes effect is not known.
    #[error("the outcome is not known after {waited_ms} ms: the write may or may not take effect")]
    Unknown {
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

fn or_unknown(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or("unknown")
}
