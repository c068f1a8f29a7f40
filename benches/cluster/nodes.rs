//! A cluster of real agents: its configuration, its processes, and what they say.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc;

use crate::network::Network;
use crate::target_directory;
use crate::watch::{self, Event, News, Watch};

/// Longest wait for anything that a healthy cluster does.
const DEADLINE: Duration = Duration::from_secs(15);

/// How often is looked whether an agent listens, or whether the followers have caught up.
const POLL: Duration = Duration::from_millis(1);

/// The programs that are measured.
pub struct Programs {
    /// The command line.
    pub raftctl: PathBuf,
    /// The agent.
    pub raftctld: PathBuf,
}

impl Programs {
    /// Finds the programs as they are shipped, in `target/shipped`.
    pub fn find() -> Result<Programs> {
        let folder = target_directory()?.join("shipped");
        let programs =
            Programs { raftctl: folder.join("raftctl"), raftctld: folder.join("raftctld") };
        for program in [&programs.raftctl, &programs.raftctld] {
            if !program.is_file() {
                bail!("{} is missing: scripts/bench.sh builds it", program.display());
            }
        }
        Ok(programs)
    }
}

/// One agent.
struct Node {
    name: String,
    child: Option<Child>,
    watch: Option<Watch>,
    active: bool,
    leader: String,
}

/// What a cluster may have beside its three nodes.
#[derive(Default)]
pub struct Surroundings {
    /// Cables; without any, the nodes share the loopback.
    pub network: Option<Network>,
    /// Further sections of the configuration.
    pub config: String,
    /// The address of a message bus, for every agent.
    pub bus: Option<String>,
}

