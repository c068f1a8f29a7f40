//! The examples of the README are run: commands are parsed by the command line's own definition,
//! the configuration by the agent's own reader, and the failover is done with real agents.

mod readme_support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::Parser as _;
use raftctl::cli::args::Arguments;
use raftctl::config::ConfigFile;

use readme_support::in_language;

/// The `raftctl` command lines in shell blocks, without comments.
fn commands(heading: Option<&str>) -> Vec<Vec<String>> {
    let blocks = in_language(heading, "sh");
    let lines = blocks.iter().flat_map(|block| block.text.lines());
    let line = |line: &str| -> Option<Vec<String>> {
        let words: Vec<String> = line
            .split('#')
            .next()?
            .split_whitespace()
            .map(|word| word.replace("$raftctl", "raftctl"))
            .collect();
        (words.first()? == "raftctl").then_some(words)
    };
    lines.filter_map(line).collect()
}

#[test]
fn every_command_is_one_that_the_command_line_knows() {
    let commands = commands(None);
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        let parsed = Arguments::try_parse_from(&command);
        if let Err(error) = parsed {
            panic!("{command:?}: {error}");
        }
    }
}

/// What the shell writes to `/etc/raftctl/NODE.toml`, as it is on the first host: whole files, and
/// each again with what is appended to it.
fn written_configurations() -> Vec<String> {
    let blocks = in_language(None, "sh");
    let written = |how: &str| -> Vec<String> {
        let command = format!("cat {how}/etc/raftctl/$node.toml <<END\n");
        let here = |text: &str| -> Option<String> {
            let text = text.split_once(&command)?.1.split_once("\nEND\n")?.0;
            Some(text.replace("$node", "node1").replace("$priority", "150") + "\n")
        };
        blocks.iter().filter_map(|block| here(&block.text)).collect()
    };
    let (files, more) = (written(">"), written(">>"));
    assert!(!more.is_empty());
    let longer = files.iter().flat_map(|file| more.iter().map(move |more| format!("{file}{more}")));
    longer.chain(files.iter().cloned()).collect()
}

#[test]
fn the_configuration_is_a_good_one() {
    let written = written_configurations();
    assert!(!written.is_empty());
    let shown = in_language(None, "toml").into_iter().map(|block| block.text);
    for text in shown.chain(written) {
        ConfigFile::parse(&text, "README.md", Path::new("/etc/raftctl"))
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_make_target_exists() {
    let makefile = include_str!("../Makefile");
    let mut count = 0;
    for block in in_language(None, "sh") {
        for line in block.text.lines().filter(|line| line.starts_with("make ")) {
            let target = line.split_whitespace().nth(1).expect("a target");
            assert!(makefile.contains(&format!("\n{target}:")), "{target}");
            count += 1;
        }
    }
    assert!(count >= 2);
}

/// A local cluster in a directory of its own, killed at the end whatever happens.
struct Local {
    directory: tempfile::TempDir,
}

impl Local {
    fn run(&self, arguments: &[String]) -> Output {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_raftctl"));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.directory.path()).env("NO_COLOR", "1");
        command.env_remove("RAFTCTL_CLUSTER_CONFIG").env_remove("RAFTCTL_RUNTIME_DIRECTORY");
        command.output().expect("raftctl can be run")
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.run(&["cluster".to_owned(), "kill".to_owned()]);
    }
}

#[test]
fn the_failover_happens_as_told() {
    let local = Local { directory: tempfile::tempdir().unwrap() };
    let ran = local.run(&["cluster".to_owned(), "start".to_owned()]);
    assert!(ran.status.success(), "{ran:?}");
    let section = commands(Some("See a failover"));
    assert!(section.len() >= 4, "{section:?}");
    for command in section {
        let ran = local.run(&command[1..]);
        // While a node is killed, the status says so in its exit status too.
        let degraded = command.contains(&"status".to_owned()) && ran.status.code() == Some(3);
        assert!(ran.status.success() || degraded, "{command:?}: {ran:?}");
    }
    let ran = local.run(&["cluster".to_owned(), "status".to_owned()]);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(text.matches("leader ★").count(), 1, "{text}");
    assert!(text.contains("3 of 3 nodes answer"), "{text}");
}

/// The ports that the made file has, in the order of the nodes.
fn http_ports(local: &Local) -> Vec<u16> {
    let made = local.directory.path().join(".raftctl/cluster.toml");
    let file = std::fs::read_to_string(&made).unwrap();
    let file = ConfigFile::parse(&file, "cluster.toml", Path::new("/x")).unwrap();
    let port =
        |listen: &raftctl::core::Address| listen.as_str().rsplit(':').next().unwrap().parse();
    file.nodes().iter().map(|c| port(c.http.listen.as_ref().unwrap()).unwrap()).collect()
}

/// With numbers as `#`: revisions depend on what the cluster did before.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        match c.is_ascii_digit() {
            true if out.ends_with('#') => {}
            true => out.push('#'),
            false => out.push(c),
        }
    }
    out
}

