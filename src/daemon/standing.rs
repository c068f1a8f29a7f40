//! The standing of this host: whether it may be active, and why not.
//!
//! One task owns it. It knows what an operator has said (maintenance), what the members of the
//! leader target did (hold-down), what state the units of `eligible_while` are in, and what the
//! health command says. It publishes that, tells the node when it changes, and keeps on disk what
//! has to survive a restart.
//!
//! Guarantees: the node is not eligible before its standing is known; a request is answered AFTER
//! it is durable; what cannot be read of the record counts as maintenance. Without a service
//! manager units are not watched, and nothing is concluded from them.
//!
//! Does not: demote. What an ineligible node does is the node's own affair.

mod health;
mod units;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::publish::{Publish, Topic};
use crate::config::{self, Config};
use crate::core::standing::{Health, HoldDownRules};
use crate::core::story::tell;
use crate::core::{NodeName, UnitName};
use crate::limits;
use crate::node::event::Event;
use crate::node::handle::{HostRequest, HostRequestError};
use crate::node::status::NodeStatus;
use crate::storage::standing::{STANDING_FILE, Standing};
use crate::systemd::manager::SystemdManager;
use crate::systemd::watch::UnitWatch;
use health::Finding;
use units::Known;

/// What the configuration says; a reload may change all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    node: NodeName,
    cluster: String,
    rules: HoldDownRules,
    eligible_while: Vec<UnitName>,
    health: config::Health,
}

impl Settings {
    pub(super) fn of(config: &Config) -> Arc<Settings> {
        let config::Eligibility { failures, window, hold_down, hold_down_max, .. } =
            config.eligibility;
        Arc::new(Settings {
            node: config.node.name.clone(),
            cluster: config.cluster.name.clone(),
            rules: HoldDownRules { failures, window, hold_down, hold_down_max },
            eligible_while: config.eligibility.eligible_while.clone(),
            health: config.health.clone(),
        })
    }
}

/// The standing as the disk has it.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    standing: Standing,
    /// What is wrong with the record.
    damage: Option<String>,
}

impl Loaded {
    /// Whether the host is in maintenance as the agent starts.
    pub(super) fn maintenance(&self) -> bool {
        self.standing.maintenance
    }

    /// Reads it. What cannot be understood may have said "maintenance", so it does.
    pub(super) fn read(directory: &Path) -> Loaded {
        match Standing::read(directory) {
            Ok(standing) => Loaded { standing, damage: None },
            Err(error) => {
                let path = directory.join(STANDING_FILE);
                let damage = format!(
                    "{} cannot be read ({error}): this host is in maintenance until \"raftctl \
                     maintenance off\"",
                    path.display()
                );
                tracing::warn!("{damage}");
                let standing = Standing { maintenance: true, ..Standing::default() };
                Loaded { standing, damage: Some(damage) }
            }
        }
    }
}

/// What the owner is connected with.
pub(super) struct Ends {
    /// The service manager, where there is one.
    pub(super) manager: Option<SystemdManager>,
    /// What the node says.
    pub(super) status: watch::Receiver<Arc<NodeStatus>>,
    /// What is asked of this host.
    pub(super) requests: mpsc::Receiver<HostRequest>,
    /// Where the node hears of it.
    pub(super) events: mpsc::Sender<Event>,
    /// Where everybody does.
    pub(super) publish: Publish,
}

/// The running owner.
#[derive(Debug)]
pub(super) struct Control {
    settings: watch::Sender<Arc<Settings>>,
    tasks: Vec<JoinHandle<()>>,
    checks: Option<oneshot::Receiver<()>>,
}

impl Control {
    /// Goes by other settings from now on.
    pub(super) fn settings(&self) -> watch::Sender<Arc<Settings>> {
        self.settings.clone()
    }

    /// Ends it, and a health command that runs.
    pub(super) async fn stop(mut self) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        drop(self.settings);
        if let Some(done) = self.checks.take() {
            // It kills what runs and ends; that it cannot is known to the log.
            let _ = tokio::time::timeout(limits::SCRIPT_KILL_WAIT, done).await;
        }
    }
}

