//! `raftctl get`, `put`, `delete`, `keys` and `txn` as processes: bytes, exit statuses, JSON.

mod dbus_support;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use dbus_support::store::{FakeStore, keys};
use dbus_support::{DEADLINE, FakeNode, leader_of_three};
use raftctl::limits;
use raftctl::node::handle::Request;
use raftctl::node::kv::KvError;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// An agent whose node answers from memory.
struct Scene {
    store: Arc<Mutex<FakeStore>>,
    directory: tempfile::TempDir,
}

/// What a process did.
struct Ran {
    status: i32,
    out: Vec<u8>,
    error: String,
}

impl Ran {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }
}

impl Scene {
    fn start() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("n1");
        std::fs::create_dir(&own).unwrap();
        let mut node = FakeNode::new(leader_of_three());
        node.serve(&own);
        let store = Arc::new(Mutex::new(FakeStore::default()));
        let answers = store.clone();
        tokio::spawn(async move {
            while let Some(request) = node.requests.recv().await {
                let Request::Kv(request) = request else { panic!("{request:?}") };
                answers.lock().unwrap().answer(request);
            }
        });
        Scene { store, directory }
    }

    fn command(&self, words: &[OsString]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
        command.arg("--runtime-directory").arg(self.directory.path()).args(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.env_remove("RAFTCTL_RUNTIME_DIRECTORY");
        command
    }

    async fn run_with(&self, words: &[OsString], input: &[u8]) -> Ran {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let write = async {
            // A process that does not read it has ended.
            let _ = stdin.write_all(input).await;
            drop(stdin);
        };
        let both = async { tokio::join!(child.wait_with_output(), write).0 };
        let output = tokio::time::timeout(DEADLINE, both).await.unwrap().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        Ran { status: output.status.code().unwrap(), out: output.stdout, error }
    }

    /// Runs words that are separated by a space.
    async fn run(&self, line: &str) -> Ran {
        self.run_with(&words(line), b"").await
    }

    /// The same, which has to be done.
    async fn done(&self, line: &str) -> String {
        let ran = self.run(line).await;
        assert_eq!((ran.status, ran.error.as_str()), (0, ""), "{line}");
        ran.text().to_owned()
    }

    fn refuse(&self, with: Option<KvError>) {
        self.store.lock().unwrap().refuses = with;
    }
}

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}

#[tokio::test]
async fn bytes_go_in_and_come_out_as_they_are() {
    let scene = Scene::start();
    let long: Vec<u8> = every_byte().into_iter().cycle().take(limits::KV_VALUE_MAX_BYTES).collect();
    for value in [every_byte(), long, Vec::new(), b"text\n".to_vec()] {
        let put = scene.run_with(&words("put k -"), &value).await;
        assert_eq!((put.status, put.out.len(), put.error.as_str()), (0, 0, ""));
        let got = scene.run("get k").await;
        assert!(got.status == 0 && got.out == value, "{} bytes: {}", value.len(), got.error);

        let file = scene.directory.path().join("value");
        std::fs::write(&file, &value).unwrap();
        scene.done(&format!("put f --file {}", file.display())).await;
        assert!(scene.run("get f").await.out == value);
    }
    // As arguments, whatever an argument can have.
    let argument: Vec<u8> = (1..=255).collect();
    let key = OsString::from_vec(argument.clone());
    let put = [OsString::from("put"), key.clone(), key.clone()];
    assert_eq!(scene.run_with(&put, b"").await.status, 0);
    assert_eq!(scene.run_with(&["get".into(), key], b"").await.out, argument);
    scene.done("put --hex 00ff zero").await;
    assert_eq!(scene.done("get --hex 00FF").await, "zero");
    assert!(scene.store.lock().unwrap().table.0.contains_key(&b"\0\xff"[..]));
    scene.done("put dash -- -x").await;
    assert_eq!(scene.done("get dash").await, "-x");
}

#[tokio::test]
async fn what_is_too_long_or_ambiguous_is_wrong_usage() {
    let scene = Scene::start();
    let long = vec![0; limits::KV_VALUE_MAX_BYTES + 1];
    let put = scene.run_with(&words("put k -"), &long).await;
    assert_eq!(put.status, 2);
    assert!(put.error.contains("at most 1048576"), "{}", put.error);
    let long_key = format!("get {}", "k".repeat(limits::KV_KEY_MAX_BYTES + 1));
    for (line, part) in [
        ("put k", "VALUE"),
        ("put k v --file x", "--file"),
        ("put k --file /nowhere/x", "/nowhere/x"),
        ("put k v --if-absent --if-revision 3", "--if-revision"),
        ("put k v --token x", "--token"),
        ("put k v --timeout 2min", "at most 1min"),
        ("get ", "empty key"),
        ("get --hex 0", "hexadecimal"),
        ("delete --prefix ", "--all"),
        ("delete --all k", "--all"),
        ("delete", "KEY"),
        ("keys --limit 0", "--limit"),
        (&long_key, "1025 bytes"),
    ] {
        let ran = scene.run(line).await;
        assert_eq!((ran.status, ran.out.len()), (2, 0), "{line}: {}", ran.error);
        assert!(ran.error.contains(part), "{line}: {}", ran.error);
    }
    // A token that is not set is not a token that was not given.
    let words = ["put", "k", "v", "--token", ""].map(OsString::from);
    assert_eq!(scene.run_with(&words, b"").await.status, 2);
    assert_eq!(scene.store.lock().unwrap().asked, Vec::<String>::new());
}

