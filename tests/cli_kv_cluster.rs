//! `raftctl get`, `put`, `delete`, `keys` and `txn` with real agents: every node takes every
//! request, and what happens without a majority has its own exit status.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A local cluster in a directory of its own, killed at the end whatever happens.
struct Local {
    directory: tempfile::TempDir,
}

impl Local {
    fn start() -> Local {
        let local = Local { directory: tempfile::tempdir().unwrap() };
        local.done("cluster start");
        local
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_raftctl")));
        command.args(line.split(' ')).arg("--no-legend");
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command.env_remove("RAFTCTL_CLUSTER_CONFIG").env_remove("RAFTCTL_RUNTIME_DIRECTORY");
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn with_input(&self, line: &str, input: &[u8]) -> Output {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn done(&self, line: &str) -> Vec<u8> {
        let ran = self.run(line);
        assert!(ran.status.success(), "{line}: {ran:?}");
        ran.stdout
    }

    #[track_caller]
    fn status(&self, line: &str, expected: &[i32]) -> String {
        let ran = self.run(line);
        let error = String::from_utf8(ran.stderr).unwrap();
        assert!(expected.contains(&ran.status.code().unwrap()), "{line}: {error}");
        error
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.run("cluster kill");
    }
}

const NODES: [&str; 3] = ["n1", "n2", "n3"];

#[test]
fn every_node_takes_every_request() {
    let local = Local::start();
    let every_byte: Vec<u8> = (0..=255).collect();
    let long: Vec<u8> = every_byte.iter().copied().cycle().take(1 << 20).collect();
    for writer in NODES {
        for value in [&every_byte, &long] {
            let ran = local.with_input(&format!("put -n {writer} k -"), value);
            assert!(ran.status.success(), "{ran:?}");
            for reader in NODES {
                let got = local.done(&format!("get -n {reader} k"));
                assert!(got == *value, "{writer} to {reader}: {} bytes", got.len());
            }
        }
    }
    let revision = local.done("get -n n2 --revision k");
    let revision = String::from_utf8(revision).unwrap();
    let revision = revision.trim();
    local.done(&format!("put -n n3 --if-revision {revision} k new"));
    local.status(&format!("put -n n1 --if-revision {revision} k newer"), &[7]);
    local.status("put -n n1 --token 1 k newer", &[7]);
    assert_eq!(local.done("get -n n2 k"), b"new");
    let lock = |node: &str| {
        let lines = format!("if lock absent\nput lock {node}\nelse\nget lock\n");
        local.with_input(&format!("txn -n {node}"), lines.as_bytes())
    };
    assert_eq!(lock("n1").status.code(), Some(0));
    let other = lock("n2");
    assert_eq!((other.status.code(), other.stdout.as_slice()), (Some(7), &b"lock = n1\n"[..]));
    assert_eq!(local.done("keys -n n3"), b"k\nlock\n");
    local.done("delete -n n2 lock");
    local.status("delete -n n3 lock", &[1]);
    local.status("get -n n1 lock", &[1]);
    let shown = String::from_utf8(local.done("status n1")).unwrap();
    assert!(shown.contains("Store: "), "{shown}");
}

#[test]
fn without_a_majority_it_says_what_is_known() {
    let local = Local::start();
    local.done("put k before");
    // Whatever it has applied is there.
    local.done("get -n n1 k");
    local.done("cluster kill n2");
    local.done("cluster kill n3");
    let error = local.status("get -n n1 --timeout 300ms k", &[5]);
    // It says how long it has waited, which is that and what a busy host adds.
    assert!(error.contains("no leader answered within 3"), "{error}");
    assert_eq!(local.done("get -n n1 --stale k"), b"before");
    // A leader that has not noticed yet takes it, and does not know.
    local.status("put -n n1 --timeout 300ms k after", &[5, 6]);
    // Whoever waits for long enough is answered as soon as there is a majority.
    let waiting = local.command("get -n n1 --timeout 1min k").stdout(Stdio::piped()).spawn();
    local.done("cluster start");
    let got = waiting.unwrap().wait_with_output().unwrap();
    let value = String::from_utf8(got.stdout).unwrap();
    assert!(["before", "after"].contains(&value.as_str()), "{value:?}");
    local.done("put -n n2 k last");
    assert_eq!(local.done("get -n n3 k"), b"last");
}
