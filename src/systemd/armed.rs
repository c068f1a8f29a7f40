//! Whether the service manager really does what the bound of an activation counts on (DESIGN 5.7).
//!
//! The configuration says what is wanted, a generator turns it into drop-ins, and PID 1 has what it
//! has loaded: only the last of the three ends an activation. Looks and compares; changes nothing.

use std::time::Duration;

use super::bus::CallError;
use super::manager::{Properties, SystemdManager, property};
use super::names;
use crate::config::OnDemoteTimeout;
use crate::core::NodeName;

/// What the bound of this node counts on.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The node.
    pub node: NodeName,
    /// What happens when the end of an activation takes too long.
    pub action: OnDemoteTimeout,
    /// W.
    pub watchdog: Duration,
    /// D.
    pub demote_timeout: Duration,
}

/// What the service manager has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// What is missing or too slow, as sentences. Empty: all that the bound counts on is in force.
    pub problems: Vec<String>,
    /// Whether hardware watches the manager itself; `None` if that is not known.
    pub hardware_watchdog: Option<bool>,
}

/// Asks the service manager. Fails only if nobody knows the answer.
pub async fn look(manager: &SystemdManager, expected: &Expected) -> Result<Enforced, CallError> {
    let node = &expected.node;
    let mut problems = Vec::new();
    let agent = names::agent_service(node);
    let properties = manager.properties(&agent, "").await?;
    problems.extend(watchdog(&agent, &properties, expected.watchdog));
    let fence = names::fence_service(node);
    problems.extend(missing(&fence, &manager.properties(&fence, names::UNIT_INTERFACE).await?));
    if expected.action == OnDemoteTimeout::Reboot {
        let unit = names::deadline_target(node);
        let properties = manager.properties(&unit, names::UNIT_INTERFACE).await?;
        let leader = names::leader_target(node);
        problems.extend(deadline(&unit, &properties, &leader, expected.demote_timeout));
        let properties = manager.properties(&leader, names::UNIT_INTERFACE).await?;
        let wants: Vec<String> = property(&properties, "Wants").unwrap_or_default();
        if !wants.contains(&unit) {
            problems.push(format!("{leader} lacks Wants={unit}"));
        }
    }
    let micros: Option<u64> = manager.own_property("RuntimeWatchdogUSec").await?;
    Ok(Enforced { problems, hardware_watchdog: micros.map(|micros| micros != 0) })
}

fn missing(unit: &str, properties: &Properties) -> Option<String> {
    let load: String = property(properties, "LoadState").unwrap_or_default();
    (load != "loaded").then(|| format!("{unit} is {load:?}, expected \"loaded\""))
}

/// The agent is killed, not asked, when it does not ping for W.
fn watchdog(unit: &str, properties: &Properties, most: Duration) -> Vec<String> {
    let mut found: Vec<String> = missing(unit, properties).into_iter().collect();
    let micros = property(properties, "WatchdogUSec");
    found.extend(too_long(unit, "WatchdogUSec", micros, most));
    let signal: Option<i32> = property(properties, "WatchdogSignal");
    if signal != Some(nix::libc::SIGKILL) {
        let signal = signal.map_or("unknown".to_owned(), |signal| signal.to_string());
        found.push(format!("{unit} has WatchdogSignal {signal}, expected SIGKILL"));
    }
    found
}

/// The stop of the leader target is a job of this unit too, whose age leads to the reboot.
fn deadline(unit: &str, properties: &Properties, leader: &str, most: Duration) -> Vec<String> {
    let mut found: Vec<String> = missing(unit, properties).into_iter().collect();
    let micros = property(properties, "JobTimeoutUSec");
    found.extend(too_long(unit, "JobTimeoutUSec", micros, most));
    let action: String = property(properties, "JobTimeoutAction").unwrap_or_default();
    if action != REBOOT {
        found.push(format!("{unit} has JobTimeoutAction {action:?}, expected {REBOOT:?}"));
    }
    let part_of: Vec<String> = property(properties, "PartOf").unwrap_or_default();
    if !part_of.iter().any(|unit| unit == leader) {
        found.push(format!("{unit} lacks PartOf={leader}"));
    }
    found
}

/// Zero and the greatest number both mean never (org.freedesktop.systemd1(5)).
fn too_long(unit: &str, name: &str, micros: Option<u64>, most: Duration) -> Option<String> {
    // As a drop-in has it: whole milliseconds, rounded up.
    let most_ms = most.as_nanos().div_ceil(1_000_000);
    let expected = format!("expected at most {most_ms} ms");
    match micros {
        None | Some(0 | u64::MAX) => Some(format!("{unit} has no {name}, {expected}")),
        Some(micros) if u128::from(micros) <= most_ms * 1000 => None,
        Some(micros) => Some(format!("{unit} has {name} {} ms, {expected}", micros.div_ceil(1000))),
    }
}

/// `reboot-force` would sync first, and wait for that.
const REBOOT: &str = "reboot-immediate";
