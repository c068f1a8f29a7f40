//! PID 1 of one host, as an actor: the agent's service, the leader target with its members, event
//! units, the fence, and what runs after the agent (`ExecStopPost=`).
//!
//! Modelled as systemd 252 does it (tried in the lab where it says so):
//!
//! - Members are bound to the target and ordered after it: they stop before it, and the target
//!   reads active until they have.
//! - The target is bound to the service. When the service ends, a stop job replaces whatever job
//!   the target has. When a start job really runs, PID 1 looks at the gate file and at the service
//!   together; unless the target reads active already, then the job is done without a look.
//! - Members look at the gate as well, as `raftctl attach` has it: a start that replaces the stop
//!   of the target, which still reads active, brings none back. The fence stops the target again.
//! - A job that conflicts with the queued one replaces it.
//! - Calls are answered in the order in which they were sent, however late.
//! - The runtime directory, and the gate in it, vanishes when what runs after the agent is over.
//!
//! Does not know the world: [`Systemd::step`] is told what happens and answers with what follows.

mod helper;
mod jobs;

use std::time::Duration;

use raftctl::core::authority::{Enforcement, FENCE_LEAD, Report};
use raftctl::core::rng::Rng;
use raftctl::core::{Instant, Token};

use super::plan::{Habits, HostPlan};
use helper::Helper;

/// By which authority something runs: what stands in the gate file, and which run of the agent
/// wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub token: Token,
    pub process: u64,
}

/// The agent's service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Not started, or stopped by hand.
    Down,
    /// Being started.
    Starting,
    /// Runs, as far as PID 1 knows.
    Up { process: u64 },
    /// The agent is gone; what runs after it is not over.
    StopPost { process: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Start,
    Stop,
}

/// The job of the target.
#[derive(Clone, Debug)]
struct Job {
    kind: Kind,
    serial: u64,
    /// The orders that it answers: run of the agent and number.
    waiters: Vec<(u64, u64)>,
    /// A start job is dispatched late.
    not_before: Instant,
    /// `restart`: a start follows.
    again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Dead,
    Running,
    Stopping,
}

#[derive(Clone, Debug)]
struct Member {
    process: Process,
    job: Option<Kind>,
    grant: Option<Grant>,
    serial: u64,
}

/// A running event unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    pub leader: bool,
    /// The follower script that ends a leader script.
    pub demotes: bool,
    pub token: Option<Token>,
    /// The run of the agent that waits for it and the number of its consequence; `None`: what
    /// runs after the agent waits.
    pub act: Option<(u64, u64)>,
    serial: u64,
}

/// A call to PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Start {
        process: u64,
        number: u64,
    },
    Stop {
        process: u64,
        number: u64,
    },
    /// What runs after the agent makes sure.
    StopAfter,
    Fence,
    Hand(Hand),
}

/// What an operator does by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    StartTarget,
    StopTarget,
    RestartTarget,
    StartService,
    StopService,
    RestartService,
}

/// Something that happens in PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Call(Call),
    /// Look at all jobs.
    Pump,
    MemberEnds {
        member: usize,
        serial: u64,
    },
    ScriptEnds {
        serial: u64,
    },
    /// The fence unit has done its work.
    Fenced,
    JobTimeout {
        serial: u64,
    },
    /// A report that was lost is made up for by looking.
    Poll {
        process: u64,
        number: u64,
        start: bool,
    },
    /// PID 1 sees that the agent's process has ended.
    Noticed {
        process: u64,
    },
    Helper,
    StartAgent,
    /// `TimeoutStopSec=` of the service.
    KillAgent {
        process: u64,
    },
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    Later(Duration, Step),
    Report {
        process: u64,
        report: Report,
        after: Duration,
    },
    Acted {
        process: u64,
        number: u64,
    },
    /// Start the agent's process.
    StartAgent,
    /// SIGTERM.
    Terminate {
        process: u64,
    },
    /// SIGKILL.
    Kill {
        process: u64,
    },
    /// What runs after the agent says that this run is over.
    Announce {
        process: u64,
    },
    /// The target really started, by this authority.
    TargetStarted(Grant),
    ScriptStarted(Script),
}

