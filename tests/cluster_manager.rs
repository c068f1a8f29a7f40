//! `raftctl start`, the foreground manager, as a process with shell scripts for agents.

mod cluster_support;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cluster_support::Scene;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for SIGTERM and exits with 0; not longer than a minute. Only builtins, so that nothing is
/// left when it is killed.
const WAIT: &str = "\
trap 'exit 0' TERM
exec 8<> <(:)
echo \"$node waits\" >&2
read -t 60 -u 8
exit 9
";

/// A running manager; ended with the test.
struct Manager {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Manager {
    fn start(scene: &Scene, more: &[&str]) -> Manager {
        let mut child = Command::new(env!("CARGO_BIN_EXE_raftctl"))
            .args(["start", "--config"])
            .arg(scene.config())
            .args(more)
            .env("RAFTCTLD", scene.agent())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::sync_channel(64);
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Manager { child, lines }
    }

    /// Reads lines until each of `wanted` was there, in any order.
    fn expect(&self, wanted: &[&str]) {
        let mut missing = wanted.to_vec();
        let mut seen = Vec::new();
        while !missing.is_empty() {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|e| panic!("{e}: no {missing:?} in {seen:#?}"));
            missing.retain(|wanted| !line.contains(wanted));
            seen.push(line);
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// The exit status, after all lines were read; the lines.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("{error}: the manager goes on after {lines:#?}"),
            }
        }
        (self.child.wait().unwrap().code(), lines)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(body: &str) -> String {
    format!("#!/bin/bash\nhere=${{0%/*}} node=$4\n{body}")
}

impl Manager {
    fn take_lines(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

#[test]
fn lines_have_names_and_sigterm_ends_all() {
    let scene = Scene::new(2, &script(WAIT));
    let manager = Manager::start(&scene, &[]);
    manager.expect(&["n1 | n1 waits", "n2 | n2 waits"]);
    manager.signal(Signal::SIGTERM);
    let (status, lines) = manager.end();
    assert_eq!(status, Some(0), "{lines:#?}");
    let ended = |name| {
        lines.iter().any(|l| *l == format!("raftctl: {name}: ended with exit status 0 (success)"))
    };
    assert!(ended("n1") && ended("n2"), "{lines:#?}");
}

#[test]
fn one_node_of_the_file_can_be_chosen() {
    let scene = Scene::new(2, &script("echo \"only $node\" >&2"));
    let manager = Manager::start(&scene, &["--node", "n2"]);
    let (status, lines) = manager.end();
    assert_eq!(status, Some(0));
    assert!(lines.contains(&"n2 | only n2".to_owned()), "{lines:#?}");
    assert!(!lines.iter().any(|l| l.contains("n1")), "{lines:#?}");
}

#[test]
fn a_crashed_agent_is_started_again_later_and_later() {
    let body = format!(
        "echo x >> \"$here/$node.starts\"
        [ \"$(wc -l < \"$here/$node.starts\")\" = 1 ] && kill -9 $$
        [ \"$(wc -l < \"$here/$node.starts\")\" = 2 ] && exit 1\n{WAIT}"
    );
    let scene = Scene::new(1, &script(&body));
    let manager = Manager::start(&scene, &[]);
    manager.expect(&["signal: 9 (SIGKILL), starting it again in 100 ms"]);
    manager.expect(&[
        "exit status 1 (failed, or the answer is no: not found), starting it again in 200 ms",
    ]);
    manager.expect(&["n1 | n1 waits"]);
    manager.signal(Signal::SIGINT);
    // SIGINT is not trapped: passed on as it came, it kills the script.
    let (status, _) = manager.end();
    assert_eq!(status, Some(1));
    assert_eq!(fs::read_to_string(scene.path().join("n1.starts")).unwrap().lines().count(), 3);
}

#[test]
fn a_hopeless_agent_is_not_started_again_and_its_neighbour_goes_on() {
    let scene = Scene::new(2, &script(&format!("[ $node = n1 ] && exit 78\n{WAIT}")));
    let manager = Manager::start(&scene, &[]);
    manager.expect(&["n1: ended with exit status 78", "not started again", "n2 waits"]);
    manager.signal(Signal::SIGTERM);
    let (status, lines) = manager.end();
    assert_eq!(status, Some(78), "{lines:#?}");
}

#[test]
fn a_second_signal_kills() {
    let scene = Scene::new(1, &script(&WAIT.replace("trap 'exit 0'", "trap ''")));
    let manager = Manager::start(&scene, &[]);
    manager.expect(&["n1 waits"]);
    manager.signal(Signal::SIGTERM);
    manager.expect(&["SIGTERM: stopping; a second signal kills"]);
    manager.signal(Signal::SIGHUP);
    manager.expect(&["SIGHUP: killing", "ended with signal: 9 (SIGKILL)"]);
    assert_eq!(manager.end().0, Some(1));
}

#[test]
fn agents_end_with_a_manager_that_is_killed() {
    let scene = Scene::new(1, &script(&format!("exec 9> \"$here/fifo\"\n{WAIT}")));
    let fifo = scene.path().join("fifo");
    mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    let manager = Manager::start(&scene, &[]);
    // Opening waits for the writer; reading ends when the agent has.
    let (sender, ended) = mpsc::sync_channel(64);
    std::thread::spawn(move || {
        let mut nothing = Vec::new();
        let read = File::open(&fifo).and_then(|mut fifo| fifo.read_to_end(&mut nothing));
        sender.send(read.is_ok())
    });
    manager.expect(&["n1 waits"]);
    manager.signal(Signal::SIGKILL);
    assert_eq!(ended.recv_timeout(DEADLINE), Ok(true), "{:?}", manager.take_lines());
}

#[test]
fn what_cannot_be_started_is_said() {
    let scene = Scene::new(1, "");
    fs::remove_file(scene.agent()).unwrap();
    let (status, lines) = Manager::start(&scene, &[]).end();
    assert_eq!(status, Some(2), "{lines:?}");
    assert!(lines[0].contains("RAFTCTLD="), "{lines:?}");
    let (status, lines) = Manager::start(&scene, &["--node", "n7"]).end();
    assert_eq!(status, Some(2), "{lines:?}");
}
