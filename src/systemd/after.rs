//! What an agent leaves behind when it ends: seen, waited for, and killed if need be.
//!
//! For the programs that run after the agent, in its place: `raftctl-helper release` and `fence`.
//! Guarantees: [`Remains::up`] is empty only if everything that an activation started is known to
//! have stopped, with the gate closed. Does not: decide whether something may be released.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::time::{Instant, sleep};

use super::cgroup;
use super::gate::{FENCE_AT_FILE, GATE_FILE, MARK_FILE};
use super::host::HostSettings;
use super::manager::{Changes, Finished, Listed, ManagerError, Mode, SystemdManager};
use super::members::{self, Seen};
use super::names;
use super::target::Target;
use crate::core::role::EventName;
use crate::core::{Instant as Boottime, NodeName};
use crate::limits;

/// What one run of the agent left.
#[derive(Debug)]
pub struct Remains {
    node: NodeName,
    leader: String,
    gate: PathBuf,
    manager: SystemdManager,
    changes: Changes,
    cgroup_root: PathBuf,
}

/// The sign that the agent whose runtime directory this is has been active: the token of its last
/// activation, as it was written. `None`: it never was, so there is nothing to release.
pub fn last_activation(runtime_directory: &Path) -> Option<String> {
    let read = |name| fs::read_to_string(runtime_directory.join(name)).ok();
    let text = read(MARK_FILE).or_else(|| read(GATE_FILE))?;
    Some(text.trim_end().to_owned())
}

