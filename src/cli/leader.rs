//! Verbs that only the leader's agent can carry out: asks the agent at hand, then the leader's if
//! that is on this host too, and else says where to go.

use super::discover::Found;
use super::exit::{Exit, Failure};
use super::password::PasswordAgent;
use crate::dbus::client::{Client, ClientError};

/// What is to be done.
pub struct Deed {
    /// In words, after "only the leader can".
    pub what: &'static str,
    /// The command that does it.
    pub command: &'static str,
}

/// Has the leader carry out `deed`, which is what `ask` asks for.
pub async fn ask_leader<T>(
    found: &Found,
    deed: Deed,
    ask: impl AsyncFn(&Client) -> Result<T, ClientError>,
) -> Result<T, Failure> {
    let client = found.connect(None).await?;
    let _asks = PasswordAgent::start(&client);
    match ask(&client).await {
        Err(ClientError::Refused { name, .. }) if name == "NotLeader" => {}
        other => return Ok(other?),
    }
    let state = client.describe().await?;
    let Some(leader) = state.leader else {
        let message = format!("cluster {} has no leader", state.cluster_name);
        return Err(Failure::new(Exit::NoLeader, message));
    };
    let Some(instance) = found.named(&leader) else {
        let Deed { what, command } = deed;
        let message = format!(
            "only the leader can {what}: run `{command}` on the host of {leader} ({})",
            state.leader_address.as_deref().unwrap_or("address unknown")
        );
        return Err(Failure::new(Exit::Failure, message));
    };
    let client = found.open(instance).await?;
    let _asks = PasswordAgent::start(&client);
    Ok(ask(&client).await?)
}
