//! Snapshots: how the rows of the store get to a member that needs what the log has given up.
//!
//! The engine sends one message, and believes that the member is busy with it. Before that message,
//! the rows travel in pieces: the sender offers, the member reports what it has, the sender goes on
//! from there and never has more than a window of pieces on the way. Only when the member has
//! reported that it has everything, checked and durable, the message follows; the member hands it
//! to its replica only if the rows of that very position are here, and then installs both at once.
//!
//! Decisions are the node's ([`sending`], [`receiving`]: no clock, no file); reading and writing
//! rows is the work of a thread of its own ([`SnapshotWorker`]), beside that of the log, which
//! neither may delay. Every loss is repaired in the same way: by offering again.

mod files;
mod news;
mod receiving;
mod sending;
mod stream;
mod thread;
mod worker;

pub use files::{DatabaseIntakes, Intake, Intakes, NoIntakes, RowView, ViewError};
pub use news::{SnapshotNews, SnapshotStep};
pub use worker::{SnapshotDone, SnapshotRequest, SnapshotWorker, ViewSlot};

pub(super) use receiving::Receiving;
pub(super) use sending::Sending;
pub(super) use thread::{SnapshotThread, start};

use super::machine::StateMachine;
use super::node::Node;
use super::store::{SnapshotProgress, TravelStatus};
use crate::core::{Index, NodeId, Term};

/// The last entry that a snapshot includes, and its term: two snapshots of one position are equal.
pub type Position = (Index, Term);

/// How far one snapshot is.
struct Progress {
    peer: NodeId,
    incoming: bool,
    index: Index,
    bytes: u64,
    total_bytes: u64,
}

impl<M: StateMachine> Node<M> {
    /// What goes on, for whoever looks at it.
    pub fn travels(&self) -> TravelStatus {
        let named = |progress: Progress| {
            let Progress { peer, incoming, index, bytes, total_bytes } = progress;
            let peer = self.name_of(peer);
            SnapshotProgress { peer, incoming, index, bytes, total_bytes }
        };
        let all = self.receiving.progress().into_iter().chain(self.sending.progress());
        TravelStatus {
            log_first: self.replica.first_index(),
            log_bytes: self.replica.log_bytes(),
            snapshots: all.map(named).collect(),
            snapshots_installed: self.receiving.installed,
            snapshots_sent: self.sending.sent,
        }
    }
}

#[cfg(test)]
mod tests;
