//! `raftctl init` and `raftctl doctor` as processes: what is written, what is refused, and one line
//! for each check.

mod dbus_support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use dbus_support::{FakeNode, describe, follower_of_three, leader_of_three, name};
use raftctl::cli::args::Json;
use raftctl::cli::doctor::{Check, Result as Outcome, render};
use raftctl::cli::output::Format;
use raftctl::config::ConfigFile;
use raftctl::node::handle::{RemoteStatusError, Request};

/// Exit status, standard output, standard error.
fn run(arguments: &[&str], answers: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
    command.args(arguments).env_remove("RAFTCTL_RUNTIME_DIRECTORY");
    command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without having read all.
    let _ = child.stdin.take().unwrap().write_all(answers.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn init(root: &Path, arguments: &str, answers: &str) -> (i32, String, String) {
    let mut all = vec!["init", "--root", root.to_str().unwrap()];
    all.extend(arguments.split_whitespace());
    run(&all, answers)
}

#[test]
fn flags_make_a_configuration_that_the_agent_accepts() {
    let root = tempfile::tempdir().unwrap();
    let flags = "--yes --name n1 --cluster db --member n2=127.0.0.1:2 --member n1=127.0.0.1:0";
    let (status, _, error) = init(root.path(), flags, "");
    assert_eq!(status, 2, "port 0 is none: {error}");
    let flags = flags.replace(":0", ":59321");
    let (status, text, _) = init(root.path(), &format!("{flags} --dry-run"), "");
    assert_eq!((status, root.path().join("etc").exists()), (0, false));
    assert!(text.contains("[cluster.members]\nn1 = \"127.0.0.1:59321\"\n"), "{text}");

    let (status, out, error) = init(root.path(), &flags, "");
    assert_eq!(status, 0, "{error}");
    for part in [
        "systemctl enable --now raftctl@n1",
        "raftctl init --yes --name n2 --cluster db --member n1=127.0.0.1:59321 --member n2=",
        "raftctl doctor",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(error.contains("of two members none may be lost"), "{error}");
    let path = root.path().join("etc/raftctl/n1.toml");
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(written, text, "what the dry run showed");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    let file = ConfigFile::parse(&written, "n1.toml", Path::new("/etc/raftctl")).unwrap();
    let config = &file.nodes()[0];
    assert_eq!((config.cluster.name.as_str(), config.node.name.as_str()), ("db", "n1"));

    // What is there stays, unless somebody insists.
    let other = flags.replace("db", "other");
    let (status, _, error) = init(root.path(), &other, "");
    assert_eq!(status, 1);
    assert!(error.contains("is there already") && error.contains("--force"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), written);
    let (status, out, _) = init(root.path(), &format!("{other} --force --json=short"), "");
    assert_eq!(status, 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["node"], "n1");
    assert!(fs::read_to_string(&path).unwrap().contains("name = \"other\""));
}

#[test]
fn answers_do_as_well_as_flags() {
    let root = tempfile::tempdir().unwrap();
    let answers = "n3\nn3=127.0.0.1:59322\n\n";
    let (status, out, error) = init(root.path(), "", answers);
    assert_eq!(status, 0, "{out}{error}");
    assert!(out.contains("Name of this host's node") && out.contains("Wrote "), "{out}");
    assert!(root.path().join("etc/raftctl/n3.toml").exists());
}

#[test]
fn what_cannot_be_is_refused_and_named() {
    let root = tempfile::tempdir().unwrap();
    for (flags, part) in [
        ("--yes --name n1", "expected n1 among them"),
        ("--yes --name n1 --member n2=h:1", "the members are n2"),
        ("--yes --name n1 --member n1=h:1 --member n1=h:2", "given twice"),
        ("--yes --name N_1 --member n1=h:1", "lower-case"),
        ("--yes --name n1 --member n1", "n1=192.0.2.1:7100"),
        ("--yes --name n1 --member n1=h:1\"x=", "host:port"),
        ("--yes --name ../n1 --member n1=h:1", "lower-case"),
        ("--name n1", "no answer"),
    ] {
        let (status, _, error) = init(root.path(), flags, "");
        assert_eq!(status, 2, "{flags}: {error}");
        assert!(error.contains(part), "{flags}: {error}");
    }
    let eight: String = (1..=8).map(|n| format!(" --member n{n}=127.0.0.1:{n}")).collect();
    let (status, _, error) = init(root.path(), &format!("--yes --name n1{eight}"), "");
    assert_eq!(status, 2);
    assert!(error.contains("at most 7"), "{error}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "nothing was written");
    let (status, _, _) = run(&["init", "--root", "/nowhere", "--yes"], "");
    assert_eq!(status, 2);
}

#[test]
fn a_port_in_use_and_a_silent_name_are_warnings() {
    let root = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let flags = format!("--yes --name n1 --member n1=127.0.0.1:{port} --member n2=no.invalid:1");
    let (status, _, error) = init(root.path(), &flags, "");
    assert_eq!(status, 0);
    assert!(error.contains(&format!("ss -ltnp sport = :{port}")), "{error}");
    assert!(error.contains("n2: no.invalid has no address"), "{error}");
    // An address that this host does not have.
    let root = tempfile::tempdir().unwrap();
    let flags = "--yes --name n1 --member n1=192.0.2.1:7100";
    let (_, _, error) = init(root.path(), flags, "");
    assert!(error.contains("--listen 0.0.0.0:7100"), "{error}");
}

const CONFIG: &str = "node.name = \"n1\"\nnode.state_directory = \"state\"\n\
    node.runtime_directory = \"n1\"\n[cluster]\nname = \"db\"\n[cluster.members]\n\
    n1 = \"127.0.0.1:59323\"\nn2 = \"127.0.0.1:1\"\nn3 = \"127.0.0.1:2\"\n";

fn doctor(file: &Path, more: &[&str]) -> (i32, Vec<Check>) {
    let mut arguments = vec!["doctor", "--json=short", "--config", file.to_str().unwrap()];
    arguments.extend(more);
    let (status, out, error) = run(&arguments, "");
    let checks = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}"));
    (status, checks)
}

#[track_caller]
fn result(checks: &[Check], name: &str) -> (Outcome, String) {
    let check = checks.iter().find(|check| check.check == name);
    let check = check.unwrap_or_else(|| panic!("no {name}: {checks:#?}"));
    assert_eq!(check.advice.is_none(), check.result == Outcome::Ok, "{check:?}");
    (check.result, check.found.clone())
}

#[test]
fn the_doctor_says_what_is_wrong_without_an_agent() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("n1.toml");
    let script = "\n[events]\nleader = \"absent.sh\"\nfollower = \"plain.sh\"\n";
    fs::write(&file, format!("{CONFIG}{script}")).unwrap();
    fs::write(directory.path().join("plain.sh"), "#!/bin/sh\n").unwrap();
    let (status, checks) = doctor(&file, &[]);
    assert_eq!(status, 1);
    assert_eq!(result(&checks, "system bus").0, Outcome::Fail);
    assert_eq!(result(&checks, "agent"), (Outcome::Fail, "it does not answer".to_owned()));
    assert_eq!(result(&checks, "leader script").0, Outcome::Fail);
    assert!(result(&checks, "follower script").1.contains("not executable"));
    assert_eq!(result(&checks, "port"), (Outcome::Ok, "127.0.0.1:59323 is free".to_owned()));
    assert_eq!(result(&checks, "peer n2").0, Outcome::Warn);
    assert!(result(&checks, "disk").1.contains("p99"));
    result(&checks, "clock");
    result(&checks, "clock rate");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left behind");

    fs::write(&file, "[cluster]\nmember = 1\n").unwrap();
    let (status, checks) = doctor(&file, &[]);
    assert_eq!((status, result(&checks, "configuration").0), (1, Outcome::Fail));
}

#[tokio::test]
async fn the_doctor_asks_the_agent() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("n1.toml");
    fs::write(&file, CONFIG).unwrap();
    let own = directory.path().join("n1");
    fs::create_dir(&own).unwrap();
    let node = FakeNode::new(leader_of_three());
    let (_, _serving) = node.serve(&own);
    node.on_host(|host| {
        host.maintenance = true;
        host.ineligible = vec!["maintenance".to_owned()];
        host.warnings = vec!["no hardware watches PID 1".to_owned()];
    });
    let _answers = tokio::spawn(async move {
        let mut node = node;
        while let Some(request) = node.requests.recv().await {
            let Request::RemoteStatus { of, reply } = request else { panic!("{request:?}") };
            let mut old = describe(&follower_of_three(2));
            old.version = "0.0.9".to_owned();
            let silent = RemoteStatusError::Unreachable { name: of.to_string(), deadline_ms: 500 };
            let answer = if of == name("n2") { Ok(old.to_json()) } else { Err(silent) };
            let _ = reply.send(answer);
        }
    });
    let asked = tokio::task::spawn_blocking(move || doctor(&file, &["n1"]));
    let (status, checks) = asked.await.unwrap();
    assert_eq!(status, 1);
    let (outcome, found) = result(&checks, "eligible");
    assert_eq!((outcome, found.as_str()), (Outcome::Warn, "the host is in maintenance"));
    assert_eq!(result(&checks, "peer n2").0, Outcome::Ok);
    assert_eq!(result(&checks, "peer n3").0, Outcome::Fail);
    let (outcome, found) = result(&checks, "version");
    assert!(outcome == Outcome::Warn && found.ends_with("n2 has 0.0.9"), "{found}");
    assert_eq!(
        result(&checks, "agent"),
        (Outcome::Ok, "leader, active in term 7, leader n1".into())
    );
    assert!(checks.iter().any(|check| check.found == "no hardware watches PID 1"), "{checks:#?}");
}

#[test]
fn each_check_is_one_line() {
    let check = |node: Option<&str>, result, found: &str, advice: Option<&str>| Check {
        node: node.map(str::to_owned),
        check: "disk".to_owned(),
        result,
        found: found.to_owned(),
        advice: advice.map(str::to_owned),
    };
    let checks = [
        check(None, Outcome::Ok, "fast", None),
        check(Some("n1"), Outcome::Fail, "two\nlines", Some("buy another")),
    ];
    let format = Format { json: Json::Off, legend: true, colour: false };
    let expected = "      CHECK  FOUND\n\
                    ok    disk   fast\n\
                    fail  disk   two; lines → buy another\n\n\
                    1 ok, 0 to look at, 1 failed.\n";
    assert_eq!(render(&checks, format), expected);
}
