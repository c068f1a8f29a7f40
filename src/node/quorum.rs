//! Whether this node has a quorum, as it is told to the world.
//!
//! A leader has one while it holds a lease, a follower while it knows a leader. An election loses
//! both for a moment, and that is no news: a loss is told when it has lasted
//! `limits::QUORUM_LOST_AFTER`, the end of one that was told at once. The first quorum after the
//! start is no news either; until then there was none to lose.
//!
//! Does not: decide anything.

use crate::core::{Instant, Reading};
use crate::limits;

use super::machine::StateMachine;
use super::node::Node;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Quorum {
    /// What was told last; `None` before the first.
    told: Option<bool>,
    missing_since: Option<Instant>,
}

impl Quorum {
    /// Takes what is so now.
    fn observe(&mut self, now: Instant, has: bool) {
        if has {
            (self.told, self.missing_since) = (Some(true), None);
            return;
        }
        let since = *self.missing_since.get_or_insert(now);
        if self.told == Some(true) && now >= since + limits::QUORUM_LOST_AFTER {
            self.told = Some(false);
        }
    }

    /// What there is to tell.
    pub(super) fn told(&self) -> Option<bool> {
        self.told
    }

    /// When a loss is to be told.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let since = self.missing_since.filter(|_| self.told == Some(true));
        since.map(|since| since + limits::QUORUM_LOST_AFTER)
    }
}

impl<M: StateMachine> Node<M> {
    /// Looks whether there is a quorum.
    pub(super) fn watch_quorum(&mut self, now: Reading) {
        let position = self.replica.position();
        let has = match self.leads() {
            true => self.lease().is_some_and(|lease| lease.holds(now, position.term)),
            false => position.leader.is_some(),
        };
        self.quorum.observe(now.boot, has);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn a_loss_is_told_when_it_has_lasted_and_its_end_at_once() {
        let mut quorum = Quorum::default();
        let after = limits::QUORUM_LOST_AFTER.as_millis() as u64;
        let mut see = |ms, has| {
            quorum.observe(at(ms), has);
            (quorum.told(), quorum.deadline())
        };
        assert_eq!(see(0, false), (None, None));
        assert_eq!(see(10 * after, false), (None, None), "there was none to lose");
        let start = 11 * after;
        assert_eq!(see(start, true), (Some(true), None));
        // An election.
        assert_eq!(see(start + 1, false), (Some(true), Some(at(start + 1 + after))));
        assert_eq!(see(start + after, false).0, Some(true));
        assert_eq!(see(start + after, true), (Some(true), None));
        let lost = 13 * after;
        assert_eq!(see(lost, false), (Some(true), Some(at(lost + after))));
        assert_eq!(see(lost + after, false), (Some(false), None));
        assert_eq!(see(lost + after + 1, true), (Some(true), None));
    }
}
