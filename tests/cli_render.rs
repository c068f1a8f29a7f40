//! What the command line prints, from fixtures: `tests/scripts/cli/*.txt`, one file per verb.
//!
//! A block is a command, `---` and its output; a blank line ends it. Output with a blank line in
//! it has `> ` before each line, and an escape character is shown as `␛`. `UPDATE_GOLDEN=1`
//! rewrites the files: commit a changed output only if you understand it and want it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use raftctl::cli::args::Json;
use raftctl::cli::cluster::status as local;
use raftctl::cli::output::Format;
use raftctl::cli::{list, monitor, status};
use raftctl::dbus::describe::{Describe, PeerView};
use serde::de::DeserializeOwned;

#[derive(serde::Deserialize)]
struct Cluster {
    own: Describe,
    nodes: Vec<PeerView>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/cli")
}

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = directory().join("fixtures").join(name).with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let (verb, name) = (words.next().unwrap(), words.next().expect("a fixture"));
    let mut format = Format { json: Json::Off, legend: true, colour: false };
    let mut of = "";
    for option in words {
        match option.split_once('=').expect("key=value") {
            ("json", "short") => format.json = Json::Short,
            ("json", "pretty") => format.json = Json::Pretty,
            ("legend", "no") => format.legend = false,
            ("colour", "yes") => format.colour = true,
            ("of", node) => of = node,
            _ => panic!("unknown option {option:?}"),
        }
    }
    match verb {
        "status" => {
            let Cluster { own, nodes } = fixture(name);
            status::render(&status::ClusterView::new(&own, nodes), format)
        }
        "node" => {
            let cluster: Cluster = fixture(name);
            let node = cluster.nodes.into_iter().find(|node| node.name == of).expect("a node");
            status::render_node(&node.status.expect("a node that answers"), format)
        }
        "local" => local::render(&fixture::<local::LocalView>(name), format),
        "list" => list::render(&fixture::<Vec<list::Listed>>(name), format),
        "monitor" => {
            let events: Vec<monitor::Event> = fixture(name);
            let line = |event| monitor::render("2026-03-01T12:00:00.123Z", event, format);
            events.iter().map(line).collect()
        }
        _ => panic!("unknown verb {verb:?}"),
    }
}

/// The script with the outputs as they are now.
fn replay(script: &str) -> String {
    let mut out = String::new();
    let mut in_output = false;
    for line in script.lines() {
        if line.is_empty() {
            in_output = false;
            out += "\n";
        } else if line == "---" {
            in_output = true;
        } else if line.starts_with('#') && !in_output {
            writeln!(out, "{line}").unwrap();
        } else if !in_output {
            let output = run(line).replace('\x1b', "␛");
            let prefix = if output.lines().any(str::is_empty) { "> " } else { "" };
            writeln!(out, "{line}\n---").unwrap();
            for line in output.lines() {
                let prefix = if line.is_empty() { ">" } else { prefix };
                writeln!(out, "{prefix}{line}").unwrap();
            }
        }
    }
    out
}

fn check(file: &str) {
    let path = directory().join(file);
    let script = std::fs::read_to_string(&path).unwrap();
    let now = replay(&script);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    for (number, (is, was)) in now.lines().zip(committed.lines()).enumerate() {
        assert_eq!(is, was, "{}:{}: UPDATE_GOLDEN=1 rewrites it", path.display(), number + 1);
    }
    assert_eq!(now.len(), committed.len(), "{}: UPDATE_GOLDEN=1 rewrites it", path.display());
}

#[test]
fn status_of_the_cluster() {
    check("status.txt");
}

#[test]
fn status_of_one_node() {
    check("status_node.txt");
}

#[test]
fn list_of_agents() {
    check("list.txt");
}

#[test]
fn monitor_lines() {
    check("monitor.txt");
}

#[test]
fn status_of_a_local_cluster() {
    check("cluster_status.txt");
}
