//! A unit as the fake service manager shows it.

use std::collections::HashMap;
use std::path::Path;

use raftctl::systemd::names::unit_path;
use zbus::{ObjectPath, Variant};

use super::MEMBER;

/// Everything that is asked of a unit.
#[derive(Clone, Debug)]
pub struct Unit {
    pub load: &'static str,
    pub active: &'static str,
    /// Number and type.
    pub job: Option<(u32, &'static str)>,
    pub condition: bool,
    pub invocation: u8,
    pub fragment: &'static str,
    pub binds_to: Vec<&'static str>,
    pub after: Vec<&'static str>,
    /// Name, trigger, negated, parameter, and what came of it.
    pub conditions: Vec<(String, bool, bool, String, i32)>,
    pub bound_by: Vec<&'static str>,
    /// Wanted, but not bound.
    pub wants: Vec<&'static str>,
    pub part_of: Vec<&'static str>,
    pub watchdog_usec: u64,
    pub watchdog_signal: i32,
    pub job_timeout_usec: u64,
    pub job_timeout_action: &'static str,
    pub main_pid: u32,
    pub control_group: String,
    pub result: &'static str,
    pub status: i32,
    pub restarts: u32,
}

impl Unit {
    pub fn inactive() -> Unit {
        Unit {
            load: "loaded",
            active: "inactive",
            job: None,
            condition: false,
            invocation: 0,
            fragment: "",
            binds_to: vec![],
            after: vec![],
            conditions: vec![],
            bound_by: vec![],
            wants: vec![],
            part_of: vec![],
            watchdog_usec: 0,
            watchdog_signal: 6,
            job_timeout_usec: u64::MAX,
            job_timeout_action: "none",
            main_pid: 0,
            control_group: String::new(),
            result: "success",
            status: 0,
            restarts: 0,
        }
    }

    /// The leader target as the package installs it, with one member.
    pub fn leader(gate: &Path) -> Unit {
        let gate = gate.to_str().unwrap().to_owned();
        Unit {
            fragment: "/lib/systemd/system/raftctl-leader@.target",
            binds_to: vec!["raftctl@n1.service"],
            after: vec!["raftctl@n1.service", "sysinit.target"],
            conditions: vec![("ConditionPathExists".to_owned(), false, false, gate, 0)],
            bound_by: vec![MEMBER],
            ..Unit::inactive()
        }
    }

    pub fn properties(&self) -> HashMap<&'static str, Variant<'static>> {
        let (job, path) = match self.job {
            Some((number, _)) => (number, job_path(number)),
            None => (0, "/".to_owned()),
        };
        let path = ObjectPath::try_from(path).unwrap();
        HashMap::from([
            ("LoadState", Variant::from(self.load)),
            ("ActiveState", Variant::from(self.active)),
            ("Job", Variant::from((job, path))),
            ("ConditionResult", Variant::from(self.condition)),
            ("InvocationID", Variant::from(vec![self.invocation; 16])),
            ("FragmentPath", Variant::from(self.fragment)),
            ("NeedDaemonReload", Variant::from(false)),
            ("BindsTo", Variant::from(self.binds_to.clone())),
            ("After", Variant::from(self.after.clone())),
            ("Conditions", Variant::from(self.conditions.clone())),
            ("Wants", Variant::from([&self.bound_by[..], &self.wants].concat())),
            ("PartOf", Variant::from(self.part_of.clone())),
            ("WatchdogUSec", Variant::from(self.watchdog_usec)),
            ("WatchdogSignal", Variant::from(self.watchdog_signal)),
            ("JobTimeoutUSec", Variant::from(self.job_timeout_usec)),
            ("JobTimeoutAction", Variant::from(self.job_timeout_action)),
            ("BoundBy", Variant::from(self.bound_by.clone())),
            ("MainPID", Variant::from(self.main_pid)),
            ("ControlGroup", Variant::from(self.control_group.clone())),
            ("Result", Variant::from(self.result)),
            ("ExecMainStatus", Variant::from(self.status)),
            ("NRestarts", Variant::from(self.restarts)),
        ])
    }

    /// A row of `ListUnitsByNames`.
    pub fn row(&self, name: &str) -> Row {
        let (number, kind) = self.job.unwrap_or((0, ""));
        let path = |text: String| ObjectPath::try_from(text).unwrap();
        let job = if number == 0 { "/".to_owned() } else { job_path(number) };
        let text = str::to_owned;
        (
            text(name),
            text("a unit"),
            text(self.load),
            text(self.active),
            text(self.active),
            text(""),
            path(unit_path(name)),
            number,
            text(kind),
            path(job),
        )
    }
}

pub type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    ObjectPath<'static>,
    u32,
    String,
    ObjectPath<'static>,
);

pub fn job_path(number: u32) -> String {
    format!("/org/freedesktop/systemd1/job/{number}")
}
