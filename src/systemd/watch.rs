//! Units that say whether this host is fit: what joins its targets, and what it must not be active
//! without. Looked at whenever the service manager says that one of them changed.
//!
//! Counts the failures of each unit, every run at most once. Says what it saw; whether a failure
//! matters, and what follows, is for others. Without an answer of the manager it says nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::bus::CallError;
use super::manager::{Changes, Properties, SystemdManager, active, property};
use super::names;
use super::target::dependents;
use crate::core::{NodeName, UnitName};
use crate::limits;

/// One unit in one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// `ActiveState`; `not-found` if there is no such unit.
    pub state: String,
    /// How often it has failed since the look before.
    pub failures: u32,
}

/// All of them in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What joins the leader target, by name.
    pub on_leader: Vec<Seen>,
    /// What joins the follower target, by name.
    pub on_follower: Vec<Seen>,
    /// The others that were asked for.
    pub others: Vec<Seen>,
    /// How many there are beyond [`limits::FOLLOWED_UNITS_MAX`]; they are not looked at.
    pub omitted: usize,
}

/// Looks at the units of one node.
#[derive(Debug)]
pub struct UnitWatch {
    manager: SystemdManager,
    targets: [String; 2],
    changes: Changes,
    runs: BTreeMap<String, Runs>,
}

/// What was known of a unit in the look before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Runs {
    /// Names one run.
    invocation: Vec<u8>,
    /// How often it was restarted by itself.
    restarts: u32,
    /// The failure of this run is counted.
    counted: bool,
    /// The same, and it was not restarted since.
    awaits_restart: bool,
}

/// What the manager says about the runs of a unit.
#[derive(Clone, Debug)]
struct Told {
    invocation: Vec<u8>,
    restarts: u32,
    failed: bool,
}

impl UnitWatch {
    /// For the targets of `node`.
    pub fn new(manager: SystemdManager, node: &NodeName) -> UnitWatch {
        let targets = [names::leader_target(node), names::follower_target(node)];
        let changes = manager.unit_changes();
        UnitWatch { manager, targets, changes, runs: BTreeMap::new() }
    }

    /// Waits until something may have changed, or `poll` is over.
    pub async fn changed(&mut self, poll: Duration) {
        self.changes.next(poll).await;
    }

    /// Looks at everything that joins the targets, and at `others`. The failures of a unit that is
    /// seen for the first time are old ones.
    ///
    /// # Errors
    /// If the manager does not answer; nothing is forgotten then.
    pub async fn look(&mut self, others: &[UnitName]) -> Result<Look, CallError> {
        let [leader, follower] = &self.targets;
        let (mut leader, mut follower) =
            (self.members(leader).await?, self.members(follower).await?);
        let room = limits::FOLLOWED_UNITS_MAX - others.len();
        let omitted = (leader.len() + follower.len()).saturating_sub(room);
        leader.truncate(room);
        follower.truncate(room - leader.len());
        let other = others.iter().map(|unit| unit.as_str().to_owned());
        let all: BTreeSet<String> =
            leader.iter().chain(&follower).cloned().chain(other.clone()).collect();
        // BEFORE the look, so that nothing that comes after it is missed.
        self.manager.follow(all.clone());
        let mut seen = BTreeMap::new();
        for name in &all {
            let properties = self.manager.properties(name, "").await?;
            seen.insert(name.clone(), (state(&properties), told(&properties)));
        }
        self.runs.retain(|name, _| all.contains(name));
        let mut found = BTreeMap::new();
        for (name, (state, told)) in seen {
            let failures = self.count(&name, told);
            found.insert(name.clone(), Seen { name, state, failures });
        }
        let pick = |names: Vec<String>| names.iter().map(|name| found[name].clone()).collect();
        Ok(Look {
            on_leader: pick(leader),
            on_follower: pick(follower),
            others: pick(other.collect()),
            omitted,
        })
    }

    /// What joins `target`, sorted: it is started or stopped with it.
    async fn members(&self, target: &str) -> Result<Vec<String>, CallError> {
        let properties = self.manager.properties(target, names::UNIT_INTERFACE).await?;
        let wanted: Vec<String> = property(&properties, "Wants").unwrap_or_default();
        let mut units = dependents(&properties);
        units.extend(wanted);
        // Our own units hang together in ways of their own.
        units.retain(|unit| !unit.starts_with("raftctl@") && !unit.starts_with("raftctl-"));
        units.sort();
        units.dedup();
        Ok(units)
    }

