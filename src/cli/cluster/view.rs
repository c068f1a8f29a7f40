//! What the nodes of a local cluster say about themselves, asked of all at once.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::Client;
use super::place::LocalNode;
use super::process::{Found, Process, Reason};
use crate::dbus::describe::Describe;

/// One node: its process and what it says.
#[derive(Debug)]
pub(super) struct Observed<'c> {
    pub(super) node: LocalNode<'c>,
    pub(super) process: Result<Process, Reason>,
    /// Why it says nothing, if it does not.
    pub(super) view: anyhow::Result<Describe>,
}

/// Whether the node that says so leads.
pub(super) fn leads(view: &Describe) -> bool {
    view.role == "leader"
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
) -> Vec<anyhow::Result<Describe>> {
    thread::scope(|scope| {
        let ask_one = |socket: PathBuf| scope.spawn(move || client.describe(&socket, deadline));
        let asked: Vec<_> = sockets.into_iter().map(ask_one).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        asked.into_iter().map(join).collect()
    })
}
