//! The command line as a process: exit statuses, where it looks for agents, closed pipes, signals.

mod dbus_support;

use std::path::Path;
use std::process::{Output, Stdio};

use dbus_support::{DEADLINE, FakeNode, describe, follower_of_three, leader_of_three, name};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use raftctl::core::authority::Phase;
use raftctl::core::{NodeId, Token};
use raftctl::exit::Exit;
use raftctl::node::handle::{RemoteStatusError, Request, TakeoverError, TransferError};
use raftctl::node::status::{Change, Role};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

fn raftctl(directory: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
    command.arg("--runtime-directory").arg(directory).args(arguments.split_whitespace());
    command.env_remove("RAFTCTL_RUNTIME_DIRECTORY").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs `command` with standard output as it was set, and a pipe if it was not.
async fn output(mut command: Command) -> Output {
    let running = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
    tokio::time::timeout(DEADLINE, running).await.unwrap().unwrap()
}

/// Exit status, standard output, standard error.
async fn run(directory: &Path, arguments: &str) -> (i32, String, String) {
    let mut command = raftctl(directory, arguments);
    command.stdout(Stdio::piped());
    let output = output(command).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Serves node `id` of three in `directory/n<id>`.
fn serve(directory: &Path, id: u64) -> (FakeNode, tokio::task::JoinHandle<()>) {
    let own = directory.join(format!("n{id}"));
    std::fs::create_dir_all(&own).unwrap();
    let status = if id == 1 { leader_of_three() } else { follower_of_three(id) };
    let node = FakeNode::new(status);
    let (_, serving) = node.serve(&own);
    (node, serving)
}

/// Answers for the other members: n2 is there, n3 is not.
fn answer_peers(mut node: FakeNode) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(request) = node.requests.recv().await {
            let Request::RemoteStatus { of, reply } = request else { panic!("{request:?}") };
            let n3 = RemoteStatusError::Unreachable { name: of.to_string(), deadline_ms: 500 };
            let n2 = describe(&follower_of_three(2)).to_json();
            let _ = reply.send(if of == name("n2") { Ok(n2) } else { Err(n3) });
        }
    })
}

#[tokio::test]
async fn without_an_agent_it_says_where_it_looked_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    // A socket that a dead agent left behind is no agent.
    let dead = directory.path().join("n9");
    std::fs::create_dir(&dead).unwrap();
    drop(std::os::unix::net::UnixListener::bind(dead.join("bus")).unwrap());
    for verb in ["", "status", "status n1", "list", "monitor", "transfer"] {
        let (status, out, error) = run(directory.path(), verb).await;
        assert_eq!((status, out.as_str()), (3, ""), "{verb}: {error}");
        assert!(error.contains(directory.path().to_str().unwrap()), "{verb}: {error}");
        assert!(error.contains("raftctl start"), "{verb}: {error}");
        assert_eq!(error.lines().count(), 1, "{verb}: {error}");
    }
}

#[tokio::test]
async fn status_shows_the_cluster_and_is_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let (node, _serving) = serve(directory.path(), 1);
    let _answers = answer_peers(node);
    let (status, shown, error) = run(directory.path(), "status").await;
    assert_eq!((status, error.as_str()), (0, ""));
    assert!(shown.contains("leader n1 ★"), "{shown}");
    assert!(shown.contains("unreachable"), "{shown}");
    assert!(!shown.contains('\x1b'), "no colours without a terminal: {shown}");
    for same in ["", "state", "--no-pager status", "status -n n1"] {
        assert_eq!(run(directory.path(), same).await, (0, shown.clone(), String::new()), "{same}");
    }
    // One that takes connections and says nothing does not keep us from the others.
    let silent = directory.path().join("a0");
    std::fs::create_dir(&silent).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(silent.join("bus")).unwrap();
    assert_eq!(run(directory.path(), "status").await.1, shown);
    drop(listener);
    std::fs::remove_dir_all(silent).unwrap();
    // The directory of one agent will do, also by the environment, and whatever it is called.
    let own = directory.path().join("n1");
    assert_eq!(run(&own, "status --node n1").await.1, shown);
    let renamed = directory.path().join("elsewhere");
    std::fs::rename(&own, &renamed).unwrap();
    assert_eq!(run(&renamed, "status --node n1").await.1, shown);
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
    command.env("RAFTCTL_RUNTIME_DIRECTORY", directory.path()).stdout(Stdio::piped());
    assert_eq!(String::from_utf8(output(command).await.stdout).unwrap(), shown);
    let (status, _, error) = run(directory.path(), "status --node n7").await;
    assert_eq!(status, 3);
    assert!(error.contains("for node n7"), "{error}");

    let (status, shown, _) = run(directory.path(), "status n2").await;
    assert_eq!(status, 0);
    assert!(shown.starts_with("● Node n2 of cluster db"), "{shown}");
    let (status, shown, error) = run(directory.path(), "status n3").await;
    assert_eq!((status, shown.as_str()), (3, ""));
    assert!(error.contains("\"n3\" did not answer within 500 ms"), "{error}");
}

