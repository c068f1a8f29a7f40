//! A cluster of agents: configuration files, free ports, who leads.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use raftctl::dbus::client::{self, Client, ClientError};
use raftctl::dbus::describe::Describe;

use super::{Agent, AgentCommand, DEADLINE, Lines, bus};

/// Ports of 127.0.0.1 that nobody listens on. They are below those that the kernel gives to
/// clients (ip_local_port_range), so that no connection of another test takes one meanwhile; tests
/// that run at once have ranges of their own, and one test gets none twice.
pub fn free_ports(count: usize) -> Vec<u16> {
    const RANGE: u16 = 2_700;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // nextest(1): the number of the place in which a test runs, which no other has meanwhile.
    let place = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").ok().and_then(|place| place.parse().ok());
    let place: u32 = place.unwrap_or_else(std::process::id);
    let first = 10_000 + (place % 8) as u16 * RANGE;
    let start = std::process::id() as u16 % RANGE;
    let mut held: Vec<TcpListener> = Vec::new();
    while held.len() < count {
        let taken = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(taken < RANGE, "no port is free from {first} on");
        held.extend(TcpListener::bind(("127.0.0.1", first + (start + taken) % RANGE)));
    }
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Who leads, as all asked nodes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub at: usize,
    pub term: u64,
    pub token: u64,
    pub cluster_id: String,
}

/// Nodes `n1`, `n2`, ... in one directory; node `at` counts from 0. What runs is killed at the end.
pub struct Cluster {
    directory: tempfile::TempDir,
    ports: Vec<u16>,
    agents: Vec<Option<Agent>>,
    /// What the scripts say, see [`SCRIPT`].
    pub said: Lines,
}

/// The script of every event: node, event, role, term, token and reason in one line.
const SCRIPT: &str = "#!/bin/sh\n\
    facts=\"$RAFTCTL_TERM $RAFTCTL_TOKEN $RAFTCTL_REASON\"\n\
    echo \"$RAFTCTL_NODE $RAFTCTL_EVENT $facts\" >\"${0%/*}/said\"\n";

