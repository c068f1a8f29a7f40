//! The authority of one host, moved on by the table.
//!
//! [`Authority::turn`] once per turn of the driver with what is true then. Reports and rounds may
//! come in between; they count at the next turn, AFTER the clock was read and what is true was
//! looked at again.

use std::collections::VecDeque;

use super::Enforcement;
use super::pause::OnPause;
use super::wait::Epoch;
use super::{Act, Lease, Order, Phase, Report, Rounds, Signal, Timing, table};
use crate::core::state::Activation;
use crate::core::{Index, Instant, NodeId, Reading, Term, Token};
use crate::limits;

/// Whose authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Me {
    /// The node.
    pub node: NodeId,
    /// This run of its agent.
    pub invocation: [u8; 16],
}

/// What is true at the beginning of a turn.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Both clocks, read AFTER the queues were drained and BEFORE anything is stepped.
    pub now: Reading,
    /// Whether this node leads `term`.
    pub leads: bool,
    /// Current term.
    pub term: Term,
    /// Whether the leader of `term` is known: it was elected.
    pub elected: bool,
    /// The newest activation.
    pub record: Option<&'a Activation>,
    /// The activation of this run that is not released.
    pub owed: Option<Token>,
    /// Whether its release is committed, though perhaps not applied yet.
    pub released: bool,
    /// The pause in force, by its index.
    pub paused: Option<Index>,
    /// The last end of a pause, by its index.
    pub resumed: Index,
}

/// The authority of one host.
#[derive(Debug)]
pub struct Authority {
    pub(super) me: Me,
    pub(super) timing: Timing,
    pub(super) phase: Phase,
    pub(super) rounds: Rounds,
    pub(super) lease: Option<Lease>,
    /// The activation that Start, Active and the demotion after them are about.
    pub(super) token: Option<Token>,
    /// Whether that activation reached [`Phase::Active`].
    was_active: bool,
    /// No promotion in this term any more.
    pub(super) barred: Option<Term>,
    pub(super) leaving: bool,
    pub(super) yielding: bool,
    /// The activation whose demotion has begun: it is never used again.
    spent: Option<Token>,
    /// Rests on a pause, and when it last did (see `pause`).
    pub(super) pause: OnPause,
    /// Number of the newest order.
    pub(super) number: u64,
    signals: VecDeque<Signal>,
    pub(super) stop_again_at: Option<Instant>,
    /// When the demotion began; before that, when the agent started.
    pub(super) began: Instant,
    /// Whether the demotion goes on under a lease that holds.
    pub(super) planned: bool,
    pub(super) fenced_at: Option<Instant>,
    /// An earlier run left something that did not stop at once.
    pub(super) left_over: bool,
    step_down: bool,
    promotion_failed: bool,
    /// Consequences that the demotion waits for.
    pub(super) scripts: Option<u64>,
    pub(super) acted: u64,
    pub(super) dead_man: Option<Instant>,
    pub(super) fence_told: Option<Instant>,
    /// A stop that is ordered again has to be acknowledged by then: the lease is long over.
    pub(super) acknowledge_by: Option<Instant>,
    /// The record of another run, and since when an elected leader of a later term is known.
    pub(super) superseded: Option<(Epoch, Reading)>,
    deadline: Option<Instant>,
}

impl Authority {
    /// At the start of the agent: what an earlier run left is not known.
    pub fn new(me: Me, timing: Timing) -> Authority {
        Authority {
            me,
            timing,
            phase: Phase::Unknown,
            rounds: Rounds::default(),
            lease: None,
            token: None,
            was_active: false,
            barred: None,
            leaving: false,
            yielding: false,
            spent: None,
            pause: OnPause::default(),
            number: 0,
            signals: VecDeque::new(),
            // At once.
            stop_again_at: Some(Instant::default()),
            began: Instant::default(),
            planned: false,
            fenced_at: None,
            left_over: false,
            step_down: false,
            promotion_failed: false,
            scripts: None,
            acted: 0,
            dead_man: None,
            fence_told: None,
            acknowledge_by: None,
            superseded: None,
            deadline: Some(Instant::default()),
        }
    }

    /// Where the host stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The token while scripts have to take this host for *the one*: from [`Phase::Active`] until
    /// the target is proven inactive.
    pub fn held(&self) -> Option<Token> {
        let up = matches!(self.phase, Phase::Active | Phase::Stopping | Phase::Waiting);
        self.token.filter(|_| up && self.was_active)
    }