#[tokio::test]
async fn status_without_a_leader_has_an_exit_status_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (node, _serving) = serve(directory.path(), 3);
    node.update(|status| status.leader = None, None);
    let _answers = tokio::spawn(async move {
        let mut node = node;
        while let Some(Request::RemoteStatus { of, reply }) = node.requests.recv().await {
            let silent = RemoteStatusError::Unreachable { name: of.to_string(), deadline_ms: 500 };
            let _ = reply.send(Err(silent));
        }
    });
    let (status, shown, _) = run(directory.path(), "status").await;
    assert_eq!(status, 5);
    assert!(shown.contains("leader none"), "{shown}");
    assert_eq!(run(directory.path(), "status n3").await.0, 5);
}

#[tokio::test]
async fn list_shows_the_agents_that_run() {
    let directory = tempfile::tempdir().unwrap();
    let (_n1, _serving1) = serve(directory.path(), 1);
    let (_n2, _serving2) = serve(directory.path(), 2);
    let (status, shown, _) = run(directory.path(), "list --no-legend").await;
    let lines: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(status, 0);
    assert_eq!(lines[0][..5], ["n1", "db", "leader", "★", "n1"]);
    assert_eq!(lines[1][..4], ["n2", "db", "follower", "n1"]);
    assert_eq!(lines.len(), 2);
    let (_, json, _) = run(directory.path(), "list --json=short").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[1]["status"]["role"], "follower");
}

#[tokio::test]
async fn a_transfer_goes_to_the_leader_and_tells_its_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let (mut n1, _serving1) = serve(directory.path(), 1);
    let transfer = async |node: &mut FakeNode, with: Result<&str, TransferError>| {
        let Request::Transfer { to, reply } = node.request().await else { panic!() };
        reply.send(with.map(name)).unwrap();
        to
    };
    let (ran, to) = tokio::join!(run(directory.path(), "transfer n2"), transfer(&mut n1, Ok("n2")));
    assert_eq!(ran, (0, "n2 leads now\n".to_owned(), String::new()));
    assert_eq!(to, Some(name("n2")));

    let late = TransferError::TimedOut { name: "n2".to_owned(), waited_ms: 400 };
    let (ran, _) = tokio::join!(run(directory.path(), "transfer"), transfer(&mut n1, Err(late)));
    assert_eq!((ran.0, ran.1.as_str()), (6, ""));
    assert_eq!(ran.2, "raftctl: node \"n2\" did not take over within 400 ms\n");

    // The first agent asked follows; the leader's is here as well.
    let other = tempfile::tempdir().unwrap();
    let refuse = || Err(TransferError::NotLeader { leader: Some("n1".to_owned()) });
    let (mut n2, _serving2) = serve(other.path(), 2);
    let (ran, _) = tokio::join!(run(other.path(), "transfer"), transfer(&mut n2, refuse()));
    assert_eq!(ran.0, 1);
    assert!(ran.2.contains("on the host of n1 (192.0.2.1:7100)"), "{}", ran.2);
    let zone = other.path().join("n1");
    std::os::unix::fs::symlink(directory.path().join("n1"), &zone).unwrap();
    std::fs::rename(other.path().join("n2"), other.path().join("a2")).unwrap();
    let both = async {
        transfer(&mut n2, refuse()).await;
        transfer(&mut n1, Ok("n3")).await
    };
    let (ran, to) = tokio::join!(run(other.path(), "transfer n3 --json=short"), both);
    assert_eq!((ran.0, ran.1.as_str()), (0, "{\"leader\":\"n3\"}\n"));
    assert_eq!(to, Some(name("n3")));

    n2.update(|status| status.leader = None, None);
    std::fs::remove_file(&zone).unwrap();
    let (ran, _) = tokio::join!(run(other.path(), "transfer"), transfer(&mut n2, refuse()));
    assert_eq!(ran.0, 5, "{}", ran.2);
}

