//! What runs after the agent (`ExecStopPost=`, DESIGN 5.9): waits until nothing of the activation
//! is left, fences in time, runs the demotion script if it is due, and tells the others, for at
//! most D + 0.5 s.

use std::time::Duration;

use raftctl::core::Instant;
use raftctl::core::authority::FENCE_LEAD;

use super::{Call, Cx, Kind, MS, Out, Step, Systemd};

pub(super) struct Helper {
    process: u64,
    began: Instant,
    fenced_at: Option<Instant>,
    announce_at: Instant,
    pub(super) over: bool,
}

const POLL: Duration = Duration::from_millis(10);

impl Helper {
    pub(super) fn new(process: u64, began: Instant) -> Helper {
        Helper { process, began, fenced_at: None, announce_at: began, over: false }
    }
}

impl Systemd {
    /// Somebody answered that nothing is left to release.
    pub fn release_is_over(&mut self, process: u64) {
        if let Some(helper) = self.helper.as_mut().filter(|h| h.process == process) {
            helper.over = true;
        }
    }

    pub(super) fn helper_step(&mut self, cx: &mut Cx<'_>) {
        let Some(mut helper) = self.helper.take() else { return };
        let most = self.plan.demote_timeout + MS * 500;
        if helper.over || cx.boot - helper.began >= most {
            return self.helper_over(cx);
        }
        self.help(&mut helper, cx);
        self.helper = Some(helper);
        cx.later(POLL, Step::Helper);
    }

    fn help(&mut self, helper: &mut Helper, cx: &mut Cx<'_>) {
        if !self.is_inactive() || self.scripts.iter().any(|s| s.leader || s.demotes) {
            let stops = self.job.as_ref().is_some_and(|job| job.kind == Kind::Stop);
            if !self.is_inactive() && !stops && self.habits.helper_stops {
                self.call(Call::StopAfter, cx);
            }
            return self.fence_in_time(helper, cx);
        }
        if let Some(token) = self.led {
            return self.run_script(false, Some(token), None, cx);
        }
        if cx.boot >= helper.announce_at {
            helper.announce_at = cx.boot + MS * 50;
            cx.out.push(Out::Announce { process: helper.process });
        }
    }

    /// What the demotion has used up before the agent ended is used up.
    fn fence_in_time(&mut self, helper: &mut Helper, cx: &mut Cx<'_>) {
        let allowed = self.plan.demote_timeout - FENCE_LEAD;
        let at = self.fence_at.unwrap_or(helper.began + allowed);
        let at = helper.fenced_at.map_or(at, |at| at + MS * 500);
        if !self.is_bounded() || cx.boot < at {
            return;
        }
        helper.fenced_at = Some(cx.boot);
        let late = self.late(allowed, cx.rng) - allowed;
        cx.later(late, Step::Call(Call::Fence));
    }
}
