//! The units that stop with the leader target, found and looked at, one after the other.

use std::path::Path;

use super::bus::CallError;
use super::cgroup;
use super::manager::SystemdManager;
use super::target::{Member, dependents};
use crate::limits;

/// One look at one unit.
#[derive(Debug)]
pub(super) struct Seen {
    pub name: String,
    /// What the manager says.
    pub state: Result<Member, CallError>,
    /// Whether its control group has processes; what cannot be read counts as populated.
    pub populated: bool,
}

impl Seen {
    /// Why it is not known to be down.
    pub(super) fn still_up(&self) -> Option<String> {
        match &self.state {
            Ok(member) => member.still_up(self.populated),
            Err(error) => Some(format!("{} is not known to be down: {error}", self.name)),
        }
    }

    /// Whether the manager is still at work on it, or may be.
    pub(super) fn is_busy(&self) -> bool {
        match &self.state {
            Ok(member) => member.is_busy(),
            Err(error) => matches!(error, CallError::Unknown { .. }),
        }
    }

    /// Its control group, if there is one.
    pub(super) fn control_group(&self) -> Option<&str> {
        let group = self.state.as_ref().ok().map(|member| member.control_group.as_str());
        group.filter(|group| !group.is_empty())
    }
}

/// Looks at `units`, at what stops with them, and so on. `leader`, with which all of them stop, is
/// passed over.
///
/// # Errors
/// If there are more than [`limits::HOST_MEMBERS_MAX`].
pub(super) async fn look_at_all(
    manager: &SystemdManager,
    cgroup_root: &Path,
    leader: &str,
    units: &[String],
) -> Result<Vec<Seen>, String> {
    let (mut names, mut all) = (units.to_vec(), Vec::new());
    while all.len() < names.len() {
        if names.len() > limits::HOST_MEMBERS_MAX {
            let max = limits::HOST_MEMBERS_MAX;
            return Err(format!("{} units depend on it, over {max}", names.len()));
        }
        let (seen, further) = look_at(manager, cgroup_root, &names[all.len()]).await;
        all.push(seen);
        for name in further {
            if name != leader && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(all)
}

/// Looks at `unit`; what stops with it comes as well.
pub(super) async fn look_at(
    manager: &SystemdManager,
    cgroup_root: &Path,
    unit: &str,
) -> (Seen, Vec<String>) {
    let name = unit.to_owned();
    let properties = match manager.properties(unit, "").await {
        Ok(properties) => properties,
        Err(error) => return (Seen { name, state: Err(error), populated: true }, Vec::new()),
    };
    let member = Member::read(unit, &properties);
    let group = &member.control_group;
    let populated = cgroup::populated(cgroup_root, group).unwrap_or_else(|error| {
        tracing::error!("cannot read control group {group}: {error}");
        true
    });
    (Seen { name, state: Ok(member), populated }, dependents(&properties))
}