/// What a step sees and fills.
pub struct Cx<'a> {
    pub now: Instant,
    /// CLOCK_BOOTTIME of the host.
    pub boot: Instant,
    pub rng: &'a mut Rng,
    pub out: Vec<Out>,
}

impl Cx<'_> {
    fn later(&mut self, delay: Duration, step: Step) {
        self.out.push(Out::Later(delay, step));
    }

    fn below(&mut self, end: Duration) -> Duration {
        Duration::from_nanos(self.rng.below(end.as_nanos() as u64))
    }
}

pub struct Systemd {
    plan: HostPlan,
    habits: Habits,
    pub service: Service,
    /// The gate file.
    pub gate: Option<Grant>,
    /// When what runs after the agent has to fence, as the agent left it (CLOCK_BOOTTIME).
    pub fence_at: Option<Instant>,
    pub last_ping: Instant,
    active: bool,
    grant: Option<Grant>,
    job: Option<Job>,
    members: Vec<Member>,
    scripts: Vec<Script>,
    /// Start orders whose target is up and whose members are not yet.
    starting: Vec<(u64, u64)>,
    /// The token of the last event script, if it was a leader's.
    led: Option<Token>,
    helper: Option<Helper>,
    /// The service is being stopped by hand; whether it is started again after.
    stopping: Option<bool>,
    last_call_at: Instant,
    serial: u64,
}

const MS: Duration = Duration::from_millis(1);

impl Systemd {
    pub fn new(plan: HostPlan, habits: Habits) -> Systemd {
        let member = Member { process: Process::Dead, job: None, grant: None, serial: 0 };
        Systemd {
            plan,
            habits,
            service: Service::Down,
            gate: None,
            fence_at: None,
            last_ping: Instant::default(),
            active: false,
            grant: None,
            job: None,
            members: vec![member; habits.members as usize],
            scripts: Vec::new(),
            starting: Vec::new(),
            led: None,
            helper: None,
            stopping: None,
            last_call_at: Instant::default(),
            serial: 0,
        }
    }

    /// The power is gone.
    pub fn power_off(&mut self) {
        *self = Systemd::new(self.plan, self.habits);
    }

    /// What keeps the host from being out of everybody's way, for a person.
    pub fn occupied(&self) -> Option<String> {
        let running = self.members.iter().filter(|m| m.process != Process::Dead).count();
        let script = self.scripts.iter().any(|script| script.leader);
        let grant = |g: Option<Grant>| g.map_or(String::new(), |g| format!(" by {}", g.token));
        match () {
            () if running > 0 => {
                let by = self.members.iter().find_map(|m| m.grant);
                Some(format!("{running} members{}", grant(by)))
            }
            () if script => Some("leader script".to_owned()),
            () if self.active => Some(format!("target{}", grant(self.grant))),
            () => None,
        }
    }

    /// Whether something runs that this authority started.
    pub fn runs_by(&self, is: impl Fn(Grant) -> bool) -> Option<String> {
        let members = self.members.iter().filter_map(|m| m.grant);
        if self.grant.into_iter().chain(members).any(&is) {
            return self.occupied();
        }
        let by = |s: &&Script| {
            let process = s.act.map_or(0, |(process, _)| process);
            (s.leader || s.demotes) && s.token.is_some_and(|token| is(Grant { token, process }))
        };
        let script = self.scripts.iter().find(by)?;
        Some(if script.leader { "leader script" } else { "follower script" }.to_owned())
    }

    /// Everything, for a person.
    pub fn describe(&self) -> String {
        let members: Vec<_> = self.members.iter().map(|m| (m.process, m.job)).collect();
        let job = self.job.as_ref().map(|job| job.kind);
        format!(
            "service {:?}, gate {:?}, target {} by {:?}, job {job:?}, members {members:?}, scripts \
             {:?}, led {:?}, stopping {:?}",
            self.service, self.gate, self.active, self.grant, self.scripts, self.led, self.stopping
        )
    }

    /// Target active with all its members.
    pub fn serves(&self) -> bool {
        self.active && self.job.is_none() && self.members.iter().all(Member::is_up)
    }

    /// Target and members are inactive, and no job would change that.
    fn is_inactive(&self) -> bool {
        let dead = |m: &Member| m.process == Process::Dead && m.job.is_none();
        !self.active && self.job.is_none() && self.members.iter().all(dead)
    }

