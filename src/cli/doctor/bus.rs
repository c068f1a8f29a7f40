//! What the service manager, logind and the bus say: the watchdog, polkit, the units of a node and
//! those that joined it.

use std::path::Path;
use std::time::Duration;

use super::{Check, host};
use crate::cli::exit::Failure;
use crate::cli::service_manager::{Properties, ServiceManager, property};
use crate::config::Config;
use crate::core::NodeName;
use crate::systemd::names;
use crate::systemd::target::is_gated;

/// What is said of the host.
pub async fn host() -> Vec<Check> {
    let manager = match ServiceManager::connect().await {
        Ok(manager) => manager,
        Err(failure) => {
            let advice = "without it no unit is started or stopped: systemctl start dbus";
            return vec![Check::fail("system bus", failure.message, advice)];
        }
    };
    let mut checks = vec![Check::ok("system bus", "it answers")];
    checks.push(match manager.own_properties().await {
        Ok(properties) => watchdog(property(&properties, "RuntimeWatchdogUSec")),
        Err(failure) => unseen("watchdog", &failure),
    });
    checks.push(match manager.is_on_bus("org.freedesktop.PolicyKit1").await {
        Ok(true) => Check::ok("polkit", "it is there"),
        Ok(false) => Check::fail(
            "polkit",
            "nobody has the name org.freedesktop.PolicyKit1",
            "apt install polkitd: without it the agent may not start its targets",
        ),
        Err(failure) => unseen("polkit", &failure),
    });
    checks
}

fn unseen(check: &str, failure: &Failure) -> Check {
    Check::warn(check, failure.message.clone(), "run raftctl doctor as root")
}

fn watchdog(usec: Option<u64>) -> Check {
    const CHECK: &str = "watchdog";
    match usec {
        None | Some(0 | u64::MAX) => Check::warn(
            CHECK,
            "no hardware watches PID 1",
            "RuntimeWatchdogSec=15s in /etc/systemd/system.conf, if this host has a /dev/watchdog",
        ),
        Some(usec) => {
            let time = humantime::format_duration(Duration::from_micros(usec));
            Check::ok(CHECK, format!("hardware resets the host when PID 1 hangs for {time}"))
        }
    }
}

/// What is said of the node's units. Elsewhere than under systemd (`installed` is false) there are
/// none.
pub async fn units(config: &Config, installed: bool) -> Vec<Check> {
    if !installed {
        return Vec::new();
    }
    let Ok(manager) = ServiceManager::connect().await else { return Vec::new() };
    match look(&manager, config).await {
        Ok(checks) => checks,
        Err(failure) => vec![unseen("units", &failure)],
    }
}

async fn look(manager: &ServiceManager, config: &Config) -> Result<Vec<Check>, Failure> {
    let node = &config.node.name;
    let agent = manager.properties(&names::agent_service(node)).await?;
    let socket = manager.properties(&format!("raftctl@{node}.socket")).await?;
    let target = manager.properties(&names::leader_target(node)).await?;
    let mut checks = vec![service(node, &agent), listener(node, &socket)];
    checks.push(memory(&agent));
    checks.push(shutdown(manager, config).await);
    let mut members: Vec<String> = list(&target, "Wants");
    members.extend(list(&target, "BoundBy"));
    members.retain(|unit| *unit != names::deadline_target(node));
    members.sort();
    members.dedup();
    if members.is_empty() {
        let advice = "raftctl attach UNIT, or event scripts in the configuration";
        checks.push(Check::warn("units", "no unit has joined the active host", advice));
    }
    for unit in members {
        let properties = manager.properties(&unit).await?;
        checks.push(member(node, &unit, &properties));
    }
    Ok(checks)
}

fn text(properties: &Properties, name: &str) -> String {
    property(properties, name).unwrap_or_default()
}

fn list(properties: &Properties, name: &str) -> Vec<String> {
    property(properties, name).unwrap_or_default()
}

