//! Three agents, each in a network of its own, and what clients and trouble share.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::libc;

use super::checker_support::record::Record;
use super::checker_support::store::{Call, Key, Return, Value};
use super::client::{Answer, Node};
use super::linearizable_support::network::{self, Network};
use super::linearizable_support::support::{AgentCommand, Cluster, DEADLINE};

/// How many nodes there are.
pub const NODES: usize = 3;

/// What all clients share.
#[derive(Default)]
pub struct Shared {
    pub record: Mutex<Record>,
    /// Answers so far, by node.
    answers: Mutex<[u64; NODES]>,
    answered: Condvar,
    /// Which run of each node it is: reads of one never go back.
    pub runs: Mutex<[u32; NODES]>,
    stopped: AtomicBool,
    begun: std::sync::OnceLock<Instant>,
}

impl Shared {
    /// The one clock of all clients, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.begun.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.answered.notify_all();
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn run(&self, node: usize) -> String {
        format!("node {} run {}", node + 1, self.runs.lock().unwrap()[node])
    }

    /// A node has answered.
    pub fn answered(&self, node: usize) {
        self.answers.lock().unwrap()[node] += 1;
        self.answered.notify_all();
    }

    /// Waits for `more` answers of these nodes, at most for `time`; whether they came.
    pub fn wait(&self, among: &[usize], more: u64, time: Duration) -> bool {
        let count = |answers: &[u64; NODES]| among.iter().map(|at| answers[*at]).sum::<u64>();
        let answers = self.answers.lock().unwrap();
        let enough = count(&answers) + more;
        let waits = |answers: &mut [u64; NODES]| count(answers) < enough && !self.is_stopped();
        let (guard, waited) = self.answered.wait_timeout_while(answers, time, waits).unwrap();
        drop(guard);
        !waited.timed_out()
    }

    /// Lets `time` pass, or the end come.
    pub fn pass(&self, time: Duration) {
        let answers = self.answers.lock().unwrap();
        drop(self.answered.wait_timeout_while(answers, time, |_| !self.is_stopped()).unwrap());
    }
}

/// The nodes.
pub struct Scene {
    pub cluster: Cluster,
    pub network: Network,
    pub shared: Arc<Shared>,
}

impl Scene {
    /// Three agents with a leader.
    pub fn start() -> Scene {
        let network = Network::new(NODES);
        let mut cluster = Cluster::configured(NODES, "");
        let member = |at| format!("n{at} = \"{}:7100\"", network::address(at));
        let members = (1..=NODES).map(member).collect::<Vec<_>>().join(", ");
        for at in 0..NODES {
            cluster.configure(at, &members, MORE);
            let command = inside(at, cluster.command(at));
            cluster.start_with(at, command);
        }
        for at in 0..NODES {
            cluster.log(at).wait("serving");
        }
        let shared = Arc::<Shared>::default();
        shared.now();
        let scene = Scene { cluster, network, shared };
        scene.serves();
        scene
    }

    /// Starts a node again that was killed.
    pub fn restart(&mut self, at: usize) {
        self.shared.runs.lock().unwrap()[at] += 1;
        let command = inside(at, self.cluster.command(at));
        self.cluster.start_with(at, command);
        self.cluster.agent(at).log.wait("serving");
    }

    /// Ends all cuts; every node serves again.
    pub fn heal(&self) {
        self.network.heal();
        self.serves();
    }

    /// Waits until every node answers a linearizable read, of a key that is never written.
    fn serves(&self) {
        let end = Instant::now() + DEADLINE;
        let ready = |at: usize| {
            let mut node = Node::new(at);
            while !matches!(node.ask(&Call::Get(Key::MAX), false), Answer::Returned { .. }) {
                assert!(Instant::now() < end, "n{} does not serve", at + 1);
                self.shared.pass(Duration::from_millis(50));
            }
        };
        std::thread::scope(|scope| {
            (0..NODES).for_each(|at| drop(scope.spawn(move || ready(at))));
        });
    }

    /// What every node says of every key, one after the other; these reads are part of the history.
    /// All say the same.
    pub fn read_everything(&self) -> BTreeMap<Key, Option<Value>> {
        let operations = self.shared.record.lock().unwrap().operations();
        let mut calls: BTreeMap<Key, Call> = BTreeMap::new();
        for call in operations.into_iter().map(|operation| operation.call) {
            for key in call.keys() {
                calls.entry(key).or_insert(Call::Get(key));
            }
        }
        let mut last = BTreeMap::new();
        let read = |at: usize| {
            let mut node = Node::new(at);
            let value = |call| match node.record(&self.shared, usize::MAX, call, false) {
                Some(Return::Found(found)) => found[0],
                other => panic!("n{} said {other:?} to {call:?} in the end", at + 1),
            };
            calls.values().map(value).collect::<Vec<_>>()
        };
        for at in 0..NODES {
            // In a thread, because it goes where the node is.
            let found = std::thread::scope(|scope| scope.spawn(|| read(at)).join().unwrap());
            for (key, found) in calls.keys().zip(found) {
                let before = *last.entry(*key).or_insert(found);
                assert_eq!(before, found, "n{} has another value of {key}", at + 1);
            }
        }
        last
    }
}

/// HTTP is on the loopback of each node's own network.
const MORE: &str = "[raft]\nelection_min = \"500ms\"\n[http]\nlisten = \"127.0.0.1:2379\"\n";

/// The command, run in the network of a node.
fn inside(at: usize, mut command: AgentCommand) -> AgentCommand {
    let there = File::open(format!("/run/netns/n{}", at + 1)).unwrap();
    // SAFETY: setns(2) may be called between fork and exec.
    unsafe {
        command.command.pre_exec(move || {
            match libc::setns(there.as_raw_fd(), libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    command
}
