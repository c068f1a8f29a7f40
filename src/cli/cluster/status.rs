//! `raftctl cluster status`: one line for each node.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::Client;
use super::place::LocalCluster;
use super::view::{self, Observed};
use crate::cli::output::{Cell, Format, Style, Table, active_cell, headline, no_cell, role_cell};
use crate::dbus::describe::Describe;
use crate::exit::Exit;
use crate::limits;

/// A local cluster: the JSON of `raftctl cluster status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalView {
    /// Name of the cluster.
    pub cluster_name: String,
    /// Its configuration file.
    pub config: String,
    /// Where the nodes keep what is not configured elsewhere.
    pub directory: String,
    /// The nodes asked for.
    pub nodes: Vec<LocalNodeView>,
}

/// One node of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalNodeView {
    /// Its name.
    pub name: String,
    /// Its Raft address.
    pub address: String,
    /// Its process, if it was started here and runs.
    pub pid: Option<i32>,
    /// Where its state is.
    pub state_directory: String,
    /// Its log.
    pub log: String,
    /// Its private bus.
    pub socket: String,
    /// What it says about itself.
    pub status: Option<Describe>,
    /// Why it says nothing: that it does not run, or does not answer.
    pub error: Option<String>,
}

/// Shows the nodes. [`Exit::NotRunning`] if one does not run or answer, [`Exit::NoLeader`] if all
/// do and none leads.
pub(super) fn run(
    cluster: &LocalCluster,
    node: Option<&str>,
    client: &dyn Client,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let nodes = cluster.nodes(node)?;
    let observed = view::observe(&nodes, client, limits::REMOTE_STATUS_TIMEOUT)?;
    let view = LocalView {
        cluster_name: nodes[0].config.cluster.name.clone(),
        config: cluster.path.display().to_string(),
        directory: cluster.file.local_directory().display().to_string(),
        nodes: observed.iter().map(LocalNodeView::from).collect(),
    };
    out.write_all(render(&view, format).as_bytes())?;
    let says: Vec<_> = view.nodes.iter().filter_map(|node| node.status.as_ref()).collect();
    Ok(if says.len() < view.nodes.len() {
        Exit::NotRunning
    } else if says.iter().all(|status| status.leader.is_none()) {
        Exit::NoLeader
    } else {
        Exit::Ok
    })
}

impl From<&Observed<'_>> for LocalNodeView {
    fn from(observed: &Observed) -> LocalNodeView {
        let Observed { node, process, view } = observed;
        let error = match (view, process) {
            (Ok(_), _) => None,
            (Err(_), Err(reason)) => Some(reason.to_string()),
            (Err(error), Ok(_)) => Some(format!("{error:#}")),
        };
        LocalNodeView {
            name: node.name().to_owned(),
            address: node.config.node.address.to_string(),
            pid: process.as_ref().ok().map(|process| process.pid()),
            state_directory: node.config.node.state_directory.display().to_string(),
            log: node.log().display().to_string(),
            socket: node.socket().display().to_string(),
            status: view.as_ref().ok().cloned(),
            error,
        }
    }
}

/// The cluster in the form asked for.
pub fn render(view: &LocalView, format: Format) -> String {
    if let Some(json) = format.json(view) {
        return json;
    }
    let says = || view.nodes.iter().filter_map(|node| node.status.as_ref());
    // In the same term, a leader knows best, then whoever knows of one.
    let rank = |s: &&Describe| (s.term, view::leads(s), s.leader.is_some());
    let leader = says().max_by_key(rank).and_then(|status| status.leader.as_deref());
    let mut table =
        Table::new(&["NODE", ">PID", "ROLE", "ACTIVE", ">TERM", ">TOKEN", ">COMMIT", "ADDRESS"]);
    for node in &view.nodes {
        table.row(row(node));
    }
    let (answer, all) = (says().count(), view.nodes.len());
    let headline = headline(&view.cluster_name, leader, format);
    let mut text =
        format!("{headline}, {answer} of {all} nodes answer\n\n{}", table.render(format));
    let unreachable = view.nodes.iter().filter(|node| node.pid.is_some());
    let problems = unreachable.filter_map(|node| Some((&node.name, node.error.as_ref()?)));
    for (at, (name, error)) in problems.enumerate() {
        let gap = if at == 0 { "\n" } else { "" };
        text += &format!("{gap}{name}: {error}\n");
    }
    if format.legend {
        let LocalView { config, directory, .. } = view;
        text += &format!("\nConfiguration {config}\nState and logs in {directory}\n");
    }
    text
}

fn row(node: &LocalNodeView) -> Vec<Cell> {
    let number =
        |number: Option<u64>| number.map_or_else(no_cell, |number| Cell::plain(number.to_string()));
    let status = node.status.as_ref();
    let role = match (status, node.pid) {
        (Some(status), _) => role_cell(&status.role, view::leads(status)),
        (None, Some(_)) => Cell("unreachable".to_owned(), Style::Bad),
        (None, None) => Cell("stopped".to_owned(), Style::Dim),
    };
    vec![
        Cell::plain(&node.name),
        node.pid.map_or_else(no_cell, |pid| Cell::plain(pid.to_string())),
        role,
        status.map_or_else(no_cell, |status| active_cell(status.active)),
        number(status.map(|status| status.term)),
        number(status.and_then(|status| status.token)),
        number(status.map(|status| status.commit_index)),
        Cell::plain(&node.address),
    ]
}