#[tokio::test]
async fn a_long_transfer_says_what_it_waits_for() {
    let directory = tempfile::tempdir().unwrap();
    let (mut n1, _serving) = serve(directory.path(), 1);
    n1.update(|status| status.phase = Phase::Waiting, None);
    let mut command = raftctl(directory.path(), "transfer");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let Request::Transfer { reply, .. } = n1.request().await else { panic!() };
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut line =
        async || tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let expected = "raftctl: waiting for n1 to stop its members; the transfer goes on if this is \
                    interrupted";
    assert_eq!(line().await, expected);
    n1.update(|status| status.phase = Phase::Settling, None);
    assert!(line().await.starts_with("raftctl: waiting for the event scripts of n1;"));
    reply.send(Ok(name("n2"))).unwrap();
    let done = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((done.status.code(), done.stdout.as_slice()), (Some(0), &b"n2 leads now\n"[..]));
}

#[tokio::test]
async fn a_takeover_is_for_those_who_know() {
    let directory = tempfile::tempdir().unwrap();
    // Said even where no agent runs: it is read before anything else.
    let (status, out, error) = run(directory.path(), "takeover").await;
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(error.contains("expected --force") && error.contains("two hosts are"), "{error}");
    let (status, _, error) = run(directory.path(), "takeover --force").await;
    assert_eq!(status, 3, "{error}");

    let (mut n1, _serving) = serve(directory.path(), 1);
    let answer = async |node: &mut FakeNode, with: Result<Token, TakeoverError>| {
        let Request::Takeover { reply } = node.request().await else { panic!() };
        reply.send(with).unwrap();
    };
    let taken = answer(&mut n1, Ok(Token(42)));
    let (ran, ()) = tokio::join!(run(directory.path(), "takeover --force"), taken);
    let expected = "the activation with token 42 is over; n1 takes its place\n";
    assert_eq!(ran, (0, expected.to_owned(), String::new()));
    let taken = answer(&mut n1, Ok(Token(42)));
    let (ran, ()) = tokio::join!(run(directory.path(), "takeover --force --json=short"), taken);
    assert_eq!((ran.0, ran.1.as_str()), (0, "{\"ended_token\":42,\"leader\":\"n1\"}\n"));
    let refused = answer(&mut n1, Err(TakeoverError::NothingActive));
    let (ran, ()) = tokio::join!(run(directory.path(), "takeover --force"), refused);
    assert_eq!(ran.0, 1);
    assert_eq!(ran.2, "raftctl: no activation of another node is in force\n");

    let other = tempfile::tempdir().unwrap();
    let (mut n2, _serving2) = serve(other.path(), 2);
    let error = TakeoverError::NotLeader { leader: Some("n1".to_owned()) };
    let refused = answer(&mut n2, Err(error));
    let (ran, ()) = tokio::join!(run(other.path(), "takeover --force"), refused);
    assert_eq!(ran.0, 1);
    let expected = "run `raftctl takeover --force` on the host of n1 (192.0.2.1:7100)";
    assert!(ran.2.contains(expected), "{}", ran.2);
}

