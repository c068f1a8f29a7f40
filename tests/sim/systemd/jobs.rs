//! Jobs of the target and its members: who replaces whom, and when each really runs.

use super::{Call, Cx, Grant, Hand, Job, Kind, MS, Out, Process, Report, Service, Step, Systemd};

impl Systemd {
    pub(super) fn called(&mut self, call: Call, cx: &mut Cx<'_>) {
        match call {
            Call::Start { process, number } => {
                if cx.rng.chance_ppm(self.habits.failed_job_ppm) {
                    return self.report(process, Report::StartFailed { number }, cx);
                }
                self.install(Kind::Start, Some((process, number)), cx);
            }
            Call::Stop { process, number } => self.stop_ordered(process, number, cx),
            Call::StopAfter => self.install(Kind::Stop, None, cx),
            Call::Fence => self.start_fence(cx),
            Call::Hand(hand) => self.by_hand(hand, cx),
        }
    }

    fn stop_ordered(&mut self, process: u64, number: u64, cx: &mut Cx<'_>) {
        if cx.rng.chance_ppm(self.habits.failed_job_ppm) {
            return self.report(process, Report::StopFailed { number }, cx);
        }
        self.report(process, Report::StopQueued { number }, cx);
        if self.is_inactive() {
            let over = self.is_inactive_for(process);
            let report =
                if over { Report::Stopped { number } } else { Report::StopFailed { number } };
            return self.report(process, report, cx);
        }
        self.install(Kind::Stop, Some((process, number)), cx);
        let serial = self.serial;
        if cx.rng.chance_ppm(self.habits.hand_start_ppm) {
            let delay = cx.below(self.plan.demote_timeout);
            cx.later(delay, Step::Call(Call::Hand(Hand::StartTarget)));
        }
        if cx.rng.chance_ppm(self.habits.failed_job_ppm) {
            let delay = cx.below(MS * 500);
            cx.later(delay, Step::JobTimeout { serial });
        }
    }

    fn by_hand(&mut self, hand: Hand, cx: &mut Cx<'_>) {
        match hand {
            Hand::StartTarget => {
                self.start_service(cx);
                self.install(Kind::Start, None, cx);
            }
            Hand::StopTarget | Hand::RestartTarget => {
                if self.active || self.job.is_some() {
                    self.install(Kind::Stop, None, cx);
                    self.tell_down(cx);
                }
                if hand == Hand::RestartTarget {
                    self.start_service(cx);
                    match &mut self.job {
                        Some(job) => job.again = true,
                        None => self.install(Kind::Start, None, cx),
                    }
                }
            }
            Hand::StartService => self.start_service(cx),
            Hand::StopService | Hand::RestartService => {
                let again = hand == Hand::RestartService;
                if self.service == Service::Down && again {
                    return self.start_service(cx);
                }
                if self.service == Service::Starting {
                    self.service = Service::Down;
                    return;
                }
                if self.service != Service::Down {
                    self.stopping = Some(again);
                }
                // What is bound is ordered after, so it stops first.
                if self.active || self.job.is_some() {
                    self.install(Kind::Stop, None, cx);
                    self.tell_down(cx);
                }
                self.terminate_when_down(cx);
            }
        }
    }

    /// What is started pulls in the service it is bound to.
    fn start_service(&mut self, cx: &mut Cx<'_>) {
        match self.service {
            Service::Down => {
                self.service = Service::Starting;
                cx.later(MS * 5, Step::StartAgent);
            }
            Service::StopPost { .. } | Service::Up { .. } if self.stopping.is_some() => {
                self.stopping = Some(true);
            }
            _ => {}
        }
    }

    fn terminate_when_down(&mut self, cx: &mut Cx<'_>) {
        if let (Some(_), Service::Up { process }) = (self.stopping, self.service)
            && !self.active
            && self.job.is_none()
        {
            cx.out.push(Out::Terminate { process });
            let limit = self.plan.demote_timeout * 2 + MS * 3_000;
            cx.later(limit, Step::KillAgent { process });
        }
    }

    /// Puts a job on the target; it replaces one that conflicts and joins one that does not.
    pub(super) fn install(&mut self, kind: Kind, waiter: Option<(u64, u64)>, cx: &mut Cx<'_>) {
        let old = self.job.take();
        let mut waiters = Vec::new();
        if let Some(old) = old {
            if old.kind == kind {
                waiters = old.waiters;
            } else {
                self.answer(&old, false, cx);
            }
        }
        waiters.extend(waiter);
        self.serial += 1;
        let late = kind == Kind::Start && cx.rng.chance_ppm(self.habits.late_start_ppm);
        let delay = if late { cx.below(MS * 4_000) } else { cx.below(MS * 2) };
        let not_before = if kind == Kind::Start { cx.now + delay } else { cx.now };
        self.job = Some(Job { kind, serial: self.serial, waiters, not_before, again: false });
        for member in &mut self.members {
            let idle = kind == Kind::Stop && member.process == Process::Dead;
            member.job = (!idle).then_some(kind);
        }
        if kind == Kind::Stop {
            let failed: Vec<_> = self.starting.drain(..).collect();
            for (process, number) in failed {
                self.report(process, Report::StartFailed { number }, cx);
            }
        }
        cx.later(delay, Step::Pump);
    }

