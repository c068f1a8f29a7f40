//! The steps of an order: what is asked of the service manager, and how its end is seen.
//!
//! Every step may be asked for twice, and looks at the state until what it sees decides (`judge`).
//! A signal only makes the next look come sooner.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use zbus::OwnedObjectPath;

use super::bus::CallError;
use super::gate::Gate;
use super::judge::{self, Asked, Members, Verdict};
use super::manager::{Changes, Mode, SystemdManager};
use super::members::{self, Seen};
use super::names::UNIT_INTERFACE;
use super::target::Target;
use crate::core::{NodeName, Token};
use crate::limits;

/// A start or stop job of somebody else is in the way.
const DESTRUCTIVE: &str = "org.freedesktop.systemd1.TransactionIsDestructive";

/// The unit is not loaded, so it is not active either.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// The target is up on our order.
pub(super) struct Held {
    pub number: u64,
    invocation: Vec<u8>,
    members: Vec<String>,
    changes: Changes,
}

/// What the task knows and never changes.
#[derive(Clone)]
pub(super) struct Host {
    pub node: NodeName,
    pub leader: String,
    pub follower: String,
    pub gate: Arc<Gate>,
    pub manager: SystemdManager,
    pub cgroup_root: PathBuf,
}

impl Host {
    /// Opens the gate and starts the target. The error says what the operator has to know.
    pub(super) async fn start(&self, number: u64, token: Token) -> Result<Held, String> {
        let mut changes = self.manager.changes();
        let before = self.look_once(&mut changes).await?;
        self.check(&before)?;
        let (node, leader) = (&self.node, &self.leader);
        if before.needs_reload {
            // What is in force is what is loaded, and that was checked.
            tracing::warn!(%node, "{leader} has changed since it was loaded, ignoring");
        }
        for unit in before.unbound() {
            tracing::warn!(%node, "{unit} is not bound to {leader}: it will not stop with it");
        }
        let opened = self.gate.open(number, token);
        let path = self.gate.path().display();
        if !opened.map_err(|error| format!("cannot write {path}: {error}"))? {
            return Err("there is a newer order".to_owned());
        }
        for _ in 0..limits::HOST_START_ATTEMPTS {
            let (asked, job) = self.ask_to_start().await?;
            if let Some(target) = self.await_start(asked, job.as_ref(), &mut changes).await? {
                // Once more: this is what really runs.
                self.check(&target)?;
                let (invocation, members) = (target.invocation, target.dependents);
                return Ok(Held { number, invocation, members, changes });
            }
        }
        Err(format!("no answer to {} attempts", limits::HOST_START_ATTEMPTS))
    }

    fn check(&self, target: &Target) -> Result<(), String> {
        let differences = target.differences(&self.node, self.gate.path());
        if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
    }

