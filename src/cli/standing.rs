//! `raftctl maintenance`, `clear`, `pause` and `resume`: whether a host, or the whole cluster, may
//! be active. The agent does it; this says what happened and what comes next.

use super::discover::Found;
use super::exit::{Exit, Failure};
use super::leader::{Deed, ask_leader};
use super::output::{Format, print};
use super::password::PasswordAgent;
use crate::core::NodeName;
use crate::dbus::client::{Client, ClientError, block_on};
use crate::dbus::describe::Describe;

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// Out of service.
    On,
    /// In service again.
    Off,
}

/// Takes the host of `node` out of service, or puts it back.
pub fn maintenance(
    found: &Found,
    format: Format,
    switch: Switch,
    node: Option<&NodeName>,
) -> Result<Exit, Failure> {
    let on = switch == Switch::On;
    let command = if on { "raftctl maintenance on" } else { "raftctl maintenance off" };
    let (before, after) = block_on(async {
        let client = found.only(node, command).await?;
        let before = client.describe().await?;
        let _asks = PasswordAgent::start(&client);
        client.set_maintenance(on).await?;
        // It has been done, whether or not the agent still says how it goes.
        let after = client.describe().await.unwrap_or_else(|_| before.clone());
        Ok::<_, Failure>((before, after))
    })?;
    let name = &before.name;
    let json = format.json(&serde_json::json!({ "node": name, "maintenance": on }));
    let text = || match (on, before.maintenance) {
        (true, true) => format!("{name} was out of service already; it stays so\n"),
        (true, false) if before.active => format!(
            "{name} is out of service: it stops what it runs and hands over now\n\
             Next: raftctl status; raftctl maintenance off {name} puts it back\n"
        ),
        (true, false) => format!(
            "{name} is out of service: it does not become active, also after a restart\n\
             Next: raftctl maintenance off {name} puts it back\n"
        ),
        (false, false) => format!("{name} was not out of service; nothing to do\n"),
        (false, true) => format!("{name} is in service again{}\n", still(&after)),
    };
    print(&json.unwrap_or_else(text))?;
    Ok(Exit::Ok)
}

/// What else keeps a host from being active.
fn still(state: &Describe) -> String {
    let others: Vec<_> = state.ineligible.iter().filter(|why| *why != "maintenance").collect();
    if others.is_empty() {
        return String::new();
    }
    let others: Vec<_> = others.into_iter().map(String::as_str).collect();
    format!(", but still not eligible: {}", others.join("; "))
}

/// Forgets the failures of units on the host of `node`.
pub fn clear(found: &Found, format: Format, node: Option<&NodeName>) -> Result<Exit, Failure> {
    let (before, after) = block_on(async {
        let client = found.only(node, "raftctl clear").await?;
        let before = client.describe().await?;
        let _asks = PasswordAgent::start(&client);
        client.clear_failures().await?;
        let after = client.describe().await.unwrap_or_else(|_| before.clone());
        Ok::<_, Failure>((before, after))
    })?;
    let name = &before.name;
    let failed: Vec<&str> =
        before.units.iter().filter(|unit| unit.failures > 0).map(|unit| &*unit.name).collect();
    let held = before.held_down_until_usec.is_some();
    let json = format.json(&serde_json::json!({ "node": name, "was_held_down": held }));
    let text = || {
        let what = match (failed.as_slice(), held) {
            ([], false) => return format!("{name} has no failures to forget; nothing to do\n"),
            ([], true) => "it is no longer held down".to_owned(),
            (units, false) => format!("failures of {} are forgotten", units.join(", ")),
            (units, true) => {
                format!("failures of {} are forgotten, it is no longer held down", units.join(", "))
            }
        };
        let eligible = match after.ineligible.iter().find(|why| *why != "maintenance") {
            Some(why) if !held => format!("; it is not eligible: {why}"),
            _ => String::new(),
        };
        format!("{name}: {what}{eligible}\n")
    };
    print(&json.unwrap_or_else(text))?;
    Ok(Exit::Ok)
}

/// Pauses the cluster.
pub fn pause(found: &Found, format: Format) -> Result<Exit, Failure> {
    let deed = Deed { what: "pause the cluster", command: "raftctl pause" };
    let state = block_on(ask_leader(found, deed, async |client: &Client| {
        client.pause().await?;
        client.describe().await
    }))?;
    let cluster = &state.cluster_name;
    let json = format.json(&serde_json::json!({ "cluster": cluster, "paused": true }));
    let text = || {
        let active = if state.active { &state.name } else { "what is active" };
        format!(
            "cluster {cluster} is paused: {active} stays as it is, nothing else becomes active, \
             and nobody takes over when it fails\nNext: raftctl resume\n"
        )
    };
    print(&json.unwrap_or_else(text))?;
    Ok(Exit::Ok)
}

/// Lets the cluster go on.
pub fn resume(found: &Found, format: Format, force: bool) -> Result<Exit, Failure> {
    let deed = Deed { what: "resume the cluster", command: "raftctl resume" };
    let resumed = block_on(ask_leader(found, deed, async |client: &Client| {
        match client.resume(force).await {
            Err(ClientError::Refused { name, message }) if name == "ActiveElsewhere" => {
                let message = format!(
                    "{message}. If its host is known to be down, and only then: raftctl resume \
                     --force"
                );
                return Err(ClientError::Refused { name, message });
            }
            other => other?,
        }
        client.describe().await
    }))?;
    let cluster = &resumed.cluster_name;
    let json = format.json(&serde_json::json!({ "cluster": cluster, "paused": false }));
    let text = || {
        let forced = if force { ", without the word of the active node" } else { "" };
        format!("cluster {cluster} goes on{forced}\nNext: raftctl status\n")
    };
    print(&json.unwrap_or_else(text))?;
    Ok(Exit::Ok)
}
