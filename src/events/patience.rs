//! How long a script may run: its own time limit, brought forward when the agent stops and when a
//! demotion waits for it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::EventName;

/// What brings limits forward; changes while a script runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    /// The agent stops. Set once.
    pub(super) stop: Option<Stop>,
    /// Since when a demotion is due whose scripts have not ended.
    pub(super) demotion: Option<Instant>,
}

/// The agent stops: everything is over at `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// When the agent began to stop.
    begun: Instant,
    /// When it may wait no longer.
    end: Instant,
}

impl Stop {
    /// A stop that began at `begun` and may take `deadline`.
    pub(super) fn new(begun: Instant, deadline: Duration) -> Stop {
        Stop { begun, end: after(begun, deadline) }
    }
}

/// What a script is to a demotion that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It is the demotion: a script of a `follower` event.
    Demotion,
    /// It is a demotion that goes on under a lease that holds: no fence waits for it.
    Planned,
    /// It holds the demotion up.
    Obstacle,
}

impl Part {
    /// The part of a script that runs because of `event`; a `change` script has its event's.
    pub(super) fn of(event: EventName, planned: bool) -> Part {
        match event {
            EventName::Follower if planned => Part::Planned,
            EventName::Follower => Part::Demotion,
            _ => Part::Obstacle,
        }
    }
}

/// Why a script is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It ran for too long.
    Limit,
    /// The agent stops.
    Stop,
    /// A demotion waits for it.
    Demotion,
}

/// When a script is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// SIGTERM.
    pub(super) terminate: Instant,
    /// SIGKILL.
    pub(super) kill: Instant,
    /// Why.
    pub(super) cause: Cause,
}

impl Limits {
    /// The earlier of both, for SIGTERM and SIGKILL each.
    fn or_earlier(self, other: Limits) -> Limits {
        let cause = if other.terminate < self.terminate { other.cause } else { self.cause };
        let terminate = self.terminate.min(other.terminate);
        Limits { terminate, kill: self.kill.min(other.kill), cause }
    }
}

/// How long scripts may run.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// Until SIGTERM.
    pub(super) timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub(super) kill_after: Duration,
    /// How long a demotion may take as a whole (D).
    pub(super) demote_timeout: Duration,
    /// How long after its begin the host is fenced, if it ever is.
    pub(super) fence_after: Option<Duration>,
    /// What brings limits forward.
    pub(super) orders: watch::Receiver<Orders>,
}

impl Patience {
    /// The limits of a script started at `started`.
    pub(super) fn limits(&self, started: Instant, part: Part) -> Limits {
        let terminate = after(started, self.timeout);
        let kill = after(terminate, self.kill_after);
        let mut limits = Limits { terminate, kill, cause: Cause::Limit };
        let Orders { stop, demotion } = *self.orders.borrow();
        if let Some(stop) = stop {
            let holds_up = demotion.is_some() && part == Part::Obstacle;
            limits = limits.or_earlier(self.before_stop(stop, holds_up));
        }
        match (demotion, part, self.fence_after) {
            (None, ..) | (_, Part::Planned, _) | (_, Part::Demotion, None) => limits,
            (Some(since), Part::Obstacle, _) => limits.or_earlier(self.make_way(started, since)),
            (Some(since), Part::Demotion, Some(fence)) => {
                limits.or_earlier(self.before_fence(started, since, fence))
            }
        }
    }

    /// All is over at the end of the agent, with a fifth of the time kept for SIGTERM to work; a
    /// script that holds up a demotion gets half of the time.
    fn before_stop(&self, stop: Stop, holds_up_demotion: bool) -> Limits {
        let all = stop.end - stop.begun;
        let given = if holds_up_demotion { all / 2 } else { all };
        let kill = after(stop.begun, given);
        let terminate = (kill - self.kill_after.min(given / 5)).max(stop.begun);
        Limits { terminate, kill, cause: Cause::Stop }
    }

    /// One third of D to end by itself, one to end after SIGTERM, one for the demotion. A script
    /// that starts in between (`change`, after the one that was in the way) shares the second.
    fn make_way(&self, started: Instant, since: Instant) -> Limits {
        let third = self.demote_timeout / 3;
        let shared = if started > since { third / 2 } else { Duration::ZERO };
        let terminate = after(since, third.saturating_add(shared));
        let kill = after(terminate, self.kill_after).min(after(since, third.saturating_mul(2)));
        Limits { terminate, kill, cause: Cause::Demotion }
    }

    /// What the fence leaves, with a fifth kept for SIGTERM to work; a third of D in any case, for
    /// what a script undoes has to be undone even after the fence.
    fn before_fence(&self, started: Instant, since: Instant, fence: Duration) -> Limits {
        let least = after(started, self.demote_timeout / 3);
        let kill = after(since, fence).max(least);
        let given = kill.saturating_duration_since(started);
        let terminate = kill - self.kill_after.min(given / 5);
        Limits { terminate, kill, cause: Cause::Limit }
    }

    /// Why a script that would start now has no time at all, if so.
    pub(super) fn exhausted(&self, part: Part) -> Option<Cause> {
        let now = Instant::now();
        let Orders { stop, demotion } = *self.orders.borrow();
        if stop.is_some_and(|stop| stop.end <= now) {
            return Some(Cause::Stop);
        }
        let is_late = demotion.is_some_and(|since| self.make_way(now, since).kill <= now);
        (part == Part::Obstacle && is_late).then_some(Cause::Demotion)
    }

    /// When a script started at `started` is sent SIGTERM, as far as is known then.
    pub(super) fn deadline(&self, started: Instant, part: Part) -> Instant {
        self.limits(started, part).terminate
    }
}

/// Far enough for every purpose, near enough for every clock.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

fn after(start: Instant, wait: Duration) -> Instant {
    start + wait.min(FOREVER)
}

#[cfg(test)]
mod tests;
