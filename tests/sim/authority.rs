//! The world's side of authority: orders of nodes go to the service manager of their host, its
//! reports come back; dead-man, watchdog, event scripts, releases; processes that pause at the
//! worst places; machines that lose power.

use std::collections::VecDeque;
use std::time::Duration;

use raftctl::core::authority::{Order, Report};
use raftctl::core::command::{Body, Command, Release};
use raftctl::core::message::Entry;
use raftctl::core::role::EventName;
use raftctl::core::state::Activation;
use raftctl::core::{Instant, NodeId};
use raftctl::node::event::{Answer, Consequence, Effect, Event, ReleaseOutcome, RequestId};

use super::host::Host;
use super::invariants::active_is_guarded::pause_of;
use super::plan::Mutation;
use super::recorder::AppliedCommand;
use super::systemd::{Call, Cx, Grant, Hand, Out, Step, Systemd};
use super::world::{Happening, World};

const MS: Duration = Duration::from_millis(1);

/// Freezing a whole host for less than this in one activation must be safe: S has room for it.
const MARGIN: Duration = Duration::from_millis(50);

impl World {
    pub(super) fn happen_to_host(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Pid1 { host, epoch, step } => {
                if self.hosts[host].epoch == epoch {
                    return self.pid1(host, step);
                }
            }
            Happening::Surface { host, process } => self.surface(host, process),
            Happening::Scripts { host, process } => self.next_script(host, process),
            Happening::DeadMan { host, process, at } => self.dead_man(host, process, at),
            Happening::Watchdog { host, process } => self.watchdog(host, process),
            Happening::Boot { host, epoch } => {
                if self.hosts[host].epoch == epoch {
                    self.boot(host);
                }
            }
            Happening::Overdue { host, t0 } => return self.overdue(host, t0),
            Happening::ReleaseOver { host, process } => {
                self.hosts[host].systemd.release_is_over(process);
            }
            Happening::Sleep { host, epoch } => {
                if self.hosts[host].epoch == epoch {
                    self.fall_asleep(host);
                }
            }
            Happening::Backup => self.keep_backup(),
            Happening::Restore => self.restore_backup(),
            Happening::Heal => self.heal(),
            _ => unreachable!("handled by the world"),
        }
        Ok(())
    }

    /// Does something with the service manager of a host, and what follows.
    pub(super) fn with_pid1(&mut self, host: usize, act: impl FnOnce(&mut Systemd, &mut Cx<'_>)) {
        let boot = self.hosts[host].reading(self.now).boot;
        let mut cx = Cx { now: self.now, boot, rng: &mut self.rng, out: Vec::new() };
        act(&mut self.hosts[host].systemd, &mut cx);
        let out = cx.out;
        let epoch = self.hosts[host].epoch;
        for out in out {
            match out {
                Out::Later(delay, step) => {
                    self.after(delay, Happening::Pid1 { host, epoch, step });
                }
                other => self.outs.push((host, other)),
            }
        }
    }

    fn pid1(&mut self, host: usize, step: Step) -> Result<(), String> {
        if !self.hosts[host].powered {
            return Ok(());
        }
        if !matches!(step, Step::Pump | Step::Helper) {
            self.trace(host, || format!("{step:?}"));
        }
        self.with_pid1(host, |systemd, cx| systemd.step(step, cx));
        self.look(host)
    }

    /// What service managers asked for meanwhile.
    pub(super) fn pid1_outs(&mut self) -> Result<(), String> {
        loop {
            let outs = std::mem::take(&mut self.outs);
            if outs.is_empty() {
                return Ok(());
            }
            for (host, out) in outs {
                self.pid1_out(host, out)?;
                self.look(host)?;
            }
        }
    }

    fn pid1_out(&mut self, host: usize, out: Out) -> Result<(), String> {
        let id = self.hosts[host].id;
        self.trace(host, || format!("{out:?}"));
        match out {
            Out::Later(..) => unreachable!("put into the queue"),
            Out::Report { process, report, after } => {
                let event = Event::Host(report);
                self.after(after, Happening::Deliver { to: id, process: Some(process), event });
            }
            Out::Acted { process, number } => {
                if let Some(running) = &mut self.hosts[host].running
                    && running.process == process
                {
                    running.script_runs = false;
                    let event = Event::Acted { number };
                    self.after(
                        MS / 10,
                        Happening::Deliver { to: id, process: Some(process), event },
                    );
                    self.after(MS / 5, Happening::Scripts { host, process });
                }
            }
            Out::StartAgent => return self.start_agent(host),
            Out::Terminate { process } => {
                self.deliver(id, Some(process), Event::Shutdown);
            }
            Out::Kill { process } => {
                if self.process_at(host) == Some(process) {
                    self.end_process(host, false);
                }
            }
            Out::Announce { process } => self.announce_release(host, process),
            Out::TargetStarted(grant) => {
                let owner = (grant.process >> 48) as usize;
                self.oracle.authority.released.starts(host, grant.token)?;
                assert_eq!(owner, host, "the gate is on the host of the agent");
            }
            Out::ScriptStarted(script) => {
                let others = self.hosts[host].systemd.scripts_besides(script);
                self.oracle.authority.script_order.begins(host, script, others)?;
            }
        }
        Ok(())
    }

    fn start_agent(&mut self, host: usize) -> Result<(), String> {
        self.start_process(host)?;
        let Some(process) = self.process_at(host) else { return Ok(()) };
        self.with_pid1(host, |systemd, cx| systemd.agent_started(process, cx));
        self.guard(host, process);
        Ok(())
    }

    /// The service manager looks at the watchdog when it may have expired.
    fn guard(&mut self, host: usize, process: u64) {
        let systemd = &self.hosts[host].systemd;
        let window = self.settings.host(self.hosts[host].id).watchdog;
        let late = systemd.late(window, &mut self.rng);
        let at = self.hosts[host].clock.when(systemd.last_ping + late);
        let delay = at.max(self.now + MS / 10) - self.now;
        self.after(delay, Happening::Watchdog { host, process });
    }

    fn watchdog(&mut self, host: usize, process: u64) {
        if self.process_at(host) != Some(process) {
            return;
        }
        let window = self.settings.host(self.hosts[host].id).watchdog;
        let boot = self.hosts[host].reading(self.now).boot;
        let expired = boot >= self.hosts[host].systemd.last_ping + window;
        if expired && self.settings.mutation != Some(Mutation::PromoteAfterPause) {
            self.end_process(host, false);
        } else {
            self.guard(host, process);
        }
    }

    /// The driver pings; how long until it must again.
    pub(super) fn ping(&mut self, host: usize) -> Duration {
        if self.settings.authority.is_none() {
            return Duration::MAX;
        }
        let boot = self.hosts[host].reading(self.now).boot;
        self.hosts[host].systemd.last_ping = boot;
        self.settings.host(self.hosts[host].id).watchdog / 4
    }

    pub(super) fn pings_always(&self) -> bool {
        self.settings.mutation == Some(Mutation::PingAfterExpiry)
    }

    fn dead_man(&mut self, host: usize, process: u64, at: Instant) {
        let Some(running) = &self.hosts[host].running else { return };
        if running.process != process || running.dead_man != Some(at) {
            return;
        }
        let due = self.hosts[host].clock.when(at);
        if due > self.now {
            // The machine was paused meanwhile, and its clock with it.
            self.after(due - self.now, Happening::DeadMan { host, process, at });
        } else {
            self.end_process(host, false);
        }
    }

    pub(super) fn order(&mut self, host: usize, process: u64, order: Order) {
        let kernel_kills = self.settings.authority.is_some_and(|plan| plan.dead_man);
        let due = |at| self.hosts[host].clock.when(at);
        let now = self.now;
        match order {
            Order::ArmDeadMan { at } => {
                let due = due(at);
                let running = self.hosts[host].running.as_mut().expect("it asks");
                running.dead_man = Some(at);
                if !kernel_kills {
                    return;
                }
                if due <= now {
                    return self.end_process(host, false);
                }
                self.after(due - now, Happening::DeadMan { host, process, at });
            }
            Order::DisarmDeadMan => {
                self.hosts[host].running.as_mut().expect("it asks").dead_man = None;
            }
            Order::FenceAt { at } => self.hosts[host].systemd.fence_at = at,
            Order::Start { .. } | Order::Stop { .. } | Order::Fence { .. } => {
                let running = self.hosts[host].running.as_mut().expect("it asks");
                running.orders.push_back(order);
                if running.orders.len() == 1 {
                    let delay = self.micros(300);
                    self.after(delay, Happening::Surface { host, process });
                }
            }
        }
    }

    /// Whether the process still runs; if it is paused, the happening is put off.
    fn awake(&mut self, host: usize, process: u64, again: Happening) -> bool {
        let Some(running) = &self.hosts[host].running else { return false };
        if running.process != process {
            return false;
        }
        let until = running.paused_until;
        if until > self.now {
            self.after(until - self.now, again);
            return false;
        }
        true
    }

    fn surface(&mut self, host: usize, process: u64) {
        if !self.awake(host, process, Happening::Surface { host, process }) {
            return;
        }
        let running = self.hosts[host].running.as_mut().expect("awake");
        let Some(order) = running.orders.pop_front() else { return };
        let more = !running.orders.is_empty();
        let early = self.settings.mutation == Some(Mutation::ReleaseBeforeStopped);
        match order {
            Order::Start { number, token } => {
                let grant = Grant { token, process };
                self.with_pid1(host, |systemd, cx| systemd.open_and_start(grant, number, cx));
            }
            Order::Stop { number } => {
                self.with_pid1(host, |systemd, cx| systemd.close_and_stop(process, number, cx));
                if early {
                    for report in [Report::StopQueued { number }, Report::Stopped { number }] {
                        let id = self.hosts[host].id;
                        self.deliver(id, Some(process), Event::Host(report));
                    }
                }
            }
            _ => self.with_pid1(host, |systemd, cx| systemd.call(Call::Fence, cx)),
        }
        if more {
            let delay = self.micros(300);
            self.after(delay, Happening::Surface { host, process });
        }
    }

    /// Event scripts run one after the other.
    pub(super) fn act(&mut self, host: usize, process: u64, consequence: Consequence) {
        if self.settings.authority.is_none() {
            let id = self.hosts[host].id;
            let event = Event::Acted { number: consequence.number };
            return self.deliver(id, Some(process), event);
        }
        let running = self.hosts[host].running.as_mut().expect("it asks");
        running.acts.push_back(consequence);
        let delay = self.micros(300);
        self.after(delay, Happening::Scripts { host, process });
    }

    fn next_script(&mut self, host: usize, process: u64) {
        if !self.awake(host, process, Happening::Scripts { host, process }) {
            return;
        }
        let running = self.hosts[host].running.as_mut().expect("awake");
        if running.script_runs || running.acts.is_empty() {
            return;
        }
        if self.hosts[host].systemd.runs_script() {
            // One of an earlier run.
            return self.after(MS * 5, Happening::Scripts { host, process });
        }
        let running = self.hosts[host].running.as_mut().expect("awake");
        let Some(act) = running.acts.pop_front() else { return };
        let (leader, follower) = match act.script.event {
            EventName::Leader => (true, false),
            EventName::Follower => (false, true),
            _ => (false, false),
        };
        if !leader && !follower {
            let id = self.hosts[host].id;
            self.deliver(id, Some(process), Event::Acted { number: act.number });
            return self.after(MS / 10, Happening::Scripts { host, process });
        }
        running.script_runs = true;
        let by = Some((process, act.number));
        self.with_pid1(host, |systemd, cx| systemd.run_script(leader, act.token, by, cx));
    }

    /// What a turn asked for, shown to the invariants of authority.
    pub(super) fn after_turn(&mut self, at: usize, effects: &[Effect]) -> Result<(), String> {
        if self.settings.authority.is_none() {
            return Ok(());
        }
        let now = self.now;
        let settings = self.settings;
        let host = &mut self.hosts[at];
        let boot = host.reading(now).boot;
        let timing = settings.timing(host.id);
        let Some(running) = &mut host.running else { return Ok(()) };
        let commands = std::mem::take(&mut running.node.machine_mut().commands);
        if let Some(clients) = &mut self.clients {
            for AppliedCommand { index, after, .. } in &commands {
                let active = after.as_ref().filter(|record| record.is_active());
                clients.activation(*index, active.map(Activation::token));
            }
        }
        let mut leases = Vec::new();
        let mut activating = false;
        for effect in effects {
            match effect {
                Effect::Host(Order::ArmDeadMan { at: dead }) => {
                    // A stop that is ordered again is guarded beyond the lease.
                    let lease = running.node.lease();
                    let Some(lease) = lease.filter(|l| l.ends() + timing.grace == *dead) else {
                        continue;
                    };
                    leases.push((host.clock.when(lease.t0.boot), lease.term));
                    self.oracle.authority.promote.lease(at, running.process, lease.ends());
                }
                Effect::Host(Order::Start { token, .. }) => {
                    self.oracle.authority.promote.starts(at, running, *token, boot)?;
                    self.oracle.authority.ineligible.starts(at, running, *token)?;
                }
                Effect::Host(Order::Stop { .. }) => {
                    self.oracle.authority.promote.stops(at, running)
                }
                Effect::Act(consequence) => {
                    self.oracle.authority.promote.acts(at, running, consequence)?;
                }
                Effect::Persist { persist, .. } => {
                    self.oracle.authority.ineligible.writes(at, running, &persist.entries)?;
                    self.oracle.authority.word.writes(running, &persist.entries);
                    let activates = |entry: &Entry| {
                        Command::from_bytes(&entry.data)
                            .is_ok_and(|c| matches!(c.body, Some(Body::Activate(_))))
                    };
                    activating |= persist.entries.iter().any(activates);
                }
                _ => {}
            }
        }
        let pause = pause_of(running);
        let process = running.process;
        let given = pause.is_some_and(|p| self.oracle.authority.word.has_given(process, p));
        self.oracle.authority.guarded.turned(at, running, effects, given)?;
        if pause.is_some() && !given {
            self.oracle.authority.within_bound.rests_on_pause(at);
        }
        if activating {
            self.disturb_activation();
        }
        for (t0, term) in leases {
            let bound = timing.bound();
            if self.exempt(at) {
                continue;
            }
            if self.oracle.authority.within_bound.lease(at, t0, term)?
                && settings.authority.is_some_and(|plan| plan.checks_bound)
                && let Some(bound) = bound
            {
                let due = t0 + bound + Duration::from_micros(10);
                self.after(due - now, Happening::Overdue { host: at, t0 });
            }
        }
        for effect in effects {
            if let Effect::Announce { release, .. } = effect {
                self.check_release(at, release)?;
            }
        }
        for command in commands {
            let history = self.generation;
            self.oracle.authority.tokens.applied(history, &command)?;
            self.oracle.authority.paused.applied(&command)?;
            self.oracle.authority.keeps_record.applied(&command)?;
            let named = command.before.as_ref();
            let alive = named.and_then(|a| self.process_of_invocation(a.invocation()));
            self.oracle.authority.word.applied(history, &command, alive)?;
            self.oracle.authority.dead.applied(history, &command)?;
            for activation in &command.released {
                let owner = activation.machine().first().map_or(0, |first| *first as usize - 1);
                let token = activation.token();
                let runs = self.hosts[owner].systemd.runs_by(|grant| grant.token == token);
                self.oracle.authority.released.applied(owner, token, runs)?;
                let process = self.process_of_invocation(activation.invocation());
                self.oracle.authority.dead.released(history, &command, process)?;
            }
        }
        Ok(())
    }

    /// The process that runs under this invocation.
    pub(super) fn process_of_invocation(&self, invocation: &[u8]) -> Option<u64> {
        let running = self.hosts.iter().filter_map(|host| host.running.as_ref());
        let mut processes = running.map(|running| running.process);
        processes.find(|process| Host::invocation(*process) == invocation)
    }

    /// A node says that something is over: then it is.
    fn check_release(&mut self, at: usize, release: &Release) -> Result<(), String> {
        let own = |grant: Grant| {
            Host::invocation(grant.process) == release.invocation[..]
                && (release.token == 0 || grant.token.0 == release.token)
        };
        let runs = self.hosts[at].systemd.runs_by(own);
        self.oracle.authority.released.says(at, release, runs)
    }

    fn overdue(&mut self, host: usize, t0: Instant) -> Result<(), String> {
        let occupied = self.hosts[host].systemd.occupied().filter(|_| !self.exempt(host));
        let bound = self.settings.timing(self.hosts[host].id).bound();
        self.oracle.authority.within_bound.overdue(host, t0, bound, self.now, occupied)
    }

    /// Whether nothing is guaranteed for this host: it was frozen as a whole for too long.
    fn exempt(&self, host: usize) -> bool {
        self.hosts[host].frozen_for > MARGIN
    }

    /// Shows what runs on a host.
    pub(super) fn look(&mut self, host: usize) -> Result<(), String> {
        let occupied = self.hosts[host].systemd.occupied();
        let since = self.hosts[host].frozen_until;
        let settled = self.now >= since + self.settings.election_min + MS * 100;
        if occupied.is_none() && settled {
            self.hosts[host].frozen_for = Duration::ZERO;
        }
        let exempt = self.exempt(host);
        self.oracle.authority.one_active.seen(host, self.now, occupied, exempt)
    }

    /// The whole host stops for a while. With `clocks`, its clocks stop as well.
    pub(super) fn freeze(&mut self, host: usize, time: Duration, clocks: bool) {
        let until = self.now + time;
        let h = &mut self.hosts[host];
        if h.frozen_until > self.now || !h.powered {
            return;
        }
        h.frozen_until = until;
        h.frozen_for += time;
        if clocks {
            h.clock.steal(self.now, time);
        }
        self.trace(host, || format!("frozen for {time:?}, clocks {clocks}"));
        // Less is promised from here on: this cannot be a violation.
        let seen = self.look(host);
        debug_assert!(seen.is_ok());
    }

    /// Whether a process pauses here.
    pub(super) fn stalls(&mut self, times: u64) -> bool {
        let Some(plan) = self.settings.authority.filter(|_| self.faults) else { return false };
        self.rng.chance_ppm(plan.stall_ppm * times)
    }

    pub(super) fn stall(&mut self, host: usize) {
        let most = [20, 150, 600, 6_000][self.rng.below(4) as usize];
        let time = self.millis(most);
        let until = self.now + time;
        self.trace(host, || format!("stalls for {time:?}"));
        if let Some(running) = &mut self.hosts[host].running {
            running.paused_until = running.paused_until.max(until);
        }
        self.schedule_wake(host, time);
    }

    pub(super) fn power_off(&mut self, host: usize) {
        self.end_process(host, true);
        let h = &mut self.hosts[host];
        h.systemd.power_off();
        (h.powered, h.frozen_until) = (false, self.now);
        h.epoch += 1;
        self.oracle.authority.script_order.power_cut(host);
        // Nothing runs any more: this cannot be a violation.
        let seen = self.look(host);
        debug_assert!(seen.is_ok());
    }

    /// Power comes back, or somebody starts the service.
    pub(super) fn have_started(&mut self, host: usize) {
        if self.hosts[host].abandoned {
            return;
        }
        if !self.hosts[host].powered {
            let epoch = self.hosts[host].epoch;
            return self.after(Duration::ZERO, Happening::Boot { host, epoch });
        }
        let hand = Call::Hand(Hand::StartService);
        self.with_pid1(host, |systemd, cx| systemd.call(hand, cx));
    }

    fn boot(&mut self, host: usize) {
        if self.hosts[host].powered {
            return;
        }
        self.trace(host, || "boots".to_owned());
        self.hosts[host].powered = true;
        self.hosts[host].frozen_for = Duration::ZERO;
        self.hosts[host].clock = self.settings.clock(&mut self.rng);
        self.have_started(host);
    }

    /// What runs after an agent tells every other node, as far as it can reach them.
    fn announce_release(&mut self, host: usize, process: u64) {
        if self.hosts[host].abandoned {
            return;
        }
        let id = self.hosts[host].id;
        let release = self.hosts[host].release_of(process);
        for peer in self.ids() {
            if peer == id || self.network.is_cut(id, peer) || self.network.is_cut(peer, id) {
                continue;
            }
            for delay in self.network.route(&mut self.rng, id, peer) {
                let request = self.new_request();
                self.announced.insert(request, (host, process));
                let release = release.clone();
                let event = Event::Release { from: None, request: Some(request), release };
                self.after(delay, Happening::Deliver { to: peer, process: None, event });
            }
            let event = Event::Release { from: None, request: None, release: release.clone() };
            self.remember(peer, event);
        }
    }

    /// A node tells another what is released.
    pub(super) fn say_released(&mut self, from: NodeId, to: NodeId, release: Release) {
        let event = Event::Release { from: Some(from), request: None, release };
        for delay in self.network.route(&mut self.rng, from, to) {
            let event = event.clone();
            self.after(delay, Happening::Deliver { to, process: None, event });
        }
        self.remember(to, event);
    }

    /// Something that may be heard again much later.
    pub(super) fn remember(&mut self, to: NodeId, event: Event) {
        if self.old_news.len() < 64 {
            self.old_news.push((to, event));
        } else {
            let at = self.rng.below(64) as usize;
            self.old_news[at] = (to, event);
        }
    }

    pub(super) fn release_answered(&mut self, by: NodeId, request: RequestId, answer: &Answer) {
        let Some((host, process)) = self.announced.remove(&request) else { return };
        if *answer != Answer::Release(ReleaseOutcome::Over) {
            return;
        }
        let to = self.hosts[host].id;
        for delay in self.network.route(&mut self.rng, by, to) {
            self.after(delay, Happening::ReleaseOver { host, process });
        }
    }

    /// The planted bugs in what a node receives.
    pub(super) fn corrupted(&mut self, to: NodeId, event: Event) -> Event {
        match (self.settings.mutation, event) {
            (
                Some(Mutation::ReleaseByOlderInvocation),
                Event::Release { from, request, release },
            ) => {
                let host = &self.hosts[self.place(NodeId(release.node))];
                let current = host.running.as_ref().map(|r| host.release_of(r.process));
                Event::Release { from, request, release: current.unwrap_or(release) }
            }
            (Some(Mutation::ResumeWithoutWord), Event::Pause { request, on: false, .. }) => {
                Event::Pause { request, on: false, force: true }
            }
            (Some(Mutation::LeaseFromReceipt), Event::Message(message)) => {
                Event::Message(self.freshened(to, message))
            }
            (_, event) => event,
        }
    }

    /// How long an agent that was ended or stopped may take until it runs again.
    pub(super) fn longest_restart(&self) -> Duration {
        self.settings.authority.map_or(Duration::ZERO, |plan| plan.longest_demotion() + MS * 4_000)
    }

    /// All pauses end.
    pub(super) fn end_pauses(&mut self) {
        let now = self.now;
        for at in 0..self.hosts.len() {
            if self.hosts[at].is_frozen(now) {
                self.hosts[at].frozen_until = now;
                self.hosts[at].clock.wake(now);
            }
            if let Some(running) = &mut self.hosts[at].running {
                running.paused_until = Instant::default();
                if self.settings.authority.is_some() {
                    self.schedule_wake(at, Duration::ZERO);
                }
            }
            if self.hosts[at].abandoned && self.hosts[at].powered {
                self.power_off(at);
            }
        }
    }

    /// After healing somebody becomes active, in time.
    pub(super) fn becomes_active(&mut self, began: Instant) -> Result<(), String> {
        let Some(plan) = self.settings.authority else { return Ok(()) };
        let election_min = self.settings.election_min;
        let wait = plan.longest_bound(election_min) * 102 / 100 + election_min * 8;
        let stops = plan.longest_demotion() * 6 + MS * 4_000;
        let deadline = began + wait + stops;
        let mut taken_over = false;
        let mut rounds = 0;
        loop {
            let mut serving = VecDeque::new();
            for (at, host) in self.hosts.iter().enumerate() {
                let active = host.running.as_ref().is_some_and(|r| r.node.status().active);
                if active && host.systemd.serves() {
                    serving.push_back(at);
                }
            }
            if serving.iter().any(|at| self.hosts[*at].fit) {
                return Ok(());
            }
            if self.now > deadline {
                let here = self.describe();
                return Err(format!("liveness: nobody is active in time after healing; {here}"));
            }
            rounds += 1;
            if rounds % 10 == 0 {
                self.come_back()?;
            }
            if !taken_over && self.now > began + MS * 2_000 {
                taken_over = true;
                self.take_over_from_abandoned();
            }
            self.run_until(self.now + MS * 50)?;
        }
    }

    pub(super) fn describe_authority(&self, host: &Host) -> String {
        let own = host.running.as_ref();
        let record = own.and_then(|r| r.node.machine().truth().activation());
        let record = record.map(|a| {
            let run = Host::invocation(own.expect("it has a record").process);
            let own = if a.invocation() == run { "own" } else { "other" };
            format!(
                "{} of {} in {}, {own}, active {}, {:?}",
                a.token(),
                a.node(),
                a.term(),
                a.is_active(),
                a.bound()
            )
        });
        let clock = host.reading(self.now).boot;
        format!(
            "\n  host {} (node {}) {}: record {record:?}; clock {clock}; {}",
            host.place,
            host.id,
            if host.abandoned { "abandoned" } else { "" },
            host.systemd.describe()
        )
    }

    /// The operator knows that a machine is gone for good.
    fn take_over_from_abandoned(&mut self) {
        let gone =
            |machine: &[u8]| self.hosts.iter().any(|h| h.abandoned && h.machine()[..] == *machine);
        let stuck = self.places.iter().any(|place| {
            let truth = self.hosts[*place].running.as_ref().map(|r| r.node.machine().truth());
            let record = truth.and_then(|truth| truth.activation());
            record.is_some_and(|a| a.is_active() && a.bound().is_none() && gone(a.machine()))
        });
        if stuck {
            for id in self.ids() {
                self.request(id, |request| Event::Takeover { request });
            }
        }
    }
}
