//! The world: hosts, network, time and everything that is going to happen, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use raftctl::core::message::{Kind, Message};
use raftctl::core::rng::Rng;
use raftctl::core::{Instant, NodeId};
use raftctl::node::disk::DiskRequest;
use raftctl::node::event::{Answer, Effect, Event, RequestId};

use super::clients::Clients;
use super::host::{Host, Stalled, name_of};
use super::network::{Network, Weather};
use super::oracle::Oracle;
use super::plan::{Mutation, Settings};
use super::recorder::{WORKLOAD, digest};
use super::store::Stored;
use super::systemd::{Out, Step};

/// Something that will happen. Those that concern one run of a process name it, those of a host the
/// place of the host.
pub(super) enum Happening {
    Deliver {
        to: NodeId,
        process: Option<u64>,
        event: Event,
    },
    Wake {
        host: usize,
        process: u64,
    },
    DiskDone {
        host: usize,
        process: u64,
    },
    StoreDone {
        host: usize,
        process: u64,
    },
    Save {
        host: usize,
        process: u64,
    },
    /// A node hears how another one stands now.
    Introduce {
        from: NodeId,
        to: NodeId,
        process: Option<u64>,
    },
    Start(NodeId),
    Crash(NodeId),
    Fault,
    Propose,
    /// A broken connection is made again, if it can be.
    Redial {
        node: NodeId,
        peer: NodeId,
    },
    /// A client of the store goes on.
    Client(usize),
    /// Something in the service manager, unless the power was cut since.
    Pid1 {
        host: usize,
        epoch: u64,
        step: Step,
    },
    /// The surface to the service manager carries out its next order.
    Surface {
        host: usize,
        process: u64,
    },
    /// The next event script may run.
    Scripts {
        host: usize,
        process: u64,
    },
    DeadMan {
        host: usize,
        process: u64,
        at: Instant,
    },
    Watchdog {
        host: usize,
        process: u64,
    },
    Boot {
        host: usize,
        epoch: u64,
    },
    /// B has passed since this lease began, and no later one did.
    Overdue {
        host: usize,
        t0: Instant,
    },
    /// What runs after a process learns that there is nothing left to release.
    ReleaseOver {
        host: usize,
        process: u64,
    },
    /// The host falls asleep, however far the agent has come.
    Sleep {
        host: usize,
        epoch: u64,
    },
    Backup,
    Restore,
    Heal,
}

/// What a node told: a change, an answer, a warning, its end.
pub type Told = (Instant, NodeId, Effect);

/// What the cluster did to keep its members together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Messages handed to the network.
    pub messages: u64,
    /// Reads of the log for a slow follower.
    pub fetches: u64,
    /// Snapshots sent.
    pub snapshots: u64,
}

pub struct World {
    pub now: Instant,
    pub settings: Settings,
    pub network: Network,
    /// All machines; a node that moved lives on a later one.
    pub hosts: Vec<Host>,
    pub oracle: Oracle,
    pub told: Vec<Told>,
    pub counts: Counts,
    pub answers: BTreeMap<RequestId, Answer>,
    /// Who uses the store, if somebody does.
    pub clients: Option<Clients>,
    pub(super) rng: Rng,
    queue: BTreeMap<(Instant, u64), Happening>,
    sequence: u64,
    /// Where each node lives.
    pub(super) places: Vec<usize>,
    requests: BTreeMap<RequestId, u64>,
    next_request: u64,
    pub(super) faults: bool,
    /// Announcements that wait for an answer: host and run of the agent.
    pub(super) announced: BTreeMap<RequestId, (usize, u64)>,
    /// Releases and invitations to campaign that come again.
    pub(super) old_news: Vec<(NodeId, Event)>,
    /// Term and context of the newest round of each leader; only for a planted bug.
    pub(super) newest_round: BTreeMap<NodeId, (u64, Vec<u8>)>,
    /// What service managers asked for and nobody has done yet.
    pub(super) outs: Vec<(usize, Out)>,
    /// Whether to print what hosts do (`SIM_TRACE=1`).
    traced: bool,
    pub(super) backup: Option<Stored>,
    pub(super) generation: u32,
}

/// Events a node takes in one turn.
const DRAIN: usize = 64;

