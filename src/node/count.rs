//! What the driver counts of the node: changes of role and leader, and what waits.

use std::sync::Arc;
use std::time::Instant;

use super::machine::StateMachine;
use super::metrics::Metrics;
use super::node::Node;
use super::status::{Change, NodeStatus, Role};

/// What was seen last.
#[derive(Default)]
pub(super) struct Count {
    metrics: Arc<Metrics>,
    /// A leader was known once.
    led: bool,
    /// Since when none is.
    leaderless: Option<Instant>,
}

impl Count {
    pub(super) fn new(metrics: Arc<Metrics>) -> Count {
        Count { metrics, ..Count::default() }
    }

    /// A turn is over: what waits, and where the log ends.
    pub(super) fn turned<M: StateMachine>(&self, node: &Node<M>) {
        self.metrics.last_index.set(node.replica().position().last);
        self.metrics.disk_queue.set(node.flush.writes_waiting() as u64);
        let (requests, _) = node.kv_under_way();
        self.metrics.store_queue.set(requests as u64);
        self.metrics.dropped_appends.set(node.dropped_appends());
        self.metrics.refused_messages.set(node.refused_messages());
    }

    /// The status has changed.
    pub(super) fn published(&mut self, status: &NodeStatus) {
        match status.leader {
            None if self.led => {
                self.leaderless.get_or_insert_with(Instant::now);
            }
            None => {}
            Some(_) => {
                self.led = true;
                if let Some(since) = self.leaderless.take() {
                    self.metrics.leader_gap.record(since.elapsed());
                }
            }
        }
    }

    /// Something changed that is worth a signal.
    pub(super) fn changed(&self, change: &Change) {
        let Change::Role { old, new, active, .. } = change else { return };
        if old != new {
            self.metrics.role_changes.add_one();
        }
        if *new == Role::Leader && *old != Role::Leader {
            self.metrics.elections_won.add_one();
        }
        if *active {
            self.metrics.activations.add_one();
        }
    }
}
