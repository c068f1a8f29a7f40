//! What the service manager says of a unit and of its order relative to a target.

use std::collections::BTreeSet;
use std::time::Duration;

use super::unit::{Facts, StopTimeout, UnitName};
use crate::cli::exit::Failure;
use crate::cli::service_manager::{Properties, ServiceManager, property};
use crate::limits;

/// What is known of `unit`, which is to come after `target`.
pub async fn facts(
    manager: &ServiceManager,
    unit: &UnitName,
    target: &str,
) -> Result<Facts, Failure> {
    let mut facts = read(unit, &manager.properties(unit.as_str()).await?);
    if facts.load == "loaded" {
        facts.in_the_way = in_the_way(manager, &facts.before, target).await?;
    }
    Ok(facts)
}

/// Whether `target` is up.
pub async fn is_up(manager: &ServiceManager, target: &str) -> Result<bool, Failure> {
    let state: Option<String> = property(&manager.properties(target).await?, "ActiveState");
    Ok(state.is_some_and(|state| state == "active"))
}

/// What the manager's `properties` of the unit that was asked for as `unit` say.
pub fn read(unit: &UnitName, properties: &Properties) -> Facts {
    let text = |name| property::<String>(properties, name).unwrap_or_default();
    let list = |name| property::<Vec<String>>(properties, name).unwrap_or_default();
    let error: Option<(String, String)> = property(properties, "LoadError");
    let timeout = match unit.stop_setting() {
        None => StopTimeout::None,
        Some((_, setting)) => {
            let name = setting.replace("Sec", "USec");
            match property::<u64>(properties, &name) {
                None | Some(u64::MAX) => StopTimeout::Infinite,
                Some(usec) => StopTimeout::After(Duration::from_micros(usec)),
            }
        }
    };
    Facts {
        // An alias: the drop-in has to be where the unit is.
        name: text("Id").parse().unwrap_or_else(|_| unit.clone()),
        aliases: list("Names"),
        load: text("LoadState"),
        load_error: error.map(|(_, message)| message).unwrap_or_default(),
        file_state: text("UnitFileState"),
        fragment: text("FragmentPath"),
        transient: property(properties, "Transient").unwrap_or(false),
        active: text("ActiveState"),
        binds_to: list("BindsTo"),
        before: list("Before"),
        in_the_way: None,
        triggered_by: list("TriggeredBy"),
        stop_timeout: timeout,
        killed_at_last: property(properties, "SendSIGKILL").unwrap_or(true),
    }
}

/// One of the units `before` which the new member is ordered, for which `target` waits, directly or
/// through others. Asks only about those: the member itself, which nothing needs yet, may be
/// forgotten by the manager between two questions, and with it what others know of it.
async fn in_the_way(
    manager: &ServiceManager,
    before: &[String],
    target: &str,
) -> Result<Option<String>, Failure> {
    let mut seen = BTreeSet::from([target.to_owned()]);
    let mut left = vec![target.to_owned()];
    while let Some(name) = left.pop() {
        if before.contains(&name) {
            return Ok(Some(name));
        }
        for earlier in manager.units(&name, "After").await? {
            if seen.len() < limits::CLIENT_ORDER_UNITS_MAX && seen.insert(earlier.clone()) {
                left.push(earlier);
            }
        }
    }
    Ok(None)
}
