//! `raftctl list`: the agents on this host.

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::discover::{Found, Instance};
use super::exit::{Exit, Failure};
use super::output::{Cell, Format, Style, Table, complain, role_cell};
use super::pager::Paging;
use crate::dbus::client::{ClientError, block_on};
use crate::dbus::describe::Describe;
use crate::limits;

/// One line of the list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Name of the node.
    pub name: String,
    /// Its private bus.
    pub socket: String,
    /// What the agent says about itself.
    pub status: Option<Describe>,
    /// Why it says nothing.
    pub error: Option<String>,
}

/// Lists the agents that answer, and those that should but do not.
pub fn run(found: &Found, (format, paging): (Format, &Paging)) -> Result<Exit, Failure> {
    let listed = block_on(ask_all(found));
    if listed.is_empty() {
        return Err(found.nobody());
    }
    paging.print(&render(&listed, format))?;
    if found.instances().len() >= limits::CLIENT_INSTANCES_MAX {
        complain(&format!("only the first {} are shown", limits::CLIENT_INSTANCES_MAX));
    }
    Ok(Exit::Ok)
}

async fn ask_all(found: &Found) -> Vec<Listed> {
    let mut asked = JoinSet::new();
    for instance in found.instances().iter().cloned() {
        asked.spawn(ask(instance, found.interactive()));
    }
    let mut listed: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    listed
}

/// `None` for a socket that an agent left behind.
async fn ask(instance: Instance, interactive: bool) -> Option<Listed> {
    let answer = match instance.open(interactive).await {
        Ok(client) => client.describe().await,
        Err(error) => Err(error),
    };
    let (name, socket) = (instance.name, instance.socket.display().to_string());
    Some(match answer {
        Err(ClientError::NotRunning { .. }) => return None,
        Ok(status) => {
            Listed { name: status.name.clone(), socket, status: Some(status), error: None }
        }
        Err(error) => Listed { name, socket, status: None, error: Some(error.to_string()) },
    })
}

/// The list in the form asked for.
pub fn render(listed: &[Listed], format: Format) -> String {
    if let Some(json) = format.json(&listed) {
        return json;
    }
    let mut table = Table::new(&["NODE", "CLUSTER", "ROLE", "LEADER", "SOCKET"]);
    for Listed { name, socket, status, .. } in listed {
        let (cluster, role, leader) = match status {
            Some(status) => {
                let mut role = role_cell(&status.role, status.role == "leader");
                let standing = match status {
                    Describe { maintenance: true, .. } => Some("maintenance"),
                    Describe { eligible: false, .. } => Some("not eligible"),
                    Describe { paused: true, .. } => Some("paused"),
                    _ => None,
                };
                if let Some(standing) = standing {
                    role = Cell(format!("{}, {standing}", role.0), Style::Bad);
                }
                let leader = status.leader.as_deref();
                (status.cluster_name.clone(), role, leader.unwrap_or("none").to_owned())
            }
            None => ("-".to_owned(), Cell("no answer".to_owned(), Style::Bad), "-".to_owned()),
        };
        let (name, socket) = (Cell::plain(name), Cell(socket.clone(), Style::Dim));
        table.row(vec![name, Cell::plain(cluster), role, Cell::plain(leader), socket]);
    }
    let mut text = table.render(format);
    if format.legend {
        let noun = if listed.len() == 1 { "agent" } else { "agents" };
        text += &format!("\n{} {noun} listed.\n", listed.len());
    }
    text
}