impl World {
    pub fn new(seed: u64, settings: Settings) -> World {
        let mut rng = Rng::new(seed);
        let host = |place| Host::new(NodeId(place as u64 + 1), place, &mut rng, &settings);
        let hosts: Vec<Host> = (0..settings.nodes as usize).map(host).collect();
        World {
            now: Instant::from_millis(1_000),
            settings,
            network: Network::new(settings.weather),
            places: (0..hosts.len()).collect(),
            hosts,
            oracle: Oracle::new(&settings),
            told: Vec::new(),
            counts: Counts::default(),
            answers: BTreeMap::new(),
            clients: settings.store.map(|plan| Clients::new(seed, plan)),
            rng,
            queue: BTreeMap::new(),
            sequence: 0,
            requests: BTreeMap::new(),
            next_request: 1,
            faults: false,
            announced: BTreeMap::new(),
            old_news: Vec::new(),
            newest_round: BTreeMap::new(),
            outs: Vec::new(),
            traced: std::env::var_os("SIM_TRACE").is_some(),
            backup: None,
            generation: 0,
        }
    }

    pub(super) fn after(&mut self, delay: Duration, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), happening);
    }

    /// Prints what happens on a host, if that is wanted.
    pub(super) fn trace(&self, host: usize, what: impl FnOnce() -> String) {
        if self.traced {
            let boot = self.hosts[host].reading(self.now).boot;
            println!("{} host {host} ({boot}) {}", self.now, what());
        }
    }

    /// A random time; none without jitter.
    pub(super) fn micros(&mut self, below: u64) -> Duration {
        let micros = if self.settings.jitter { self.rng.below(below) } else { 0 };
        Duration::from_micros(micros)
    }

    /// A random time below `longest`; that time itself without jitter.
    pub(super) fn within(&mut self, longest: Duration) -> Duration {
        if !self.settings.jitter {
            return longest;
        }
        self.micros(longest.as_micros() as u64)
    }

    pub(super) fn millis(&mut self, below: u64) -> Duration {
        self.micros(below * 1000)
    }

    pub fn place(&self, id: NodeId) -> usize {
        self.places[id.0 as usize - 1]
    }

    pub fn host(&mut self, id: NodeId) -> &mut Host {
        let place = self.place(id);
        &mut self.hosts[place]
    }

    pub(super) fn process_of(&self, id: NodeId) -> Option<u64> {
        self.process_at(self.place(id))
    }

    pub(super) fn process_at(&self, host: usize) -> Option<u64> {
        self.hosts[host].running.as_ref().map(|r| r.process)
    }

    pub fn ids(&self) -> Vec<NodeId> {
        (1..=self.settings.nodes).map(NodeId).collect()
    }

    pub(super) fn any_node(&mut self) -> NodeId {
        NodeId(1 + self.rng.below(self.settings.nodes))
    }

    /// Starts a node now and connects it with everybody it can reach. Where there is a service
    /// manager, it is asked to.
    pub fn start(&mut self, id: NodeId) -> Result<(), String> {
        let host = self.place(id);
        if self.settings.authority.is_some() {
            self.have_started(host);
            return Ok(());
        }
        self.start_process(host)
    }

    pub(super) fn start_process(&mut self, host: usize) -> Result<(), String> {
        let (now, seed, settings) = (self.now, self.rng.next_u64(), self.settings);
        if self.hosts[host].is_up() {
            return Ok(());
        }
        self.hosts[host].start(now, seed, &settings)?;
        let id = self.hosts[host].id;
        if !self.hosts[host].abandoned {
            if let Some(running) = &self.hosts[host].running {
                self.oracle.durable_promises.starts(id, running.node.replica().position());
            }
            for peer in self.ids() {
                self.connect(id, peer);
            }
        }
        self.schedule_wake(host, Duration::ZERO);
        Ok(())
    }

    /// Handshakes between two nodes that can reach each other.
    pub(super) fn connect(&mut self, a: NodeId, b: NodeId) {
        if a == b || self.network.is_cut(a, b) || self.network.is_cut(b, a) {
            return;
        }
        for (node, peer) in [(a, b), (b, a)] {
            let Some(process) = self.process_of(peer) else { return };
            let here = self.process_of(node);
            if here.is_none() {
                return;
            }
            let incarnation = self.host(peer).incarnation();
            let event = Event::Connected { peer, incarnation, process };
            let delay = self.micros(if self.faults { 20_000 } else { 1_000 });
            self.after(delay, Happening::Deliver { to: node, process: here, event });
            let delay = delay + self.micros(2_000);
            self.after(delay, Happening::Introduce { from: peer, to: node, process: here });
        }
    }

    /// What peers see when a process ends: closed connections, then nobody answers a redial.
    pub(super) fn notice_end(&mut self, gone: NodeId) {
        for peer in self.ids() {
            if peer != gone && !self.network.is_cut(gone, peer) {
                self.evidence(peer, gone, 1_000);
            }
        }
    }

    /// `node` finds its connection with `peer` closed and gets no answer.
    pub fn evidence(&mut self, node: NodeId, peer: NodeId, within_us: u64) {
        let process = self.process_of(node);
        // Calm: the closing takes one way through the network, the refusal of a redial two more.
        let calm = Duration::from_micros(self.settings.weather.delay_min_us);
        let calm = if self.settings.jitter { Duration::ZERO } else { calm };
        let lost = calm + self.micros(within_us);
        let silent = lost + calm * 2 + self.micros(5_000.min(within_us * 5));
        self.after(lost, Happening::Deliver { to: node, process, event: Event::Lost { peer } });
        let event = Event::Silent { peer };
        self.after(silent, Happening::Deliver { to: node, process, event });
        if self.settings.store.is_some() {
            // Nothing about the store reaches a peer without a connection.
            self.after(silent + Duration::from_millis(20), Happening::Redial { node, peer });
        }
    }

    pub fn crash(&mut self, id: NodeId, power_cut: bool) {
        let host = self.place(id);
        match self.settings.authority {
            Some(_) if power_cut => self.power_off(host),
            _ => self.end_process(host, power_cut),
        }
    }

    /// The process is gone; without a power cut, its peers notice.
    pub(super) fn end_process(&mut self, host: usize, power_cut: bool) {
        let half = self.rng.below(2) == 0;
        let gone = self.process_at(host);
        if let Some(process) = gone {
            self.clients_lose(process);
        }
        self.trace(host, || format!("process ends, power cut {power_cut}"));
        self.hosts[host].crash(power_cut, half);
        if !power_cut && !self.hosts[host].abandoned {
            self.notice_end(self.hosts[host].id);
        }
        if let Some(process) = gone.filter(|_| !power_cut && self.settings.authority.is_some()) {
            self.with_pid1(host, |systemd, cx| systemd.agent_ended(process, cx));
        }
    }

    pub fn pause(&mut self, id: NodeId, time: Duration) {
        let until = self.now + time;
        self.trace(self.place(id), || format!("process pauses for {time:?}"));
        if let Some(running) = &mut self.host(id).running {
            running.paused_until = running.paused_until.max(until);
        }
    }

    /// Ends all cuts; everybody reconnects.
    pub fn heal(&mut self) {
        self.network.heal();
        let ids = self.ids();
        for (at, a) in ids.iter().enumerate() {
            for b in &ids[at + 1..] {
                self.connect(*a, *b);
            }
        }
    }

    /// Asks `id` something; the answer comes into `answers`.
    pub fn request(&mut self, id: NodeId, make: impl FnOnce(RequestId) -> Event) -> RequestId {
        let request = self.new_request();
        let process = self.process_of(id);
        let event = make(request);
        self.after(Duration::ZERO, Happening::Deliver { to: id, process, event });
        request
    }

    pub(super) fn new_request(&mut self) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        request
    }

    /// Nothing that is under way between nodes arrives.
    pub(super) fn forget_messages(&mut self) {
        self.queue.retain(|_, happening| !matches!(happening, Happening::Deliver { .. }));
        self.old_news.clear();
        self.requests.clear();
    }

    /// A client writes to whom it takes for the leader.
    pub fn propose(&mut self) -> RequestId {
        let led = |h: &&Host| {
            h.running.as_ref().is_some_and(|r| {
                r.node.replica().position().role == raftctl::consensus::RaftRole::Leader
            })
        };
        let leaders: Vec<NodeId> = self.hosts.iter().filter(led).map(|h| h.id).collect();
        let lost = self.rng.below(10) == 0;
        let to = match leaders.len() {
            0 => self.any_node(),
            _ if lost => self.any_node(),
            n => leaders[self.rng.below(n as u64) as usize],
        };
        let size = [1, 20, 200, 3000][self.rng.below(4) as usize];
        let mut data = vec![WORKLOAD];
        data.extend(self.next_request.to_be_bytes());
        data.extend(std::iter::repeat_n(7, self.rng.below(size) as usize));
        self.propose_to(to, data)
    }

    /// A client writes `data`, which begins with [`WORKLOAD`] and is like no other, to a node.
    pub fn propose_to(&mut self, to: NodeId, data: Vec<u8>) -> RequestId {
        let payload = digest(0, &data);
        let request = self.request(to, |request| Event::Propose { request, data });
        self.requests.insert(request, payload);
        request
    }

    /// Runs until `until`.
    pub fn run_until(&mut self, until: Instant) -> Result<(), String> {
        while let Some(((at, _), _)) = self.queue.first_key_value()
            && *at <= until
        {
            let ((at, _), happening) = self.queue.pop_first().expect("just seen");
            self.now = at;
            self.happen(happening)?;
            self.pid1_outs()?;
            let clients = self.clients.as_mut();
            if let Some(violation) = clients.and_then(|clients| clients.violation.take()) {
                return Err(violation);
            }
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        let Some(happening) = self.unless_frozen(happening) else { return Ok(()) };
        match happening {
            Happening::Deliver { to, process, event } => self.deliver(to, process, event),
            Happening::Wake { host, process } => return self.wake(host, process),
            Happening::Introduce { from, to, process } => self.introduce(from, to, process),
            Happening::DiskDone { host, process } => return self.disk_done(host, process),
            Happening::StoreDone { host, process } => return self.store_done(host, process),
            Happening::Save { host, process } => {
                if self.process_at(host) == Some(process)
                    && let Some(event) = self.hosts[host].save()?
                {
                    let id = self.hosts[host].id;
                    self.deliver(id, Some(process), event);
                }
            }
            Happening::Start(id) => return self.start(id),
            Happening::Crash(id) => self.crash_for_a_while(id),
            Happening::Redial { node, peer } => self.connect(node, peer),
            Happening::Client(client) => self.client_asks(client),
            Happening::Fault => return self.fault(),
            Happening::Propose => {
                self.propose();
                let pause = self.settings.propose_every * 2;
                let pause = self.micros(pause.as_micros() as u64);
                self.after(pause, Happening::Propose);
            }
            other => return self.happen_to_host(other),
        }
        Ok(())
    }

    /// Puts off what happens on a frozen host.
    fn unless_frozen(&mut self, happening: Happening) -> Option<Happening> {
        let host = match &happening {
            Happening::Deliver { process: Some(process), .. } => (*process >> 48) as usize,
            Happening::Deliver { to, .. } | Happening::Introduce { to, .. } => self.place(*to),
            Happening::Wake { host, .. }
            | Happening::DiskDone { host, .. }
            | Happening::StoreDone { host, .. }
            | Happening::Save { host, .. }
            | Happening::Pid1 { host, .. }
            | Happening::Surface { host, .. }
            | Happening::Scripts { host, .. }
            | Happening::DeadMan { host, .. }
            | Happening::Watchdog { host, .. }
            | Happening::ReleaseOver { host, .. } => *host,
            _ => return Some(happening),
        };
        let until = self.hosts[host].frozen_until;
        if until <= self.now {
            return Some(happening);
        }
        if let (Happening::Wake { process, .. }, Some(running)) =
            (&happening, &mut self.hosts[host].running)
            && running.process == *process
            && running.wake_at == Some(self.now)
        {
            running.wake_at = Some(until);
        }
        self.after(until - self.now, happening);
        None
    }

    pub(super) fn deliver(&mut self, to: NodeId, process: Option<u64>, event: Event) {
        let delay = self.micros(60);
        let host = process.map_or(self.place(to), |process| (process >> 48) as usize);
        let event = self.corrupted(to, event);
        let frequent = matches!(
            event,
            Event::Message(_)
                | Event::Persisted { .. }
                | Event::Propose { .. }
                | Event::Fetched { .. }
        );
        if !frequent {
            self.trace(host, || format!("gets {event:?}"));
        }
        let Some(running) = &mut self.hosts[host].running else { return };
        if process.is_some_and(|process| process != running.process) {
            return;
        }
        running.inbox.push_back(event);
        self.schedule_wake(host, delay);
    }

    pub(super) fn schedule_wake(&mut self, host: usize, delay: Duration) {
        let at = self.now + delay;
        let Some(running) = &mut self.hosts[host].running else { return };
        let at = at.max(running.paused_until);
        if running.wake_at.is_none_or(|planned| at < planned) {
            running.wake_at = Some(at);
            let process = running.process;
            let delay = at - self.now;
            self.after(delay, Happening::Wake { host, process });
        }
    }

    /// One turn of a node's driver, or the rest of one that paused in the middle.
    fn wake(&mut self, at: usize, process: u64) -> Result<(), String> {
        let now = self.now;
        let reading = self.hosts[at].reading(now);
        let Some(running) = &mut self.hosts[at].running else { return Ok(()) };
        if running.process != process || running.wake_at != Some(now) {
            return Ok(());
        }
        running.wake_at = None;
        if running.paused_until > now {
            self.schedule_wake(at, Duration::ZERO);
            return Ok(());
        }
        let mut effects = match std::mem::take(&mut running.stalled) {
            Stalled::Not => self.drain(at),
            Stalled::BeforeTurn(effects) => effects,
            Stalled::AfterTurn(effects, ping) => {
                self.carry_out_all(at, process, effects.into(), ping);
                return Ok(());
            }
        };
        let stalls = self.stalls(1);
        let Some(running) = &mut self.hosts[at].running else { return Ok(()) };
        if stalls {
            running.stalled = Stalled::BeforeTurn(effects);
            self.stall(at);
            return Ok(());
        }
        running.node.turn(reading, &mut effects);
        let ping = running.node.ping_until().is_none_or(|until| reading.boot < until);
        if !self.hosts[at].abandoned {
            self.oracle.after_turn(now, &mut self.hosts[at], &effects)?;
        }
        self.after_turn(at, &effects)?;
        self.carry_out_all(at, process, effects, ping || self.pings_always());
        Ok(())
    }

    /// Takes what is at hand.
    fn drain(&mut self, at: usize) -> Vec<Effect> {
        let ack_early = self.settings.mutation == Some(Mutation::AckBeforeCommit);
        let write_early = self.settings.mutation == Some(Mutation::WriteAckedEarly);
        let mut taken = Vec::new();
        let unheard = self.settings.mutation == Some(Mutation::IneligibleActivates);
        let reading = self.hosts[at].reading(self.now);
        let mut effects = Vec::new();
        let mut early = Vec::new();
        let Some(running) = &mut self.hosts[at].running else { return effects };
        let term = running.node.replica().position().term;
        running.node.machine_mut().tell_lies(term);
        for _ in 0..DRAIN {
            let Some(event) = running.inbox.pop_front() else { break };
            let proposal = match &event {
                Event::Propose { request, .. } if ack_early => Some(*request),
                _ => None,
            };
            if let Event::KvWrite { request, .. } = &event
                && write_early
                && running.node.replica().position().role == raftctl::consensus::RaftRole::Leader
            {
                taken.push(*request);
            }
            if let Event::Eligible { eligible } = event {
                running.told_unfit = !eligible;
                if unheard {
                    continue;
                }
            }
            running.node.handle(reading, event, &mut effects);
            if let Some(request) = proposal {
                early.push((request, running.node.replica().position().last));
            }
        }
        self.acknowledge_early(&early, &effects);
        taken.into_iter().for_each(|request| self.acknowledge_write(request));
        effects
    }

    /// Carries out the effects of a turn in their order; the process may pause or end between two.
    fn carry_out_all(&mut self, at: usize, process: u64, effects: Vec<Effect>, ping: bool) {
        let ordered = effects.iter().any(|effect| matches!(effect, Effect::Host(_)));
        let stalls = self.stalls(if ordered { 30 } else { 1 });
        let stall_at = if stalls { self.rng.below(effects.len() as u64 + 1) as usize } else { 0 };
        let mut rest = std::collections::VecDeque::from(effects);
        let mut done = 0;
        while self.process_at(at) == Some(process) {
            if stalls && done == stall_at {
                let running = self.hosts[at].running.as_mut().expect("just seen");
                running.stalled = Stalled::AfterTurn(rest, ping);
                return self.stall(at);
            }
            let Some(effect) = rest.pop_front() else { break };
            self.carry_out(at, process, effect);
            done += 1;
        }
        let Some(running) = &self.hosts[at].running else { return };
        if running.process != process {
            return;
        }
        let more = !running.inbox.is_empty();
        let next = self.hosts[at].clock.when(running.node.next_deadline());
        let next = next.max(self.now + Duration::from_micros(100));
        let delay = if more { Duration::ZERO } else { next - self.now };
        let delay = if ping { delay.min(self.ping(at)) } else { delay };
        self.schedule_wake(at, delay);
    }

    /// The planted bug: a client is told "committed" when the leader has only appended.
    fn acknowledge_early(&mut self, early: &[(RequestId, u64)], effects: &[Effect]) {
        for (request, index) in early {
            let refused = effects.iter().any(|e| match e {
                Effect::Answer { request: r, answer: Answer::Refused { .. } } => r == request,
                _ => false,
            });
            if let Some(payload) = self.requests.get(request).filter(|_| !refused) {
                self.oracle.acked_write_durable.acked(*payload, *index);
            }
        }
    }

    fn carry_out(&mut self, at: usize, process: u64, effect: Effect) {
        let id = self.hosts[at].id;
        use Effect::{Changed, Stopped, Warn};
        if let Effect::Host(_) | Changed(_) | Effect::Act(_) | Stopped = &effect {
            self.trace(at, || format!("{effect:?}"));
        }
        if matches!(effect, Changed(_) | Effect::Answer { .. } | Stopped | Warn(_)) {
            self.told.push((self.now, id, effect.clone()));
        }
        match effect {
            Effect::Send(_) if self.hosts[at].abandoned => {}
            Effect::Send(message) => self.send(id, message),
            Effect::KvSend { .. } if self.hosts[at].abandoned => {}
            Effect::KvSend { to, frame } => {
                for delay in self.network.route(&mut self.rng, id, to) {
                    let event = Event::KvFrame { from: id, frame: frame.clone() };
                    self.after(delay, Happening::Deliver { to, process: None, event });
                }
            }
            Effect::Persist { number, persist } => {
                self.disk(at, process, DiskRequest::Persist { number, persist });
            }
            Effect::Fetch(fetch) => {
                self.counts.fetches += 1;
                self.disk(at, process, DiskRequest::Fetch(fetch));
            }
            Effect::Compact { index, term } => {
                self.disk(at, process, DiskRequest::Compact { index, term });
            }
            Effect::Store(request) => {
                if self.hosts[at].store(request) {
                    self.store_goes_on(at, process);
                }
                let delay = self.within(Duration::from_millis(200));
                self.after(delay, Happening::Save { host: at, process });
            }
            Effect::Answer { request, answer } => {
                if let Some(payload) = self.requests.get(&request) {
                    match &answer {
                        Answer::Applied { index } => {
                            self.oracle.acked_write_durable.acked(*payload, *index);
                        }
                        Answer::Refused { .. } => self.oracle.acked_write_durable.refused(*payload),
                        _ => {}
                    }
                }
                if matches!(answer, Answer::Written(_) | Answer::Read(_)) {
                    self.trace(at, || format!("answers {request:?}: {answer:?}"));
                    self.client_hears(request, &answer);
                }
                self.release_answered(id, request, &answer);
                self.answers.insert(request, answer);
            }
            Effect::Stopped => self.end_process(at, false),
            Effect::Changed(_) | Effect::Warn(_) | Effect::Learn(_) | Effect::Publish(_) => {}
            Effect::SnapshotNews(_) => {}
            // There are no rows.
            Effect::Snapshot(_) | Effect::SendSnapshot { .. } => {}
            Effect::Standing { .. } if self.hosts[at].abandoned => {}
            Effect::Standing { eligible, priority } => {
                let running = self.hosts[at].running.as_mut().expect("it says so");
                let before = std::mem::replace(&mut running.standing, (eligible, priority));
                if before == running.standing {
                    return; // Said when the connections were made.
                }
                for to in self.ids().into_iter().filter(|to| *to != id) {
                    let (delay, process) = (self.micros(2_000), self.process_of(to));
                    self.after(delay, Happening::Introduce { from: id, to, process });
                }
            }
            Effect::Act(consequence) => self.act(at, process, consequence),
            Effect::Host(order) => self.order(at, process, order),
            Effect::Announce { .. } if self.hosts[at].abandoned => {}
            Effect::Announce { to, release } => self.say_released(id, to, release),
        }
    }

    fn send(&mut self, from: NodeId, mut message: Message) {
        if self.settings.mutation == Some(Mutation::VoteTwice)
            && message.kind() == Kind::VoteResponse
        {
            message.reject = false;
        }
        if self.settings.mutation == Some(Mutation::CommitWithoutQuorum) {
            self.acknowledge_unreceived(&message);
        }
        if message.kind() == Kind::Heartbeat && !message.context.is_empty() {
            self.newest_round.insert(from, (message.term, message.context.clone()));
        }
        if message.kind() == Kind::TimeoutNow {
            self.remember(NodeId(message.to), Event::Message(message.clone()));
        }
        self.counts.messages += 1;
        self.counts.snapshots += u64::from(message.kind() == Kind::Snapshot);
        let voted = message.kind() == Kind::VoteResponse && !message.reject;
        if voted && self.faults && self.rng.chance_ppm(self.settings.crash_after_vote_ppm) {
            let soon = self.micros(200);
            self.after(soon, Happening::Crash(from));
        }
        let to = NodeId(message.to);
        for delay in self.network.route(&mut self.rng, from, to) {
            let event = Event::Message(message.clone());
            self.after(delay, Happening::Deliver { to, process: None, event });
        }
    }

    /// The planted bug: what a leader sends counts as acknowledged.
    fn acknowledge_unreceived(&mut self, append: &Message) {
        let Some(last) = append.entries.last().filter(|_| append.kind() == Kind::Append) else {
            return;
        };
        let answer = Message {
            kind: Kind::AppendResponse as i32,
            from: append.to,
            to: append.from,
            term: append.term,
            index: last.index,
            ..Message::default()
        };
        let to = NodeId(append.from);
        let process = self.process_of(to);
        let event = Event::Message(answer);
        self.after(Duration::ZERO, Happening::Deliver { to, process, event });
    }

    fn disk(&mut self, at: usize, process: u64, request: DiskRequest) {
        let mutation = self.settings.mutation;
        if let DiskRequest::Persist { number, .. } = request
            && mutation == Some(Mutation::ReportEarly)
        {
            let id = self.hosts[at].id;
            self.deliver(id, Some(process), Event::Persisted { number });
        }
        if self.hosts[at].disk(request, mutation) {
            self.disk_goes_on(at, process);
        }
    }

    fn look_at_rows(&mut self, at: usize) -> Result<(), String> {
        let id = self.hosts[at].id;
        for (index, digest) in self.hosts[at].fresh_rows() {
            if let Some(rows_agree) = &self.oracle.rows_agree {
                rows_agree.has(id, index, digest)?;
            }
        }
        Ok(())
    }

    fn store_goes_on(&mut self, at: usize, process: u64) {
        let time = self.within(Duration::from_micros(20));
        self.after(Duration::from_micros(20) + time, Happening::StoreDone { host: at, process });
    }

    fn store_done(&mut self, at: usize, process: u64) -> Result<(), String> {
        if self.process_at(at) != Some(process) {
            return Ok(());
        }
        let id = self.hosts[at].id;
        let (events, more) = self.hosts[at].store_step()?;
        self.look_at_rows(at)?;
        for event in events {
            self.deliver(id, Some(process), event);
        }
        if more {
            self.store_goes_on(at, process);
        }
        Ok(())
    }

    fn disk_goes_on(&mut self, at: usize, process: u64) {
        let Some(running) = &self.hosts[at].running else { return };
        let writes = matches!(running.worker.queue().front(), Some(DiskRequest::Persist { .. }));
        let max = if writes { self.settings.disk_max_us } else { 20 };
        let time = self.within(Duration::from_micros(max));
        self.after(Duration::from_micros(20) + time, Happening::DiskDone { host: at, process });
    }

    fn disk_done(&mut self, at: usize, process: u64) -> Result<(), String> {
        if self.process_at(at) != Some(process) {
            return Ok(());
        }
        let id = self.hosts[at].id;
        let done = self.hosts[at].disk_step()?;
        self.look_at_rows(at)?;
        if let Some(event) = done {
            if let Event::Persisted { number } = event
                && !self.hosts[at].abandoned
            {
                self.oracle.durable_promises.durable(id, number);
            }
            self.deliver(id, Some(process), event);
        }
        if self.hosts[at].running.as_ref().is_some_and(|r| r.worker.has_work()) {
            self.disk_goes_on(at, process);
        }
        Ok(())
    }

    /// One fault, and the next one planned.
    fn fault(&mut self) -> Result<(), String> {
        if !self.faults {
            return Ok(());
        }
        let id = self.any_node();
        let crashes = self.only_crashes();
        if self.settings.authority.is_some() && (crashes || self.rng.below(2) == 0) {
            self.fault_of_authority(id);
            self.next_fault();
            return Ok(());
        }
        match self.rng.below(12) {
            0..=2 => self.crash_for_a_while(id),
            3 => {
                for id in self.ids() {
                    self.crash_for_a_while(id);
                }
            }
            4 => {
                let time = self.millis(1_500);
                self.pause(id, time);
            }
            5 | 6 => self.random_partition(),
            7 => {
                let to = self.any_node();
                self.network.cut(id, to);
            }
            8 => self.heal(),
            9 => {
                let peer = self.any_node();
                if peer != id {
                    self.evidence(id, peer, 10_000);
                    self.connect(id, peer);
                }
            }
            10 => {
                let to = Some(name_of(self.any_node()));
                self.request(id, |request| Event::Transfer { request, to });
            }
            _ => {
                let process = self.process_of(id);
                let event = Event::Shutdown;
                self.after(Duration::ZERO, Happening::Deliver { to: id, process, event });
                let back = self.millis(1_000);
                self.after(back, Happening::Start(id));
            }
        }
        self.next_fault();
        Ok(())
    }

    fn next_fault(&mut self) {
        let pause = self.settings.fault_every * 2;
        let pause = self.micros(pause.as_micros() as u64);
        self.after(pause, Happening::Fault);
    }

    fn crash_for_a_while(&mut self, id: NodeId) {
        let power_cut = self.rng.below(2) == 0;
        self.crash(id, power_cut);
        let back = self.micros(self.settings.down_max.as_micros() as u64);
        self.after(back, Happening::Start(id));
    }

    pub(super) fn random_partition(&mut self) {
        let ids = self.ids();
        let left: Vec<bool> = ids.iter().map(|_| self.rng.below(2) == 0).collect();
        for (a, a_left) in ids.iter().zip(&left) {
            for (b, b_left) in ids.iter().zip(&left) {
                if a_left != b_left {
                    self.network.cut(*a, *b);
                    if self.rng.below(2) == 0 {
                        self.evidence(*a, *b, 200_000);
                    }
                }
            }
        }
    }

    /// Where everybody stands, for the message of a violation.
    pub(super) fn describe(&self) -> String {
        let one = |h: &Host| match &h.running {
            None => format!("node {} down", h.id),
            Some(r) => {
                let p = r.node.replica().position();
                format!(
                    "node {} {:?} term {} leader {:?} commit {} last {} applied {} due {} disk {}",
                    h.id,
                    p.role,
                    p.term,
                    p.leader,
                    p.commit,
                    p.last,
                    r.node.applied().0,
                    r.node.next_deadline(),
                    r.worker.queue().len()
                )
            }
        };
        let mut hosts: Vec<_> = self.hosts.iter().map(one).collect();
        if self.settings.authority.is_some() {
            hosts.extend(self.hosts.iter().map(|host| self.describe_authority(host)));
        }
        format!("at {}: {}", self.now, hosts.join("; "))
    }

    /// The phase with faults.
    pub fn trouble(&mut self) -> Result<(), String> {
        self.faults = true;
        for id in self.ids() {
            let delay = self.millis(50);
            self.after(delay, Happening::Start(id));
        }
        self.after(Duration::from_millis(300), Happening::Fault);
        self.after(Duration::from_millis(50), Happening::Propose);
        self.clients_begin();
        if self.settings.authority.is_some_and(|plan| plan.restore) {
            let backup = Duration::from_millis(500) + self.millis(3_000);
            let restore = backup + Duration::from_millis(1_000) + self.millis(7_000);
            self.after(backup, Happening::Backup);
            self.after(restore, Happening::Restore);
        }
        self.run_until(self.now + self.settings.faults_for)
    }

    /// Whoever was stopped meanwhile is started, and broken connections are made again.
    pub(super) fn come_back(&mut self) -> Result<(), String> {
        for id in self.ids() {
            self.start(id)?;
        }
        if self.settings.authority.is_some() {
            self.heal();
        }
        Ok(())
    }

    /// The phase without: everything comes back, and the cluster must serve again in time.
    pub fn healing(&mut self) -> Result<(), String> {
        self.faults = false;
        self.network.weather = Weather::CALM;
        self.end_pauses();
        self.settle_standings();
        for id in self.ids() {
            self.start(id)?;
        }
        self.heal();
        // Processes that were about to stop or restart have done so after this.
        let slow_calls = if self.settings.authority.is_some() { 2 } else { 1 };
        for _ in 0..slow_calls {
            self.run_until(self.now + Duration::from_millis(1_600))?;
            self.come_back()?;
        }
        let began = self.now;
        let deadline = self.now + self.settings.election_min * 2 * 4 + Duration::from_secs(1);
        let deadline = deadline + self.longest_restart();
        let mut rounds = 0;
        let probe = loop {
            rounds += 1;
            if self.settings.authority.is_some() && rounds % 10 == 0 {
                self.come_back()?;
            }
            let request = self.propose();
            self.run_until(self.now + Duration::from_millis(50))?;
            if matches!(self.answers.get(&request), Some(Answer::Applied { .. })) {
                break request;
            }
            if self.now > deadline {
                let here = self.describe();
                return Err(format!("liveness: no write committed in time after healing; {here}"));
            }
        };
        let Some(Answer::Applied { index }) = self.answers.get(&probe) else { unreachable!() };
        let index = *index;
        let began = match self.settings.authority {
            Some(_) => {
                self.resume_in_the_end()?;
                self.now
            }
            None => began,
        };
        self.becomes_active(began)?;
        let deadline = self.now + Duration::from_secs(15);
        let applied = |h: &Host| h.running.as_ref().is_some_and(|r| r.node.applied().0 >= index);
        while !self.places.iter().all(|place| applied(&self.hosts[*place])) {
            if self.now > deadline {
                let here = self.describe();
                return Err(format!("liveness: not everybody applied {index} in time; {here}"));
            }
            self.run_until(self.now + Duration::from_millis(50))?;
        }
        self.oracle.acked_write_durable.check(&self.oracle.state_machine_safety)?;
        self.clients_end()
    }
}
