//! Why a unit cannot join a target, as sentences with what to do; plain values, no files and no
//! calls.

use std::path::PathBuf;

use super::dropin::Wish;
use super::place::Present;
use super::unit::{Facts, On};
use crate::systemd::names;

/// Everything the judgement is about.
#[derive(Debug)]
pub struct Case<'a> {
    /// What is wanted.
    pub wish: &'a Wish,
    /// What is known of the unit.
    pub facts: &'a Facts,
    /// What is in the place of its drop-in.
    pub present: &'a Present,
    /// The units to which links start it.
    pub links: &'a [(String, PathBuf)],
    /// Whether the target is up; `None` where no service manager was asked.
    pub target_up: Option<bool>,
    /// Whether what starts it elsewhere will be removed, and what runs stopped.
    pub disable: bool,
}

/// What is wrong, and what should be known.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Why it cannot be.
    pub refused: Vec<String>,
    /// What it can do without.
    pub warnings: Vec<String>,
}

/// Judges `case`.
pub fn judge(case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let unit = &case.wish.unit;
    if unit.is_own() {
        verdict.refused.push(format!("{unit} is a unit of raftctl itself: expected another one"));
    } else if unit.is_template() {
        let kind = unit.as_str().replacen('@', "@INSTANCE", 1);
        verdict.refused.push(format!(
            "{unit} is a template, from which units are made: expected one of them, {kind}"
        ));
    } else if let Some(problem) = not_loaded(case.facts) {
        verdict.refused.push(problem);
    } else {
        verdict.refused.extend(elsewhere(case));
        verdict.refused.extend(attached_elsewhere(case));
        verdict.refused.extend(order(case));
        verdict.refused.extend(running(case));
        verdict.warnings.extend(warnings(case));
    }
    verdict
}

/// Why there is no unit that could be bound.
fn not_loaded(facts: &Facts) -> Option<String> {
    let (unit, error) = (&facts.name, &facts.load_error);
    let because = if error.is_empty() { String::new() } else { format!(" ({error})") };
    Some(match (facts.load.as_str(), facts.file_state.as_str()) {
        ("masked", _) | (_, "masked" | "masked-runtime") => {
            format!("{unit} is masked, so nothing can start it: `systemctl unmask {unit}` first")
        }
        ("not-found", _) => format!(
            "{unit} was not found: expected an installed unit; `systemctl list-unit-files` has them"
        ),
        ("loaded", "generated") => format!(
            "{unit} is made by a generator from {}: expected a unit with a file of its own, which \
             can be enabled",
            facts.fragment
        ),
        ("loaded", _) if facts.transient => format!(
            "{unit} was made by a running program and has no file: expected an installed unit"
        ),
        ("loaded", _) => return None,
        (load, _) => format!(
            "{unit} cannot be used, it is {load:?}{because}: `systemd-analyze verify {unit}` says \
             what is wrong with it"
        ),
    })
}

/// What starts it at boot.
fn elsewhere(case: &Case<'_>) -> Option<String> {
    let (unit, target) = (&case.facts.name, case.wish.target());
    let others = case.links.iter().filter(|(of, _)| *of != target && !is_role_target(of));
    let mut others: Vec<&str> = others.map(|(of, _)| of.as_str()).collect();
    others.dedup();
    (!others.is_empty() && !case.disable).then(|| {
        let others = others.join(", ");
        format!(
            "{unit} is enabled to start with {others}, on every host at boot: `systemctl disable \
             --now {unit}` first, or say --disable"
        )
    })
}

/// A target of any node of ours.
pub fn is_role_target(unit: &str) -> bool {
    unit.starts_with("raftctl-leader@") || unit.starts_with("raftctl-follower@")
}

/// What it is a member of already.
fn attached_elsewhere(case: &Case<'_>) -> Option<String> {
    let (unit, target) = (&case.facts.name, case.wish.target());
    if *case.present == Present::Foreign {
        return Some(format!(
            "{unit} has a drop-in {} that raftctl attach did not write: move it away first",
            super::dropin::FILE_NAME
        ));
    }
    let linked = case.links.iter().map(|(of, _)| of);
    let bound = case.facts.binds_to.iter().chain(linked);
    let other = bound.into_iter().find(|of| is_role_target(of) && **of != target)?;
    Some(format!("{unit} is attached to {other} already: `raftctl detach {unit}` first"))
}

