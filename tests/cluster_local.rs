//! `raftctl cluster` with real, detached processes that are no agents but look like some.

mod cluster_support;
#[path = "cluster_support/fake.rs"]
mod fake;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use cluster_support::Scene;
use raftctl::cli::args::Json;
use raftctl::cli::cluster::process::{self, Found, Reason, Record};
use raftctl::cli::cluster::{self, Client, ClusterVerb, Environment, LogsArgs, OneOrAll};
use raftctl::cli::output::Format;
use raftctl::dbus::describe::Describe;
use raftctl::exit::Exit;
use serde_json::{Value, json};

#[test]
fn fake_agent() {
    fake::fake_agent_main();
}

/// Answers for the fakes: who leads, and what some of them say differently.
struct FakeClient {
    leader: Mutex<Option<String>>,
    term: Mutex<u64>,
    says: Vec<(&'static str, Value)>,
    hands_over: bool,
}

impl FakeClient {
    fn led_by(leader: &str) -> FakeClient {
        FakeClient {
            leader: Mutex::new(Some(leader.to_owned())),
            term: Mutex::new(3),
            says: Vec::new(),
            hands_over: true,
        }
    }
}

impl Client for FakeClient {
    fn describe(&self, socket: &Path, deadline: Duration) -> anyhow::Result<Describe> {
        assert!(deadline <= Duration::from_secs(1));
        UnixStream::connect(socket)?;
        // .../NODE/run/bus
        let name = socket.ancestors().nth(2).unwrap().file_name().unwrap().to_str().unwrap();
        let leader = self.leader.lock().unwrap().clone();
        let leads = leader.as_deref() == Some(name);
        let mut view = json!({
            "name": name, "id": 1, "cluster_name": "main",
            "role": if leads { "leader" } else { "follower" }, "active": leads,
            "term": *self.term.lock().unwrap(), "token": 7, "leader": leader,
            "commit_index": 9, "applied_index": 9, "of a later version": 1,
        });
        for (_, says) in self.says.iter().filter(|(node, _)| *node == name) {
            view.as_object_mut().unwrap().extend(says.as_object().unwrap().clone());
        }
        Ok(serde_json::from_value(view)?)
    }

    fn transfer(&self, _: &Path, to: Option<&str>, _: Duration) -> anyhow::Result<String> {
        anyhow::ensure!(self.hands_over, "node \"n2\" did not take over within 200 ms");
        *self.leader.lock().unwrap() = to.map(str::to_owned);
        *self.term.lock().unwrap() += 1;
        Ok(to.unwrap_or_default().to_owned())
    }
}

struct Stage {
    scene: Scene,
    client: FakeClient,
    patience: Duration,
    json: Json,
}

impl Stage {
    fn new(count: usize) -> Stage {
        let scene = Scene::new(count, &fake::fake_script());
        let leader = if count == 1 { "n1" } else { "n2" };
        let client = FakeClient::led_by(leader);
        Stage { scene, client, patience: Duration::from_secs(10), json: Json::Off }
    }

