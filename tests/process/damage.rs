//! State directories that must not be used: each is refused with its exit status and one line that
//! names the path and says what to do, and is left exactly as it was.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use raftctl::exit::Exit;

use super::support::{AgentCommand, Cluster, copy_tree, is_root, snapshot};

/// A node that has lived for a while, and was stopped.
struct Old {
    cluster: Cluster,
    good: PathBuf,
}

impl Old {
    fn new() -> Old {
        let (mut cluster, _) = Cluster::started(1, "");
        for _ in 0..3 {
            cluster.stop(0);
            cluster.start(0);
            cluster.leader();
        }
        cluster.stop(0);
        let good = cluster.root().join("good");
        fs::rename(cluster.state(0), &good).unwrap();
        Old { cluster, good }
    }

    /// A fresh copy as the node's state directory.
    fn restore(&self) -> PathBuf {
        let state = self.cluster.state(0);
        if state.exists() {
            fs::remove_dir_all(&state).unwrap();
        }
        copy_tree(&self.good, &state);
        state
    }

    /// Starts the node, which must refuse with `exit` and one line with all of `says`.
    fn refused(&self, what: &str, exit: Exit, says: &[&str]) {
        let state = self.cluster.state(0);
        let before = snapshot(&state);
        let (code, said) = self.cluster.command(0).refused();
        assert_eq!(Exit::from_code(code), Some(exit), "{what}: {said:#?}");
        assert_eq!(said.len(), 1, "{what}: one line: {said:#?}");
        for word in says {
            assert!(said[0].contains(word), "{what}: {word:?} expected in {:?}", said[0]);
        }
        assert!(snapshot(&state) == before, "{what}: the directory was changed");
    }
}

/// The log's only segment.
fn segment(state: &Path) -> PathBuf {
    let entries = fs::read_dir(state.join("log")).unwrap();
    let mut names = entries.map(|entry| entry.unwrap().path());
    names.find(|path| path.to_string_lossy().contains("segment-")).unwrap()
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_directory_that_is_not_this_nodes_is_refused() {
    let old = Old::new();
    let state = old.restore();
    let path = state.to_str().unwrap();
    replace(&state.join("node"), "node n1", "node n7");
    let says = [path, "\"n7\"", "\"n1\"", "correct the configuration"];
    old.refused("another node", Exit::NoPermission, &says);

    let state = old.restore();
    replace(&state.join("node"), "cluster test", "cluster prod");
    old.refused("another cluster", Exit::NoPermission, &[path, "\"prod\"", "\"test\""]);

    let state = old.restore();
    replace(&state.join("format"), "1", "2");
    let says = [path, "format 2", "knows 1", "upgrade"];
    old.refused("a newer format", Exit::NewerFormat, &says);

    let state = old.restore();
    let newer = fs::OpenOptions::new().write(true).open(segment(&state)).unwrap();
    newer.write_all_at(&2_u32.to_le_bytes(), 8).unwrap();
    let says = [path, "format 2", "up to 1", "upgrade"];
    old.refused("a newer log", Exit::NewerFormat, &says);

    fs::remove_dir_all(&state).unwrap();
    fs::create_dir(&state).unwrap();
    fs::write(state.join("precious"), "data").unwrap();
    old.refused("somebody else's", Exit::StateCorrupt, &[path, "\"precious\""]);

    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "a file").unwrap();
    old.refused("a file", Exit::CannotCreate, &[path, "not a directory", "move it away"]);
}

#[test]
fn a_damaged_directory_is_refused() {
    let old = Old::new();
    let state = old.restore();
    let path = state.to_str().unwrap();
    let refused = |what: &str, says: &[&str]| {
        let says: Vec<_> = says.iter().chain([&path]).copied().collect();
        old.refused(what, Exit::StateCorrupt, &says);
    };

    fs::write(state.join("node"), "node n1\ncluster te").unwrap();
    refused("a node file cut short", &["node is damaged", "restore"]);
    fs::write(state.join("node"), "").unwrap();
    refused("an empty node file", &["node is damaged"]);
    fs::write(state.join("node"), b"\xff\xfe\x00").unwrap();
    refused("a node file of bytes", &["node is damaged", "not text"]);
    fs::remove_file(state.join("node")).unwrap();
    refused("no node file", &["node is damaged", "missing"]);
    let state = old.restore();
    fs::write(state.join("format"), "").unwrap();
    refused("an empty format file", &["format is damaged"]);
    fs::remove_file(state.join("format")).unwrap();
    refused("no format file", &["format is damaged", "missing"]);

    // One bit in the middle of the records, with synced ones behind it.
    let state = old.restore();
    let log = segment(&state);
    let bytes = fs::read(&log).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    assert!(last > 4096 + 200, "{last}");
    flip(&log, 4096 + (last - 4096) / 2);
    let name = log.file_name().unwrap().to_str().unwrap();
    refused(
        "a flipped bit in the log",
        &[name, "damaged at offset", "state directory, or restore"],
    );
    let state = old.restore();
    flip(&segment(&state), 20);
    refused("a flipped bit in the log's header", &[name, "damaged at offset 0"]);
    fs::OpenOptions::new().write(true).open(segment(&state)).unwrap().set_len(5000).unwrap();
    refused("a log cut short", &[name, "damaged"]);
    fs::remove_file(segment(&state)).unwrap();
    refused("no log, although it had one", &["log", "damaged"]);

    let state = old.restore();
    let database = state.join("state/cluster.redb");
    let length = fs::metadata(&database).unwrap().len();
    let open = || fs::OpenOptions::new().write(true).open(&database).unwrap();
    fs::write(&database, vec![0x5a; length as usize]).unwrap();
    refused("a database of nonsense", &["cluster.redb is damaged", "restore"]);
    fs::write(&database, "").unwrap();
    refused("an empty database", &["cluster.redb is damaged"]);
    old.restore();
    open().set_len(length / 2).unwrap();
    refused("a database cut short", &["cluster.redb is damaged"]);
    old.restore();
    flip(&database, 0);
    refused("a flipped bit in the database", &["cluster.redb is damaged"]);

    // What was refused was good before: the copy still serves.
    old.restore();
    let mut cluster = old.cluster;
    cluster.start(0);
    cluster.leader();
}

