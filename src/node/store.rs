//! The store beside the node: a thread that applies committed writes to rows and answers reads.
//!
//! [`Store`] is what keeps rows and the state of the cluster, durably and together; the floor of
//! files implements it, and the simulator. [`StoreWorker`] carries out the requests of the node in
//! their order; production runs it on a thread of its own, the simulator in its only thread.
//!
//! An error is never retried: the process ends, and recovery decides what is true.

use crate::core::Index;
use crate::core::kv::{Answered, Page, Query, Work};

/// What the node asks of the store, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreRequest {
    /// Apply this; answered by [`Stored::Applied`], and once it is durable by
    /// [`super::event::Event::StateDurable`].
    Apply(Work),
    /// Read, AFTER what was asked to be applied; answered by [`Stored::Read`].
    Read(Vec<(u64, Query)>),
}

/// What the store has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Everything up to here is applied to the rows.
    Applied {
        /// Up to where.
        applied: Index,
        /// The outcomes that were wanted.
        outcomes: Vec<Answered>,
    },
    /// What reads found, by their numbers, and up to which index the rows were applied.
    Read {
        /// The answers.
        pages: Vec<(u64, Page)>,
        /// Up to where.
        applied: Index,
    },
}

/// What is known of the store, for whoever looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Rows.
    pub keys: u64,
    /// Bytes that count towards the quota.
    pub bytes: u64,
    /// The quota of this node.
    pub quota_bytes: u64,
    /// Clients whose last write is remembered.
    pub clients: u64,
    /// Index up to which rows are applied.
    pub applied: Index,
    /// Index up to which they are durable.
    pub durable: Index,
    /// First index that the log still has, and its entries and bytes.
    pub log_first: Index,
    /// Bytes of the log's entries.
    pub log_bytes: u64,
    /// A snapshot on its way to this node, or from it.
    pub snapshots: Vec<SnapshotProgress>,
    /// Snapshots that this node has installed since its start.
    pub snapshots_installed: u64,
    /// Snapshots that this node has sent since its start.
    pub snapshots_sent: u64,
}

/// A snapshot that travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Name of the other node.
    pub peer: String,
    /// Whether it comes from there.
    pub incoming: bool,
    /// Position that it contains.
    pub index: Index,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes in all, about.
    pub total_bytes: u64,
}