    /// The same, and no event unit of an earlier run of the agent runs.
    fn is_inactive_for(&self, process: u64) -> bool {
        let earlier = |s: &Script| s.act.is_none_or(|(of, _)| of != process);
        self.is_inactive() && !self.scripts.iter().any(earlier)
    }

    /// How many event units run besides this one.
    pub fn scripts_besides(&self, script: Script) -> usize {
        self.scripts.iter().filter(|s| s.serial != script.serial).count()
    }

    /// Whether an event unit runs: the next one waits.
    pub fn runs_script(&self) -> bool {
        !self.scripts.is_empty()
    }

    /// Sends a call. The agent's are answered in their order, sometimes seconds late; not so those
    /// on which B rests: a service manager that hangs is nobody's fault but an operator's.
    pub fn call(&mut self, call: Call, cx: &mut Cx<'_>) {
        let mut delay = cx.below(MS);
        if matches!(call, Call::Fence | Call::StopAfter) {
            return cx.later(delay, Step::Call(call));
        }
        if cx.rng.chance_ppm(self.habits.slow_call_ppm) {
            delay += cx.below(Duration::from_secs(3));
        }
        let at = (cx.now + delay).max(self.last_call_at);
        self.last_call_at = at;
        cx.later(at - cx.now, Step::Call(call));
    }

    /// A time that PID 1 was asked for, with its lateness.
    pub fn late(&self, asked: Duration, rng: &mut Rng) -> Duration {
        let most = self.habits.late_permille;
        let permille = if self.habits.harsh { most } else { rng.below(most) };
        asked + asked * permille as u32 / 1000
    }

    /// Runs an event script.
    pub fn run_script(
        &mut self,
        leader: bool,
        token: Option<Token>,
        act: Option<(u64, u64)>,
        cx: &mut Cx<'_>,
    ) {
        self.serial += 1;
        let demotes = !leader && self.led.is_some();
        let script = Script { leader, demotes, token, act, serial: self.serial };
        self.scripts.push(script);
        self.led = token.filter(|_| leader);
        let most = if cx.rng.chance_ppm(self.habits.slow_script_ppm) {
            self.plan.demote_timeout * 2
        } else {
            MS * 20
        };
        let time = cx.below(most);
        cx.out.push(Out::ScriptStarted(script));
        cx.later(time, Step::ScriptEnds { serial: script.serial });
    }

    /// The agent's process has started.
    pub fn agent_started(&mut self, process: u64, cx: &mut Cx<'_>) {
        self.service = Service::Up { process };
        self.last_ping = cx.boot;
        self.pump(cx);
    }

    /// The agent's process has ended, however; PID 1 will notice.
    pub fn agent_ended(&mut self, process: u64, cx: &mut Cx<'_>) {
        let most = if self.habits.harsh { MS * 20 } else { MS * 5 };
        let delay = cx.below(most);
        cx.later(delay, Step::Noticed { process });
    }

    pub fn step(&mut self, step: Step, cx: &mut Cx<'_>) {
        match step {
            Step::Call(call) => self.called(call, cx),
            Step::Pump => {}
            Step::MemberEnds { member, serial } => {
                let member = &mut self.members[member];
                if member.serial == serial {
                    (member.process, member.grant) = (Process::Dead, None);
                }
            }
            Step::ScriptEnds { serial } => self.script_ended(serial, cx),
            Step::Fenced => self.fenced(cx),
            Step::JobTimeout { serial } => self.job_timed_out(serial, cx),
            Step::Poll { process, number, start } => self.poll(process, number, start, cx),
            Step::Noticed { process } => self.noticed(process, cx),
            Step::Helper => self.helper_step(cx),
            Step::StartAgent => {
                if self.service == Service::Starting {
                    cx.out.push(Out::StartAgent);
                }
            }
            Step::KillAgent { process } => {
                if self.stopping.is_some() && self.service == (Service::Up { process }) {
                    cx.out.push(Out::Kill { process });
                }
            }
        }
        self.pump(cx);
    }

    fn script_ended(&mut self, serial: u64, cx: &mut Cx<'_>) {
        let Some(at) = self.scripts.iter().position(|s| s.serial == serial) else { return };
        let script = self.scripts.remove(at);
        if let Some((process, number)) = script.act {
            cx.out.push(Out::Acted { process, number });
        }
    }

