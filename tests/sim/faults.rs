//! Faults that concern authority: pauses of processes and machines, power, sleep, operators, moved
//! machines, restored backups, old news.

use std::time::Duration;

use raftctl::core::NodeId;
use raftctl::core::command::Release;
use raftctl::core::message::{Kind, Message};
use raftctl::node::event::Event;

use super::plan::Mutation;
use super::recorder::with_generation;
use super::systemd::{Call, Hand};
use super::world::{Happening, World};

impl World {
    pub(super) fn fault_of_authority(&mut self, id: NodeId) {
        let host = self.place(id);
        let plan = self.settings.authority.expect("it is a fault of authority");
        if !plan.only_crashes && self.rng.chance_ppm(plan.unfit_ppm) {
            let id = self.active_or(id);
            let host = self.place(id);
            let fit = !self.hosts[host].fit;
            return self.becomes_fit(host, fit);
        }
        self.trace(host, || "fault of authority".to_owned());
        let operators = self.settings.authority.is_some_and(|plan| plan.operators);
        if !plan.only_crashes && self.rng.chance_ppm(plan.pause_ppm) {
            return self.operate_pause();
        }
        match if self.only_crashes() { 6 } else { self.rng.below(16) } {
            0..=2 => {
                let most = [100, 400, 1_500, 8_000][self.rng.below(4) as usize];
                let time = self.millis(most);
                let active = self.active_or(id);
                self.pause(active, time);
            }
            3 => {
                let time = self.millis(40);
                let clocks = self.rng.below(2) == 0;
                self.freeze(host, time, clocks);
            }
            4 => {
                let time = self.millis(6_000);
                let clocks = self.rng.below(2) == 0;
                self.freeze(host, time, clocks);
            }
            5 => self.suspend(host),
            6 | 7 => {
                let active = self.active_or(id);
                if self.process_of(active).is_some() {
                    let host = self.place(active);
                    self.end_process(host, false);
                }
            }
            8 => {
                let active = self.active_or(id);
                self.cut_off(active);
            }
            9 | 10 => self.hear_again(),
            11 => self.forge(id),
            12 if self.settings.nodes > 2 && self.hosts.len() < 12 => self.move_node(id),
            _ if operators => self.operator(id),
            _ => {}
        }
    }

    /// Nothing comes from a node, nor to it.
    pub(super) fn cut_off(&mut self, id: NodeId) {
        for peer in self.ids() {
            if peer != id {
                self.network.cut(id, peer);
                self.network.cut(peer, id);
            }
        }
    }

    /// A host may be active from now on, or may not; its agent hears of it.
    pub fn becomes_fit(&mut self, host: usize, fit: bool) {
        self.hosts[host].fit = fit;
        let (to, process) = (self.hosts[host].id, self.process_at(host));
        if process.is_some() {
            let event = Event::Eligible { eligible: fit };
            self.after(Duration::ZERO, Happening::Deliver { to, process, event });
        }
    }

    /// In the end all hosts may be active, or some never again, but not all of them.
    pub(super) fn settle_standings(&mut self) {
        let Some(plan) = self.settings.authority else { return };
        let places = self.places.clone();
        let kept = self.rng.below(places.len() as u64) as usize;
        for (at, host) in places.into_iter().enumerate() {
            let fit = at == kept || !plan.some_stay_unfit || self.rng.below(2) == 0;
            self.becomes_fit(host, fit);
        }
    }

    /// A node hears how another one stands, as it is now: the newest word comes last.
    pub(super) fn introduce(&mut self, from: NodeId, to: NodeId, process: Option<u64>) {
        let speaker = self.host(from).running.as_ref();
        let standing = speaker.map(|running| running.standing);
        let cut = self.network.is_cut(from, to);
        let Some((eligible, priority)) = standing.filter(|_| !cut) else { return };
        self.deliver(to, process, Event::PeerStanding { peer: from, eligible, priority });
    }

    pub(super) fn only_crashes(&self) -> bool {
        self.settings.authority.is_some_and(|plan| plan.only_crashes)
    }

    /// The node that is active, if there is one: faults are most interesting there.
    fn active_or(&mut self, id: NodeId) -> NodeId {
        let serves = |place: &&usize| self.hosts[**place].systemd.occupied().is_some();
        let active = self.places.iter().find(serves).map(|place| self.hosts[*place].id);
        if self.rng.below(4) == 0 { id } else { active.unwrap_or(id) }
    }

    fn operator(&mut self, id: NodeId) {
        let id = if self.rng.below(2) == 0 { self.active_or(id) } else { id };
        let host = self.place(id);
        if !self.hosts[host].powered {
            return;
        }
        let hands = [
            Hand::StartTarget,
            Hand::StartTarget,
            Hand::StopTarget,
            Hand::RestartTarget,
            Hand::StopService,
            Hand::RestartService,
        ];
        let hand = hands[self.rng.below(6) as usize];
        self.with_pid1(host, |systemd, cx| systemd.call(Call::Hand(hand), cx));
        if hand == Hand::StopService {
            let back = self.millis(3_000);
            self.after(back, Happening::Start(id));
        }
        if self.rng.below(2) == 0 {
            // Twice, at an awkward time: a start while it stops.
            let epoch = self.hosts[host].epoch;
            let delay = self.millis(400);
            let step = super::systemd::Step::Call(Call::Hand(Hand::StartTarget));
            self.after(delay, Happening::Pid1 { host, epoch, step });
        }
    }

    /// logind says that the host is about to sleep, and waits for the agent, but not for ever.
    fn suspend(&mut self, host: usize) {
        let (id, epoch) = (self.hosts[host].id, self.hosts[host].epoch);
        let process = self.process_at(host);
        if process.is_some() {
            let event = Event::Suspend { before: true };
            self.after(Duration::ZERO, Happening::Deliver { to: id, process, event });
        }
        let delay = Duration::from_millis(50) + self.millis(5_000);
        self.after(delay, Happening::Sleep { host, epoch });
    }

