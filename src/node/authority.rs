//! The node's authority: what it shows to [`Authority`] each turn, and what follows for the log and
//! for leadership.
//!
//! Decides nothing about the host (that is `core::authority`); decides when to lead no longer: a
//! leader that may not be active in its term hands over, and steps down if it cannot.

use crate::consensus::{Candidacy, RaftRole, Replica};
use crate::core::authority::{Lease, Phase, View};
use crate::core::command::{Activate, Body, Expired, Release};
use crate::core::secret::release_secret;
use crate::core::state::{Activation, hash_of};
use crate::core::{Index, Instant, Invocation, NodeId, Reading, Term, Token};
use crate::limits;

use super::event::{Answer, Effect, ReleaseOutcome, RequestId};
use super::machine::StateMachine;
use super::node::{Node, NodeConfig};

/// What belongs to authority and is not `core::authority`'s.
#[derive(Default)]
pub(super) struct Duties {
    /// Own release that was proposed.
    pub released: Option<(Index, Term, Token)>,
    /// Releases of other nodes that wait to be proposed; one for each node.
    pub relays: std::collections::BTreeMap<u64, Release>,
    /// When to say a release to the members again.
    pub announce_at: Instant,
    /// Not eligible before this time: a promotion or a transfer failed.
    pub hold_off: Option<Instant>,
    /// The host is about to suspend.
    pub suspended: bool,
    /// The host may not be active, for reasons of its own.
    pub unfit: bool,
    /// Number of the last consequence.
    pub acts: u64,
    /// In which term this node leads, and since when without being active.
    pub idle_lead: Option<(Term, Instant)>,
    /// Since when the oldest write waits for the disk.
    pub write_waits: Option<Instant>,
}

/// What the authority sees; the parts of a node apart, so that it may be turned meanwhile.
pub(super) fn view<'a, M: StateMachine>(
    config: &NodeConfig,
    replica: &Replica,
    machine: &'a M,
    released: bool,
    now: Reading,
) -> View<'a> {
    let (position, cluster) = (replica.position(), machine.cluster());
    View {
        now,
        leads: position.role == RaftRole::Leader,
        term: position.term,
        elected: position.leader.is_some(),
        record: cluster.activation(),
        owed: cluster.owed_by(&config.invocation).map(|a| a.token()),
        released,
        paused: cluster.paused(),
        resumed: cluster.resumed(),
    }
}

impl<M: StateMachine> Node<M> {
    /// Until when the watchdog may be pinged; `None`: as long as the loop runs.
    pub fn ping_until(&self) -> Option<Instant> {
        self.authority.ping_until()
    }

    /// The newest confirmed lease of this run, over or not.
    pub fn lease(&self) -> Option<Lease> {
        self.authority.lease()
    }

    pub(super) fn leads(&self) -> bool {
        self.replica.position().role == RaftRole::Leader
    }

    /// An activation of this run that is not released.
    fn owed(&self) -> Option<&Activation> {
        self.machine.cluster().owed_by(&self.config.invocation)
    }

    /// Whether the release of what this run owes is committed, though perhaps not applied.
    pub(super) fn release_committed(&self) -> bool {
        let position = self.replica.position();
        let owed = self.owed().map(|a| a.token());
        self.duty.released.is_some_and(|(index, term, token)| {
            term == position.term && self.leads() && position.commit >= index && owed == Some(token)
        })
    }

    /// Whether nothing of this host stands in the way of another node: proven inactive, and the
    /// cluster knows.
    pub(super) fn is_out(&self) -> bool {
        let known = self.owed().is_none() || self.release_committed();
        self.authority.phase().is_down() && known
    }

