//! Golden tests of the configuration file: `tests/scripts/config/*.txt`.
//!
//! A file has cases separated by a line `===`. A case is a configuration, a line `---`, and what
//! reading it as `/etc/raftctl/n1.toml` gives: the errors, or the values in short.
//!
//! `UPDATE_GOLDEN=1` writes the answers instead of comparing them. Commit a changed output only if
//! you understand it and want it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use raftctl::config::{Config, ConfigFile, Eligibility, Health, Http, Kv};

#[test]
fn configuration_files_are_read_as_written_down() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/config");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1");
    let mut failures = String::new();
    for path in scripts(&directory) {
        let text = std::fs::read_to_string(&path).unwrap();
        let answered = answer_all(&text);
        if update && answered != text {
            std::fs::write(&path, &answered).unwrap();
        } else if answered != text {
            let name = path.display();
            writeln!(failures, "{name}:\n{}", first_difference(&text, &answered)).unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}\nUPDATE_GOLDEN=1 accepts what is new");
}

fn scripts(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|p| p.extension().is_some_and(|e| e == "txt")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", directory.display());
    paths
}

fn answer_all(text: &str) -> String {
    let cases: Vec<String> = text.split("\n===\n").map(answer).collect();
    let mut joined = cases.join("\n===\n");
    joined.push('\n');
    joined
}

fn answer(case: &str) -> String {
    let input = case.split("\n---\n").next().unwrap();
    let input = input.strip_suffix("\n---").unwrap_or(input);
    let file = ConfigFile::parse(input, "n1.toml", Path::new("/etc/raftctl"));
    let output = match file {
        Ok(file) => file.nodes().iter().map(summary).collect::<Vec<_>>().join("\n"),
        Err(errors) => errors.to_string(),
    };
    format!("{}\n---\n{output}", input.trim_end())
}

fn summary(config: &Config) -> String {
    let Config { node, cluster, raft, authority, eligibility, health, events, http, kv, log } =
        config;
    let mut text = String::new();
    let members = cluster.members.iter().map(|m| format!("{}={}@{}", m.id, m.name, m.address));
    let members: Vec<String> = members.collect();
    writeln!(text, "node {} #{} {} listen {}", node.name, node.id, node.address, node.listen)
        .unwrap();
    writeln!(text, "  state {:?} run {:?}", node.state_directory, node.runtime_directory).unwrap();
    writeln!(text, "  cluster {}: {}", cluster.name, members.join(" ")).unwrap();
    writeln!(text, "  {raft:?}").unwrap();
    writeln!(text, "  {authority:?}").unwrap();
    // What most cases do not speak of is not repeated in each.
    if *eligibility != Eligibility::default() {
        writeln!(text, "  {eligibility:?}").unwrap();
    }
    if *health != Health::default() {
        writeln!(text, "  {health:?}").unwrap();
    }
    writeln!(text, "  {events:?}").unwrap();
    if *http != Http::default() {
        writeln!(text, "  {http:?}").unwrap();
    }
    if *kv != Kv::default() {
        writeln!(text, "  {kv:?}").unwrap();
    }
    write!(text, "  {log:?}").unwrap();
    text
}

fn first_difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let at = old.iter().zip(&new).position(|(a, b)| a != b).unwrap_or(old.len().min(new.len()));
    let line = |lines: &[&str]| lines.get(at).copied().unwrap_or("(end)").to_owned();
    format!("line {}:\n  expected {}\n  got      {}", at + 1, line(&old), line(&new))
}
