//! What the parts of the agent count: one value that all of them share.
//!
//! Plain atomics with relaxed order, so that counting costs a few nanoseconds and nobody waits;
//! whoever reads sees each number as of some moment, not all of them as of the same. Times are
//! counted in fixed buckets of microseconds. The sans-IO node knows nothing of it: drivers and
//! threads count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::core::Index;

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// As it is counted elsewhere.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took, how often.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Of those not longer than each of [`BOUNDS_USEC`] and longer than the one before; the last
    /// for what is longer than all.
    buckets: [Counter; BOUNDS_USEC.len() + 1],
    sum_usec: Counter,
}

/// Upper bounds of the buckets, in microseconds.
pub const BOUNDS_USEC: [u64; 17] = [
    50, 100, 200, 300, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000, 10_000_000,
];

impl Histogram {
    /// It took so long, once more.
    pub fn record(&self, took: Duration) {
        let usec = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_USEC.partition_point(|bound| *bound < usec);
        self.buckets[at].add_one();
        self.sum_usec.add(usec);
    }

    /// For each bound, and then for all, how many were not longer.
    pub fn cumulative(&self) -> [u64; BOUNDS_USEC.len() + 1] {
        let mut sum = 0;
        std::array::from_fn(|at| {
            sum += self.buckets[at].get();
            sum
        })
    }

    /// How long all took together, in microseconds.
    pub fn sum_usec(&self) -> u64 {
        self.sum_usec.get()
    }
}

/// What was counted since the start of the agent.
#[derive(Debug, Default)]
pub struct Metrics {
    /// One write and sync of the log: a group commit.
    pub fsync: Histogram,
    /// From a write's arrival at the driver to its answer, if it was applied.
    pub commit: Histogram,
    /// From a linearizable read's arrival at the driver to its answer.
    pub read: Histogram,
    /// How long no leader was known here, each time.
    pub leader_gap: Histogram,
    /// Changes of this node's role.
    pub role_changes: Counter,
    /// Elections that this node has won.
    pub elections_won: Counter,
    /// Activations of this node.
    pub activations: Counter,
    /// Last index of the log, durable or not.
    pub last_index: Counter,
    /// Requests that wait for the disk.
    pub disk_queue: Counter,
    /// Requests of the store that wait.
    pub store_queue: Counter,
    /// Appends that were dropped because the disk did not keep up.
    pub dropped_appends: Counter,
    /// Messages that no correct peer sends.
    pub refused_messages: Counter,
    /// Event scripts.
    pub scripts: ScriptMetrics,
    /// The HTTP server.
    pub http: HttpMetrics,
}

impl Metrics {
    /// Last index of the log, durable or not; 0: not known.
    pub fn last_index(&self) -> Index {
        self.last_index.get()
    }
}

/// What is counted of event scripts.
#[derive(Debug, Default)]
pub struct ScriptMetrics {
    /// How long they ran, however they ended.
    pub run: Histogram,
    /// Those that did not end with exit status 0.
    pub failed: Counter,
    /// Events that newer ones replaced before their scripts started.
    pub coalesced: Counter,
}

/// What is counted of the HTTP server.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    /// Answers by the first digit of their status: 1 to 5.
    answers: [Counter; 5],
    /// From the head of a request to its answer.
    pub request: Histogram,
    connections: Counter,
    refused: Counter,
}

impl HttpMetrics {
    /// A request was answered with this status.
    pub fn answered(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, 5);
        self.answers[class - 1].add_one();
        self.request.record(took);
    }

    /// So many connections are open.
    pub fn connections(&self, open: u64) {
        self.connections.set(open);
    }

    /// A connection had no place.
    pub fn refused_connection(&self) {
        self.refused.add_one();
    }

    /// Answers by the first digit of their status.
    pub fn answers(&self) -> impl Iterator<Item = (usize, u64)> {
        self.answers.iter().enumerate().map(|(at, counter)| (at + 1, counter.get()))
    }

    /// Open connections.
    pub fn open(&self) -> u64 {
        self.connections.get()
    }

    /// Connections that had no place.
    pub fn refused(&self) -> u64 {
        self.refused.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_buckets() {
        let histogram = Histogram::default();
        for usec in [0, 50, 51, 1_000, 20_000_000, u64::MAX] {
            histogram.record(Duration::from_micros(usec));
        }
        let cumulative = histogram.cumulative();
        assert_eq!(cumulative[0], 2, "a bound belongs to its bucket");
        assert_eq!(cumulative[1], 3);
        assert_eq!(cumulative[BOUNDS_USEC.len() - 1], 4);
        assert_eq!(cumulative[BOUNDS_USEC.len()], 6, "the last bucket has all");
    }

    #[test]
    fn answers_are_counted_by_class() {
        let http = HttpMetrics::default();
        for status in [200, 204, 404, 503, 0, 999] {
            http.answered(status, Duration::ZERO);
        }
        assert_eq!(http.answers().collect::<Vec<_>>(), [(1, 1), (2, 2), (3, 0), (4, 1), (5, 2)]);
    }
}
