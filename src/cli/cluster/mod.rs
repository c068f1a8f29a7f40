//! `raftctl cluster`: a whole cluster on this host, for development and for trying things.
//!
//! Its agents are detached: they outlive the command and the terminal. Which process belongs to
//! which node is in pid files that cannot mean a stranger (`process`). What a node tells about
//! itself is asked through [`Client`]; this module decides nothing about the cluster.
//!
//! It is no supervisor: an agent that ends stays ended. For that there is systemd.

mod bus;
mod clean;
mod default_file;
mod logs;
mod pidfd;
mod place;
mod probe;
pub mod process;
pub mod spawn;
mod start;
pub mod status;
mod stop;
mod view;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use bus::BusClient;
pub(crate) use bus::within;
pub use place::{LocalCluster, LocalNode};
pub(crate) use start::describe_exit;

use super::exit::Exit;
use super::output::Format;
use crate::core::NodeName;
use crate::dbus::describe::Describe;
use crate::limits;

/// The verbs of `cluster`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ClusterVerb {
    /// Start the nodes, detached, and wait until there is a leader whom they follow.
    #[command(after_help = "Example:\n  raftctl cluster start")]
    Start(OneOrAll),
    /// Stop the nodes and wait until they have ended.
    #[command(after_help = "Example:\n  raftctl cluster stop n1")]
    Stop(OneOrAll),
    /// Stop the nodes, then start them.
    #[command(after_help = "Example:\n  raftctl cluster restart n1")]
    Restart(OneOrAll),
    /// Show the nodes, their processes and what they say about themselves.
    #[command(visible_alias = "state", after_help = STATUS_HELP)]
    Status(OneOrAll),
    /// Show the logs of the nodes.
    #[command(after_help = "Example:\n  raftctl cluster logs -n 100 --follow n1")]
    Logs(LogsArgs),
    /// Check the health of the cluster, and hand leadership over once.
    #[command(after_help = "Example:\n  raftctl cluster test")]
    Test,
    /// End the nodes at once, as a crash would.
    #[command(after_help = "Example:\n  raftctl cluster kill n1")]
    Kill(OneOrAll),
    /// Remove the state, logs and sockets of nodes that are not running.
    #[command(after_help = "Example:\n  raftctl cluster clean n1")]
    Clean(OneOrAll),
}

const STATUS_HELP: &str = "\
The exit status is 3 if a node does not run or answer, 5 if all do and none leads.

Example:
  raftctl cluster status --json=pretty";

/// A node, or all. The argument has the identity of the global option `--node`, so that both
/// mean the same.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OneOrAll {
    /// Name of the node [default: all of the file].
    #[arg(value_name = "NODE")]
    pub node: Option<NodeName>,
}

impl OneOrAll {
    fn node(&self) -> Option<&str> {
        self.node.as_ref().map(NodeName::as_str)
    }
}

/// Arguments of `cluster logs`.
#[derive(Clone, Debug, clap::Args)]
pub struct LogsArgs {
    /// Name of the node [default: all of the file].
    #[arg(value_name = "NODE")]
    pub node: Option<NodeName>,
    /// Go on and show what is added.
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines of each node to show.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub lines: usize,
}

/// How to talk to an agent on its private socket.
pub trait Client: Sync {
    /// What the agent says about itself.
    fn describe(&self, socket: &Path, deadline: Duration) -> anyhow::Result<Describe>;

    /// Asks the leader on `socket` to hand over to `to`, or to whom it likes; the new leader.
    fn transfer(
        &self,
        socket: &Path,
        to: Option<&str>,
        deadline: Duration,
    ) -> anyhow::Result<String>;
}

/// What the commands take from their surroundings.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The configuration file, from `--config` or `RAFTCTL_CLUSTER_CONFIG`.
    pub config: Option<PathBuf>,
    /// `RAFTCTLD`: the agent's program.
    pub agent: Option<PathBuf>,
    /// The working directory.
    pub directory: PathBuf,
    /// How long to wait for nodes to start and to end.
    pub patience: Duration,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Environment {
        let path = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        Environment {
            config: path("RAFTCTL_CLUSTER_CONFIG"),
            agent: path("RAFTCTLD"),
            // A directory that was removed has no cluster in it.
            directory: std::env::current_dir().unwrap_or_default(),
            patience: limits::CLUSTER_PATIENCE,
        }
    }

    /// The same, with the configuration file `wanted` if there is one.
    #[must_use]
    pub fn with_config(self, wanted: Option<PathBuf>) -> Environment {
        Environment { config: wanted.or(self.config), ..self }
    }

    /// The configuration file of the local cluster, if there is one here.
    pub fn local_cluster(&self) -> Option<PathBuf> {
        let wanted = self.config.as_ref().map(|path| self.directory.join(path));
        wanted.or_else(|| default_file::here(&self.directory))
    }
}

/// Runs `raftctl cluster`. Output goes to `out`.
pub fn run(
    verb: &ClusterVerb,
    environment: &Environment,
    client: &dyn Client,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let path = match environment.local_cluster() {
        Some(path) => path,
        None if matches!(verb, ClusterVerb::Start(OneOrAll { node: None })) => {
            default_file::make(&environment.directory, out)?
        }
        None => return Err(default_file::missing()),
    };
    let cluster = LocalCluster::load(&path)?;
    match verb {
        ClusterVerb::Start(which) => {
            let _lock = cluster.lock()?;
            start::run(&cluster, which.node(), environment, client, out)
        }
        ClusterVerb::Stop(which) => {
            let _lock = cluster.lock()?;
            let how = stop::How::Politely;
            stop::run(&cluster, which.node(), how, environment.patience, out)
        }
        ClusterVerb::Kill(which) => {
            let _lock = cluster.lock()?;
            let how = stop::How::AtOnce;
            stop::run(&cluster, which.node(), how, environment.patience, out)
        }
        ClusterVerb::Restart(which) => {
            let _lock = cluster.lock()?;
            let (node, how) = (which.node(), stop::How::Politely);
            match stop::run(&cluster, node, how, environment.patience, out)? {
                Exit::Ok => start::run(&cluster, node, environment, client, out),
                exit => Ok(exit),
            }
        }
        ClusterVerb::Clean(which) => {
            let _lock = cluster.lock()?;
            clean::run(&cluster, which.node(), out)
        }
        ClusterVerb::Status(which) => status::run(&cluster, which.node(), client, format, out),
        ClusterVerb::Test => probe::run(&cluster, client, format, out),
        ClusterVerb::Logs(args) => logs::run(&cluster, args, out),
    }
}