    /// The newest confirmed round of this run, over or not.
    pub fn lease(&self) -> Option<Lease> {
        self.lease
    }

    /// Whether this host is *the one* now.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    /// Whether the demotion under way may take its time: nobody can become active meanwhile.
    pub fn is_planned(&self) -> bool {
        self.planned
    }

    /// Whether nothing will be promoted in `term` any more.
    pub fn is_barred(&self, term: Term) -> bool {
        self.barred == Some(term)
    }

    /// From now on (`true`) this host shall not be active: it is about to stop or to suspend
    /// (`leaving`), or to hand over (`yielding`), which a pause forbids.
    pub fn leave(&mut self, leaving: bool, yielding: bool) {
        (self.leaving, self.yielding) = (leaving, yielding);
    }

    /// A transfer begins: nothing is promoted in this term any more.
    pub fn bar(&mut self, term: Term) {
        self.barred = Some(term);
    }

    /// Whether to stop leading at once; asked once.
    pub fn takes_step_down(&mut self) -> bool {
        std::mem::take(&mut self.step_down)
    }

    /// Whether a promotion failed on this host since the last call.
    pub fn takes_promotion_failed(&mut self) -> bool {
        std::mem::take(&mut self.promotion_failed)
    }

    /// A round begins: t0 is now. Its number must come back with the quorum's confirmation.
    pub fn begin_round(&mut self, now: Reading, term: Term) -> u64 {
        self.rounds.begin(now, term)
    }

    /// Whether a leader of `term` has no lease and has not asked for one.
    pub fn wants_round(&self, now: Reading, term: Term) -> bool {
        let holds = self.lease.is_some_and(|lease| lease.holds(now, term));
        !holds && !self.rounds.is_open(term)
    }

    /// The quorum confirmed a round.
    pub fn round_confirmed(&mut self, number: u64) {
        let Some((t0, term)) = self.rounds.confirmed(number) else { return };
        let newer = self.lease.is_none_or(|lease| lease.term < term || lease.t0.boot < t0.boot);
        if newer {
            self.lease = Some(Lease { t0, term, length: self.timing.lease() });
        }
    }

    /// Takes a report of the host; one that answers an older order is not looked at.
    pub fn report(&mut self, report: Report) {
        let (number, signal) = match report {
            Report::Started { number } => (number, Signal::Started),
            Report::StartFailed { number } => (number, Signal::StartFailed),
            Report::StopQueued { number } => (number, Signal::StopQueued),
            Report::Stopped { number } => (number, Signal::Stopped),
            Report::StopFailed { number } => (number, Signal::StopFailed),
            Report::Down => (self.number, Signal::Down),
        };
        if number == self.number && self.signals.len() < limits::HOST_REPORTS_MAX {
            self.signals.push_back(signal);
        }
    }

    /// The scripts of every consequence up to `number` are over.
    pub fn acted(&mut self, number: u64) {
        self.acted = self.acted.max(number);
    }

    /// The consequences up to `number` were handed to the scripts, the demotion's among them.
    /// Whether there is something to do in another turn at once.
    pub fn published(&mut self, number: u64) -> bool {
        if self.phase == Phase::Settling && self.scripts.is_none() {
            self.scripts = Some(number);
            return self.acted >= number;
        }
        false
    }

    /// Until when the watchdog may be pinged; `None` without limit (DESIGN 5.7).
    pub fn ping_until(&self) -> Option<Instant> {
        let held = matches!(self.phase, Phase::Starting | Phase::Active | Phase::Stopping);
        (held && !self.pause.rests).then(|| self.guarded_until())
    }

    /// When the next turn is due, as seen in the last one.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// One turn.
    pub fn turn(&mut self, view: &View<'_>, orders: &mut Vec<Order>) {
        if self.number == 0 {
            self.began = view.now.boot;
        }
        self.watch_record(view);
        let leased = self.holds_lease(view);
        self.watch_pause(view);
        let holds = leased || self.pause.rests;
        if self.planned && !holds {
            // The lease ended during a planned demotion: from here D counts.
            self.planned = false;
            self.began = self.guarded_until().min(view.now.boot);
            self.step_down |= view.leads;
        }
        let entitled = (leased && self.may_use_record(view)) || self.stays_in_pause(view, leased);
        let signal = if entitled { Signal::Entitled } else { Signal::Unentitled };
        self.apply(signal, view, holds, orders);
        for signal in [Signal::Retry, Signal::FenceDue, Signal::Quiet] {
            if self.is_due(signal, view) {
                self.apply(signal, view, holds, orders);
            }
        }
        while let Some(signal) = self.signals.pop_front() {
            self.apply(signal, view, holds, orders);
        }
        if view.owed.is_some() && !view.released && !self.may_use_record(view) {
            self.apply(Signal::Owing, view, holds, orders);
        }
        if view.owed.is_none() || view.released {
            self.apply(Signal::Discharged, view, holds, orders);
        }
        self.set_dead_man(holds, orders);
        self.tell_fence(orders);
        self.deadline = self.earliest(view);
    }

