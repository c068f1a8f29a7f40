//! `raftctl cluster`: a whole cluster on this host, for development and for trying things.
//!
//! Its agents are detached: they outlive the command and the terminal. Which process belongs to
//! which node is in pid files that cannot mean a stranger (`process`). What a node tells about
//! itself is asked through [`Client`]; this module decides nothing about the cluster.
//!
//! It is no supervisor: an agent that ends stays ended. For that there is systemd.

mod clean;
mod default_file;
mod logs;
mod pidfd;
mod place;
mod probe;
pub mod process;
pub mod spawn;
mod start;
mod status;
mod stop;
mod view;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use place::{LocalCluster, LocalNode};
pub(crate) use start::describe_exit;
pub use view::View;

use super::exit::Exit;
use crate::core::NodeName;
use crate::limits;

/// Arguments of `cluster`.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterArgs {
    /// Configuration of the cluster [default: $RAFTCTL_CLUSTER_CONFIG, ./raftctl-cluster.toml or
    /// ./.raftctl/cluster.toml, which "start" makes]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub verb: ClusterVerb,
}

/// The verbs of `cluster`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ClusterVerb {
    /// Start the nodes, detached, and wait until there is a leader
    Start(OneOrAll),
    /// Stop the nodes and wait until they have ended
    Stop(OneOrAll),
    /// Stop the nodes, then start them
    Restart(OneOrAll),
    /// Show the nodes, their processes and what they say about themselves
    #[command(visible_alias = "state")]
    Status(OneOrAll),
    /// Show the logs of the nodes
    Logs(LogsArgs),
    /// Check the health of the cluster, and hand leadership over once
    Test,
    /// End the nodes at once, as a crash would
    Kill(OneOrAll),
    /// Remove the state, logs and sockets of nodes that are not running
    Clean(OneOrAll),
}

/// A node, or all.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OneOrAll {
    /// Name of the node [default: all of the file]
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
    /// Name of the node [default: all of the file]
    #[arg(value_name = "NODE")]
    pub node: Option<NodeName>,
    /// Go on and show what is added
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines of each node to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub lines: usize,
}

/// How to talk to an agent on its private socket.
pub trait Client: Sync {
    /// What the agent says about itself: the JSON of `Describe()`.
    fn status_of(&self, socket: &Path, deadline: Duration) -> anyhow::Result<serde_json::Value>;

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
    /// `RAFTCTL_CLUSTER_CONFIG`.
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
    pub fn of_process() -> std::io::Result<Environment> {
        let path = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        Ok(Environment {
            config: path("RAFTCTL_CLUSTER_CONFIG"),
            agent: path("RAFTCTLD"),
            directory: std::env::current_dir()?,
            patience: limits::CLUSTER_PATIENCE,
        })
    }
}

/// Runs `raftctl cluster`. Output goes to `out`.
pub fn run(
    args: &ClusterArgs,
    environment: &Environment,
    client: &dyn Client,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let wanted = args.config.as_deref().or(environment.config.as_deref());
    let make = matches!(&args.verb, ClusterVerb::Start(OneOrAll { node: None }));
    let path = default_file::choose(wanted, &environment.directory, make, out)?;
    let cluster = LocalCluster::load(&path)?;
    match &args.verb {
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
        ClusterVerb::Status(which) => status::run(&cluster, which.node(), client, out),
        ClusterVerb::Test => probe::run(&cluster, client, out),
        ClusterVerb::Logs(args) => logs::run(&cluster, args, out),
    }
}