#[tokio::test]
async fn every_outcome_has_its_exit_status() {
    let scene = Scene::start();
    let waited_ms = 10;
    let verbs = ["get k", "keys", "put k v", "delete k", "delete --prefix k"];
    for (error, expected, part) in [
        (KvError::Unavailable { waited_ms }, 5, "no leader answered"),
        (KvError::Unknown { waited_ms }, 6, "may or may not"),
        (KvError::Token { given: 7 }, 7, "token 7"),
        (KvError::Quota { quota_bytes: 99 }, 8, "full"),
        (KvError::Busy { most: 9 }, 8, "too many requests"),
        (KvError::Stopping, 3, "stopping"),
    ] {
        scene.refuse(Some(error));
        for verb in verbs {
            let ran = scene.run(verb).await;
            assert_eq!((ran.status, ran.out.len()), (expected, 0), "{verb}: {}", ran.error);
            assert!(ran.error.starts_with("raftctl: "), "{verb}: {}", ran.error);
            assert!(ran.error.contains(part), "{verb}: {}", ran.error);
        }
        let ran = scene.run_with(&words("txn"), b"put k v").await;
        assert_eq!(ran.status, expected, "{}", ran.error);
    }
    scene.refuse(None);
    for absent in ["get k", "delete k", "delete --prefix k", "delete --all", "keys", "keys x"] {
        assert_eq!(scene.run(absent).await.status, 1, "{absent}");
    }
    let absent = scene.run("get k").await;
    assert_eq!((absent.text(), absent.error.as_str()), ("", ""), "a script sees the status");

    scene.done("put --if-absent k v").await;
    for refused in [
        "put --if-absent k w",
        "put --if-revision 1 k w",
        "delete --if-revision 1 k",
        "put --token 41 k w",
        "delete --token 41 k",
        "delete --token 41 --all",
    ] {
        let ran = scene.run(refused).await;
        assert_eq!(ran.status, 7, "{refused}: {}", ran.error);
    }
    assert_eq!(scene.done("get k").await, "v");
    let revision = scene.done("get --revision k").await;
    scene.done(&format!("put --if-revision {} k w --token 42", revision.trim_end())).await;
    assert_eq!(scene.done("get k --stale").await, "w");
    scene.done("delete k").await;

    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
    command.arg("--runtime-directory").arg(elsewhere.path()).args(["get", "k"]);
    let ran = tokio::time::timeout(DEADLINE, command.output()).await.unwrap().unwrap();
    assert_eq!(ran.status.code(), Some(3));
}

#[tokio::test]
async fn a_disk_that_is_full_is_not_a_key_that_is_not_there() {
    let scene = Scene::start();
    scene.done("put k v").await;
    for verb in ["get k", "keys"] {
        let mut command = scene.command(&words(verb));
        command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        let ran = tokio::time::timeout(DEADLINE, command.output()).await.unwrap().unwrap();
        assert_eq!(ran.status.code(), Some(8), "{verb}");
    }
}