    fn count(&mut self, name: &str, told: Told) -> u32 {
        match self.runs.get_mut(name) {
            Some(runs) => runs.move_on(told),
            None => {
                let Told { invocation, restarts, failed } = told;
                let awaits_restart = failed;
                let runs = Runs { invocation, restarts, counted: failed, awaits_restart };
                self.runs.insert(name.to_owned(), runs);
                0
            }
        }
    }
}

impl Runs {
    /// How many runs have failed since the look before. One that is about to be restarted
    /// (`Result=` says why it ended) and one that was (`NRestarts=` rose) are the same.
    fn move_on(&mut self, told: Told) -> u32 {
        let is_same_run = told.invocation == self.invocation;
        // Lower: it was started anew by hand, which begins the count again.
        let restarts = told.restarts.checked_sub(self.restarts).unwrap_or(told.restarts);
        let is_restarted = restarts > 0;
        let mut failures = restarts.saturating_sub(u32::from(self.awaits_restart));
        let was_counted = is_same_run && (self.counted || is_restarted);
        let is_new = told.failed && !was_counted;
        failures += u32::from(is_new);
        *self = Runs {
            invocation: told.invocation,
            restarts: told.restarts,
            counted: is_new || was_counted,
            awaits_restart: is_new || (self.awaits_restart && is_same_run && !is_restarted),
        };
        failures
    }
}

fn state(properties: &Properties) -> String {
    match property::<String>(properties, "LoadState").as_deref() {
        Some("not-found") => "not-found".to_owned(),
        _ => active(properties),
    }
}

fn told(properties: &Properties) -> Told {
    let result: String = property(properties, "Result").unwrap_or_default();
    Told {
        invocation: property(properties, "InvocationID").unwrap_or_default(),
        restarts: property(properties, "NRestarts").unwrap_or_default(),
        failed: active(properties) == "failed" || !matches!(result.as_str(), "" | "success"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays looks at a unit: its run, its restarts, whether it failed; the failures of each look.
    fn play(looks: &[(u8, u32, bool)]) -> Vec<u32> {
        let told = |&(run, restarts, failed): &(u8, u32, bool)| Told {
            invocation: vec![run; 16],
            restarts,
            failed,
        };
        let first = told(&looks[0]);
        let mut runs = Runs {
            invocation: first.invocation,
            restarts: first.restarts,
            counted: first.failed,
            awaits_restart: first.failed,
        };
        looks[1..].iter().map(|look| runs.move_on(told(look))).collect()
    }

    #[test]
    fn every_run_fails_once() {
        // Without Restart=: it fails, stays so, and is started again by hand.
        let looks = [(1, 0, false), (1, 0, true), (1, 0, true), (2, 0, false), (2, 0, true)];
        assert_eq!(play(&looks), [1, 0, 0, 1]);
        // An old failure is none, one of the next run is.
        assert_eq!(play(&[(1, 0, true), (1, 0, true), (2, 0, true)]), [0, 1]);
        // With Restart=, seen at every step.
        let looks = [(1, 0, false), (1, 0, true), (1, 1, true), (2, 1, false), (2, 1, true)];
        assert_eq!(play(&looks), [1, 0, 0, 1]);
        // The restart itself was not seen.
        assert_eq!(play(&[(1, 0, false), (1, 0, true), (2, 1, false)]), [1, 0]);
        // Nor the failure.
        assert_eq!(play(&[(1, 0, false), (2, 1, false), (3, 2, false)]), [1, 1]);
        assert_eq!(play(&[(1, 0, false), (1, 1, true), (2, 1, false)]), [1, 0]);
        assert_eq!(play(&[(1, 0, false), (1, 1, true), (3, 2, false)]), [1, 1]);
        // Several at once, and the last one failed as well.
        assert_eq!(play(&[(1, 0, false), (4, 3, false)]), [3]);
        assert_eq!(play(&[(1, 0, false), (4, 3, true), (5, 4, false)]), [4, 0]);
        // Started by hand in between, which begins the count of restarts again.
        assert_eq!(play(&[(1, 7, false), (2, 0, false), (3, 1, false)]), [0, 1]);
    }
}