    pub(super) fn fall_asleep(&mut self, host: usize) {
        if !self.hosts[host].powered {
            return;
        }
        // In the end nobody sleeps; but the agent was told that it would.
        let wakes = !self.faults || self.hosts[host].is_frozen(self.now);
        let time = Duration::from_millis(10) + self.millis(8_000);
        let time = if wakes { Duration::ZERO } else { time };
        let out = self.hosts[host].systemd.occupied().is_none();
        let before = self.hosts[host].frozen_for;
        self.freeze(host, time, false);
        let now = self.now;
        self.hosts[host].clock.sleep(now, time);
        if out {
            // Asleep and out of everybody's way: everything is guaranteed.
            self.hosts[host].frozen_for = before;
        }
        let (to, process) = (self.hosts[host].id, self.process_at(host));
        if process.is_some() {
            let event = Event::Suspend { before: false };
            self.after(time, Happening::Deliver { to, process, event });
        }
    }

    /// Something is heard again, long after it was said.
    fn hear_again(&mut self) {
        let times = if self.settings.mutation.is_some() { 8 } else { 2 };
        for _ in 0..times {
            if self.old_news.is_empty() {
                return;
            }
            let at = self.rng.below(self.old_news.len() as u64) as usize;
            let (to, event) = self.old_news[at].clone();
            let delay = self.millis(2_000);
            self.after(delay, Happening::Deliver { to, process: None, event });
        }
    }

    /// A release that nobody may believe, and an invitation to campaign that nobody sent.
    fn forge(&mut self, id: NodeId) {
        let truth = self.host(id).running.as_ref().map(|r| r.node.machine().truth().clone());
        let Some(record) = truth.as_ref().and_then(|truth| truth.activation()) else { return };
        let secret = vec![self.rng.next_u64() as u8; 32];
        let (node, invocation) = (record.node().0, record.invocation().to_vec());
        let (token, term) = (record.token().0, record.term());
        let wrong = Release { node, invocation: invocation.clone(), token: 0, secret };
        let other = NodeId(1 + node % self.settings.nodes);
        let not_its_own = Release { node, invocation, token, secret: Vec::new() };
        for to in self.ids() {
            let release = wrong.clone();
            self.request(to, |request| Event::Release {
                from: None,
                request: Some(request),
                release,
            });
            let release = not_its_own.clone();
            for from in [None, (other.0 != node).then_some(other)] {
                let release = release.clone();
                let event = Event::Release { from, request: None, release };
                self.after(Duration::ZERO, Happening::Deliver { to, process: None, event });
            }
        }
        let invitation = Message {
            kind: Kind::TimeoutNow as i32,
            from: other.0,
            to: id.0,
            term,
            ..Message::default()
        };
        if other != id {
            let event = Event::Message(invitation);
            self.after(Duration::ZERO, Happening::Deliver { to: id, process: None, event });
        }
    }

    /// The worst moment to lose everybody: the activation is in some logs and not committed.
    pub(super) fn disturb_activation(&mut self) {
        let ppm = self.settings.authority.map_or(0, |plan| plan.disturb_ppm);
        if !self.faults || !self.rng.chance_ppm(ppm) {
            return;
        }
        for a in self.ids() {
            for b in self.ids() {
                self.network.cut(a, b);
            }
        }
        let delay = Duration::from_millis(200) + self.millis(600);
        self.after(delay, Happening::Heal);
    }

    /// Copies the newest state there is.
    pub(super) fn keep_backup(&mut self) {
        let states = self.places.iter().map(|place| self.hosts[*place].stored());
        let newest = states.max_by_key(|stored| stored.applied);
        self.backup = newest.filter(|stored| !stored.bytes.is_empty());
    }

    /// Everything is lost but a backup; operators made sure that nothing runs any more, and raise
    /// the generation.
    pub(super) fn restore_backup(&mut self) {
        let Some(mut state) = self.backup.clone() else { return };
        self.generation += 1;
        if self.settings.mutation != Some(Mutation::TokenFromBareIndex) {
            state.bytes = with_generation(&state.bytes, self.generation);
        }
        for at in 0..self.hosts.len() {
            self.power_off(at);
        }
        self.forget_messages();
        self.oracle.new_history(&self.settings);
        for id in self.ids() {
            let seed = self.rng.next_u64();
            self.host(id).replace_disk(&state, seed);
            let delay = self.millis(300);
            self.after(delay, Happening::Start(id));
        }
    }

    /// The disk of a node is copied into another machine, which takes its place; the old one runs
    /// on, but nobody hears it any more.
    fn move_node(&mut self, id: NodeId) {
        let old = self.place(id);
        let place = self.hosts.len();
        let settings = self.settings;
        let mut new = self.hosts[old].cloned(place, &mut self.rng, &settings);
        new.powered = false;
        self.hosts.push(new);
        self.places[id.0 as usize - 1] = place;
        self.hosts[old].abandoned = true;
        self.notice_end(id);
        let delay = self.millis(800);
        self.after(delay, Happening::Start(id));
    }

    /// The planted bug: a late answer to a heartbeat counts for the newest round.
    pub(super) fn freshened(&mut self, to: NodeId, mut message: Message) -> Message {
        if message.kind() == Kind::HeartbeatResponse && !message.context.is_empty() {
            let newest = self.newest_round.get(&to);
            if let Some(context) = newest.filter(|(term, _)| *term == message.term) {
                message.context = context.1.clone();
            }
        }
        message
    }
}