/// When the fence has to be started, on CLOCK_BOOTTIME, if the agent had begun to demote. A time
/// that cannot be read, because the agent died while it wrote it, is now.
pub fn fence_at(runtime_directory: &Path) -> Option<Boottime> {
    match fs::read_to_string(runtime_directory.join(FENCE_AT_FILE)) {
        Ok(text) => Some(Boottime(text.trim_end().parse().unwrap_or_default())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => Some(Boottime(0)),
    }
}

impl Remains {
    /// What `settings` speak of. Must be called inside a runtime; waits for nothing.
    pub fn new(settings: HostSettings) -> Remains {
        let HostSettings { node, runtime_directory, bus, cgroup_root } = settings;
        let leader = names::leader_target(&node);
        let manager = SystemdManager::start(bus, leader.clone());
        let changes = manager.changes();
        let gate = runtime_directory.join(GATE_FILE);
        Remains { node, leader, gate, manager, changes, cgroup_root }
    }

    /// Closes the gate: from now on nobody brings the target up.
    pub fn close_gate(&self) {
        if let Err(error) = fs::remove_file(&self.gate)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::error!("cannot remove {}: {error}", self.gate.display());
        }
    }

    /// Everything that is not known to have stopped, as sentences. Empty is the proof that nothing
    /// of an activation runs, and that nothing of it can start.
    pub async fn up(&self) -> Vec<String> {
        let is_closed = matches!(
            fs::symlink_metadata(&self.gate),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound
        );
        if !is_closed {
            return vec![format!("the gate {} is not closed", self.gate.display())];
        }
        let target = match self.target().await {
            Ok(target) => target,
            Err(problem) => return vec![problem],
        };
        if target.active != "inactive" {
            return vec![format!("{} is {}", self.leader, target.active)];
        }
        if target.job.is_some() {
            return vec![format!("{} has a job", self.leader)];
        }
        match self.look(&target).await {
            Ok(seen) => seen.iter().filter_map(Seen::still_up).collect(),
            Err(problem) => vec![problem],
        }
    }

    /// Waits until [`Remains::up`] is empty; `say` is told whenever it says something else. Has the
    /// target stopped again and again: a start by hand replaces the stop job that the agent's end
    /// has caused, and would be carried out, without a look at the gate, when the agent is back.
    pub async fn down(&mut self, mut say: impl FnMut(&[String])) {
        let mut said = Vec::new();
        loop {
            let up = self.up().await;
            if up.is_empty() {
                return;
            }
            if let Err(problem) = self.stop_target().await {
                tracing::warn!("{problem}, ignoring");
            }
            if up != said {
                say(&up);
                said = up;
            }
            self.changes.next(limits::AFTER_POLL).await;
        }
    }

    /// Has the target stopped if the gate is closed: a start by hand that replaced its stop job
    /// left it up, without a look at the gate.
    ///
    /// # Errors
    /// If it is neither down nor has a stop job for it been queued.
    pub async fn stop_if_closed(&self) -> Result<(), String> {
        if self.gate.exists() { Ok(()) } else { self.stop_target().await }
    }

    /// Has the target stopped, unless it is down or a stop job for it is queued.
    async fn stop_target(&self) -> Result<(), String> {
        let listed = self.manager.loaded(&[&self.leader]).await;
        let listed = listed.map_err(|error| format!("{} is not known: {error}", self.leader))?;
        let stops = |unit: &Listed| {
            unit.job == "stop" || (unit.active == "inactive" && unit.job.is_empty())
        };
        if listed.iter().all(stops) {
            return Ok(());
        }
        let stopped = self.manager.stop_unit(&self.leader, Mode::Replace).await;
        stopped.map(drop).map_err(|error| format!("cannot stop {}: {error}", self.leader))
    }

    /// Ends event scripts of the agent that still run: nobody waits for them any more.
    pub async fn stop_scripts(&self) {
        let units = match self.event_units().await {
            Ok(units) => units,
            // Then they are not known to be down either, and nothing is released.
            Err(problem) => {
                tracing::warn!("{problem}, ignoring");
                return;
            }
        };
        for unit in units {
            let (seen, _) = members::look_at(&self.manager, &self.cgroup_root, &unit).await;
            if seen.still_up().is_none() {
                continue;
            }
            if let Err(error) = self.manager.stop_unit(&unit, Mode::Replace).await {
                tracing::warn!("cannot stop {unit}: {error}, ignoring");
            }
        }
    }

    /// Runs the script of `event` as root, until it has ended or `deadline` has passed.
    pub async fn run_script(
        &self,
        event: EventName,
        deadline: Instant,
    ) -> Result<Finished, ManagerError> {
        let unit = names::event_service(&self.node, event.as_str());
        self.manager.run_oneshot(&unit, deadline).await
    }

    /// Has the fence unit started, however often that has to be asked for.
    pub fn start_fence(&self) -> impl Future<Output = ()> + use<> {
        let (manager, unit) = (self.manager.clone(), names::fence_service(&self.node));
        async move {
            let mut complained = false;
            while let Err(error) = manager.start_unit(&unit, Mode::Replace).await {
                if !std::mem::replace(&mut complained, true) {
                    tracing::error!("cannot start {unit}, trying again: {error}");
                }
                sleep(limits::AFTER_POLL).await;
            }
        }
    }

    /// Whether the node is active again and rightly so: the gate is open, and its target is up
    /// without anybody having it stopped. A fence that comes too late must not kill what runs.
    pub async fn is_active_again(&self) -> bool {
        let up = |target: Target| target.is_up() && target.job.is_none();
        self.gate.exists() && self.target().await.is_ok_and(up)
    }

    /// The units of an activation that still have processes.
    ///
    /// # Errors
    /// If they cannot be found.
    pub async fn populated(&self) -> Result<Vec<Populated>, String> {
        let target = self.target().await?;
        let agent = names::agent_service(&self.node);
        let script = names::event_service(&self.node, "");
        let script = script.trim_end_matches(".service");
        let populated = |seen: &Seen| Populated {
            unit: seen.name.clone(),
            is_script: seen.name.starts_with(script),
            control_group: seen.control_group().map(str::to_owned),
        };
        let seen = self.look(&target).await?;
        let seen = seen.iter().filter(|seen| seen.populated && seen.name != agent);
        Ok(seen.map(populated).collect())
    }

    /// Kills all processes of a unit, at once: the kernel does it for the whole control group, or
    /// else the service manager one by one.
    pub async fn kill(&self, populated: &Populated) {
        let Populated { unit, control_group, .. } = populated;
        if let Some(group) = control_group {
            match cgroup::kill(&self.cgroup_root, group) {
                Ok(()) => return,
                Err(error) => tracing::info!("cannot kill control group {group}: {error}"),
            }
        }
        if let Err(error) = self.manager.kill_unit(unit).await {
            tracing::error!("cannot kill {unit}: {error}");
        }
    }

    /// Looks at all that an activation started: what stops with the target, and the scripts.
    async fn look(&self, target: &Target) -> Result<Vec<Seen>, String> {
        let (manager, root) = (&self.manager, &self.cgroup_root);
        let mut all = members::look_at_all(manager, root, &self.leader, &target.dependents).await?;
        for unit in self.event_units().await? {
            all.push(members::look_at(manager, root, &unit).await.0);
        }
        Ok(all)
    }

    async fn target(&self) -> Result<Target, String> {
        let properties = self.manager.properties(&self.leader, names::UNIT_INTERFACE).await;
        let problem = |error| format!("{} is not known to be down: {error}", self.leader);
        properties.map(|properties| Target::read(&properties)).map_err(problem)
    }

    /// The event scripts' units that are in memory; the others do not run.
    async fn event_units(&self) -> Result<Vec<String>, String> {
        let all = names::event_service(&self.node, "*");
        let listed = self.manager.loaded(&[&all]).await;
        let listed = listed.map_err(|error| format!("event scripts are not known: {error}"))?;
        Ok(listed.into_iter().map(|unit| unit.name).collect())
    }
}

/// A unit that still has processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Populated {
    /// Its name.
    pub unit: String,
    /// Whether it runs an event script.
    pub is_script: bool,
    /// Its control group, as the service manager names it, if it is known.
    pub control_group: Option<String>,
}