/// Whether the target would have to wait for the unit, which waits for the target.
fn order(case: &Case<'_>) -> Option<String> {
    let (unit, node) = (&case.facts.name, &case.wish.node);
    let (target, agent) = (case.wish.target(), names::agent_service(node));
    let needs = |name: &String| {
        *name == target
            || *name == agent
            || *name == format!("raftctl@{node}.socket")
            || BEFORE_AGENT.contains(&name.as_str())
    };
    let known = case.facts.in_the_way.as_ref();
    let at = known.or_else(|| case.facts.before.iter().find(|name| needs(name)))?;
    Some(format!(
        "{unit} is ordered before {at}, which has to be up before {target}: it would wait for \
         itself; expected a unit without Before={at}"
    ))
}

/// What comes before the agent on every host.
pub const BEFORE_AGENT: [&str; 6] = [
    "network.target",
    "basic.target",
    "sysinit.target",
    "sockets.target",
    "dbus.service",
    "polkit.service",
];

/// Whether it runs where it may not.
fn running(case: &Case<'_>) -> Option<String> {
    let up = !matches!(case.facts.active.as_str(), "" | "inactive" | "failed");
    let (unit, node) = (&case.facts.name, &case.wish.node);
    (up && case.target_up == Some(false) && !case.disable).then(|| {
        let why = match case.wish.on {
            On::Leader => format!("node {node} is not active"),
            On::Follower => format!("node {node} does not stand by"),
        };
        format!("{unit} runs here, and {why}: `systemctl stop {unit}` first, or say --disable")
    })
}