/// Starts the owner; must be called inside a runtime. BEFORE: the node was told that it is not
/// eligible.
pub(super) fn start(config: &Config, loaded: Loaded, ends: Ends) -> std::io::Result<Control> {
    let settings = watch::Sender::new(Settings::of(config));
    let Ends { manager, status, requests, events, publish } = ends;
    let (to_owner, observed) = mpsc::channel(limits::STANDING_QUEUE);
    let (found, findings) = mpsc::channel(limits::STANDING_QUEUE);
    let mut tasks = Vec::new();
    let is_watched = manager.is_some();
    if let Some(manager) = manager {
        let watch = UnitWatch::new(manager, &config.node.name);
        let follows = units::follow(watch, status, settings.subscribe(), to_owner);
        tasks.push(tokio::spawn(follows));
    }
    let checks = health::start(settings.subscribe(), found)?;
    let mut owner = Owner {
        directory: config.node.state_directory.clone(),
        standing: loaded.standing,
        damage: loaded.damage,
        held: None,
        settings: settings.subscribe(),
        units: Known::new(is_watched),
        health: Health::default(),
        finding: None,
        told: Some(false),
        events,
        publish,
    };
    owner.begin();
    tasks.push(tokio::spawn(owner.run(requests, observed, findings)));
    Ok(Control { settings, tasks, checks: Some(checks) })
}

struct Owner {
    directory: PathBuf,
    standing: Standing,
    damage: Option<String>,
    /// When the hold-down ends, by a clock that nobody can set.
    held: Option<Instant>,
    settings: watch::Receiver<Arc<Settings>>,
    units: Known,
    health: Health,
    finding: Option<Finding>,
    /// What the node knows.
    told: Option<bool>,
    events: mpsc::Sender<Event>,
    publish: Publish,
}

impl Owner {
    /// What the disk says is so from the start, and published BEFORE anybody can ask.
    fn begin(&mut self) {
        self.held = self.standing.hold_down.left(now_usec()).map(|left| Instant::now() + left);
        self.show();
    }

    async fn run(
        mut self,
        mut requests: mpsc::Receiver<HostRequest>,
        mut observed: mpsc::Receiver<units::Observed>,
        mut findings: mpsc::Receiver<Finding>,
    ) {
        loop {
            self.tell().await;
            let end = self.held.unwrap_or_else(Instant::now);
            // What is known comes BEFORE the answer to who asks.
            tokio::select! {
                biased;
                () = sleep_until(end), if self.held.is_some() => {
                    let reason = "its time is over";
                    tell!(HoldDownEnded, reason = reason; "The hold-down is over: {reason}.");
                    self.held = None;
                    self.standing.hold_down.end(now_usec());
                    self.keep().await;
                }
                Ok(()) = self.settings.changed() => self.reconfigured(),
                Some(observed) = observed.recv() => self.observe(observed).await,
                Some(finding) = findings.recv() => self.find(finding),
                Some(request) = requests.recv() => self.answer(request).await,
                else => return,
            }
        }
    }