#[test]
fn the_store_answers_as_told() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("SKIPPED: curl is not installed");
        return;
    }
    let local = Local { directory: tempfile::tempdir().unwrap() };
    let ran = local.run(&["cluster".to_owned(), "start".to_owned()]);
    assert!(ran.status.success(), "{ran:?}");
    let ports = http_ports(&local);
    let mut count = 0;
    for block in in_language(Some("Use the store over HTTP"), "sh") {
        for line in block.text.lines().filter(|line| line.starts_with("curl ")) {
            let (command, expected) = line.split_once(" # ").expect("what it says");
            let mut command = command.replace("curl ", "curl -sS ");
            for (at, port) in ports.iter().enumerate() {
                command = command.replace(&format!(":{}/", 8101 + at), &format!(":{port}/"));
            }
            let ran = Command::new("sh").args(["-c", &command]).output().unwrap();
            let said = String::from_utf8(ran.stdout).unwrap();
            assert_eq!(without_numbers(&said), without_numbers(expected), "{command}");
            count += 1;
        }
    }
    assert!(count >= 7, "{count}");
}

/// What the README does with the store, by a shell, on a cluster of real agents.
#[test]
fn a_little_state_is_shared() {
    let local = Local { directory: tempfile::tempdir().unwrap() };
    let ran = local.run(&["cluster".to_owned(), "start".to_owned()]);
    assert!(ran.status.success(), "{ran:?}");
    let program = Path::new(env!("CARGO_BIN_EXE_raftctl")).parent().unwrap().display().to_string();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    let token = local.run(&["status", "n1", "--json=short"].map(str::to_owned));
    let token: serde_json::Value = serde_json::from_slice(&token.stdout).unwrap();
    let mut said = Vec::new();
    let steps = in_language(Some("Keep a little shared state"), "sh");
    assert_eq!(steps.len(), 4);
    for step in steps {
        let mut command = Command::new("sh");
        command.args(["-euc", &step.text]).current_dir(local.directory.path());
        command.env("PATH", &path).env("RAFTCTL_TOKEN", token["token"].to_string());
        command.env_remove("RAFTCTL_CLUSTER_CONFIG").env_remove("RAFTCTL_RUNTIME_DIRECTORY");
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{}: {ran:?}", step.text);
        said.push(String::from_utf8(ran.stdout).unwrap());
    }
    assert_eq!(said, ["8config/workers = 8\n", "the report is made here\n", "", ""]);
    let get = |key: &str| {
        let ran = local.run(&["get".to_owned(), key.to_owned()]);
        (ran.status.code().unwrap(), String::from_utf8(ran.stdout).unwrap())
    };
    assert_eq!(get("lock/report"), (1, String::new()));
    assert_eq!(get("primary/host").0, 0);
}