fn warnings(case: &Case<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let unit = &case.facts.name;
    if !case.facts.triggered_by.is_empty() {
        found.push(format!(
            "{} starts {unit} too, which fails where the target is down: attach it as well, or \
             disable it",
            case.facts.triggered_by.join(", ")
        ));
    }
    if !case.facts.killed_at_last && case.wish.on == On::Leader {
        found.push(format!(
            "{unit} has SendSIGKILL=no: if it does not stop by itself, the fence has to end it"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::unit::StopTimeout;
    use super::*;

    struct Scene {
        wish: Wish,
        facts: Facts,
        present: Present,
        links: Vec<(String, PathBuf)>,
        target_up: Option<bool>,
        disable: bool,
    }

    fn scene(unit: &str) -> Scene {
        let name: super::super::unit::UnitName = unit.parse().unwrap();
        let facts = Facts {
            name: name.clone(),
            aliases: vec![name.to_string()],
            load: "loaded".to_owned(),
            load_error: String::new(),
            file_state: "disabled".to_owned(),
            fragment: format!("/usr/lib/systemd/system/{name}"),
            transient: false,
            active: "inactive".to_owned(),
            binds_to: Vec::new(),
            before: vec!["shutdown.target".to_owned()],
            in_the_way: None,
            triggered_by: Vec::new(),
            stop_timeout: StopTimeout::After(Duration::from_secs(90)),
            killed_at_last: true,
        };
        let (node, limit) = ("n1".parse().unwrap(), Duration::from_millis(1200));
        Scene {
            wish: Wish { unit: name, node, on: On::Leader, limit },
            facts,
            present: Present::Nothing,
            links: Vec::new(),
            target_up: Some(false),
            disable: false,
        }
    }

    impl Scene {
        fn judge(&self) -> Verdict {
            judge(&Case {
                wish: &self.wish,
                facts: &self.facts,
                present: &self.present,
                links: &self.links,
                target_up: self.target_up,
                disable: self.disable,
            })
        }

        fn edit(unit: &str, edit: impl FnOnce(&mut Scene)) -> Vec<String> {
            let mut scene = scene(unit);
            edit(&mut scene);
            scene.judge().refused
        }
    }

    fn link(of: &str) -> (String, PathBuf) {
        (of.to_owned(), PathBuf::from(format!("/etc/systemd/system/{of}.wants")))
    }

    #[test]
    fn an_ordinary_service_can_join() {
        let verdict = scene("nginx").judge();
        assert!(verdict.refused.is_empty() && verdict.warnings.is_empty(), "{verdict:?}");
        // Again, with what the first time has left.
        let again = Scene::edit("nginx", |scene| {
            scene.links = vec![link("raftctl-leader@n1.target")];
            scene.facts.binds_to = vec!["raftctl-leader@n1.target".to_owned()];
            (scene.target_up, scene.facts.active) = (Some(true), "active".to_owned());
        });
        assert!(again.is_empty(), "{again:?}");
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_way_out() {
        type Edit = fn(&mut Scene);
        let cases: &[(&str, Edit, &[&str])] = &[
            ("pg@", |_| {}, &["pg@.service is a template", "pg@INSTANCE.service"]),
            ("raftctl@n1", |_| {}, &["a unit of raftctl itself"]),
            ("raftctl-leader@n1.target", |_| {}, &["a unit of raftctl itself"]),
            ("x", |s| s.facts.load = "not-found".into(), &["x.service was not found"]),
            ("x", |s| s.facts.load = "masked".into(), &["systemctl unmask x.service"]),
            ("x", |s| s.facts.file_state = "masked-runtime".into(), &["systemctl unmask"]),
            ("x", |s| s.facts.file_state = "generated".into(), &["made by a generator"]),
            ("x", |s| s.facts.transient = true, &["made by a running program"]),
            (
                "x",
                |s| {
                    s.facts.load = "bad-setting".into();
                    s.facts.load_error = "no ExecStart=".into();
                },
                &["bad-setting", "no ExecStart=", "systemd-analyze verify x.service"],
            ),
            (
                "x",
                |s| s.links = vec![link("multi-user.target")],
                &["with multi-user.target", "disable --now x.service", "--disable"],
            ),
            (
                "x",
                |s| s.facts.binds_to = vec!["raftctl-leader@n2.target".into()],
                &["attached to raftctl-leader@n2.target", "raftctl detach x.service"],
            ),
            (
                "x",
                |s| s.links = vec![link("raftctl-follower@n1.target")],
                &["attached to raftctl-follower@n1.target"],
            ),
            ("x", |s| s.present = Present::Foreign, &["50-raftctl.conf", "did not write"]),
            (
                "x",
                |s| s.facts.before = vec!["raftctl-leader@n1.target".into()],
                &["before raftctl-leader@n1.target", "wait for itself"],
            ),
            ("x", |s| s.facts.before = vec!["raftctl@n1.service".into()], &["wait for itself"]),
            ("x", |s| s.facts.before = vec!["network.target".into()], &["network.target"]),
            ("x", |s| s.facts.in_the_way = Some("y.service".into()), &["before y.service"]),
            ("x", |s| s.facts.active = "active".into(), &["runs here", "systemctl stop x.service"]),
        ];
        for (unit, edit, expected) in cases {
            let refused = Scene::edit(unit, edit);
            assert_eq!(refused.len(), 1, "{refused:?}");
            for part in *expected {
                assert!(refused[0].contains(part), "{part}: {refused:?}");
            }
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let refused = Scene::edit("x", |scene| {
            scene.links = vec![link("multi-user.target")];
            scene.facts.active = "active".to_owned();
            scene.facts.before = vec!["basic.target".to_owned()];
        });
        assert_eq!(refused.len(), 3, "{refused:?}");
        let rest = Scene::edit("x", |scene| {
            scene.links = vec![link("multi-user.target")];
            (scene.facts.active, scene.disable) = ("active".to_owned(), true);
        });
        assert!(rest.is_empty(), "{rest:?}");
    }

    #[test]
    fn what_can_be_lived_with_is_a_warning() {
        let mut scene = scene("x");
        scene.facts.triggered_by = vec!["x.socket".to_owned()];
        scene.facts.killed_at_last = false;
        let warnings = scene.judge().warnings;
        assert!(warnings[0].contains("x.socket starts x.service too"), "{warnings:?}");
        assert!(warnings[1].contains("SendSIGKILL=no"), "{warnings:?}");
    }
}
