//! The leader target and its members as the service manager describes them: read, compared with
//! what has to be in force, and judged to be down or not. Plain values; no calls.

use std::path::Path;

use zbus::OwnedVariant;

use super::manager::{Properties, active, job_of, property};
use super::names::{self, LEADER_FILE, UNIT_DIRECTORIES};
use crate::core::NodeName;

/// What the manager says about the leader target in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub load: String,
    pub active: String,
    pub job: Option<u32>,
    /// Whether all conditions were met when it was last started.
    pub condition: bool,
    /// Names one run of the unit.
    pub invocation: Vec<u8>,
    pub fragment: String,
    pub needs_reload: bool,
    pub binds_to: Vec<String>,
    pub after: Vec<String>,
    pub conditions: Vec<Condition>,
    /// Units that are started with it.
    pub wants: Vec<String>,
    /// Units that are stopped with it.
    pub dependents: Vec<String>,
}

/// One line of `Condition…=` (org.freedesktop.systemd1(5), `Conditions`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub name: String,
    /// One of several of which any suffices.
    pub trigger: bool,
    pub negated: bool,
    pub parameter: String,
}

/// Properties that list the units to which a stop spreads (systemd.unit(5)).
const STOPPED_WITH: [&str; 4] = ["BoundBy", "RequiredBy", "ConsistsOf", "RequisiteOf"];

impl Target {
    pub(super) fn read(properties: &Properties) -> Target {
        let text = |name| property(properties, name).unwrap_or_default();
        let units = |name| -> Vec<String> { property(properties, name).unwrap_or_default() };
        Target {
            load: text("LoadState"),
            active: active(properties),
            job: job_of(properties),
            condition: property(properties, "ConditionResult").unwrap_or(false),
            invocation: property(properties, "InvocationID").unwrap_or_default(),
            fragment: text("FragmentPath"),
            needs_reload: property(properties, "NeedDaemonReload").unwrap_or(false),
            binds_to: units("BindsTo"),
            after: units("After"),
            conditions: conditions(properties).unwrap_or_default(),
            wants: units("Wants"),
            dependents: dependents(properties),
        }
    }

    /// Whether it is up and was started through the gate.
    pub(super) fn is_up(&self) -> bool {
        self.active == "active" && self.condition
    }

    /// How the loaded unit differs from ours; empty if the gate and the bindings are in force.
    pub(super) fn differences(&self, node: &NodeName, gate: &Path) -> Vec<String> {
        if self.load != "loaded" {
            return vec![format!("it is {:?}, expected \"loaded\"", self.load)];
        }
        let mut found = Vec::new();
        let ours = UNIT_DIRECTORIES.map(|directory| format!("{directory}/{LEADER_FILE}"));
        if !ours.contains(&self.fragment) {
            found.push(format!("its file is {:?}, expected {:?}", self.fragment, ours[0]));
        }
        let agent = names::agent_service(node);
        for (name, units) in [("BindsTo", &self.binds_to), ("After", &self.after)] {
            if !units.contains(&agent) {
                found.push(format!("{name}={} is missing", agent));
            }
        }
        if !gated(&self.conditions, gate) {
            found.push(format!("ConditionPathExists={} is missing", gate.display()));
        }
        found
    }

    /// Members that are started with the target but not stopped with it.
    pub(super) fn unbound(&self) -> Vec<&str> {
        let bound = |unit: &&String| !self.dependents.contains(unit);
        self.wants.iter().filter(bound).map(String::as_str).collect()
    }
}

fn gated(conditions: &[Condition], gate: &Path) -> bool {
    conditions.iter().any(|condition| {
        condition.name == "ConditionPathExists"
            && !condition.trigger
            && !condition.negated
            && Path::new(&condition.parameter) == gate
    })
}

/// Whether the unit with these properties starts only while `gate` is there.
pub fn is_gated(properties: &Properties, gate: &Path) -> bool {
    gated(&conditions(properties).unwrap_or_default(), gate)
}

/// The units that stop when this one does.
pub(super) fn dependents(properties: &Properties) -> Vec<String> {
    let units = |name| -> Vec<String> { property(properties, name).unwrap_or_default() };
    let mut found: Vec<String> = STOPPED_WITH.into_iter().flat_map(units).collect();
    found.sort();
    found.dedup();
    found
}

fn conditions(properties: &Properties) -> Option<Vec<Condition>> {
    let rows: Vec<OwnedVariant> = {
        let value = properties.get("Conditions")?.try_clone().ok()?;
        let array = zbus::wire::Array::try_from(value).ok()?;
        array.iter().map(|row| row.try_to_owned()).collect::<Result<_, _>>().ok()?
    };
    let read = |row: OwnedVariant| {
        let row: (String, bool, bool, String, i32) = row.try_into().ok()?;
        let (name, trigger, negated, parameter, _) = row;
        Some(Condition { name, trigger, negated, parameter })
    };
    rows.into_iter().map(read).collect()
}

/// A unit that stops with the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    pub name: String,
    pub active: String,
    pub job: Option<u32>,
    pub main_pid: u32,
    pub control_group: String,
}

impl Member {
    pub(super) fn read(name: &str, properties: &Properties) -> Member {
        Member {
            name: name.to_owned(),
            active: active(properties),
            job: job_of(properties),
            main_pid: property(properties, "MainPID").unwrap_or_default(),
            control_group: property(properties, "ControlGroup").unwrap_or_default(),
        }
    }

    /// Whether the manager is still at work on it.
    pub(super) fn is_busy(&self) -> bool {
        self.job.is_some() || !matches!(self.active.as_str(), "active" | "inactive" | "failed")
    }

    /// Why it is not down; `populated` says whether its control group has processes.
    pub(super) fn still_up(&self, populated: bool) -> Option<String> {
        let name = &self.name;
        if !matches!(self.active.as_str(), "inactive" | "failed") {
            Some(format!("{name} is {}", self.active))
        } else if self.job.is_some() {
            Some(format!("{name} has a job"))
        } else if self.main_pid != 0 {
            Some(format!("{name} still has process {}", self.main_pid))
        } else if populated {
            Some(format!("{name} left processes in {}", self.control_group))
        } else {
            None
        }
    }
}