    /// Starts the fence unit.
    fn start_fence(&mut self, cx: &mut Cx<'_>) {
        let time = if self.habits.harsh { FENCE_LEAD } else { cx.below(FENCE_LEAD) };
        let time = self.late(time, cx.rng);
        cx.later(time, Step::Fenced);
    }

    fn fenced(&mut self, cx: &mut Cx<'_>) {
        if self.gate.is_some() && matches!(self.service, Service::Up { .. }) {
            return; // Late: another activation has begun.
        }
        for member in &mut self.members {
            (member.process, member.grant) = (Process::Dead, None);
            member.serial += 1;
        }
        for script in self.scripts.clone() {
            self.script_ended(script.serial, cx);
        }
        let stops = self.habits.fence_stops && self.active;
        if stops && self.job.as_ref().is_none_or(|job| job.kind != Kind::Stop) {
            self.install(Kind::Stop, None, cx);
        }
    }

    /// The agent is gone: what is bound to it stops, and what runs after it begins.
    fn noticed(&mut self, process: u64, cx: &mut Cx<'_>) {
        if self.service != (Service::Up { process }) {
            return;
        }
        self.service = Service::StopPost { process };
        if self.active {
            self.install(Kind::Stop, None, cx);
        }
        self.helper = Some(Helper::new(process, cx.boot));
        if cx.rng.chance_ppm(self.habits.hand_start_ppm) {
            let delay = cx.below(MS * 1_500);
            cx.later(delay, Step::Call(Call::Hand(Hand::StartTarget)));
        }
        let delay = MS + cx.below(MS * 10);
        cx.later(delay, Step::Helper);
    }

    /// What runs after the agent is over.
    fn helper_over(&mut self, cx: &mut Cx<'_>) {
        self.helper = None;
        (self.gate, self.fence_at) = (None, None);
        let (service, delay) = match self.stopping.take() {
            Some(false) => (Service::Down, Duration::ZERO),
            Some(true) => (Service::Starting, MS * 5),
            // An automatic restart is a restart job, which spreads to what is bound.
            None => {
                if self.active {
                    self.install(Kind::Stop, None, cx);
                }
                (Service::Starting, MS * 50 + cx.below(MS * 200))
            }
        };
        self.service = service;
        if service == Service::Starting {
            cx.later(delay, Step::StartAgent);
        }
    }

    /// Sends a report; sometimes it comes late, or the signal is lost and somebody looks later.
    fn report(&mut self, process: u64, report: Report, cx: &mut Cx<'_>) {
        let mut after = cx.below(MS);
        let (number, start) = match report {
            Report::Started { number } | Report::StartFailed { number } => (number, true),
            Report::Stopped { number } | Report::StopFailed { number } => (number, false),
            Report::StopQueued { .. } | Report::Down => (0, false),
        };
        if cx.rng.chance_ppm(self.habits.lost_signal_ppm) {
            let delay = MS * 200 + cx.below(MS * 800);
            if number > 0 && cx.rng.below(2) == 0 {
                return cx.later(delay, Step::Poll { process, number, start });
            }
            after += delay;
        }
        cx.out.push(Out::Report { process, report, after });
    }

    fn poll(&mut self, process: u64, number: u64, start: bool, cx: &mut Cx<'_>) {
        if self.job.is_some() {
            return cx.later(MS * 300, Step::Poll { process, number, start });
        }
        let report = match start {
            true if self.serves() => Report::Started { number },
            true => Report::StartFailed { number },
            false if self.is_inactive_for(process) => Report::Stopped { number },
            false => Report::StopFailed { number },
        };
        cx.out.push(Out::Report { process, report, after: Duration::ZERO });
    }

    /// Somebody else than the agent stops the target.
    fn tell_down(&mut self, cx: &mut Cx<'_>) {
        if let Service::Up { process } = self.service {
            self.report(process, Report::Down, cx);
        }
    }

    fn is_bounded(&self) -> bool {
        self.plan.enforcement == Enforcement::Bounded
    }
}

impl Member {
    fn is_up(&self) -> bool {
        self.process == Process::Running && self.job.is_none()
    }
}
