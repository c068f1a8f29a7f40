//! `raftctl transfer [NODE]`. Waits as long as the demotion takes, and says what it waits for.

use std::pin::pin;

use tokio::time::sleep;

use super::discover::Found;
use super::exit::{Exit, Failure};
use super::leader::{Deed, ask_leader};
use super::output::{Format, complain, print};
use crate::core::NodeName;
use crate::dbus::client::{Client, ClientError, block_on};
use crate::dbus::describe::Describe;
use crate::limits;

/// Hands leadership to `to`, or to whom the leader chooses.
pub fn run(found: &Found, format: Format, to: Option<&NodeName>) -> Result<Exit, Failure> {
    let to = to.map(NodeName::as_str);
    let deed = Deed { what: "hand over", command: "raftctl transfer" };
    let leader = block_on(ask_leader(found, deed, async |client| transfer(client, to).await))?;
    let json = format.json(&serde_json::json!({ "leader": leader }));
    print(&json.unwrap_or_else(|| format!("{leader} leads now\n")))?;
    Ok(Exit::Ok)
}

async fn transfer(client: &Client, to: Option<&str>) -> Result<String, ClientError> {
    let mut transfer = pin!(client.transfer(to));
    let mut said = None;
    loop {
        tokio::select! {
            done = &mut transfer => return done,
            () = sleep(limits::CLIENT_TRANSFER_PATIENCE) => {}
        }
        // An agent that does not say what it does may still do it.
        let Ok(state) = client.describe().await else { continue };
        let waits = waits_for(&state);
        if waits.is_some() && waits != said {
            complain(&waits.clone().unwrap_or_default());
            said = waits;
        }
    }
}

/// What the transfer from this node waits for, if it says so.
fn waits_for(state: &Describe) -> Option<String> {
    let name = &state.name;
    let what = match state.authority.as_str() {
        "stopping" | "waiting" => format!("{name} to stop its members"),
        "settling" => format!("the event scripts of {name}"),
        "releasing" => format!("the others to take note that {name} has stopped"),
        _ => return None,
    };
    Some(format!("waiting for {what}; the transfer goes on if this is interrupted"))
}