#[test]
fn a_database_with_any_bit_flipped_is_good_enough_or_refused() {
    let mut old = Old::new();
    let state = old.restore();
    let database = state.join("state/cluster.redb");
    let bytes = fs::read(&database).unwrap();
    let used: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut refused = 0;
    // The first pages say where everything is; of the rest every so many bytes.
    let first = used.iter().filter(|at| (4096..4300).contains(*at)).step_by(10);
    for at in first.chain(used.iter().step_by(used.len() / 30)) {
        old.restore();
        flip(&database, *at as u64);
        let before = snapshot(&state);
        old.cluster.start_with(0, old.cluster.command(0));
        let ready = |line: &str| line.contains("serving") || line.starts_with("raftctld: ");
        let line = old.cluster.log(0).find(0, ready).expect("it serves or says why not");
        if line.contains("serving") {
            old.cluster.kill(0);
            continue;
        }
        refused += 1;
        let status = old.cluster.agent(0).ended();
        let said = old.cluster.forget(0);
        assert_eq!(status.code(), Some(65), "byte {at}: {status}, {said:#?}");
        assert_eq!(said.len(), 1, "byte {at}: one line: {said:#?}");
        let path = database.to_str().unwrap();
        assert!(line.contains(path) && line.contains("restore"), "byte {at}: {line}");
        assert!(snapshot(&state) == before, "byte {at}: the directory was changed");
    }
    println!("{refused} flipped bits were refused");
    assert!(refused > 0);
}

#[test]
fn a_directory_in_use_is_refused_and_its_user_lives_on() {
    let (cluster, leader) = Cluster::started(1, "");
    let other = cluster.root().join("other.toml");
    let text = fs::read_to_string(cluster.config(0)).unwrap();
    let port = super::support::free_ports(1)[0];
    let text = text
        .replace("n1/run\"", &format!("other\"\nlisten = \"127.0.0.1:{port}\""))
        .replace(&cluster.address(0), &format!("127.0.0.1:{port}"));
    fs::write(&other, text).unwrap();
    let (code, said) = AgentCommand::new(&other).refused();
    assert_eq!(Exit::from_code(code), Some(Exit::Locked), "{said:#?}");
    let [line] = said.as_slice() else { panic!("one line: {said:#?}") };
    let mut cluster = cluster;
    let pid = cluster.agent(0).pid();
    let state = cluster.state(0);
    for word in [state.to_str().unwrap(), &format!("process {pid}"), "stop that agent first"] {
        assert!(line.contains(word), "{word:?} expected in {line:?}");
    }
    assert_eq!(cluster.leader(), leader);
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    if !is_root("running the agent as another user") {
        return;
    }
    // The agent must be where that user can run it.
    let old = Old::new();
    let program = old.cluster.root().join("raftctld");
    fs::copy(env!("CARGO_BIN_EXE_raftctld"), &program).unwrap();
    let nobody = 65534;
    let run = old.cluster.state(0).with_file_name("run");
    let node = run.parent().unwrap().to_owned();
    for path in [&node, &run] {
        std::os::unix::fs::chown(path, Some(nobody), Some(nobody)).unwrap();
    }
    let refused = |what: &str, path: &Path, says: &[&str]| {
        let before = snapshot(path);
        let mut command = AgentCommand::bare(&program).user(nobody);
        command.command.arg("--config").arg(old.cluster.config(0));
        let (code, said) = command.refused();
        assert_eq!(Exit::from_code(code), Some(Exit::NoPermission), "{what}: {said:#?}");
        assert_eq!(said.len(), 1, "{what}: {said:#?}");
        let state = old.cluster.state(0);
        for word in says.iter().chain([&state.to_str().unwrap()]) {
            assert!(said[0].contains(word), "{what}: {word:?} expected in {said:?}");
        }
        assert!(snapshot(path) == before, "{what}: the directory was changed");
    };
    let what_to_do = ["cannot be written", "give it to the user"];
    // Root's directory.
    let state = old.restore();
    refused("root's", &state, &what_to_do);
    // Its own one, without permission to write.
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for path in snapshot(&state).into_keys().chain([state.join("lock")]) {
        std::os::unix::fs::chown(&path, Some(nobody), Some(nobody)).unwrap();
        mode(&path, if path.is_dir() { 0o500 } else { 0o400 });
    }
    refused("read-only", &state, &what_to_do);
    // Only what lies deeper.
    mode(&state, 0o700);
    mode(&state.join("lock"), 0o600);
    refused("a read-only log", &state, &["segment-", "Permission denied"]);
    for path in snapshot(&state.join("log")).into_keys() {
        mode(&path, 0o700);
    }
    refused("a read-only database", &state, &["cluster.redb", "Permission denied"]);
    // None, in a directory where none can be made.
    fs::remove_dir_all(&state).unwrap();
    mode(&node, 0o500);
    refused("nowhere", &node, &what_to_do);
}
