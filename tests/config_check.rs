//! `raftctl config check` as a process, and the files in `examples`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn check(files: &[PathBuf]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_raftctl"))
        .args(["config", "check"])
        .args(files)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_examples_are_good() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = ["three-nodes.toml", "node1.toml"].map(|name| examples.join(name));
    let (status, out, _) = check(&files);
    assert_eq!(status, Some(0));
    let [three, one] = files.map(|f| f.display().to_string());
    let expected = format!(
        "{three}: ok: nodes n1, n2, n3 of 3 in cluster demo\n\
         {one}: ok: node n1 of 3 in cluster main\n"
    );
    assert_eq!(out, expected);
}

#[test]
fn the_scripts_of_the_local_example_can_run() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/three-nodes.toml");
    assert_eq!(check(&[example]).2, "");
}

#[test]
fn every_file_is_checked_and_every_error_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("bad.toml"), "[node]\nname = \"n1\"\n[raft]\nelecton_min = \"1s\"\n").unwrap();
    fs::write(path("binary.toml"), b"a = \"\xff\"").unwrap();
    fs::write(path("good.toml"), "node.name = \"a\"\ncluster.members.a = \"h:1\"").unwrap();
    let (status, out, err) =
        check(&["bad.toml", "absent.toml", "binary.toml", "good.toml"].map(path));
    assert_eq!(status, Some(2));
    let good = path("good.toml");
    assert_eq!(out, format!("{}: ok: node a of 1 in cluster main\n", good.display()));
    let expected = [
        "bad.toml:1:1: [cluster] has no \"members\"",
        "bad.toml:4:1: unknown key \"electon_min\" in [raft]; did you mean \"election_min\"?",
        "absent.toml: No such file or directory",
        "binary.toml:1:6: byte 0xff: expected UTF-8 text",
    ];
    assert_eq!(err.lines().count(), expected.len(), "{err}");
    for (line, expected) in err.lines().zip(expected) {
        assert!(line.contains(expected), "{line}\n{expected}");
    }
}

#[test]
fn scripts_that_cannot_run_are_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.toml");
    let text = "node.name = \"a\"\ncluster.members.a = \"h:1\"\n\
                [events]\nleader = \"absent.sh\"\nfollower = \"plain.sh\"\nchange = \"x.js\"\n";
    fs::write(&file, text).unwrap();
    fs::write(directory.path().join("plain.sh"), "").unwrap();
    fs::write(directory.path().join("x.js"), "").unwrap();
    let (status, _, err) = check(&[file]);
    assert_eq!(status, Some(0));
    assert!(err.contains("warning: leader script") && err.contains("No such file"), "{err}");
    assert!(err.contains("plain.sh\" of a is not executable"), "{err}");
    assert_eq!(err.lines().count(), 2, "{err}");
}

#[test]
fn a_file_is_wanted_and_may_be_the_one_of_the_option() {
    let (status, out, err) = check(&[]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert_eq!(err, "raftctl: config check: expected FILE\n");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node1.toml");
    for line in [["--config", "FILE", "config", "check"], ["config", "check", "--config", "FILE"]] {
        let line =
            line.map(|word| if word == "FILE" { example.as_os_str() } else { word.as_ref() });
        let output = Command::new(env!("CARGO_BIN_EXE_raftctl")).args(line).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(out, format!("{}: ok: node n1 of 3 in cluster main\n", example.display()));
    }
}
