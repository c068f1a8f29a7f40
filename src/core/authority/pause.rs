//! What a pause of the cluster does to the authority of a host.
//!
//! While the cluster is paused the record cannot be replaced: `Activate` and `Expired` are void on
//! apply. So the host that the record names, in the run that it names, may stay active without a
//! lease and without leading: nobody else can become active. That ends in one of three ways.
//!
//! - The record changes: it is released, or an operator declares it over. The host sees it, and
//!   demotes.
//! - An operator forces the resumption. The host sees it, and demotes unless it holds a lease. If
//!   it does not see it because it is cut off, two hosts may be active: that is what the operator
//!   takes the responsibility for.
//! - The host itself gives its word. It does so only while it leads and holds a lease, which guards
//!   it again BEFORE the resumption is proposed ([`Authority::give_word`]); and from then on it
//!   never relies on that pause again, whatever becomes of the proposal. So it does not matter
//!   when, or whether, it learns that the resumption is committed, and nobody else may propose one.
//!
//! The resumption binds the activation to the term of that lease. A successor waits X from when it
//! learnt of the resumption: that is the first moment from which it knows that the host is bound to
//! a lease. An election before or during the pause said nothing about one (`Epoch`).
//!
//! Does not: let anything start. What was activated BEFORE the pause may still start, but a start
//! needs a lease and is guarded by it, in a pause as ever.

use super::Phase;
use super::machine::{Authority, View};
use crate::core::state::Activation;
use crate::core::{Index, Instant};

/// What is known about resting on a pause.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OnPause {
    /// Nobody can replace the record: it is ours, and the cluster is paused. As of the last turn.
    pub(super) rests: bool,
    /// When it last was so (CLOCK_BOOTTIME): what guards this host counts from there.
    pub(super) rested_at: Instant,
    /// The pause that this run will not rely on any more.
    given_up: Option<Index>,
}

impl Authority {
    /// Whether this host is active, or about to be, by a record that a pause keeps.
    pub fn rests_on_pause(&self) -> bool {
        self.pause.rests && self.is_up()
    }

    /// Whether this host may end the pause: it is active, and a lease guards it.
    pub fn can_give_word(&self, view: &View<'_>) -> bool {
        self.is_up() && self.holds_lease(view) && self.owns(view) && view.paused.is_some()
    }

    /// From now on, and for good, this run does not rely on `pause`.
    pub fn give_word(&mut self, pause: Index) {
        self.pause.given_up = self.pause.given_up.max(Some(pause));
        self.pause.rests = false;
    }

    /// Whether it has, and is active under its lease alone: BEFORE that nothing may be proposed.
    pub fn has_given_word(&self, view: &View<'_>) -> bool {
        self.can_give_word(view) && !self.pause.rests && self.pause.given_up >= view.paused
    }

    pub(super) fn watch_pause(&mut self, view: &View<'_>) {
        let counts = view.paused.is_some() && view.paused > self.pause.given_up;
        self.pause.rests = counts && self.owns(view);
        if self.pause.rests {
            self.pause.rested_at = view.now.boot;
        }
    }

    /// What is active stays so in a pause. After its word it does by a lease in whatever term it
    /// leads: the record is bound to that term only when the resumption is applied.
    pub(super) fn stays_in_pause(&self, view: &View<'_>, leased: bool) -> bool {
        let given = self.pause.given_up.is_some() && self.pause.given_up == view.paused;
        let by_lease = given && leased && !self.yielding && self.barred != Some(view.term);
        let stays = self.pause.rests || (by_lease && self.owns(view));
        self.is_up() && stays && !self.leaving
    }

    pub(super) fn holds_lease(&self, view: &View<'_>) -> bool {
        self.lease.is_some_and(|lease| lease.holds(view.now, view.term) && view.leads)
    }

    fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Active)
    }

    /// The record in force is this run's, and this host has begun to act on it.
    fn owns(&self, view: &View<'_>) -> bool {
        let ours = |record: &Activation| {
            record.is_active()
                && record.node() == self.me.node
                && record.invocation() == self.me.invocation
                && self.token == Some(record.token())
        };
        view.record.is_some_and(ours)
    }
}
