//! What units say about the standing of this host.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::Settings;
use crate::core::UnitName;
use crate::core::authority::Phase;
use crate::core::standing::HoldDown;
use crate::limits;
use crate::node::status::{NodeStatus, UnitStatus};
use crate::systemd::watch::{Look, Seen, UnitWatch};

/// One look, with what was going on.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) look: Look,
    /// This node was active, or about to be.
    pub(super) is_active: bool,
}

/// Looks at the units until nobody wants to know any more.
pub(super) async fn follow(
    mut watch: UnitWatch,
    mut status: watch::Receiver<Arc<NodeStatus>>,
    mut settings: watch::Receiver<Arc<Settings>>,
    observed: mpsc::Sender<Observed>,
) {
    // What was seen last time counts: a failure may be the very reason why it is over.
    let mut was_active = false;
    loop {
        let others = settings.borrow_and_update().eligible_while.clone();
        let is_active = runs_members(&status.borrow_and_update());
        match watch.look(&others).await {
            Ok(look) => {
                let observed = observed.send(Observed { look, is_active: is_active || was_active });
                if observed.await.is_err() {
                    return;
                }
                was_active = is_active;
            }
            Err(error) => {
                was_active |= is_active;
                tracing::debug!("cannot look at the units of this node: {error}, ignoring");
            }
        }
        sleep(limits::FOLLOWED_UNITS_PAUSE).await;
        tokio::select! {
            () = watch.changed(limits::FOLLOWED_UNITS_POLL) => {}
            _ = status.wait_for(|status| runs_members(status) != is_active) => {}
            changed = settings.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether the members of the leader target run, or are being started.
fn runs_members(status: &NodeStatus) -> bool {
    matches!(status.phase, Phase::Starting | Phase::Active)
}

/// What is known of the units.
#[derive(Debug)]
pub(super) struct Known {
    /// There is somebody to ask.
    is_watched: bool,
    look: Option<Look>,
}

impl Known {
    pub(super) fn new(is_watched: bool) -> Known {
        Known { is_watched, look: None }
    }

    /// Takes a look; the members of the leader target that failed while this node was active, each
    /// as often as it did.
    pub(super) fn take(&mut self, observed: Observed) -> Vec<String> {
        let Observed { look, is_active } = observed;
        let failed = |seen: &Seen| vec![seen.name.clone(); seen.failures as usize];
        let failures = match is_active {
            true => look.on_leader.iter().flat_map(failed).collect(),
            false => Vec::new(),
        };
        self.look = Some(look);
        failures
    }

    /// Adds what speaks against this host being active.
    pub(super) fn reasons(&self, needed: &[UnitName], reasons: &mut Vec<String>) {
        if !self.is_watched {
            return;
        }
        for unit in needed {
            let seen = self.look.iter().flat_map(|look| &look.others);
            match seen.into_iter().find(|seen| seen.name == unit.as_str()) {
                None => reasons.push(format!("the state of unit {unit} is not known yet")),
                Some(seen) if is_running(&seen.state) => {}
                Some(seen) if seen.state == "not-found" => {
                    reasons.push(format!("unit {unit} does not exist"));
                }
                Some(seen) => reasons.push(format!("unit {unit} is {}", seen.state)),
            }
        }
    }

    /// What an operator should put right.
    pub(super) fn warnings(&self, needed: &[UnitName]) -> Vec<String> {
        let names: Vec<&str> = needed.iter().map(UnitName::as_str).collect();
        if !self.is_watched {
            let warning = format!(
                "[eligibility] eligible_while is not watched, since systemd did not start this \
                 agent: {}",
                names.join(", ")
            );
            return if names.is_empty() { Vec::new() } else { vec![warning] };
        }
        let Some(look) = &self.look else { return Vec::new() };
        let joins = look.on_leader.iter().filter(|seen| names.contains(&seen.name.as_str()));
        let joins = joins.map(|seen| {
            format!(
                "unit {} of eligible_while joins the leader target: it never runs before this \
                 node is active, so this node never is",
                seen.name
            )
        });
        let mut warnings: Vec<String> = joins.collect();
        if look.omitted > 0 {
            let (omitted, most) = (look.omitted, limits::FOLLOWED_UNITS_MAX);
            warnings.push(format!("{omitted} units beyond {most} are not watched for failures"));
        }
        warnings
    }

    /// The members, for everybody to see.
    pub(super) fn told(&self, failures: &HoldDown) -> Vec<UnitStatus> {
        let Some(look) = &self.look else { return Vec::new() };
        let told = |on_leader| {
            move |seen: &Seen| UnitStatus {
                name: seen.name.clone(),
                on_leader,
                state: seen.state.clone(),
                failures: if on_leader { failures.count(&seen.name) } else { 0 },
            }
        };
        let on_leader = look.on_leader.iter().map(told(true));
        let mut units: Vec<UnitStatus> =
            on_leader.chain(look.on_follower.iter().map(told(false))).collect();
        units.sort_by(|a, b| a.name.cmp(&b.name));
        units
    }
}

/// One that reloads goes on with its work (org.freedesktop.systemd1(5), `ActiveState`); one that is
/// being started does not do it yet.
fn is_running(state: &str) -> bool {
    matches!(state, "active" | "reloading" | "refreshing")
}
