//! Which event's scripts run next: at most two wait, however many happen.
//!
//! - A newer event replaces the one that waits (`latest`). A `leader` event that has not started
//!   when the node is deposed is therefore never started.
//! - The first `follower` event after a started `leader` event is its *demotion*. It waits in a
//!   place of its own, is replaced only by a newer `follower`, and is taken first.
//! - An event that only returns to the one taken last is dropped: the scripts have that state.
//!
//! A plain value without clock or threads, so that all orders can be tried.

use super::payload::Numbered;
use super::{EventName, Occurrence};

/// The events that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    demotion: Option<Numbered>,
    latest: Option<Numbered>,
    /// A `leader` event was taken and no `follower` event since.
    owes_demotion: bool,
    /// The event taken last.
    taken: Option<EventName>,
    /// The role that the scripts know of.
    role: Option<&'static str>,
    sequence: u64,
    coalesced: u64,
    stopping: bool,
}

impl Queue {
    /// Adds an event.
    pub(super) fn submit(&mut self, occurrence: Occurrence) {
        self.sequence += 1;
        self.role.get_or_insert(occurrence.old_role);
        let event = occurrence.event;
        let is_demotion = event == EventName::Follower && self.owes_demotion;
        let told = Numbered { sequence: self.sequence, occurrence };
        if self.stopping && !is_demotion {
            self.coalesced += 1;
            return;
        }
        self.coalesced += u64::from(self.latest.take().is_some());
        let returns = self.taken == Some(event) && event != EventName::Leader;
        if is_demotion {
            self.coalesced += u64::from(self.demotion.replace(told).is_some());
        } else if returns && self.demotion.is_none() {
            self.coalesced += 1;
        } else {
            self.latest = Some(told);
        }
    }

    /// The next event to run scripts for; the demotion BEFORE everything else.
    pub(super) fn take(&mut self) -> Option<Numbered> {
        let mut told = self.demotion.take().or_else(|| self.latest.take())?;
        match told.occurrence.event {
            EventName::Leader => self.owes_demotion = true,
            EventName::Follower => self.owes_demotion = false,
            EventName::Candidate | EventName::Learner | EventName::Change => {}
        }
        self.taken = Some(told.occurrence.event);
        if let Some(role) = self.role.replace(told.occurrence.role) {
            told.occurrence.old_role = role;
        }
        Some(told)
    }

    /// Keeps nothing but a demotion from now on.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.coalesced += u64::from(self.latest.take().is_some());
    }

    /// Whether [`Queue::stop`] was called.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether a demotion waits.
    pub(super) fn has_demotion(&self) -> bool {
        self.demotion.is_some()
    }

    /// Events that were replaced or dropped.
    pub(super) fn coalesced(&self) -> u64 {
        self.coalesced
    }
}

#[cfg(test)]
mod tests;