    /// Why this host may not be active.
    fn reasons(&self, settings: &Settings) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.standing.maintenance {
            reasons.push("maintenance".to_owned());
        }
        if self.held.is_some() {
            reasons.push("held down after failures of members".to_owned());
        }
        self.units.reasons(&settings.eligible_while, &mut reasons);
        match (settings.health.command.is_empty(), self.health.is_healthy()) {
            (true, _) | (_, Some(true)) => {}
            (_, None) => reasons.push("its health is not known yet".to_owned()),
            (_, Some(false)) => {
                let why = self.finding.as_ref().map_or("failed", |finding| finding.why.as_str());
                reasons.push(format!("health command: {why}"));
            }
        }
        reasons
    }

    /// Publishes the standing, AFTER that tells the node if it may be active or no longer so.
    async fn tell(&mut self) {
        let reasons = self.show();
        let eligible = reasons.is_empty();
        if self.told != Some(eligible) {
            match eligible {
                true => tell!(Eligible; "This host may be active."),
                false => {
                    let why = reasons.join("; ");
                    tell!(Ineligible, reason = why.as_str(); "This host may not be active: {why}.");
                }
            }
        }
        if self.told != Some(eligible) {
            self.told = Some(eligible);
            // Without a node there is nobody to tell.
            let _ = self.events.send(Event::Eligible { eligible }).await;
        }
    }

    /// Publishes the standing; returns why this host may not be active.
    fn show(&mut self) -> Vec<String> {
        let settings = self.settings.borrow().clone();
        let reasons = self.reasons(&settings);
        self.standing.hold_down.forget_old(now_usec(), settings.rules.window);
        let until = self.held.map(|_| self.standing.hold_down.until_usec);
        let units = self.units.told(&self.standing.hold_down);
        let damage = self.damage.iter().cloned().collect();
        self.publish.edit_and_warn(Topic::Record, damage, |host| {
            host.maintenance = self.standing.maintenance;
            host.ineligible = reasons.clone();
            host.held_down_until_usec = until;
            host.units = units;
        });
        self.publish.warn(Topic::Units, self.units.warnings(&settings.eligible_while));
        reasons
    }

    async fn answer(&mut self, request: HostRequest) {
        let mut new = self.standing.clone();
        let reply = match request {
            HostRequest::Maintenance { on, reply } => {
                new.maintenance = on;
                reply
            }
            HostRequest::ClearFailures { reply } => {
                new.hold_down = Default::default();
                reply
            }
        };
        let done = match self.damage.is_none() && new == self.standing {
            true => Ok(()),
            false => write(&self.directory, &new).await,
        };
        let done = match done {
            Ok(()) => {
                if new.maintenance != self.standing.maintenance {
                    match new.maintenance {
                        true => tell!(MaintenanceOn; "An operator took this host out of service."),
                        false => tell!(MaintenanceOff; "An operator put this host back."),
                    }
                }
                if self.held.is_some() && new.hold_down != self.standing.hold_down {
                    let reason = "an operator cleared it";
                    tell!(HoldDownEnded, reason = reason; "The hold-down is over: {reason}.");
                }
                self.held = self.held.filter(|_| new.hold_down == self.standing.hold_down);
                (self.standing, self.damage) = (new, None);
                self.tell().await;
                Ok(())
            }
            Err(error) => Err(HostRequestError::Disk { reason: error.to_string() }),
        };
        // Whoever asked may have gone.
        let _ = reply.send(done);
    }

    async fn observe(&mut self, observed: units::Observed) {
        let rules = self.settings.borrow().rules;
        let failures = self.units.take(observed);
        if failures.is_empty() {
            return;
        }
        for unit in failures {
            let hold_down = &mut self.standing.hold_down;
            let begins = hold_down.fail(&unit, now_usec(), &rules);
            let count = hold_down.count(&unit);
            let most = rules.failures;
            let reason = format!("{count} of its failures count, {most} of all members hold down");
            tell!(
                MemberFailed, unit = unit.as_str(), reason = reason.as_str();
                "{unit} has failed while this node is active: {reason}."
            );
            if let Some(lasts) = begins {
                let duration = humantime::format_duration(lasts).to_string();
                let reason = format!("{unit} has failed too often");
                tell!(
                    HeldDown, duration = duration.as_str(), reason = reason.as_str();
                    "This host is held down for {duration}: {reason}. \"raftctl clear\" ends that."
                );
                self.held = Some(Instant::now() + lasts);
            }
        }
        // BEFORE the disk, which may be the reason.
        self.tell().await;
        self.keep().await;
    }

    fn find(&mut self, finding: Finding) {
        let (rise, fall) = {
            let health = &self.settings.borrow().health;
            (health.rise, health.fall)
        };
        let before = self.health.is_healthy();
        self.health.tell(finding.success, rise, fall);
        if self.health.is_healthy() != before {
            let healthy = finding.success;
            tracing::info!(healthy, "the health command: {}", finding.why);
        }
        self.finding = Some(finding);
    }

    fn reconfigured(&mut self) {
        if self.settings.borrow().health.command.is_empty() {
            (self.health, self.finding) = (Health::default(), None);
        }
    }

    /// Writes down what happened; that it is not is no reason to forget it now.
    async fn keep(&self) {
        if let Err(error) = write(&self.directory, &self.standing).await {
            let path = self.directory.join(STANDING_FILE);
            tracing::warn!("cannot write {}: {error}, ignoring", path.display());
        }
    }
}

async fn write(directory: &Path, standing: &Standing) -> std::io::Result<()> {
    let (directory, standing) = (directory.to_owned(), standing.clone());
    let written = spawn_blocking(move || standing.write(&directory)).await;
    written.expect("a panic aborts, and nobody cancels this")
}

fn now_usec() -> u64 {
    let since: Duration = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as u64
}

#[cfg(test)]
mod tests;