    /// Tells the orders that wait for `job` how it ended.
    fn answer(&mut self, job: &Job, done: bool, cx: &mut Cx<'_>) {
        for (process, number) in job.waiters.clone() {
            let report = match job.kind {
                Kind::Start if done => {
                    self.starting.push((process, number));
                    continue;
                }
                Kind::Start => Report::StartFailed { number },
                Kind::Stop if done && self.is_inactive_for(process) => Report::Stopped { number },
                Kind::Stop => Report::StopFailed { number },
            };
            self.report(process, report, cx);
        }
    }

    pub(super) fn job_timed_out(&mut self, serial: u64, cx: &mut Cx<'_>) {
        if self.job.as_ref().is_some_and(|job| job.serial == serial) {
            let job = self.job.take().expect("just seen");
            self.answer(&job, false, cx);
        }
    }

    /// Runs every job that can run now.
    pub(super) fn pump(&mut self, cx: &mut Cx<'_>) {
        for at in 0..self.members.len() {
            self.run_member(at, cx);
        }
        let busy = |m: &super::Member| m.job == Some(Kind::Stop) || m.process == Process::Stopping;
        let Some(job) = self.job.clone() else { return self.tell_started(cx) };
        match job.kind {
            Kind::Stop if self.members.iter().any(busy) => {}
            Kind::Stop => {
                (self.active, self.grant, self.job) = (false, None, None);
                self.answer(&job, true, cx);
                if job.again {
                    self.install(Kind::Start, None, cx);
                }
                self.terminate_when_down(cx);
            }
            Kind::Start if cx.now < job.not_before => {}
            Kind::Start => self.run_start(job, cx),
        }
    }

    /// The start job really runs: now, and not before, PID 1 looks.
    fn run_start(&mut self, job: Job, cx: &mut Cx<'_>) {
        if matches!(self.service, Service::Starting | Service::StopPost { .. }) {
            return; // Ordered after the service, which is about to start again.
        }
        self.job = None;
        if !self.active {
            let up = matches!(self.service, Service::Up { .. });
            let Some(gate) = self.gate.filter(|_| up) else {
                self.members.iter_mut().for_each(|member| member.job = None);
                return self.answer(&job, false, cx);
            };
            (self.active, self.grant) = (true, Some(gate));
            cx.out.push(Out::TargetStarted(gate));
        }
        self.answer(&job, true, cx);
        let delay = cx.below(MS * 10);
        cx.later(delay, Step::Pump);
    }

    fn run_member(&mut self, at: usize, cx: &mut Cx<'_>) {
        let target = (self.active && self.gate.is_some(), self.job.is_some(), self.grant);
        let harsh_stop = cx.rng.chance_ppm(self.habits.slow_stop_ppm);
        let most = if harsh_stop { self.plan.demote_timeout * 3 } else { self.habits.stop_time };
        let member = &mut self.members[at];
        match (member.job, member.process) {
            (Some(Kind::Stop), Process::Running) => {
                member.process = Process::Stopping;
                member.serial += 1;
                let step = Step::MemberEnds { member: at, serial: member.serial };
                let time = cx.below(most);
                cx.later(time, step);
            }
            (Some(Kind::Stop), Process::Dead) => member.job = None,
            (Some(Kind::Start), Process::Dead) if !target.1 => {
                member.job = None;
                if target.0 && !cx.rng.chance_ppm(self.habits.failed_job_ppm / 4) {
                    (member.process, member.grant) = (Process::Running, target.2);
                }
            }
            (Some(Kind::Start), Process::Running) => member.job = None,
            _ => {}
        }
    }

    fn tell_started(&mut self, cx: &mut Cx<'_>) {
        let settled = self.members.iter().all(|m| m.job.is_none());
        if self.starting.is_empty() || !settled {
            return;
        }
        let up = self.serves();
        for (process, number) in std::mem::take(&mut self.starting) {
            let report =
                if up { Report::Started { number } } else { Report::StartFailed { number } };
            self.report(process, report, cx);
        }
    }

    /// The agent opens the gate and has the target started.
    pub fn open_and_start(&mut self, grant: Grant, number: u64, cx: &mut Cx<'_>) {
        self.gate = Some(grant);
        self.call(Call::Start { process: grant.process, number }, cx);
    }

    /// The agent closes the gate and has the target stopped.
    pub fn close_and_stop(&mut self, process: u64, number: u64, cx: &mut Cx<'_>) {
        self.gate = None;
        self.call(Call::Stop { process, number }, cx);
    }
}