    /// Heartbeats, which are lease rounds as soon as the term has a commit (DESIGN 5.2). A leader
    /// without a lease does not wait for the next heartbeat.
    pub(super) fn lease_round(&mut self, now: Reading) {
        let term = self.replica.position().term;
        if !self.leads() {
            return;
        }
        let commits = self.replica.commits_in_term();
        let reads = self.kv.wants_round();
        let wanted = commits && (reads || self.authority.wants_round(now, term));
        if !wanted && now.boot < self.replica.heartbeat_at() {
            return;
        }
        let context = commits.then(|| self.authority.begin_round(now, term));
        if let Some(context) = context {
            self.kv.begin_round(context);
        }
        self.replica.heartbeat(now.boot, context);
    }

    /// One turn of the authority. Orders become effects in their order.
    pub(super) fn authority_turn(&mut self, now: Reading, effects: &mut Vec<Effect>) {
        let leaving = self.stopping || self.duty.suspended;
        let yielding = self.duty.unfit || self.transfer.is_some() || self.disk_stalls(now.boot);
        self.authority.leave(leaving, yielding);
        let released = self.release_committed();
        let view = view(&self.config, &self.replica, &self.machine, released, now);
        let mut orders = Vec::new();
        self.authority.turn(&view, &mut orders);
        self.bound_passed = self.authority.bound_passed(&view);
        self.word_given = self.authority.has_given_word(&view);
        effects.extend(orders.into_iter().map(Effect::Host));
        if self.authority.takes_step_down() {
            self.replica.step_down(now.boot);
        }
        if self.authority.takes_promotion_failed() {
            self.hold_off(now.boot);
        }
        let held_off = self.duty.hold_off.is_some_and(|until| now.boot < until);
        // What is active in a pause may well lead: it alone can end the pause.
        let rests = self.authority.rests_on_pause();
        let down = self.authority.phase().is_down() || rests;
        self.replica.set_candidacy(match () {
            () if self.duty.unfit && !rests => Candidacy::Last,
            () if down && !held_off && !self.duty.suspended => Candidacy::Ready,
            () => Candidacy::Late,
        });
    }

    /// This node shall not lead for two rounds of elections.
    pub(super) fn hold_off(&mut self, now: Instant) {
        self.duty.hold_off = Some(now + self.config.timing.election_max * 2);
    }

    /// Whether the oldest write has waited too long: the followers alone can commit (DESIGN 5.8).
    pub(super) fn disk_stalls(&self, now: Instant) -> bool {
        self.duty.write_waits.is_some_and(|since| now >= since + limits::DISK_STALL)
    }

    /// Keeps count of how long the oldest write has waited; `done`: one has just become durable.
    pub(super) fn watch_disk(&mut self, now: Instant, done: bool) {
        let waits = self.flush.writes_waiting() > 0;
        self.duty.write_waits = match self.duty.write_waits {
            Some(since) if waits && !done => Some(since),
            _ => waits.then_some(now),
        };
    }

    /// A leader that is not active in its term and will not be hands over at once; one that is in
    /// nobody's way but cannot become active either yields after two rounds (DESIGN 5.11). One that
    /// may not be active hands over when there is somebody to take it, and leads on until then: the
    /// log stays available.
    pub(super) fn yield_if_useless(&mut self, now: Instant) {
        let term = self.replica.position().term;
        let phase = self.authority.phase();
        if !self.leads() || matches!(phase, Phase::Starting | Phase::Active) {
            self.duty.idle_lead = None;
            if self.leads() && self.authority.rests_on_pause() && self.disk_stalls(now) {
                // Leadership alone moves.
                self.hand_over(now);
            }
            return;
        }
        // Nobody is promoted in a pause, in whatever term.
        let paused = self.machine.cluster().paused().is_some();
        let since = match self.duty.idle_lead {
            Some((of, since)) if of == term && !paused => since,
            _ => now,
        };
        self.duty.idle_lead = Some((term, since));
        if self.transfer.is_some() || !self.is_out() {
            return;
        }
        let fit = !self.duty.unfit;
        let barred = (fit && !paused && self.authority.is_barred(term)) || self.disk_stalls(now);
        let waits = self.waits_for_another();
        let stuck = !waits && now >= since + self.config.timing.election_max * 2;
        let rested = self.duty.hold_off.is_none_or(|until| now >= until);
        let alone = self.replica.voters().len() == 1;
        if alone && barred && !self.stopping && !self.duty.suspended {
            // There is nobody to give it to: the next election is a new term.
            self.replica.step_down(now);
        } else if !alone && (barred || self.duty.suspended) {
            self.hand_over(now);
        } else if (fit && stuck) || (!fit && rested) {
            // Only if there is somebody for it: another election would bring nothing new.
            if self.ready_successor().is_some() {
                self.hand_over(now);
            }
        }
    }

