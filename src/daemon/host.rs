//! The host under the agent: who enforces an activation, the surfaces that carry out the
//! authority's orders, and what logind says, as events for the driver.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::error::SetupError;
use super::units::SystemdUnits;
use crate::config::{self, Config, OnDemoteTimeout, TICK};
use crate::core::authority::{Enforcement, FENCE_LEAD, Order, Phase, Timing};
use crate::core::story::tell;
use crate::events::Backend;
use crate::events::unit::UnitRunner;
use crate::node::event::Event;
use crate::node::handle::NodeHandle;
use crate::node::status::{NodeStatus, Role};
use crate::systemd::bus::BusAddress;
use crate::systemd::host::{self, HostHandle, HostSettings};
use crate::systemd::inhibit::{self, HostNotice, Inhibitors};

/// Carries out an order, or hands it on.
pub(super) type OrderSink = Box<dyn FnMut(Order) + Send>;

/// Whether systemd started this process as a service. A shell or a test inherits the variables of
/// whatever service it is part of: they count only in the process for which systemd set them
/// (systemd.exec(5), `$SYSTEMD_EXEC_PID`).
pub(super) fn is_service() -> bool {
    std::env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == std::process::id().to_string())
}

/// The timing of authority, with what enforces it here.
pub(super) fn timing(config: &Config) -> Timing {
    let authority = &config.authority;
    let by_default =
        if is_service() { config::Enforcement::Systemd } else { config::Enforcement::None };
    let watchdog = sd_notify::watchdog_enabled();
    let enforcement = match authority.enforcement.unwrap_or(by_default) {
        config::Enforcement::None => Enforcement::Nothing,
        config::Enforcement::Systemd => match (authority.on_demote_timeout, watchdog) {
            (OnDemoteTimeout::None, _) | (_, None) => Enforcement::Unbounded,
            _ => Enforcement::Bounded,
        },
    };
    Timing {
        election_min: config.raft.election_min,
        election_max: config.raft.election_max,
        tick: TICK,
        grace: authority.grace,
        // What the unit really has, if that is longer: the bound must be true.
        watchdog: watchdog.unwrap_or_default().max(authority.watchdog),
        demote_timeout: authority.demote_timeout,
        enforcement,
        preempt_after: crate::limits::PREEMPT_AFTER,
    }
}

/// Says once what enforces an activation here, so that nobody has to guess.
pub(super) fn log_enforcement(config: &Config, timing: &Timing) {
    let node = &config.node.name;
    let action = config.authority.on_demote_timeout.as_str();
    match (timing.enforcement, timing.bound()) {
        (Enforcement::Bounded, Some(bound)) => {
            let bound_ms = bound.as_millis() as u64;
            tracing::info!(%node, bound_ms, action, "systemd enforces the end of an activation");
        }
        (Enforcement::Unbounded, _) => tell!(
            FenceNotArmed, problem = "nothing bounds an activation";
            "Nothing bounds an activation of {node}: if the host is lost while it is active, only \
             \"raftctl takeover --force\" lets another one take its place."
        ),
        _ => tracing::info!(
            %node,
            "not started by systemd: event scripts only, and nothing enforces that there is one"
        ),
    }
}

/// Starts the surfaces that speak with the service manager; `None` where there is none to speak to.
pub(super) fn start(
    config: &Config,
    timing: &Timing,
    events: &mpsc::Sender<Event>,
) -> Result<Option<HostHandle>, SetupError> {
    if timing.enforcement == Enforcement::Nothing {
        return Ok(None);
    }
    let bus = BusAddress::system().map_err(SetupError::SystemBus)?;
    let runtime_directory = config.node.runtime_directory.clone();
    let settings = HostSettings::new(config.node.name.clone(), runtime_directory, bus);
    let (host, mut reports) = host::start(settings).map_err(SetupError::System)?;
    let events = events.clone();
    tokio::spawn(async move {
        while let Some(report) = reports.recv().await {
            if events.send(Event::Host(report)).await.is_err() {
                return;
            }
        }
    });
    Ok(Some(host))
}

/// Who runs the event scripts: the service manager, as root, where it is the host.
pub(super) fn scripts_backend(config: &Config, host: Option<&HostHandle>) -> Backend {
    let Some(host) = host else { return Backend::Process };
    let units = Arc::new(SystemdUnits(host.manager().clone()));
    let directory = config.node.runtime_directory.clone();
    Backend::Unit(UnitRunner::new(config.node.name.clone(), directory, units))
}

/// When a demotion that was not planned is fenced, after it began.
pub(super) fn fence_after(config: &Config, timing: &Timing) -> Option<Duration> {
    let after = config.authority.demote_timeout.saturating_sub(FENCE_LEAD);
    (timing.enforcement == Enforcement::Bounded).then_some(after)
}

/// Tells the driver which consequences are over.
pub(super) fn follow_scripts(mut over: watch::Receiver<u64>, events: mpsc::Sender<Event>) {
    tokio::spawn(async move {
        while over.changed().await.is_ok() {
            let number = *over.borrow_and_update();
            if events.send(Event::Acted { number }).await.is_err() {
                return;
            }
        }
    });
}

/// Orders go to the host, if there is one.
pub(super) fn orders(host: Option<HostHandle>) -> OrderSink {
    match host {
        Some(host) => Box::new(move |order| host.order(order)),
        None => Box::new(|_| {}),
    }
}

/// Hands over before the host shuts down or sleeps, and lets it go on when that is done.
pub(super) fn watch_host(
    config: &Config,
    handle: NodeHandle,
    events: mpsc::Sender<Event>,
) -> Result<(), SetupError> {
    let bus = BusAddress::system().map_err(SetupError::SystemBus)?;
    let demote_timeout = config.authority.demote_timeout;
    let (inhibitors, notices) = inhibit::start(config.node.name.clone(), bus, demote_timeout);
    tokio::spawn(follow_notices(inhibitors, notices, handle, events));
    Ok(())
}

async fn follow_notices(
    inhibitors: Inhibitors,
    mut notices: mpsc::Receiver<HostNotice>,
    handle: NodeHandle,
    events: mpsc::Sender<Event>,
) {
    let mut status = handle.watch();
    let mut leaving = false;
    loop {
        let is_out = leaving && has_left(&status.borrow_and_update());
        if is_out {
            inhibitors.release();
        }
        let before = tokio::select! {
            notice = notices.recv() => match notice {
                Some(HostNotice::Shutdown | HostNotice::Sleep) => true,
                Some(HostNotice::Resumed) => false,
                None => return,
            },
            changed = status.changed(), if leaving && !is_out => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        leaving = before;
        if events.send(Event::Suspend { before }).await.is_err() {
            return;
        }
        // The status of before is no answer to this: wait for the turn that took it.
        let settle = tokio::time::timeout(SETTLE, status.changed());
        let _ = settle.await;
    }
}

/// Nothing of this host is in the way of another.
fn has_left(status: &NodeStatus) -> bool {
    status.role != Role::Leader && matches!(status.phase, Phase::Idle | Phase::Unknown)
}

/// How long a turn of the driver may take to show in the status.
const SETTLE: Duration = Duration::from_millis(20);
