//! What the nodes of a local cluster say about themselves, asked of all at once.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use super::Client;
use super::place::LocalNode;
use super::process::{Found, Process, Reason};

/// A node's own view, as far as the local cluster shows it: part of `Describe()`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its Raft role.
    pub role: String,
    /// Whether it is active.
    #[serde(default)]
    pub active: bool,
    /// Its term.
    pub term: u64,
    /// Token of the activation in force.
    #[serde(default)]
    pub token: Option<u64>,
    /// Who leads, as far as it knows.
    #[serde(default)]
    pub leader: Option<String>,
    /// Its commit index.
    #[serde(default)]
    pub commit_index: u64,
    /// Its last applied index.
    #[serde(default)]
    pub applied_index: u64,
}

impl View {
    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.role == "leader"
    }
}

/// One node: its process and what it says.
#[derive(Debug)]
pub(super) struct Observed<'c> {
    pub(super) node: LocalNode<'c>,
    pub(super) process: Result<Process, Reason>,
    /// Why there is no view, if there is none.
    pub(super) view: anyhow::Result<View>,
}

/// Asks every node at once, each for at most `deadline`.
pub(super) fn observe<'c>(
    nodes: &[LocalNode<'c>],
    client: &dyn Client,
    deadline: Duration,
) -> anyhow::Result<Vec<Observed<'c>>> {
    let views = ask(nodes.iter().map(LocalNode::socket).collect(), client, deadline);
    let mut observed = Vec::with_capacity(nodes.len());
    for (node, view) in nodes.iter().zip(views) {
        let process = match node.find()? {
            Found::Running(process) => Ok(process),
            Found::Gone(reason) => Err(reason),
        };
        observed.push(Observed { node: *node, process, view });
    }
    Ok(observed)
}

/// The views of the agents on `sockets`, in their order.
fn ask(
    sockets: Vec<PathBuf>,
    client: &dyn Client,
    deadline: Duration,
) -> Vec<anyhow::Result<View>> {
    let ask_one = |socket: PathBuf| -> anyhow::Result<View> {
        let value = client.status_of(&socket, deadline)?;
        Ok(serde_json::from_value(value)?)
    };
    thread::scope(|scope| {
        let ask_one = &ask_one;
        let asked: Vec<_> =
            sockets.into_iter().map(|socket| scope.spawn(move || ask_one(socket))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        asked.into_iter().map(join).collect()
    })
}
