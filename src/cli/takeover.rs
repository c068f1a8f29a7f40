//! `raftctl takeover --force`: an operator vouches that the active node is down.

use super::discover::Found;
use super::exit::Exit;
use super::leader::{Deed, ask_leader};
use super::output::{Format, print};
use crate::dbus::client::block_on;

/// Has the leader take the place of the active node; only with `force`. `found` is not looked at
/// without.
pub fn run(
    found: impl FnOnce() -> anyhow::Result<Found>,
    format: Format,
    force: bool,
) -> anyhow::Result<Exit> {
    if !force {
        return Err(Exit::Usage.because(WHY_FORCE));
    }
    let deed = Deed { what: "take over", command: "raftctl takeover --force" };
    let (leader, token) = block_on(ask_leader(&found()?, deed, async |client| {
        let token = client.takeover(true).await?;
        Ok((client.describe().await?.name, token))
    }))?;
    let json = format.json(&serde_json::json!({ "leader": leader, "ended_token": token }));
    let text = || format!("the activation with token {token} is over; {leader} takes its place\n");
    print(&json.unwrap_or_else(text))?;
    Ok(Exit::Ok)
}

const WHY_FORCE: &str = "\
takeover: expected --force
This declares that the active node is down, without proof. If its host is still up, two hosts are
active: switch it off or cut it off for good first, then run `raftctl takeover --force`.";