    fn try_run(&self, verb: ClusterVerb) -> (anyhow::Result<Exit>, String) {
        let environment = Environment {
            config: Some(self.scene.config()),
            agent: Some(self.scene.agent()),
            directory: PathBuf::from("/"),
            patience: self.patience,
        };
        let format = Format { json: self.json, legend: true, colour: false };
        let mut out = Vec::new();
        let result = cluster::run(&verb, &environment, &self.client, format, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    fn run(&self, verb: ClusterVerb) -> (Exit, String) {
        let (result, out) = self.try_run(verb);
        (result.unwrap(), out)
    }

    /// Path of `name` in the directory of node `node`.
    fn of_node(&self, node: &str, name: &str) -> PathBuf {
        self.scene.path().join("c.d").join(node).join(name)
    }

    fn find(&self, node: &str) -> Found {
        process::find(&self.of_node(node, "raftctld.pid")).unwrap()
    }

    fn pid(&self, node: &str) -> i32 {
        match self.find(node) {
            Found::Running(process) => process.pid(),
            Found::Gone(reason) => panic!("{node}: {reason}"),
        }
    }
}

impl Drop for Stage {
    /// Whatever the test left running is ended through the same pid files.
    fn drop(&mut self) {
        let _ = self.try_run(ClusterVerb::Kill(OneOrAll::default()));
    }
}

fn all() -> OneOrAll {
    OneOrAll::default()
}

fn only(node: &str) -> OneOrAll {
    OneOrAll { node: Some(node.parse().unwrap()) }
}

#[test]
fn a_cluster_starts_runs_stops_and_is_cleaned() {
    let stage = Stage::new(3);
    let (exit, out) = stage.run(ClusterVerb::Start(all()));
    assert_eq!(exit, Exit::Ok, "{out}");
    assert!(out.contains("n2 leads in term 3, after "), "{out}");
    let pids = ["n1", "n2", "n3"].map(|n| stage.pid(n));
    for (name, pid) in ["n1", "n2", "n3"].iter().zip(pids) {
        assert!(out.contains(&format!("{name} started (process {pid})")), "{out}");
        // Its own session, so that no terminal takes it along.
        assert_eq!(session_of(pid), pid);
    }

    let (exit, out) = stage.run(ClusterVerb::Start(all()));
    assert_eq!(exit, Exit::Ok);
    assert!(out.contains(&format!("n1 is already running (process {})", pids[0])), "{out}");
    assert_eq!(["n1", "n2", "n3"].map(|n| stage.pid(n)), pids);

    let (exit, out) = stage.run(ClusterVerb::Status(all()));
    assert_eq!(exit, Exit::Ok);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "● Cluster main: leader n2 ★, 3 of 3 nodes answer");
    assert!(lines[2].starts_with("NODE "), "{out}");
    let words: Vec<&str> = lines[4].split_whitespace().collect();
    let pid = pids[1].to_string();
    let expected = ["n2", &pid, "leader", "★", "yes", "3", "7", "9", "127.0.0.1:2"];
    assert_eq!(words, expected, "{out}");
    assert!(lines[8].ends_with("/c.d"), "{out}");

    let (result, _) = stage.try_run(ClusterVerb::Clean(all()));
    let error = result.unwrap_err();
    assert!(error.to_string().contains("n1 is running (process "), "{error}");
    assert!(stage.of_node("n1", "state").exists());

    let (exit, out) = stage.run(ClusterVerb::Stop(only("n1")));
    assert_eq!((exit, out.as_str()), (Exit::Ok, &*format!("n1 stopped (process {})\n", pids[0])));
    assert!(matches!(stage.find("n1"), Found::Gone(Reason::NoFile)));
    assert_eq!(stage.run(ClusterVerb::Status(all())).0, Exit::NotRunning);

    assert_eq!(stage.run(ClusterVerb::Stop(all())).0, Exit::Ok);
    let (exit, out) = stage.run(ClusterVerb::Stop(only("n3")));
    assert_eq!((exit, out.as_str()), (Exit::Ok, "n3 is not running\n"));
    assert_eq!(stage.run(ClusterVerb::Clean(all())).0, Exit::Ok);
    assert!(!stage.scene.path().join("c.d").exists());
}

#[test]
fn a_restart_gives_a_new_process_and_keeps_the_log() {
    let stage = Stage::new(1);
    stage.run(ClusterVerb::Start(all()));
    let before = stage.pid("n1");
    assert_eq!(stage.run(ClusterVerb::Restart(all())).0, Exit::Ok);
    assert_ne!(stage.pid("n1"), before);
    let logs = |lines| {
        let args = LogsArgs { node: None, follow: false, lines };
        stage.run(ClusterVerb::Logs(args)).1
    };
    assert_eq!(logs(100).matches("fake n1 starts\n").count(), 2);
    assert_eq!(logs(1).lines().count(), 1);
}

#[test]
fn logs_are_followed() {
    let stage = Stage::new(2);
    let log = |node| stage.of_node(node, "raftctld.log");
    for node in ["n1", "n2"] {
        fs::create_dir_all(log(node).parent().unwrap()).unwrap();
        fs::write(log(node), format!("old\n{node} begins\n")).unwrap();
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_raftctl"))
        .args(["cluster", "logs", "-f", "-n", "1", "--config"])
        .arg(stage.scene.config())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let _ended_with_the_test = Stranger(child);
    let (sender, lines) = mpsc::sync_channel(64);
    thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
    });
    let next = || lines.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!([next(), next()], ["n1 | n1 begins", "n2 | n2 begins"]);
    let mut file = fs::OpenOptions::new().append(true).open(log("n2")).unwrap();
    file.write_all(b"n2 goes on\n").unwrap();
    assert_eq!(next(), "n2 | n2 goes on");
}

#[test]
fn what_cannot_be_printed_does_not_stop_the_work() {
    let stage = Stage::new(2);
    let run = |verb: &str, stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
        command.args(["cluster", verb, "--config"]).arg(stage.scene.config());
        let output = command.stdout(stdout).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    for (stdout, status) in [(gone(), 0), (full(), 1)] {
        stage.run(ClusterVerb::Start(all()));
        let (exit, err) = run("stop", stdout);
        assert_eq!((exit, err.contains("cannot print")), (Some(status), status == 1), "{err}");
        for node in ["n1", "n2"] {
            assert!(matches!(stage.find(node), Found::Gone(Reason::NoFile)));
        }
    }
    assert_eq!(run("logs", gone()), (Some(0), String::new()));
    assert_eq!(run("status", gone()), (Some(3), String::new()));
}

#[test]
fn a_stale_pid_file_never_hits_a_stranger() {
    let stage = Stage::new(1);
    let mut stranger = Stranger(sleeping());
    let pid_file = stage.of_node("n1", "raftctld.pid");
    fs::create_dir_all(pid_file.parent().unwrap()).unwrap();
    let truth = Record::of(stranger.0.id(), Path::new("/usr/bin/sleep")).unwrap();
    let strangers = [
        // The number was given again: another start time, or another program.
        Record { start_time: truth.start_time - 1, ..truth.clone() },
        Record { program: "raftctld".to_owned(), ..truth.clone() },
        // The host was rebooted, and everything else matches by chance.
        Record { boot_id: "00000000-0000-0000-0000-000000000000".to_owned(), ..truth.clone() },
    ];
    for record in strangers {
        for verb in [ClusterVerb::Stop(all()), ClusterVerb::Kill(all())] {
            record.write(&pid_file).unwrap();
            let (exit, out) = stage.run(verb);
            assert_eq!(exit, Exit::Ok);
            assert!(out.starts_with("n1 is not running: "), "{out}");
            assert!(!pid_file.exists());
            assert!(stranger.0.try_wait().unwrap().is_none(), "{record}");
        }
    }
    // The same file with the truth in it does end the process: the test can fail.
    truth.write(&pid_file).unwrap();
    let (exit, out) = stage.run(ClusterVerb::Kill(all()));
    assert_eq!((exit, out.contains("killed")), (Exit::Ok, true), "{out}");
    assert!(!stranger.0.wait().unwrap().success());
}

#[test]
fn a_stubborn_node_is_named_and_can_be_killed() {
    let mut stage = Stage::new(1);
    fs::write(stage.scene.path().join("n1.stubborn"), "").unwrap();
    assert_eq!(stage.run(ClusterVerb::Start(all())).0, Exit::Ok);
    stage.patience = Duration::from_millis(50);
    let (exit, out) = stage.run(ClusterVerb::Stop(all()));
    assert_eq!(exit, Exit::TimedOut);
    assert!(out.contains("n1 is still running after 0.05 s"), "{out}");
    assert!(out.contains("\"raftctl cluster kill n1\""), "{out}");
    let pid = stage.pid("n1");
    stage.patience = Duration::from_secs(10);
    let (exit, out) = stage.run(ClusterVerb::Kill(only("n1")));
    assert_eq!((exit, out), (Exit::Ok, format!("n1 killed (process {pid})\n")));
}

#[test]
fn an_agent_that_refuses_is_shown_with_its_last_lines() {
    let stage = Stage::new(2);
    fs::write(stage.scene.path().join("n2.exit"), "78").unwrap();
    let (exit, out) = stage.run(ClusterVerb::Start(all()));
    assert_eq!(exit, Exit::Failure);
    let expected = "n2 has ended: exit status 78 (the configuration is missing or wrong)\n  \
                    fake n2 starts\n  fake n2 refuses\n";
    assert!(out.contains(expected), "{out}");
    assert!(matches!(stage.find("n2"), Found::Gone(Reason::NoFile)));
    stage.pid("n1");
}

#[test]
fn too_few_nodes_are_not_waited_for() {
    let mut stage = Stage::new(3);
    *stage.client.leader.get_mut().unwrap() = None;
    let (exit, out) = stage.run(ClusterVerb::Start(only("n1")));
    assert_eq!(exit, Exit::Ok);
    assert!(out.contains("1 of 3 members run here, too few for a leader"), "{out}");
    stage.patience = Duration::from_millis(100);
    let (exit, out) = stage.run(ClusterVerb::Start(all()));
    assert_eq!(exit, Exit::NoLeader, "{out}");
}

#[test]
fn somebody_elses_agent_is_left_alone() {
    let stage = Stage::new(1);
    stage.run(ClusterVerb::Start(all()));
    let pid_file = stage.of_node("n1", "raftctld.pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    fs::remove_file(&pid_file).unwrap();
    for verb in [ClusterVerb::Start(all()), ClusterVerb::Clean(all())] {
        let (result, _) = stage.try_run(verb);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("answers on"), "{error}");
    }
    fs::write(&pid_file, text).unwrap();
}

#[test]
fn the_test_verb_passes_and_hands_over() {
    let stage = Stage::new(3);
    stage.run(ClusterVerb::Start(all()));
    let (exit, out) = stage.run(ClusterVerb::Test);
    assert_eq!(exit, Exit::Ok, "{out}");
    assert_eq!(out.lines().filter(|l| l.starts_with("PASS  ")).count(), 6, "{out}");
    assert!(out.contains("hand-over from n2 to n3: done after "), "{out}");
    assert_eq!(stage.client.leader.lock().unwrap().as_deref(), Some("n3"));
}

#[test]
fn the_verbs_that_show_something_speak_json() {
    let mut stage = Stage::new(2);
    stage.json = Json::Short;
    stage.run(ClusterVerb::Start(only("n2")));
    let (exit, out) = stage.run(ClusterVerb::Status(all()));
    assert_eq!(exit, Exit::NotRunning);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["nodes"][0]["error"], "not started");
    assert_eq!(json["nodes"][0]["pid"], Value::Null);
    assert_eq!(json["nodes"][1]["pid"], stage.pid("n2"));
    assert_eq!(json["nodes"][1]["status"]["role"], "leader");
    let state = json["nodes"][1]["state_directory"].as_str().unwrap();
    assert!(state.ends_with("/c.d/n2/state"), "{state}");

