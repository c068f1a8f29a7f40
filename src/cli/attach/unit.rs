//! What is known of a unit before it joins a target, and which names a unit can have.

use std::time::Duration;

use crate::core::NodeName;
use crate::systemd::names;

/// Kinds of units that can join a target, with the section and the setting that bound their stop.
const KINDS: &[(&str, Option<(&str, &str)>)] = &[
    ("service", Some(("Service", "TimeoutStopSec"))),
    ("socket", Some(("Socket", "TimeoutSec"))),
    ("mount", Some(("Mount", "TimeoutSec"))),
    ("swap", Some(("Swap", "TimeoutSec"))),
    ("automount", None),
    ("timer", None),
    ("path", None),
    ("target", None),
];

/// Longest name of a unit, in bytes (systemd.unit(5)).
const NAME_MAX: usize = 255;

/// The name of a unit that can join a target; safe as the name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitName(String);

impl UnitName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The section and the setting that bound the stop of this kind of unit, if there is one.
    pub fn stop_setting(&self) -> Option<(&'static str, &'static str)> {
        let kind = self.0.rsplit('.').next();
        KINDS.iter().find(|(name, _)| Some(*name) == kind).and_then(|(_, setting)| *setting)
    }

    /// For `name@instance.kind` the name of the template, `name@.kind`.
    pub fn template(&self) -> Option<String> {
        let (prefix, rest) = self.0.split_once('@')?;
        let kind = rest.rsplit('.').next()?;
        Some(format!("{prefix}@.{kind}"))
    }

    /// Whether it is a template: a file from which units are made, not a unit.
    pub fn is_template(&self) -> bool {
        self.template().as_deref() == Some(&self.0)
    }

    /// Whether the unit is one of this package.
    pub fn is_own(&self) -> bool {
        let name = &self.0;
        name.starts_with("raftctl@")
            || ["leader", "follower", "deadline", "event", "fence"]
                .iter()
                .any(|part| name.starts_with(&format!("raftctl-{part}@")))
    }
}

impl std::str::FromStr for UnitName {
    type Err = String;

    /// Without a suffix, a service is meant, as for systemctl(1).
    fn from_str(text: &str) -> Result<UnitName, String> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b":-_.\\@".contains(&c);
        let kind = |name: &str| {
            let (prefix, kind) = name.rsplit_once('.')?;
            (!prefix.is_empty()).then(|| kind.to_owned())
        };
        let known = |kind: &str| KINDS.iter().any(|(name, _)| *name == kind);
        let other = ["device", "slice", "scope", "snapshot"];
        let name = match kind(text) {
            Some(kind) if known(&kind) || other.contains(&kind.as_str()) => text.to_owned(),
            _ => format!("{text}.service"),
        };
        let bad = |expected: &str| Err(format!("{text:?}: expected {expected}"));
        if text.is_empty() || text.starts_with(['.', '@', '-']) || !text.bytes().all(allowed) {
            return bad("the name of a unit, for example nginx.service");
        }
        if name.len() > NAME_MAX || name.matches('@').count() > 1 {
            return bad("the name of a unit: one @ at most, and at most 255 characters");
        }
        let kind = kind(&name).unwrap_or_default();
        if !known(&kind) {
            let kinds: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
            return bad(&format!("a unit that can be bound to a target: {}", kinds.join(", ")));
        }
        Ok(UnitName(name))
    }
}

impl std::fmt::Display for UnitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which target of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum On {
    /// The target of the active host.
    Leader,
    /// The target of the hosts that stand by.
    Follower,
}

impl On {
    /// The target of `node`.
    pub fn target(self, node: &NodeName) -> String {
        match self {
            On::Leader => names::leader_target(node),
            On::Follower => names::follower_target(node),
        }
    }

    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            On::Leader => "leader",
            On::Follower => "follower",
        }
    }
}

/// How long a unit may take to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopTimeout {
    /// This kind of unit has none.
    None,
    /// As long as it takes.
    Infinite,
    /// So long.
    After(Duration),
}

/// What is known of a unit.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name, which is another one than was asked for if that was an alias.
    pub name: UnitName,
    /// All its names.
    pub aliases: Vec<String>,
    /// `LoadState` of the service manager.
    pub load: String,
    /// Why it could not be loaded.
    pub load_error: String,
    /// `UnitFileState` of the service manager.
    pub file_state: String,
    /// Its file.
    pub fragment: String,
    /// Whether it was made by a program and has no file of its own.
    pub transient: bool,
    /// `ActiveState`; empty where no service manager was asked.
    pub active: String,
    /// What it is bound to.
    pub binds_to: Vec<String>,
    /// What it is ordered before.
    pub before: Vec<String>,
    /// What it is ordered before and the target has to wait for, as the service manager knows it.
    pub in_the_way: Option<String>,
    /// Sockets, timers and paths that start it.
    pub triggered_by: Vec<String>,
    /// How long its stop may take.
    pub stop_timeout: StopTimeout,
    /// Whether what does not stop is killed in the end (`SendSIGKILL=`).
    pub killed_at_last: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units_are_names_of_files_and_nothing_else() {
        for (text, name) in [
            ("nginx", "nginx.service"),
            ("nginx.service", "nginx.service"),
            ("org.example.Thing", "org.example.Thing.service"),
            ("srv-data.mount", "srv-data.mount"),
            ("pg@16-main", "pg@16-main.service"),
            ("dev-a\\x2db.swap", "dev-a\\x2db.swap"),
        ] {
            assert_eq!(text.parse::<UnitName>().unwrap().as_str(), name);
        }
        let long = "x".repeat(250);
        for wrong in [
            "",
            ".",
            "..",
            "../etc",
            "a/b.service",
            "a b",
            "a\nb",
            "@.service",
            "-x",
            "a@b@c",
            ".service",
            "ü",
            "system.slice",
            "session-1.scope",
            "dev-sda.device",
            "a\0",
            "%i",
            &long,
        ] {
            assert!(wrong.parse::<UnitName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn templates_and_own_units_are_known() {
        let unit = |text: &str| text.parse::<UnitName>().unwrap();
        assert_eq!(unit("pg@16.service").template().as_deref(), Some("pg@.service"));
        assert!(unit("pg@.service").is_template() && !unit("pg@1.service").is_template());
        assert!(unit("raftctl@n1.service").is_own() && unit("raftctl-leader@n1.target").is_own());
        assert!(!unit("raftctl-exporter.service").is_own());
        assert_eq!(unit("a.mount").stop_setting(), Some(("Mount", "TimeoutSec")));
        assert_eq!(unit("a.timer").stop_setting(), None);
    }
}
