//! Snapshots and truncation: what the log gives up, and what a leader does for members that need
//! what is gone.
//!
//! A snapshot under way to a member is one message for the engine, which sends that member nothing
//! else meanwhile. Its rows travel outside of it (`node::snapshot`), which says here that it goes
//! on, or that it failed; a snapshot of which nothing is heard is taken for lost.

use std::time::Duration;

use raft::{ProgressState, StateRole};

use super::convert;
use super::replica::Replica;
use crate::core::message::Snapshot;
use crate::core::{Index, NodeId};
use crate::limits;

/// A snapshot of which nothing was heard for this long is taken for lost and sent again.
const SNAPSHOT_LOST_AFTER: Duration = Duration::from_secs(10);

impl Replica {
    /// The applied state at `index`, in answer to [`super::Output::snapshot_wanted`]. False, and
    /// nothing else, if the log does not know that position any more.
    pub fn provide_snapshot(&mut self, index: Index, data: Vec<u8>) -> bool {
        assert!(data.len() <= limits::SNAPSHOT_MAX_BYTES, "snapshot of {} bytes", data.len());
        let Some(term) = self.term_of(index) else { return false };
        let conf_state = self.raw.raft.prs().conf().to_conf_state();
        let (voters, learners) = (conf_state.voters, conf_state.learners);
        let snapshot = Snapshot { index, term, voters, learners, data };
        self.raw.mut_store().provide_snapshot(convert::snapshot_to_engine(snapshot));
        true
    }

    /// The snapshot that was provided is not to be given to anybody any more.
    pub fn forget_snapshot(&mut self) {
        self.raw.mut_store().forget_snapshot();
    }

    /// Whether the engine waits for the end of a snapshot to `peer`.
    pub fn sends_snapshot(&self, peer: NodeId) -> bool {
        let raft = &self.raw.raft;
        let progress = raft.prs().get(peer.0).filter(|_| raft.state == StateRole::Leader);
        progress.is_some_and(|progress| progress.state == ProgressState::Snapshot)
    }

    /// The snapshot to `peer` goes on: it is not lost.
    pub fn snapshot_goes_on(&mut self, peer: NodeId) {
        if let Some(heard) = self.snapshots_sent.get_mut(&peer.0) {
            *heard = self.now;
        }
    }

    /// The snapshot to `peer` did not get through.
    pub fn snapshot_failed(&mut self, peer: NodeId) {
        self.snapshots_sent.remove(&peer.0);
        self.raw.report_snapshot(peer.0, raft::SnapshotStatus::Failure);
    }

    pub(super) fn retry_lost_snapshots(&mut self) {
        let due = |heard| self.now - heard >= SNAPSHOT_LOST_AFTER;
        let lost: Vec<u64> =
            self.snapshots_sent.iter().filter(|(_, at)| due(**at)).map(|(id, _)| *id).collect();
        for id in lost {
            self.snapshot_failed(NodeId(id));
        }
    }

    /// Forgets the log up to `index`, which must be applied and durable in the state machine.
    pub fn compact(&mut self, index: Index) {
        assert!(index <= self.raw.raft.raft_log.applied, "only applied entries may be dropped");
        self.raw.mut_store().compact(index);
    }

    /// The highest index known up to which the log may be given up so that at least `bytes` of
    /// entries are left; 0 if there are not as many.
    pub fn leaving_bytes(&self, bytes: u64) -> Index {
        self.raw.raft.raft_log.store.leaving_bytes(bytes)
    }

    /// What the entries of the log weigh, about, those from before the start left out.
    pub fn log_bytes(&self) -> u64 {
        self.raw.raft.raft_log.store.log_bytes()
    }
}
