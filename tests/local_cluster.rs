//! A whole cluster on this host, with the real programs: elections, hand-over, a killed leader and
//! its event scripts, as a person at a shell would see them.
//!
//! Every wait is for an event: an event script writes to a pipe, a command returns, a process ends.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use raftctl::cli::cluster::process::{self, Found, Process};
use serde_json::Value;
use tempfile::TempDir;

/// Every wait ends by then. Longer than the patience of `raftctl` itself, which says more.
const DEADLINE: Duration = Duration::from_secs(30);

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// Leaves what it was told in `NODE.EVENT.env`, then says so in the pipe. Opened for reading too,
/// the pipe never blocks it, also when the test is gone.
const SCRIPT: &str = r#"#!/bin/sh
here=${0%/*}
env > "$here/$RAFTCTL_NODE.$1.new"
mv "$here/$RAFTCTL_NODE.$1.new" "$here/$RAFTCTL_NODE.$1.env"
echo "$RAFTCTL_NODE $1 $RAFTCTL_SEQUENCE" 1<>"$here/told"
"#;

/// A directory with the configuration of three nodes; nothing that was started in it outlives it.
struct Scene {
    directory: TempDir,
    told: mpsc::Receiver<String>,
    started: Vec<Process>,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let script = path.join("event.sh");
        fs::write(&script, SCRIPT).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let pipe = path.join("told");
        mkfifo(&pipe, Mode::from_bits_truncate(0o600)).unwrap();
        // Writing keeps the pipe open between two scripts.
        let pipe = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        let (sender, told) = mpsc::sync_channel(1024);
        thread::spawn(move || {
            let lines = BufReader::new(pipe).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
        });
        let scene = Scene { directory, told, started: Vec::new() };
        fs::write(scene.config(), configuration()).unwrap();
        scene
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The name that `raftctl` looks for in its working directory.
    fn config(&self) -> PathBuf {
        self.path().join("raftctl-cluster.toml")
    }

    fn raftctl(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
        command.args(arguments.split_whitespace()).current_dir(self.path()).stdin(Stdio::null());
        command.env("RAFTCTLD", env!("CARGO_BIN_EXE_raftctld"));
        command.env_remove("RAFTCTL_RUNTIME_DIRECTORY").env_remove("RAFTCTL_CLUSTER_CONFIG");
        command
    }

    /// Runs `raftctl` with the configuration file.
    fn run(&mut self, arguments: &str) -> Ended {
        let config = self.config().display().to_string();
        let ended = output(self.raftctl(&format!("{arguments} --config {config}")));
        self.remember();
        ended
    }

    /// Runs `raftctl`, which shall succeed; its output.
    #[track_caller]
    fn succeed(&mut self, arguments: &str) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.status, Some(0), "{arguments}: {ended:#?}\n{}", self.logs());
        ended.out
    }

    /// Takes hold of the processes that the pid files mean.
    fn remember(&mut self) {
        for node in NODES {
            if let Found::Running(process) = process::find(&self.pid_file(node)).unwrap()
                && self.started.iter().all(|known| known.pid() != process.pid())
            {
                self.started.push(process);
            }
        }
    }

    fn pid_file(&self, node: &str) -> PathBuf {
        self.config().with_extension("d").join(node).join("raftctld.pid")
    }

    fn logs(&self) -> String {
        let log = |node: &&str| fs::read_to_string(self.pid_file(node).with_extension("log"));
        NODES.iter().filter_map(|node| log(node).ok()).collect()
    }

    /// Waits until some node's script was told `event`; the node and what it was told.
    #[track_caller]
    fn wait_for(&self, event: &str, node: Option<&str>) -> (String, BTreeMap<String, String>) {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.told.recv_timeout(left) else {
                panic!("no {event} of {node:?} among {seen:?}\n{}", self.logs());
            };
            let words: Vec<&str> = line.split(' ').collect();
            if words[1] == event && node.is_none_or(|node| node == words[0]) {
                let text = self.path().join(format!("{}.{event}.env", words[0]));
                let text = fs::read_to_string(text).unwrap();
                let pairs = text.lines().filter_map(|line| line.split_once('='));
                let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
                return (words[0].to_owned(), pairs.collect());
            }
            seen.push(line);
        }
    }

    /// Who leads, according to `raftctl status`, which shows a star in exactly one row.
    #[track_caller]
    fn leader(&mut self) -> String {
        let shown = self.succeed("status");
        let rows = shown.lines().skip(1).filter(|line| line.contains('★'));
        let leaders: Vec<_> = rows.filter_map(|row| row.split_whitespace().next()).collect();
        let [leader] = leaders[..] else { panic!("{shown}") };
        assert!(shown.lines().next().unwrap().contains(&format!("leader {leader} ★")), "{shown}");
        leader.to_owned()
    }

    fn status(&mut self) -> Value {
        let ended = self.run("status --json=short");
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:#?}"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.remember();
        for process in &self.started {
            let _ = process.signal(Signal::SIGKILL);
        }
        for process in &self.started {
            let ended = process.wait(Instant::now() + DEADLINE);
            assert!(thread::panicking() || ended.unwrap(), "{} outlives the test", process.pid());
        }
    }
}

/// An address of the loopback network that belongs to this process alone, and ports of it that
/// belong to one test: nobody else takes them between two starts.
fn configuration() -> String {
    static PORT: AtomicU16 = AtomicU16::new(7101);
    let first = PORT.fetch_add(3, Ordering::Relaxed);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let host = format!("127.{}.{middle}.{low}", 64 + high % 64);
    let mut text = String::from("[cluster]\nname = \"db\"\n[cluster.members]\n");
    for (node, port) in NODES.iter().zip(first..) {
        text += &format!("{node} = \"{host}:{port}\"\n");
    }
    text += "[nodes.n1]\n[nodes.n2]\n[nodes.n3]\n";
    // A machine that has much else to do shall not be taken for a dead leader.
    text += "[raft]\nelection_min = \"1s\"\nelection_max = \"1500ms\"\n";
    text += "[events]\nleader = \"event.sh\"\nfollower = \"event.sh\"\n";
    text
}

/// Runs `command` to its end.
fn output(mut command: Command) -> Ended {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let (sender, output) = mpsc::sync_channel(1);
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = output.recv_timeout(DEADLINE) else {
        let _ = kill(pid, Signal::SIGKILL);
        panic!("{command:?} does not end");
    };
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn other_than(node: &str) -> &'static str {
    NODES.iter().find(|other| **other != node).unwrap()
}

fn token(told: &BTreeMap<String, String>) -> u64 {
    told["RAFTCTL_TOKEN"].parse().unwrap()
}

#[test]
fn a_cluster_elects_hands_over_and_survives_a_killed_leader() {
    let mut scene = Scene::new();
    let shown = scene.succeed("cluster start");
    let (first, told) = scene.wait_for("leader", None);
    assert!(shown.contains(&format!("{first} leads in term ")), "{shown}");
    assert_eq!(scene.started.len(), 3);
    for (name, value) in [
        ("EVENT", "leader"),
        ("ROLE", "leader"),
        ("CLUSTER", "db"),
        ("NODE", &first),
        ("LEADER", &first),
    ] {
        assert_eq!(told[&format!("RAFTCTL_{name}")], value);
    }
    assert_eq!(scene.leader(), first);
    the_cluster_here_is_found_without_being_named(&scene);

    let second = other_than(&first);
    assert_eq!(scene.succeed(&format!("transfer {second}")), format!("{second} leads now\n"));
    let (_, told_second) = scene.wait_for("leader", Some(second));
    assert!(token(&told_second) > token(&told), "{told_second:?}");
    assert_eq!(scene.leader(), second);

    let shown = scene.succeed(&format!("cluster kill {second}"));
    assert!(shown.starts_with(&format!("{second} killed (process ")), "{shown}");
    let (third, told_third) = scene.wait_for("leader", None);
    assert_ne!(third, second);
    assert!(token(&told_third) > token(&told_second), "{told_third:?}");
    assert_eq!(scene.leader(), third);
    let nodes = scene.status()["nodes"].take();
    let dead = nodes.as_array().unwrap().iter().find(|node| node["name"] == second).unwrap();
    assert!(dead["status"].is_null() && dead["error"].is_string(), "{dead}");
    assert_eq!(scene.run("cluster status").status, Some(3));

    scene.succeed(&format!("cluster start {second}"));
    let (_, told) = scene.wait_for("follower", Some(second));
    assert_eq!(told["RAFTCTL_ROLE"], "follower");
    let shown = scene.succeed(&format!("status {second}"));
    assert!(shown.contains("Role: follower\n"), "{shown}");
    assert_eq!(scene.leader(), third, "who comes back disturbs nobody");

    let shown = scene.succeed("cluster test");
    let passed = shown.lines().filter(|line| line.starts_with("PASS  ")).count();
    assert_eq!((passed, shown.lines().count()), (6, 6), "{shown}");
    scene.succeed("cluster status");

    let shown = scene.succeed("cluster stop");
    assert_eq!(shown.matches(" stopped (process ").count(), 3, "{shown}");
    assert_eq!(scene.started.len(), 4);
    for process in &scene.started {
        assert!(process.wait(Instant::now()).unwrap(), "{} still runs", process.pid());
    }
    assert_eq!(scene.run("status").status, Some(3));
    scene.succeed("cluster clean");
    assert!(!scene.config().with_extension("d").exists());
}

/// In the directory of the cluster, `raftctl status` needs no option and says what it found.
fn the_cluster_here_is_found_without_being_named(scene: &Scene) {
    if Path::new("/run/raftctl").exists() {
        println!("SKIPPED: agents of the system would be found before the local cluster");
        return;
    }
    let ended = output(scene.raftctl("status"));
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert!(ended.out.contains("Cluster db: leader "), "{ended:#?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:#?}");
    assert!(ended.err.contains("raftctl-cluster.toml"), "{ended:#?}");
    for quiet in ["status --no-legend", "status --json=short"] {
        assert_eq!(output(scene.raftctl(quiet)).err, "", "{quiet}");
    }
}

#[test]
fn a_cluster_of_which_every_node_was_killed_starts_again() {
    let mut scene = Scene::new();
    scene.succeed("cluster start");
    let (_, before) = scene.wait_for("leader", None);
    let id = scene.status()["cluster_id"].take();
    scene.succeed("cluster kill");
    assert_eq!(scene.run("status").status, Some(3));
    scene.succeed("cluster start");
    // Between the first and the last kill another node may have taken over.
    let after = loop {
        let (node, told) = scene.wait_for("leader", None);
        if node == scene.leader() {
            break told;
        }
    };
    assert!(token(&after) > token(&before), "{before:?} {after:?}");
    assert_eq!(scene.status()["cluster_id"], id);
    scene.succeed("cluster stop");
}

#[test]
fn the_foreground_manager_runs_real_agents_until_it_is_stopped() {
    let scene = Scene::new();
    let log = scene.path().join("manager.log");
    let mut command = scene.raftctl("start --config raftctl-cluster.toml");
    let child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let (sender, ended) = mpsc::sync_channel(1);
    let mut child = child;
    thread::spawn(move || sender.send(child.wait()));
    let stop = Stop(pid);
    let (leader, _) = scene.wait_for("leader", None);
    let status = output(scene.raftctl("list --no-legend --config raftctl-cluster.toml"));
    assert_eq!(status.out.lines().filter(|line| line.contains('★')).count(), 1, "{status:#?}");
    let ended_with = |name: &str| format!("raftctl: {name}: ended with exit status 0 (success)");
    kill(pid, Signal::SIGTERM).unwrap();
    let ended = ended.recv_timeout(DEADLINE).unwrap().unwrap();
    std::mem::forget(stop);
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(ended.code(), Some(0), "{log}");
    for node in NODES {
        assert!(log.contains(&ended_with(node)), "{log}");
    }
    assert!(log.contains(&format!("{leader} | ")), "{log}");
}

/// Ends the manager if the test fails; its agents end with it.
struct Stop(Pid);

impl Drop for Stop {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}