#[tokio::test]
async fn keys_are_listed_page_by_page() {
    let scene = Scene::start();
    let all = keys(limits::KV_PAGE_ROWS_MAX + 2);
    for key in &all {
        // A thousand processes would take long.
        let row = raftctl::core::kv::Row { value: b"v".to_vec(), revision: 7, created: 7 };
        scene.store.lock().unwrap().table.0.insert(key.clone(), row);
    }
    let lines = scene.done("keys").await;
    assert_eq!(lines.lines().count(), all.len());
    assert!(lines.starts_with("many/00000\nmany/00001\n") && lines.ends_with("many/01001\n"));
    let some = scene.run("keys many/ --limit 2 --after many/00009").await;
    assert_eq!((some.status, some.text()), (0, "many/00010\nmany/00011\n"));
    assert_eq!(some.error, "raftctl: there are more: --after many/00011\n");
    let some = scene.done("keys --no-legend --limit 1001").await;
    assert_eq!(some.lines().count(), 1001);
    assert_eq!(scene.done("keys --hex --limit 1 --no-legend").await, "6d616e792f3030303030\n");
    assert_eq!(scene.done("keys --values --after many/01000").await, "many/01001 = v\n");
    assert_eq!(scene.run("keys other").await.status, 1);
    let json = scene.done("keys --json=short --after many/00999").await;
    let row = |key: &str| format!(r#"{{"created":7,"key":"{key}","revision":7}}"#);
    let rows = [row("many/01000"), row("many/01001")].join(",");
    let expected = format!(r#"{{"keys":[{rows}],"more":false}}"#);
    assert_eq!(json.trim_end(), expected);
    assert_eq!(scene.done("delete --prefix many/").await, "1002 keys deleted\n");
}

#[tokio::test]
async fn json_is_what_programs_were_promised() {
    let scene = Scene::start();
    assert_eq!(scene.done("put k é --json=short").await, "{\"revision\":101}\n");
    scene.run_with(&words("put k2 -"), b"\xff\0").await;
    let json = scene.done("get k --json=short").await;
    assert_eq!(json, "{\"created\":101,\"key\":\"k\",\"revision\":101,\"value\":\"é\"}\n");
    let json = scene.done("get k2 --json=short").await;
    let expected = "{\"created\":102,\"key\":\"k2\",\"revision\":102,\"value_base64\":\"/wA=\"}\n";
    assert_eq!(json, expected);
    let json: serde_json::Value =
        serde_json::from_str(&scene.done("get k --stale --json=pretty").await).unwrap();
    assert_eq!(json["age_usec"], 250_000);
    let absent = scene.run("get none --json=short").await;
    assert_eq!((absent.status, absent.text()), (1, "{\"key\":\"none\",\"value\":null}\n"));
    assert_eq!(scene.done("delete k --json=short").await, "{\"deleted\":1}\n");
    let txn = scene.run_with(&words("txn --json=short"), b"get k\nget k2\ndelete k2\n").await;
    let expected = "{\"deleted\":1,\"reads\":[{\"key\":\"k\",\"value\":null},{\"created\":102,\
                    \"key\":\"k2\",\"revision\":102,\"value_base64\":\"/wA=\"}],\"revision\":104,\
                    \"succeeded\":true}\n";
    assert_eq!((txn.status, txn.text()), (0, expected));
}

#[tokio::test]
async fn a_transaction_is_read_from_lines() {
    let scene = Scene::start();
    let lock = b"# one of us\nif lock absent\nput lock \"n1 \\x00\"\nelse\nget lock\nget none\n";
    let file = scene.directory.path().join("lock.txn");
    std::fs::write(&file, lock).unwrap();
    let first = scene.run(&format!("txn {}", file.display())).await;
    assert_eq!((first.status, first.text(), first.error.as_str()), (0, "", ""));
    let second = scene.run_with(&words("txn -"), lock).await;
    assert_eq!(second.status, 7, "{}", second.error);
    assert_eq!(second.text(), "lock = \"n1 \\x00\"\nnone absent\n");
    // What it prints are lines that it reads.
    let release = format!("if {}\ndelete lock\n", second.text().lines().next().unwrap());
    let third = scene.run_with(&words("txn --token 42 --timeout 3s"), release.as_bytes()).await;
    assert_eq!(third.status, 0, "{}", third.error);
    assert_eq!(scene.run("get lock").await.status, 1);
    let wrong = scene.run_with(&words("txn"), b"get a\nput b\n").await;
    assert_eq!(wrong.status, 2);
    assert!(wrong.error.starts_with("raftctl: standard input:2: expected if, "), "{}", wrong.error);
    let value = vec![b'v'; limits::KV_VALUE_MAX_BYTES];
    let put = [&b"put k "[..], &value].concat();
    assert_eq!(scene.run_with(&words("txn"), &put).await.status, 0);
    let two = [&put[..], b"\n", &put[..]].concat();
    let ran = scene.run_with(&words("txn"), &two).await;
    assert_eq!(ran.status, 2);
    assert!(ran.error.contains("bytes"), "{}", ran.error);
}

/// On a terminal a prompt has its own line, and a key cannot steer it (script(1)).
#[tokio::test]
async fn a_terminal_gets_lines_and_nothing_that_steers_it() {
    let scene = Scene::start();
    scene.run_with(&words("put k -"), b"value").await;
    scene.done("put --hex 1b5b324a x").await;
    let shown = async |verb: &str| {
        let program = Path::new(env!("CARGO_BIN_EXE_raftctl")).display();
        let directory = scene.directory.path().display();
        let line = format!("{program} --runtime-directory {directory} {verb}");
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
        let ran = tokio::time::timeout(DEADLINE, command.output()).await.unwrap().unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };
    assert_eq!(shown("get k").await, "value\r\n");
    assert_eq!(shown("keys").await, "\"\\x1b[2J\"\r\nk\r\n");
    assert!(shown("get none").await.contains("no key none"));
    assert_eq!(scene.run("keys").await.out, b"\x1b[2J\nk\n");
}