    stage.run(ClusterVerb::Start(only("n1")));
    let (exit, out) = stage.run(ClusterVerb::Test);
    assert_eq!(exit, Exit::Ok, "{out}");
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|line| line["verdict"] == "pass"), "{out}");
    assert_eq!(lines[5]["check"], "hand-over from n2 to n1");
}

#[test]
fn a_started_node_that_does_not_follow_is_named() {
    let mut stage = Stage::new(3);
    stage.client.says = vec![("n1", json!({ "leader": null }))];
    stage.patience = Duration::from_millis(200);
    let (exit, out) = stage.run(ClusterVerb::Start(all()));
    assert_eq!(exit, Exit::TimedOut, "{out}");
    assert!(out.contains("n2 leads, but n1 does not follow after 0.2 s"), "{out}");
    // A node that was running already is not waited for.
    let (exit, out) = stage.run(ClusterVerb::Start(all()));
    assert_eq!(exit, Exit::Ok, "{out}");
}

#[test]
fn the_test_verb_fails_when_the_hand_over_does() {
    let mut stage = Stage::new(2);
    stage.client.hands_over = false;
    stage.run(ClusterVerb::Start(all()));
    let (exit, out) = stage.run(ClusterVerb::Test);
    assert_eq!(exit, Exit::Failure);
    assert!(out.contains("FAIL  hand-over from n2 to n1: node \"n2\" did not take over"), "{out}");
}