/// Three agents. Killed when dropped.
pub struct Cluster {
    program: PathBuf,
    bus: Option<String>,
    directory: PathBuf,
    nodes: Vec<Node>,
    events: mpsc::Receiver<Event>,
    tell: mpsc::Sender<Event>,
    /// The cables, if the nodes do not share the loopback.
    pub network: Option<Network>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Cluster {
    /// Writes the configuration of three nodes into `directory`; starts nothing.
    pub fn prepare(
        programs: &Programs,
        directory: &Path,
        surroundings: Surroundings,
    ) -> Result<Cluster> {
        let Surroundings { network, config, bus } = surroundings;
        let addresses: Vec<String> = match &network {
            Some(network) => (0..3).map(|at| format!("{}:7100", network.address(at))).collect(),
            None => free_addresses(3)?.iter().map(ToString::to_string).collect(),
        };
        let names: Vec<String> = (1..=3).map(|n| format!("n{n}")).collect();
        let pairs = names.iter().zip(&addresses);
        let members: Vec<String> = pairs.map(|(n, address)| format!("{n} = {address:?}")).collect();
        let tables: String = names.iter().map(|name| format!("[nodes.{name}]\n")).collect();
        let text = format!("[cluster]\nmembers = {{ {} }}\n{tables}{config}", members.join(", "));
        fs::create_dir_all(directory)?;
        fs::write(directory.join("c.toml"), text)?;
        let new =
            |name| Node { name, child: None, watch: None, active: false, leader: String::new() };
        let (tell, events) = watch::queue();
        Ok(Cluster {
            program: programs.raftctld.clone(),
            bus,
            directory: directory.to_owned(),
            nodes: names.into_iter().map(new).collect(),
            events,
            tell,
            network,
        })
    }

    /// The configuration file of all nodes.
    fn config(&self) -> PathBuf {
        self.directory.join("c.toml")
    }

    /// Where the private socket of node `at` is.
    pub fn runtime_directory(&self, at: usize) -> PathBuf {
        self.directory.join("c.d").join(&self.nodes[at].name).join("run")
    }

    /// Starts the agent of node `at`.
    pub fn start(&mut self, at: usize) -> Result<()> {
        let mut command = match (&self.network, &self.bus) {
            (Some(network), _) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &network.node(at)]).arg(&self.program);
                command
            }
            // Only an agent that believes to be a service goes to the message bus.
            (None, Some(_)) => {
                let mut command = Command::new("sh");
                command.args(["-c", "SYSTEMD_EXEC_PID=$$ exec \"$0\" \"$@\""]).arg(&self.program);
                command
            }
            (None, None) => Command::new(&self.program),
        };
        let path = self.directory.join(format!("{}.log", self.nodes[at].name));
        let log = fs::File::options().create(true).append(true).open(path)?;
        command.arg("--config").arg(self.config()).args(["--node", &self.nodes[at].name]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some(bus) = &self.bus {
            command.env("DBUS_SYSTEM_BUS_ADDRESS", bus);
        }
        self.nodes[at].child = Some(command.spawn().context("cannot start raftctld")?);
        Ok(())
    }

    /// Connects to node `at` as soon as it listens.
    pub async fn connect(&mut self, at: usize) -> Result<()> {
        let began = Instant::now();
        let socket = self.socket(at);
        loop {
            match Watch::open(at, &socket, self.tell.clone()).await {
                Ok(watch) => {
                    self.nodes[at].watch = Some(watch);
                    return Ok(());
                }
                Err(error) if began.elapsed() > DEADLINE => return Err(self.explain(at, error)),
                Err(_) => {}
            }
            let child = self.nodes[at].child.as_mut().context("the node was not started")?;
            if let Some(status) = child.try_wait()? {
                return Err(self.explain(at, anyhow::anyhow!("raftctld ended with {status}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The error with the last lines of the node's log.
    fn explain(&self, at: usize, error: anyhow::Error) -> anyhow::Error {
        let name = &self.nodes[at].name;
        let log = fs::read_to_string(self.directory.join(format!("{name}.log")));
        let log = log.unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        let tail: Vec<&str> = lines.into_iter().rev().collect();
        error.context(format!("node {name}; its log ends with:\n{}", tail.join("\n")))
    }

    /// Starts all nodes at once and waits until the cluster is settled.
    pub async fn start_all(&mut self) -> Result<()> {
        for at in 0..self.nodes.len() {
            self.start(at)?;
        }
        for at in 0..self.nodes.len() {
            self.connect(at).await?;
        }
        self.settle().await.map(drop)
    }

    /// Ends node `at` with SIGKILL; returns the moment before.
    pub fn kill(&mut self, at: usize) -> Result<Instant> {
        let child = self.nodes[at].child.as_ref().context("the node was not started")?;
        let pid = Pid::from_raw(child.id() as i32);
        let began = Instant::now();
        kill(pid, Signal::SIGKILL)?;
        Ok(began)
    }

    /// Takes away what is left of the killed node `at`.
    pub fn bury(&mut self, at: usize) -> Result<()> {
        let node = &mut self.nodes[at];
        node.watch = None;
        (node.active, node.leader) = (false, String::new());
        if let Some(mut child) = node.child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// The process number of node `at`.
    pub fn pid(&self, at: usize) -> Result<u32> {
        Ok(self.nodes[at].child.as_ref().context("the node was not started")?.id())
    }

    /// The connection to node `at` over which it is watched.
    pub fn watch(&self, at: usize) -> Result<&Watch> {
        self.nodes[at].watch.as_ref().context("no connection")
    }

    /// The private socket of node `at`.
    pub fn socket(&self, at: usize) -> PathBuf {
        self.runtime_directory(at).join("bus")
    }

    /// Asks node `at` to hand over; ends when it answers.
    pub async fn transfer(&self, at: usize) -> Result<()> {
        self.watch(at)?.transfer().await
    }

    /// Waits for the next news of which `wanted` holds; returns when it arrived.
    pub async fn wait(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Cluster, usize, &News) -> bool,
    ) -> Result<Instant> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let next = tokio::time::timeout_at(deadline, self.events.recv()).await;
            let Ok(Some(event)) = next else { bail!("no {what} within {DEADLINE:?}") };
            let node = &mut self.nodes[event.node];
            match &event.what {
                News::Active(active) => node.active = *active,
                News::Leader(leader) => node.leader = leader.clone(),
                News::Gone => {}
            }
            if wanted(self, event.node, &event.what) {
                return Ok(event.at);
            }
        }
    }

    /// Waits until a node other than `not` becomes active.
    pub async fn wait_active(&mut self, not: usize) -> Result<Instant> {
        let wanted =
            |_: &Cluster, node, news: &News| node != not && matches!(news, News::Active(true));
        self.wait("active node", wanted).await
    }

    /// Whether all nodes name the same leader.
    pub fn agrees(&self) -> bool {
        let leader = &self.nodes[0].leader;
        !leader.is_empty() && self.nodes.iter().all(|node| node.leader == *leader)
    }

    /// Whether a node is active.
    pub fn has_active(&self) -> bool {
        self.nodes.iter().any(|node| node.active)
    }

    /// Waits until one node is active and the others have all that it has; returns which.
    pub async fn settle(&mut self) -> Result<usize> {
        let began = Instant::now();
        loop {
            for (at, node) in self.nodes.iter().enumerate() {
                let Some(watch) = &node.watch else { continue };
                if watch.describe().await.is_ok_and(|now| now.is_settled()) {
                    while self.events.try_recv().is_ok() {}
                    return Ok(at);
                }
            }
            if began.elapsed() > DEADLINE {
                bail!("the cluster did not settle within {DEADLINE:?}");
            }
            tokio::time::sleep(20 * POLL).await;
        }
    }
}

/// Addresses on the loopback whose ports were free a moment ago.
pub fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    // All held at once, so that they differ.
    let bound: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    let address = |listener: &TcpListener| Ok(listener.local_addr()?);
    bound.iter().map(address).collect()
}