    /// Queues the start job, with mode "fail": a stop that somebody has ordered (an operator, a
    /// shutdown, our own one that is still under way) is never cancelled by it. A job of the
    /// follower target is not worth that respect.
    async fn ask_to_start(&self) -> Result<(Asked, Option<OwnedObjectPath>), String> {
        let mut started = self.manager.start_unit(&self.leader, Mode::Fail).await;
        if let Err(error) = &started
            && error.is(DESTRUCTIVE)
        {
            let _ = self.manager.stop_unit(&self.follower, Mode::Replace).await;
            started = self.manager.start_unit(&self.leader, Mode::Fail).await;
        }
        match started {
            Ok(job) => Ok((Asked::Queued, Some(job))),
            Err(CallError::Unknown { .. }) => Ok((Asked::Unknown, None)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits for the end of the start job; `None` if it has to be asked for again.
    async fn await_start(
        &self,
        asked: Asked,
        job: Option<&OwnedObjectPath>,
        changes: &mut Changes,
    ) -> Result<Option<Target>, String> {
        let begun = Instant::now();
        loop {
            changes.next(limits::HOST_POLL).await;
            let settled = begun.elapsed() >= limits::HOST_POLL;
            if !settled && self.runs(job) {
                continue;
            }
            let target = self.look_once(changes).await?;
            let end = job.and_then(|job| self.manager.result_of(job));
            match judge::start(asked, end.as_ref(), &target, settled) {
                Verdict::Wait => {}
                Verdict::Reached => return Ok(Some(target)),
                Verdict::AskAgain => return Ok(None),
                Verdict::Failed(problem) => return Err(problem),
            }
        }
    }

    /// Whether a job was queued and nothing was heard of its end: no look can decide anything yet.
    fn runs(&self, job: Option<&OwnedObjectPath>) -> bool {
        job.is_some_and(|job| self.manager.result_of(job).is_none())
    }

    /// Has the manager stop the target; returns when it has the job, or has been seen to need none.
    pub(super) async fn ask_to_stop(
        &self,
        number: u64,
        changes: &mut Changes,
    ) -> Option<OwnedObjectPath> {
        let mut complained = false;
        loop {
            self.close_gate(number);
            // "replace": a start job, whoever's it is, is cancelled.
            let error = match self.manager.stop_unit(&self.leader, Mode::Replace).await {
                Ok(job) => return Some(job),
                Err(error) if error.is(NO_SUCH_UNIT) => return None,
                Err(error) => error,
            };
            if !complained {
                let (node, leader) = (&self.node, &self.leader);
                tracing::error!(%node, "cannot stop {leader}, trying again: {error}");
                complained = true;
            }
            let target = self.look().await;
            if target.is_ok_and(|target| target.active == "inactive" && target.job.is_none()) {
                return None;
            }
            changes.next(limits::HOST_POLL).await;
        }
    }

    /// Waits until the target and everything that stops with it is down.
    pub(super) async fn await_stop(
        &self,
        job: Option<&OwnedObjectPath>,
        changes: &mut Changes,
    ) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let settled = job.is_none() || begun.elapsed() >= limits::HOST_POLL;
            if !settled && self.runs(job) {
                changes.next(limits::HOST_POLL).await;
                continue;
            }
            let target = self.look_once(changes).await?;
            let members = match target.active.as_str() {
                "inactive" if target.job.is_none() => self.members_up(&target).await?,
                _ => Members::default(),
            };
            let end = job.and_then(|job| self.manager.result_of(job));
            let closed = self.gate.is_closed();
            match judge::stop(end.as_ref(), &target, &members, closed, settled) {
                Verdict::Wait => changes.next(limits::HOST_POLL).await,
                Verdict::Reached => return Ok(()),
                Verdict::AskAgain => return Err("it has to be asked for again".to_owned()),
                Verdict::Failed(problem) => return Err(problem),
            }
        }
    }

    /// Everything that stops with the target, and with that, and is not down yet.
    async fn members_up(&self, target: &Target) -> Result<Members, String> {
        let (manager, root) = (&self.manager, &self.cgroup_root);
        let all = members::look_at_all(manager, root, &self.leader, &target.dependents).await?;
        let up = all.iter().filter_map(Seen::still_up).collect();
        Ok(Members { up, busy: all.iter().any(Seen::is_busy) })
    }

    /// Watches a target that is up; returns why it does not count as up any more.
    pub(super) async fn watch(&self, held: &mut Held) -> String {
        let mut failed: Vec<String> = Vec::new();
        loop {
            match self.manager.list(&[&self.leader]).await {
                Ok(listed) => {
                    let down = listed.first().and_then(judge::down);
                    if let Some(why) = down {
                        return why;
                    }
                    // A restart may be over before we look.
                    if let Ok(target) = self.look().await
                        && target.invocation != held.invocation
                    {
                        return "it was restarted".to_owned();
                    }
                }
                Err(error) => {
                    tracing::debug!(node = %self.node, "cannot look at {}: {error}", self.leader);
                }
            }
            self.log_members(&held.members, &mut failed).await;
            held.changes.next(limits::HOST_WATCH).await;
        }
    }

    /// Says once which members do not run. Whether that matters is their own business: the unit
    /// that must not run without them binds the target (`BindsTo=` in a drop-in).
    async fn log_members(&self, members: &[String], failed: &mut Vec<String>) {
        let names: Vec<&str> = members.iter().map(String::as_str).collect();
        let Ok(listed) = self.manager.list(&names).await else { return };
        let down = |state: &str| matches!(state, "inactive" | "failed");
        let now = listed.into_iter().filter(|unit| down(&unit.active) && unit.job.is_empty());
        let now: Vec<(String, String)> = now.map(|unit| (unit.name, unit.active)).collect();
        for (name, active) in now.iter().filter(|(name, _)| !failed.contains(name)) {
            tracing::warn!(node = %self.node, "{name} is {active} while this node is active");
        }
        *failed = now.into_iter().map(|(name, _)| name).collect();
    }

    /// One look at the target; waits out a manager that does not answer.
    async fn look_once(&self, changes: &mut Changes) -> Result<Target, String> {
        loop {
            match self.look().await {
                Ok(target) => return Ok(target),
                Err(CallError::Unknown { .. }) => changes.next(limits::HOST_POLL).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn look(&self) -> Result<Target, CallError> {
        let properties = self.manager.properties(&self.leader, UNIT_INTERFACE).await?;
        Ok(Target::read(&properties))
    }

    pub(super) fn close_gate(&self, number: u64) {
        if let Err(error) = self.gate.close(number) {
            let path = self.gate.path().display();
            tracing::error!(node = %self.node, "cannot remove {path}: {error}");
        }
    }

    /// Whether the target is down, once the manager can be asked.
    pub(super) async fn is_down(&self) -> bool {
        self.manager.connected().await;
        let target = self.look_once(&mut self.manager.changes()).await;
        target.is_ok_and(|target| target.active == "inactive" && target.job.is_none())
    }

    /// Starts the follower target, as well as it goes: nothing waits for it, and with mode "fail"
    /// it yields to everything else.
    pub(super) async fn start_follower(self) {
        let (node, follower) = (&self.node, &self.follower);
        if let Err(error) = self.manager.start_unit(follower, Mode::Fail).await
            && !error.is(DESTRUCTIVE)
        {
            tracing::warn!(%node, "{follower} is not started, ignoring: {error}");
        }
    }
}