fn service(node: &NodeName, properties: &Properties) -> Check {
    const CHECK: &str = "service";
    let unit = names::agent_service(node);
    let (load, active) = (text(properties, "LoadState"), text(properties, "ActiveState"));
    let enabled = text(properties, "UnitFileState");
    if load != "loaded" {
        return Check::fail(CHECK, format!("{unit} is {load}"), "apt install --reinstall raftctl");
    }
    if property(properties, "NeedDaemonReload").unwrap_or(false) {
        let found = format!("{unit} was changed and not read again");
        return Check::warn(CHECK, found, "systemctl daemon-reload");
    }
    match (active.as_str(), enabled.as_str()) {
        ("active", "enabled") => Check::ok(CHECK, format!("{unit} runs, and starts at boot")),
        ("active", _) => {
            let advice = format!("systemctl enable raftctl@{node}");
            Check::warn(CHECK, format!("{unit} runs, and does not start at boot"), &advice)
        }
        _ => {
            let advice = format!("systemctl enable --now raftctl@{node}; journalctl -u {unit}");
            Check::fail(CHECK, format!("{unit} is {active}"), &advice)
        }
    }
}

fn listener(node: &NodeName, properties: &Properties) -> Check {
    const CHECK: &str = "socket";
    let unit = format!("raftctl@{node}.socket");
    let listen: Vec<(String, String)> = property(properties, "Listen").unwrap_or_default();
    let addresses: Vec<&str> = listen.iter().map(|(_, address)| &**address).collect();
    match text(properties, "ActiveState").as_str() {
        "active" => Check::ok(CHECK, format!("{unit} listens at {}", addresses.join(", "))),
        "failed" => {
            let advice = format!("systemctl reset-failed {unit}; systemctl restart {unit}");
            Check::fail(CHECK, format!("{unit} has failed"), &advice)
        }
        state => {
            let advice = format!("systemctl start {unit}; with a host name in listen it has none");
            Check::warn(CHECK, format!("{unit} is {state}"), &advice)
        }
    }
}

fn memory(agent: &Properties) -> Check {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let pid: Option<u32> = property(agent, "MainPID").filter(|&pid| pid != 0);
    let status = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
    host::swap(&swaps, status.as_deref())
}

/// Whether logind waits for a hand-over.
async fn shutdown(manager: &ServiceManager, config: &Config) -> Check {
    const CHECK: &str = "shutdown";
    let needed = config.authority.demote_timeout + Duration::from_secs(1);
    let most = manager.login_property::<u64>("InhibitDelayMaxUSec").await;
    let Some(most) = most.map(Duration::from_micros) else {
        let advice = "apt install systemd-logind: else a shutdown does not wait for a hand-over";
        return Check::warn(CHECK, "logind does not answer", advice);
    };
    let shown = humantime::format_duration(most);
    let found = format!("logind delays a shutdown for at most {shown}");
    match most < needed {
        true => {
            let needed = needed.as_secs_f64().ceil();
            let advice = format!("InhibitDelayMaxSec={needed} in /etc/systemd/logind.conf");
            Check::warn(CHECK, found, &advice)
        }
        false => Check::ok(CHECK, found),
    }
}

/// Whether a unit that joined is held as it has to be.
fn member(node: &NodeName, unit: &str, properties: &Properties) -> Check {
    let check = format!("unit {unit}");
    let target = names::leader_target(node);
    let attach = format!("raftctl attach {unit}");
    if property(properties, "NeedDaemonReload").unwrap_or(false) {
        let found = "its files were changed and not read again";
        return Check::warn(&check, found, "systemctl daemon-reload");
    }
    for name in ["BindsTo", "After"] {
        if !list(properties, name).contains(&target) {
            let found = format!("it starts with {target}, but has no {name}= it: it may run twice");
            return Check::fail(&check, found, &attach);
        }
    }
    let gate = names::gate(node);
    if !is_gated(properties, Path::new(&gate)) {
        let found = format!(
            "it has no ConditionPathExists={gate}: a start by hand while it stops brings it back"
        );
        return Check::warn(&check, found, &attach);
    }
    let others: Vec<String> = list(properties, "WantedBy");
    let others: Vec<&str> =
        others.iter().filter(|other| **other != target).map(String::as_str).collect();
    if !others.is_empty() {
        let found = format!("it is started by {} as well", others.join(", "));
        return Check::warn(&check, found, &format!("{attach} --disable"));
    }
    Check::ok(&check, format!("{}, bound to the target", text(properties, "ActiveState")))
}
