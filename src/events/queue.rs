//! Which event's scripts run next: at most two wait, however many happen.
//!
//! - A newer event replaces the one that waits (`latest`). A `leader` event that has not started
//!   when the node is deposed is therefore never started.
//! - The first `follower` event after a started `leader` event is its *demotion*. It waits in a
//!   place of its own, is replaced only by a newer `follower`, and is taken first.
//! - An event that only returns to the one taken last is dropped: the scripts have that state.
//!
//! It also knows which consequences are *over*: their scripts have ended or will never run. A
//! demotion that a newer one replaces is not over before that one is.
//!
//! A plain value without clock or threads, so that all orders can be tried.

use super::payload::Numbered;
use super::{EventName, Occurrence};
use crate::limits::SCRIPTS_LEFT_MAX;

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
    /// Number of the newest consequence.
    newest: u64,
    /// What the event stands for that was taken and not finished.
    running: Option<u64>,
    /// What the events stand for whose scripts could not be killed.
    left: Vec<u64>,
    /// The first of those that nobody watches; never over.
    unwatched: Option<u64>,
    /// Number of the newest `follower` consequence that ends a leadership, until it is over.
    due: Option<u64>,
}

impl Queue {
    /// Adds an event.
    pub(super) fn submit(&mut self, occurrence: Occurrence) {
        self.sequence += 1;
        self.newest = self.newest.max(occurrence.number);
        self.role.get_or_insert(occurrence.old_role);
        let event = occurrence.event;
        let is_demotion = event == EventName::Follower && self.owes_demotion;
        if is_demotion || (event == EventName::Follower && occurrence.old_role == "leader") {
            self.due = Some(occurrence.number);
        }
        let stands_for = occurrence.number;
        let mut told = Numbered { sequence: self.sequence, stands_for, occurrence };
        if self.stopping && !is_demotion {
            self.coalesced += 1;
            return;
        }
        self.coalesced += u64::from(self.latest.take().is_some());
        let returns = self.taken == Some(event) && event != EventName::Leader;
        if is_demotion {
            if let Some(replaced) = self.demotion.take() {
                self.coalesced += 1;
                told.stands_for = replaced.stands_for;
            }
            self.demotion = Some(told);
        } else if returns && self.demotion.is_none() {
            self.coalesced += 1;
        } else {
            self.latest = Some(told);
        }
    }

    /// The next event to run scripts for; the demotion BEFORE everything else. AFTER its scripts:
    /// [`Queue::finish`] or [`Queue::leave`].
    pub(super) fn take(&mut self) -> Option<Numbered> {
        let mut told = self.demotion.take().or_else(|| self.latest.take())?;
        match told.occurrence.event {
            EventName::Leader => self.owes_demotion = true,
            EventName::Follower => self.owes_demotion = false,
            _ => {}
        }
        self.taken = Some(told.occurrence.event);
        self.running = Some(told.stands_for);
        if let Some(role) = self.role.replace(told.occurrence.role) {
            told.occurrence.old_role = role;
        }
        Some(told)
    }

    /// The scripts of the event taken last have ended, or did not run.
    pub(super) fn finish(&mut self) {
        self.running = None;
    }

    /// The scripts of the event taken last were killed, and something of them is still there.
    /// What to tell [`Queue::vanish`] when it is gone; `None` if that may not be told any more.
    pub(super) fn leave(&mut self) -> Option<u64> {
        let number = self.running.take()?;
        if self.left.len() < SCRIPTS_LEFT_MAX {
            self.left.push(number);
            return Some(number);
        }
        self.unwatched.get_or_insert(number);
        None
    }

    /// What was left behind is gone.
    pub(super) fn vanish(&mut self, number: u64) {
        if let Some(at) = self.left.iter().position(|left| *left == number) {
            self.left.remove(at);
        }
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

    /// Whether nothing waits and nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.demotion.is_none() && self.latest.is_none() && self.running.is_none()
    }

    /// Events that were replaced or dropped.
    pub(super) fn coalesced(&self) -> u64 {
        self.coalesced
    }

    /// The highest number N such that every consequence up to N is over.
    pub(super) fn over(&self) -> u64 {
        let waiting = self.demotion.iter().chain(&self.latest).map(|told| told.stands_for);
        let left = self.left.iter().copied().chain(self.unwatched);
        let under_way = waiting.chain(self.running).chain(left).min();
        under_way.map_or(self.newest, |first| first.saturating_sub(1).min(self.newest))
    }

    /// Whether a demotion is not over.
    pub(super) fn demotion_is_due(&self) -> bool {
        self.due.is_some_and(|number| number > self.over())
    }
}

#[cfg(test)]
mod tests;