#[tokio::test]
async fn usage_errors_and_help() {
    let directory = tempfile::tempdir().unwrap();
    for wrong in [
        "frobnicate",
        "status N_1",
        "--json=yes",
        "list extra",
        "--node",
        "cluster kill N_1",
        "-n n1 cluster test",
    ] {
        let (status, out, error) = run(directory.path(), wrong).await;
        assert_eq!((status, out.as_str()), (2, ""), "{wrong}");
        let what = wrong.split(['=', ' ']).next_back().unwrap();
        assert!(!error.contains("panicked"), "{wrong}: {error}");
        assert!(error.contains(what), "{wrong}: {error}");
    }
    let (status, help, _) = run(directory.path(), "--help").await;
    assert_eq!(status, 0);
    for part in ["Exit statuses", "RAFTCTL_RUNTIME_DIRECTORY", "NO_COLOR", "state"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    for exit in Exit::ALL {
        assert_eq!(help.contains(exit.meaning()), !exit.is_of_agent(), "{help}");
    }
    let verbs = ["status", "list", "monitor", "transfer", "takeover", "version", "cluster start"];
    for verb in verbs {
        let (_, help, _) = run(directory.path(), &format!("{verb} --help")).await;
        let example = format!(":\n  raftctl {verb}");
        assert!(help.contains("Example") && help.contains(&example), "{help}");
    }
    let expected = format!("raftctl {}\n", env!("CARGO_PKG_VERSION"));
    for version in ["-v", "--version", "version"] {
        assert_eq!(run(directory.path(), version).await.1, expected);
    }
}

#[tokio::test]
async fn a_reader_that_went_away_is_no_failure_and_a_full_disk_is() {
    let directory = tempfile::tempdir().unwrap();
    let (_node, _serving) = serve(directory.path(), 1);
    for verb in ["list", "version", "--help", "monitor"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = raftctl(directory.path(), verb);
        command.stdout(writer);
        let done = output(command).await;
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!((done.status.code(), error.as_str()), (Some(0), ""), "{verb}");
    }
    let mut command = raftctl(directory.path(), "list");
    command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let done = output(command).await;
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8(done.stderr).unwrap().contains("cannot print"));
}

#[tokio::test]
async fn a_configuration_file_names_the_agents() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.toml");
    let text = "cluster.members = { n1 = \"h:1\", n2 = \"h:2\", n3 = \"h:3\" }\n\
                [node]\nruntime_directory = \"run\"\n[nodes.n1]\n[nodes.n2]\n";
    std::fs::write(&file, text).unwrap();
    let config = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
        command.args(arguments.split_whitespace()).arg("--config").arg(&file);
        command.env_remove("RAFTCTL_RUNTIME_DIRECTORY").stdout(Stdio::piped());
        output(command)
    };
    let done = config("status").await;
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(3), "{error}");
    assert!(error.contains("looked at the sockets of ") && error.contains("c.toml;"), "{error}");

    let (_n2, _serving) = serve(&directory.path().join("run"), 2);
    let listed = config("list --no-legend").await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.starts_with("n2  db  follower") && listed.lines().count() == 1, "{listed}");
    for (node, status) in [("n1", 3), ("n2", 0)] {
        let done = config(&format!("list --node {node}")).await;
        assert_eq!(done.status.code(), Some(status), "{node}");
    }

    std::fs::write(&file, "[cluster]\nmember = 1\n").unwrap();
    let done = config("monitor").await;
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{error}");
    assert!(error.starts_with("raftctl: ") && error.contains("c.toml:2:1: "), "{error}");
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn monitor_follows_an_agent_through_its_restart_until_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    let (node, serving) = serve(directory.path(), 2);
    let mut command = raftctl(directory.path(), "monitor");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = line(&mut lines).await;
    assert!(
        first.ends_with("n2 is follower of cluster db, leader n1, term 7, token 42"),
        "{first}"
    );

    let lost = Change::Leader { old: Some(NodeId(1)), new: None, term: 7 };
    node.update(|status| status.leader = None, Some(lost));
    assert!(line(&mut lines).await.ends_with("n2 leader n1 → none, term 7"));
    let (old, new) = (Role::Follower, Role::Candidate);
    let reason = "leader lost";
    let change = Change::Role { old, new, active: false, term: 8, token: None, reason };
    node.update(|status| status.role = new, Some(change));
    let changed = line(&mut lines).await;
    assert!(changed.ends_with("n2 role follower → candidate, term 8, token none: leader lost"));

    serving.abort();
    assert!(line(&mut lines).await.ends_with("n2 agent went away, waiting for it"));
    assert!(serving.await.unwrap_err().is_cancelled());
    let (_node, _serving) = serve(directory.path(), 2);
    assert!(line(&mut lines).await.contains("n2 is follower of cluster db, leader n1"));

    kill(Pid::from_raw(child.id().unwrap().cast_signed()), Signal::SIGINT).unwrap();
    let status = tokio::time::timeout(DEADLINE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}