    /// The record is this run's, of the term it leads, and may still be used (DESIGN 5.5).
    fn may_use_record(&self, view: &View<'_>) -> bool {
        let ours = |record: &&Activation| {
            record.is_active()
                && record.node() == self.me.node
                && record.invocation() == self.me.invocation
                && record.term() == view.term
        };
        view.leads
            && view.record.as_ref().is_some_and(ours)
            && self.barred != Some(view.term)
            && !self.leaving
            && !self.yielding
            && view.record.is_none_or(|record| self.spent != Some(record.token()))
            // A record that was replaced while this activation ran is another activation.
            && self.token.is_none_or(|token| view.record.is_some_and(|r| r.token() == token))
    }

    fn apply(&mut self, signal: Signal, view: &View<'_>, holds: bool, orders: &mut Vec<Order>) {
        let rule = table::lookup(self.phase, signal);
        let from = std::mem::replace(&mut self.phase, rule.to);
        self.left_over |= matches!(signal, Signal::StopQueued | Signal::StopFailed);
        if signal == Signal::StopFailed {
            self.stop_again_at = Some(view.now.boot + limits::STOP_AGAIN_AFTER);
        }
        if from != rule.to && (from, signal) != (Phase::Waiting, Signal::Retry) {
            self.entered(from, signal, view, holds);
        }
        for act in rule.acts {
            self.act(*act, view, holds, orders);
        }
    }

    fn entered(&mut self, from: Phase, signal: Signal, view: &View<'_>, holds: bool) {
        match self.phase {
            Phase::Starting => self.token = view.record.map(|record| record.token()),
            Phase::Active => self.was_active = true,
            Phase::Stopping => {
                self.barred = Some(view.term);
                self.spent = self.token;
                self.planned = holds;
                let end = self.guarded_until();
                self.began = if holds { view.now.boot } else { end.min(view.now.boot) };
                // A leader that hears nobody must not keep the others quiet (DESIGN 5.6).
                self.step_down |= view.leads && !holds;
                self.promotion_failed |= from == Phase::Starting && signal != Signal::Unentitled;
            }
            Phase::Waiting => self.acknowledge_by = None,
            Phase::Settling => {
                self.acknowledge_by = None;
                self.scripts = None;
                self.stop_again_at = None;
            }
            Phase::Idle => {
                self.left_over = false;
                self.token = None;
                self.was_active = false;
                self.planned = false;
                self.fenced_at = None;
            }
            Phase::Releasing => self.spent = self.token.or(view.owed),
            Phase::Unknown => {}
        }
    }

    fn act(&mut self, act: Act, view: &View<'_>, holds: bool, orders: &mut Vec<Order>) {
        match act {
            Act::Start => {
                self.set_dead_man(holds, orders);
                self.number += 1;
                let token = self.token.expect("set when the phase was entered");
                self.order(Order::Start { number: self.number, token }, orders);
            }
            Act::Stop => {
                self.number += 1;
                if self.stop_again_at.take().is_some() && self.phase == Phase::Stopping {
                    self.acknowledge_by = Some(view.now.boot + self.timing.grace);
                }
                // What answered the order before is of no interest.
                self.signals.clear();
                self.order(Order::Stop { number: self.number }, orders);
            }
            Act::Fence => {
                self.fenced_at = Some(view.now.boot);
                self.order(Order::Fence { token: self.token.unwrap_or(Token(0)) }, orders);
            }
        }
    }

    /// Gives an order. Where there is no host to give it to, it has been carried out.
    pub(super) fn order(&mut self, order: Order, orders: &mut Vec<Order>) {
        if self.timing.enforcement != Enforcement::Nothing {
            orders.push(order);
            return;
        }
        match order {
            Order::Start { .. } => self.signals.push_back(Signal::Started),
            Order::Stop { .. } => self.signals.push_back(Signal::Stopped),
            _ => {}
        }
    }
}
