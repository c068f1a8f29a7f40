//! What time asks of the authority: the dead-man, the fence, the next turn.

use super::machine::{Authority, View};
use super::{Enforcement, FENCE_LEAD, Order, Phase, Signal, successor_wait};
use crate::core::Instant;
use crate::limits;

impl Authority {
    pub(super) fn is_due(&self, signal: Signal, view: &View<'_>) -> bool {
        let now = view.now.boot;
        match signal {
            Signal::Retry => self.stop_again_at.is_some_and(|at| now >= at),
            Signal::FenceDue => self.fence_at().is_some_and(|at| now >= at),
            Signal::Quiet => self.scripts.is_some_and(|number| self.acted >= number),
            _ => false,
        }
    }

    /// When to start the fence unit, next.
    pub(super) fn fence_at(&self) -> Option<Instant> {
        let demoting = match self.phase {
            // Only if there is something to kill: asking may take long, on a host that boots.
            Phase::Unknown => self.left_over,
            Phase::Stopping | Phase::Waiting => true,
            Phase::Settling => self.token.is_some(),
            _ => false,
        };
        let bounded = self.timing.enforcement == Enforcement::Bounded;
        // At the start of the agent: the target is proven inactive, and a script that only says so
        // may take its time.
        let undoes = self.phase != Phase::Settling || self.token.is_some();
        if !demoting || !bounded || !undoes || self.planned {
            return None;
        }
        let first = self.began + self.timing.demote_timeout.saturating_sub(FENCE_LEAD);
        Some(self.fenced_at.map_or(first, |at| at + limits::FENCE_AGAIN_AFTER))
    }

    /// L; or, if that is later, when it was last seen that a pause takes the place of a lease.
    pub(super) fn guarded_until(&self) -> Instant {
        let end = self.lease.map_or(Instant::default(), |lease| lease.ends());
        end.max(self.pause.rested_at)
    }

    /// L + G while a lease is what keeps this host from being stopped. Not any more when the
    /// service manager has the stop job and the lease is over: then the watchdog guards. Not while
    /// a pause takes its place.
    pub(super) fn set_dead_man(&mut self, holds: bool, orders: &mut Vec<Order>) {
        let wanted = match self.phase {
            Phase::Starting | Phase::Active | Phase::Stopping => true,
            Phase::Waiting | Phase::Settling => self.planned && holds,
            Phase::Unknown | Phase::Idle | Phase::Releasing => false,
        };
        let wanted = (wanted && !self.pause.rests).then(|| {
            let end = self.guarded_until() + self.timing.grace;
            self.acknowledge_by.map_or(end, |by| by.max(end))
        });
        if wanted != self.dead_man {
            self.dead_man = wanted;
            self.order(wanted.map_or(Order::DisarmDeadMan, |at| Order::ArmDeadMan { at }), orders);
        }
    }

    /// Keeps the time of the fence where it outlives this process.
    pub(super) fn tell_fence(&mut self, orders: &mut Vec<Order>) {
        let at = self.fence_at().filter(|_| self.phase != Phase::Unknown);
        // Once it was started the time stays: whoever takes over starts it at once.
        let at = if self.fenced_at.is_some() { at.and(self.fence_told) } else { at };
        if at != self.fence_told {
            self.fence_told = at;
            self.order(Order::FenceAt { at }, orders);
        }
    }

    pub(super) fn earliest(&self, view: &View<'_>) -> Option<Instant> {
        let now = view.now;
        let uses = matches!(self.phase, Phase::Starting | Phase::Active) || self.planned;
        let lease = self.lease.filter(|_| uses && self.holds_lease(view));
        let lease = lease.map(|l| now.boot + l.length.saturating_sub(now.at_most_since(l.t0)));
        let waits = view.leads && view.paused.is_none();
        let bound = view.record.filter(|r| r.is_active() && waits).and_then(|r| r.bound());
        let expiry = bound.zip(self.superseded).and_then(|(bound, (_, since))| {
            let left = successor_wait(bound).saturating_sub(now.at_least_since(since));
            // Passed already: the log's business, not a deadline.
            (!left.is_zero()).then(|| now.boot + left)
        });
        let due = [lease, self.stop_again_at, self.fence_at(), expiry];
        due.into_iter().flatten().min()
    }
}
