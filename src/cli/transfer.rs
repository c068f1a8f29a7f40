//! `raftctl transfer [NODE]`.

use super::discover::Found;
use super::exit::{Exit, Failure};
use super::output::{Format, print};
use crate::core::NodeName;
use crate::dbus::client::{Client, ClientError, block_on};
use crate::limits;

/// Hands leadership to `to`, or to whom the leader chooses.
pub fn run(found: &Found, format: Format, to: Option<&NodeName>) -> Result<Exit, Failure> {
    let leader = block_on(transfer(found, to.map(NodeName::as_str)))?;
    let json = format.json(&serde_json::json!({ "leader": leader }));
    print(&json.unwrap_or_else(|| format!("{leader} leads now\n")))?;
    Ok(Exit::Ok)
}

async fn transfer(found: &Found, to: Option<&str>) -> Result<String, Failure> {
    let client = found.connect(None).await?;
    match client.transfer(to).await {
        Err(ClientError::Refused { name, .. }) if name == "NotLeader" => {}
        other => return Ok(other?),
    }
    // Only the leader can hand over; its agent may be here too.
    let state = client.describe().await?;
    let Some(leader) = state.leader else {
        let message = format!("cluster {} has no leader", state.cluster_name);
        return Err(Failure::new(Exit::NoLeader, message));
    };
    let Some(instance) = found.named(&leader) else {
        let message = format!(
            "only the leader can hand over: run `raftctl transfer` on the host of {leader} ({})",
            state.leader_address.as_deref().unwrap_or("address unknown")
        );
        return Err(Failure::new(Exit::Failure, message));
    };
    let client = Client::connect(&instance.socket, limits::CLIENT_CALL_TIMEOUT).await?;
    Ok(client.transfer(to).await?)
}