    /// The record is another run's and still active: whoever leads has to wait.
    fn waits_for_another(&self) -> bool {
        let record = self.machine.cluster().activation();
        record.is_some_and(|a| a.is_active() && a.invocation() != self.config.invocation)
    }

    /// When authority has something to do next.
    pub(super) fn authority_deadline(&self, now: Instant) -> Option<Instant> {
        let leads = self.leads();
        let announce = self.owes_announcement().then_some(self.duty.announce_at);
        let idle = self.duty.idle_lead.filter(|_| leads && !self.waits_for_another());
        let idle = idle.map(|(_, since)| since + self.config.timing.election_max * 2);
        let hold_off = self.duty.hold_off.filter(|until| *until > now);
        let disk = self.duty.write_waits.filter(|_| leads).map(|at| at + limits::DISK_STALL);
        let later = |at: &Instant| *at > now;
        let due = [announce, idle.filter(later), hold_off, disk.filter(later)];
        due.into_iter().flatten().chain(self.authority.next_deadline()).min()
    }

    /// The commands about activations that a leader with the newest state proposes.
    pub(super) fn authority_commands(&self, term: Term) -> Vec<Body> {
        let mut due = Vec::new();
        let cluster = self.machine.cluster();
        let phase = self.authority.phase();
        let record = cluster.activation();
        let mut newest_over = record.is_none_or(|a| !a.is_active());
        let mut paid = true;
        for release in self.own_releases().chain(self.duty.relays.values().cloned()) {
            let of_newest = record.is_some_and(|a| a.invocation() == release.invocation);
            newest_over |= of_newest;
            due.push(Body::Released(release));
        }
        if let Some(debt) = cluster.unreleased(&self.config.machine) {
            paid = due.iter().any(|body| match body {
                Body::Released(release) => release.invocation == debt.invocation(),
                _ => false,
            });
        }
        let may = phase == Phase::Idle
            && self.owed().is_none()
            && paid
            && !self.authority.is_barred(term)
            && self.duty.hold_off.is_none_or(|until| self.now >= until)
            && self.transfer.is_none()
            && cluster.paused().is_none()
            && !self.duty.suspended
            && !self.duty.unfit;
        if !newest_over && self.bound_passed {
            let token = record.map_or(0, |a| a.token().0);
            due.push(Body::Expired(Expired { token, forced: false }));
            newest_over = true;
        }
        if may && newest_over {
            due.push(Body::Activate(self.activate(term)));
        }
        due
    }

    fn activate(&self, term: Term) -> Activate {
        let cluster = self.machine.cluster();
        Activate {
            prev: cluster.activation().map_or(0, |a| a.token().0),
            node: self.config.id.0,
            term,
            invocation: self.config.invocation.to_vec(),
            machine: self.config.machine.to_vec(),
            bound_ms: self.config.timing.bound().map(|b| b.as_millis() as u64),
            secret_hash: hash_of(&self.secret_of(&self.config.invocation)).to_vec(),
        }
    }