#[test]
fn another_command_at_work_is_respected() {
    let stage = Stage::new(1);
    let held = fs::File::open(stage.scene.config()).unwrap();
    held.lock().unwrap();
    let (result, _) = stage.try_run(ClusterVerb::Stop(all()));
    let error = result.unwrap_err();
    assert!(error.to_string().contains("another raftctl cluster command"), "{error}");
    held.unlock().unwrap();
}

#[test]
fn an_unknown_node_is_a_usage_error() {
    let stage = Stage::new(2);
    let (result, _) = stage.try_run(ClusterVerb::Stop(only("n9")));
    let error = result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    assert!(error.to_string().ends_with("no node \"n9\": expected one of n1, n2"), "{error}");
}

#[test]
fn clean_leaves_what_is_elsewhere() {
    let stage = Stage::new(1);
    let elsewhere = stage.scene.path().join("precious");
    fs::create_dir(&elsewhere).unwrap();
    let text = fs::read_to_string(stage.scene.config()).unwrap();
    fs::write(stage.scene.config(), text + "state_directory = \"precious\"\n").unwrap();
    fs::create_dir_all(stage.of_node("n1", "run")).unwrap();
    let (exit, out) = stage.run(ClusterVerb::Clean(all()));
    assert_eq!(exit, Exit::Ok);
    assert!(out.contains("precious is not below"), "{out}");
    assert!(elsewhere.exists());
    assert!(!stage.of_node("n1", "").exists());
}

/// A child of this test that is no agent; ended with the test.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleeping() -> Child {
    Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap()
}

/// Field 6 of proc_pid_stat(5).
fn session_of(pid: i32) -> i32 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = text.rsplit_once(')').unwrap().1;
    after.split_whitespace().nth(3).unwrap().parse().unwrap()
}
