//! The lease (DESIGN 5.2): rounds under way, and until when the newest confirmed one holds.
//!
//! t0 of a round is read BEFORE the round is stepped; whatever happens between only shortens the
//! lease.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::{Instant, Reading, Term};
use crate::limits;

/// A confirmed round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When the round began.
    pub t0: Reading,
    /// The term it was confirmed in.
    pub term: Term,
    /// How long it holds from t0.
    pub length: Duration,
}

impl Lease {
    /// Whether it holds now, for a leader of `term`.
    pub fn holds(&self, now: Reading, term: Term) -> bool {
        self.term == term && now.at_most_since(self.t0) < self.length
    }

    /// L on the axis of deadlines.
    pub fn ends(&self) -> Instant {
        self.t0.boot + self.length
    }
}

/// Rounds under way, at most [`limits::LEASE_ROUNDS_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    number: u64,
    open: BTreeMap<u64, (Reading, Term)>,
}

impl Rounds {
    /// A round begins now; its number is the context that must come back.
    pub fn begin(&mut self, now: Reading, term: Term) -> u64 {
        self.number += 1;
        if self.open.len() >= limits::LEASE_ROUNDS_MAX {
            self.open.pop_first();
        }
        self.open.insert(self.number, (now, term));
        self.number
    }

    /// The quorum confirmed a round: it and the older ones are over. When it began.
    pub fn confirmed(&mut self, number: u64) -> Option<(Reading, Term)> {
        let round = self.open.remove(&number)?;
        self.open = self.open.split_off(&number);
        Some(round)
    }

    /// Whether a round of `term` is under way.
    pub fn is_open(&self, term: Term) -> bool {
        self.open.values().any(|(_, of)| *of == term)
    }
}
