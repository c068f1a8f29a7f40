//! What a successor waits for (DESIGN 5.4): the bound of an activation that nobody has released.
//!
//! Does not: know whether this node leads, or propose anything.

use super::machine::{Authority, View};
use super::successor_wait;
use crate::core::state::Activation;
use crate::core::{Index, Term, Token};

/// What a successor's wait is about: an activation, the term that it is bound to, and the last end
/// of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(Token, Term, Index);

impl Epoch {
    fn of(record: &Activation, view: &View<'_>) -> Epoch {
        Epoch(record.token(), record.term(), view.resumed)
    }
}

impl Authority {
    /// Whether the record is another run's, still active, and its bound has passed (DESIGN 5.4).
    pub fn bound_passed(&self, view: &View<'_>) -> bool {
        let Some(record) = view.record.filter(|record| record.is_active()) else { return false };
        let Some((epoch, since)) = self.superseded else { return false };
        let Some(bound) = record.bound() else { return false };
        epoch == Epoch::of(record, view) && view.now.at_least_since(since) >= successor_wait(bound)
    }

    /// Since when the record of another run is known to be superseded by an elected leader of a
    /// later term. Further elections change nothing (DESIGN 5.4). A pause does: while it lasts
    /// nothing counts, and its end begins the wait anew, for what was active may have held a lease
    /// until then, or have relied on the pause until it learnt of the end.
    pub(super) fn watch_record(&mut self, view: &View<'_>) {
        let record = view.record.filter(|r| r.is_active() && view.paused.is_none());
        let epoch = record.map(|record| Epoch::of(record, view));
        self.superseded = self.superseded.filter(|(of, _)| Some(*of) == epoch);
        let later = record.is_some_and(|record| view.elected && view.term > record.term());
        if let Some(epoch) = epoch.filter(|_| later && self.superseded.is_none()) {
            self.superseded = Some((epoch, view.now));
        }
    }
}