impl Cluster {
    /// `count` nodes that are configured and not started; `more` is added to every configuration.
    pub fn configured(count: usize, more: &str) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let fifo = directory.path().join("said");
        nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o622)).unwrap();
        // Open for writing as well: it never ends.
        let mut options = fs::OpenOptions::new();
        let said = options.read(true).write(true).custom_flags(0).open(&fifo).unwrap();
        let cluster = Cluster {
            ports: free_ports(count),
            agents: (0..count).map(|_| None).collect(),
            said: Lines::read(said),
            directory,
        };
        cluster.script("script", SCRIPT);
        for at in 0..count {
            fs::create_dir(cluster.path(at)).unwrap();
            cluster.configure(at, &cluster.members(), more);
        }
        cluster
    }

    /// `count` running nodes that agree on a leader.
    pub fn started(count: usize, more: &str) -> (Cluster, Leader) {
        let mut cluster = Cluster::configured(count, more);
        for at in 0..count {
            cluster.start(at);
        }
        let leader = cluster.leader();
        (cluster, leader)
    }

    /// The value of `members` in a configuration.
    pub fn members(&self) -> String {
        let member = |at| format!("n{} = \"{}\"", at + 1, self.address(at));
        (0..self.ports.len()).map(member).collect::<Vec<_>>().join(", ")
    }

    /// Writes the configuration of a node: its members, and `more` sections.
    pub fn configure(&self, at: usize, members: &str, more: &str) {
        let path = self.path(at);
        let path = path.display();
        let script = self.root().join("script");
        let events = match more.contains("[events]") {
            true => String::new(),
            false => format!("[events]\nleader = {script:?}\nfollower = {script:?}\n"),
        };
        let text = format!(
            "[node]\nname = \"n{}\"\nstate_directory = \"{path}/state\"\n\
             runtime_directory = \"{path}/run\"\n\
             [cluster]\nname = \"test\"\nmembers = {{ {members} }}\n{events}{more}",
            at + 1,
        );
        fs::write(self.config(at), text).unwrap();
    }

    /// Writes an executable file into the cluster's directory.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn address(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.ports[at])
    }

    fn path(&self, at: usize) -> PathBuf {
        self.root().join(format!("n{}", at + 1))
    }

    pub fn config(&self, at: usize) -> PathBuf {
        self.path(at).join("raftctl.toml")
    }

    pub fn state(&self, at: usize) -> PathBuf {
        self.path(at).join("state")
    }

    pub fn socket(&self, at: usize) -> PathBuf {
        self.path(at).join("run/bus")
    }

    /// How node `at` is started.
    pub fn command(&self, at: usize) -> AgentCommand {
        AgentCommand::new(&self.config(at))
    }

    /// Starts node `at` and waits until it serves.
    pub fn start(&mut self, at: usize) {
        self.start_with(at, self.command(at));
        self.agent(at).log.wait("serving");
    }

    /// Starts node `at` by `command`; says nothing about how far it comes.
    pub fn start_with(&mut self, at: usize, command: AgentCommand) {
        assert!(self.agents[at].is_none(), "n{} runs", at + 1);
        self.agents[at] = Some(command.spawn());
    }

    /// The agent of node `at`, which was started.
    pub fn agent(&mut self, at: usize) -> &mut Agent {
        self.agents[at].as_mut().expect("it was started")
    }

    /// The log of node `at`, which was started.
    pub fn log(&self, at: usize) -> &Lines {
        &self.agents[at].as_ref().expect("it was started").log
    }

    /// Kills node `at`; returns what it had said.
    pub fn kill(&mut self, at: usize) -> Vec<String> {
        self.agent(at).kill();
        self.forget(at)
    }

    /// SIGTERM to node `at`, which exits 0; returns what it had said.
    pub fn stop(&mut self, at: usize) -> Vec<String> {
        let (status, _) = self.agent(at).terminate();
        assert_eq!(super::code(status), 0, "{:#?}", self.log(at).all());
        self.forget(at)
    }

    /// Node `at` has ended; returns what it had said.
    pub fn forget(&mut self, at: usize) -> Vec<String> {
        let mut agent = self.agents[at].take().expect("it was started");
        agent.ended();
        agent.log.to_end()
    }

    /// The nodes that were started and not killed.
    pub fn running(&self) -> Vec<usize> {
        (0..self.agents.len()).filter(|at| self.agents[*at].is_some()).collect()
    }

    /// Waits until the nodes `among` say what `fits` wants to hear.
    pub fn until<T>(
        &self,
        what: &str,
        among: &[usize],
        fits: impl FnMut(&[Describe]) -> Option<T>,
    ) -> T {
        let sockets: Vec<_> = among.iter().map(|at| self.socket(*at)).collect();
        let sockets: Vec<_> = sockets.iter().map(PathBuf::as_path).collect();
        let found = client::block_on(bus::until(&sockets, fits));
        found.unwrap_or_else(|last| panic!("not within {DEADLINE:?}: {what}; last: {last:#?}"))
    }

    /// Waits until all running nodes agree on an active leader.
    pub fn leader(&self) -> Leader {
        self.leader_of(&self.running())
    }

    /// Waits until the nodes `among` agree on an active leader, which is one of them.
    pub fn leader_of(&self, among: &[usize]) -> Leader {
        self.until("a leader", among, |all| agreed(among, all))
    }

    /// Three agents whose log nobody reads lead on, refuse and hand over; the leader before, and
    /// which node leads after.
    pub fn leads_on_unread(&self) -> (Leader, usize) {
        let leader = self.leader();
        self.stays(&leader, Duration::from_secs(2));
        // Each request is a line that cannot be written.
        for _ in 0..200 {
            self.transfer(leader.at, Some("n9")).unwrap_err();
        }
        assert_eq!(self.leader(), leader);
        let to = (leader.at + 1) % 3;
        let name = format!("n{}", to + 1);
        assert_eq!(self.transfer(leader.at, Some(&name)).unwrap(), name);
        self.active(to);
        (leader, to)
    }

    /// Waits until node `at` leads and is active, whatever the others say.
    pub fn active(&self, at: usize) -> Leader {
        self.until("active", &[at], |all| agreed(&[at], all))
    }

    /// Waits until the bus of node `at` answers, for a node whose log cannot be read.
    pub fn answers(&self, at: usize) -> Describe {
        let socket = self.socket(at);
        client::block_on(async {
            let mut again = tokio::time::interval(Duration::from_millis(5));
            let asked = async {
                loop {
                    again.tick().await;
                    if let Ok(client) = Client::connect(&socket, DEADLINE).await
                        && let Ok(describe) = client.describe().await
                    {
                        return describe;
                    }
                }
            };
            tokio::time::timeout(DEADLINE, asked).await.expect("the bus answers")
        })
    }

    /// Looks for as long as `time` whether all running nodes still agree on `leader`. That
    /// something does not happen can be seen only by looking on.
    pub fn stays(&self, leader: &Leader, time: Duration) {
        let among = self.running();
        let end = Instant::now() + time;
        client::block_on(async {
            let mut clients = Vec::new();
            for at in &among {
                clients.push(Client::connect(&self.socket(*at), DEADLINE).await.unwrap());
            }
            let mut again = tokio::time::interval(Duration::from_millis(20));
            while Instant::now() < end {
                again.tick().await;
                let mut all = Vec::new();
                for client in &clients {
                    all.push(client.describe().await.unwrap());
                }
                assert_eq!(agreed(&among, &all).as_ref(), Some(leader), "{all:#?}");
            }
        });
    }

    pub fn describe(&self, at: usize) -> Describe {
        self.call(at, async |client| client.describe().await).unwrap()
    }

    /// Asks node `at` to hand over.
    pub fn transfer(&self, at: usize, to: Option<&str>) -> Result<String, ClientError> {
        self.call(at, async |client| client.transfer(to).await)
    }

    /// Runs `call` on the bus of node `at`.
    pub fn call<T>(
        &self,
        at: usize,
        call: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let socket = self.socket(at);
        client::block_on(async { call(Client::connect(&socket, DEADLINE).await?).await })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (at, agent) in self.agents.iter().enumerate() {
            let lines = agent.as_ref().map_or_else(Vec::new, |agent| agent.log.all());
            let skipped = lines.len().saturating_sub(40);
            eprintln!("--- n{} ({skipped} lines before)", at + 1);
            lines.iter().skip(skipped).for_each(|line| eprintln!("{line}"));
        }
    }
}

/// What all say, if one of them is active and the others follow it.
fn agreed(among: &[usize], all: &[Describe]) -> Option<Leader> {
    let at = all.iter().position(|one| one.active)?;
    let Describe { term, token, cluster_id, .. } = &all[at];
    let same = |one: &Describe| {
        (one.term, one.token, &one.cluster_id) == (*term, *token, cluster_id)
            && one.leader.as_deref() == Some(all[at].name.as_str())
            && one.active == (one.name == all[at].name)
    };
    let (token, cluster_id) = ((*token)?, cluster_id.clone()?);
    all.iter().all(same).then_some(Leader { at: among[at], term: *term, token, cluster_id })
}