    /// What this node can release itself: its own activation once everything is over, and those of
    /// earlier runs of this machine once the target is known inactive (DESIGN 5.9, 5.10).
    fn own_releases(&self) -> impl Iterator<Item = Release> + '_ {
        let phase = self.authority.phase();
        let own = self.owed().filter(|_| phase == Phase::Releasing && !self.release_committed());
        let own = own.map(|a| self.release_of(a, Vec::new()));
        let cluster = self.machine.cluster();
        let candidates = cluster.activation().filter(|a| a.is_active());
        let candidates = candidates.into_iter().chain(cluster.unreleased(&self.config.machine));
        let earlier = candidates.filter(move |a| {
            phase.is_down()
                && a.machine() == self.config.machine
                && a.invocation() != self.config.invocation
        });
        let earlier = earlier.filter_map(|a| {
            let secret = self.secret_of(a.invocation());
            a.is_released_by(&secret).then(|| self.release_of(a, secret.to_vec()))
        });
        own.into_iter().chain(earlier)
    }

    fn release_of(&self, activation: &Activation, secret: Vec<u8>) -> Release {
        let token = if secret.is_empty() { activation.token().0 } else { 0 };
        let invocation = activation.invocation().to_vec();
        Release { node: activation.node().0, invocation, token, secret }
    }

    /// Notes which index releases what this run owes, and forgets relays that were proposed.
    pub(super) fn proposed(&mut self, first: Index, term: Term, bodies: &[Body]) {
        let owed = self.owed().map(|a| (a.invocation().to_vec(), a.token()));
        for (at, body) in bodies.iter().enumerate() {
            if let (Body::Pause(_) | Body::Resume(_), Some(waits)) = (body, &mut self.pausing) {
                waits.proposed = Some(first + at as u64);
            }
            let Body::Released(release) = body else { continue };
            self.duty.relays.remove(&release.node);
            if let Some((_, token)) = owed.iter().find(|(of, _)| *of == release.invocation) {
                self.duty.released = Some((first + at as u64, term, *token));
            }
        }
    }

    fn owes_announcement(&self) -> bool {
        !self.leads() && self.own_releases().next().is_some()
    }

    /// Says to all members, again and again, what they do not know yet (DESIGN 5.6).
    pub(super) fn announce(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if now < self.duty.announce_at || !self.owes_announcement() {
            return;
        }
        self.duty.announce_at = now + limits::ANNOUNCE_EVERY;
        let releases: Vec<Release> = self.own_releases().collect();
        for to in self.connected.keys() {
            let release = releases.iter().cloned();
            effects.extend(release.map(|release| Effect::Announce { to: *to, release }));
        }
    }

    /// A release from a peer, or from what runs after a crash. Only a leader that knows the newest
    /// state can say what it is worth.
    pub(super) fn take_release(
        &mut self,
        from: Option<NodeId>,
        request: Option<RequestId>,
        release: Release,
        effects: &mut Vec<Effect>,
    ) {
        let outcome = self.judge_release(from, &release);
        if outcome == ReleaseOutcome::Proposed {
            self.duty.relays.insert(release.node, release);
        }
        if let Some(request) = request {
            effects.push(Effect::Answer { request, answer: Answer::Release(outcome) });
        }
    }

    fn judge_release(&self, from: Option<NodeId>, release: &Release) -> ReleaseOutcome {
        let position = self.replica.position();
        if !self.leads() || self.applied.1 != position.term {
            return ReleaseOutcome::NotLeader;
        }
        let Some(owed) = self.machine.cluster().owed_by(&release.invocation) else {
            return ReleaseOutcome::Over;
        };
        let own_word = from == Some(NodeId(release.node)) && release.token == owed.token().0;
        let believed =
            if release.secret.is_empty() { own_word } else { owed.is_released_by(&release.secret) };
        if believed && owed.node().0 == release.node {
            ReleaseOutcome::Proposed
        } else {
            ReleaseOutcome::Forged
        }
    }

    /// The secret that releases a run of this state directory on this machine.
    fn secret_of(&self, invocation: &[u8]) -> [u8; 32] {
        let invocation = invocation.try_into().map_or(Invocation([0; 16]), Invocation);
        release_secret(&self.config.release_key, &self.config.machine, invocation)
    }
}
