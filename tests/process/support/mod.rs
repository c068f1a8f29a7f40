//! Clusters of real agents in a temporary directory, and how a test waits for them.

mod agent;
mod bus;
mod cluster;
mod journal;
mod lines;
mod tree;

use std::time::Duration;

pub use agent::{Agent, AgentCommand, code};
pub use cluster::{Cluster, Leader, free_ports};
pub use journal::Journal;
pub use lines::Lines;
pub use tree::{copy_tree, snapshot};

/// Everything that must happen has happened by then, on a busy machine too.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A heartbeat and an election timeout for tests in which nobody may lose the leadership only
/// because the machine is busy.
pub const CALM: &str = "[raft]\nheartbeat = \"100ms\"\nelection_min = \"1s\"\n";

/// Whether this process may do what only root can; says `SKIPPED` otherwise.
pub fn is_root(for_what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED: {for_what} needs root");
    }
    root
}
