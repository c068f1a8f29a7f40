//! A state directory: made once, used by one, refused when it does not fit, never overwritten.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use super::*;

const FRESH: Incarnation = Incarnation([7; 16]);

fn open(root: &Path, node: &str) -> Result<StateDir, StateDirError> {
    StateDir::open(root, &node.parse().unwrap(), "prod", FRESH)
}

/// Everything below `root`: path and contents.
fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, Some(bytes));
        }
    }
    found
}

#[test]
fn it_is_made_with_its_parents_and_keeps_its_incarnation() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("a/b");
    let made = open(&root, "n1").unwrap();
    assert!(made.is_new() && made.incarnation() == FRESH);
    assert!(made.log_directory().is_dir());
    assert!(made.database_path().parent().unwrap().is_dir());
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    drop(made);
    let other = Incarnation([8; 16]);
    let again = StateDir::open(&root, &"n1".parse().unwrap(), "prod", other).unwrap();
    assert!(!again.is_new());
    assert_eq!(again.incarnation(), FRESH);
}

#[test]
fn a_second_process_is_told_who_has_it() {
    let root = tempfile::tempdir().unwrap();
    let held = open(root.path(), "n1").unwrap();
    let before = tree(root.path());
    // flock is per open file, so a second open in one process is refused like another process's.
    let error = open(root.path(), "n1").unwrap_err();
    assert!(
        matches!(error, StateDirError::Locked { by: Some(pid), .. } if pid == std::process::id())
    );
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    assert_eq!(tree(root.path()), before);
    drop(held);
    open(root.path(), "n1").unwrap();
}

#[test]
fn another_node_or_cluster_is_refused_with_both_names() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path(), "n1").unwrap());
    let before = tree(root.path());
    let error = open(root.path(), "n2").unwrap_err().to_string();
    assert!(error.contains("\"n1\"") && error.contains("\"n2\""), "{error}");
    let error = StateDir::open(root.path(), &"n1".parse().unwrap(), "test", FRESH).unwrap_err();
    assert!(matches!(error, StateDirError::OtherNode { .. }), "{error}");
    assert_eq!(tree(root.path()), before);
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("format"), "raftctl-state 2\n").unwrap();
    let before = tree(root.path());
    let error = open(root.path(), "n1").unwrap_err();
    assert!(matches!(error, StateDirError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    assert_eq!(tree(root.path()), before);
}

#[test]
fn damage_and_foreign_directories_are_refused_untouched() {
    let cases: [(&str, &[u8], &str); 7] = [
        ("format", b"", "format"),
        ("format", b"raftctl-state x\n", "format"),
        ("format", b"raftctl-state 0\n", "format"),
        ("format", b"\xff\xfe", "format"),
        ("node", b"node n1\ncluster prod\n", "node"),
        ("node", b"node n1\ncluster prod\nincarnation 12\n", "node"),
        ("node", &[b'x'; 5000], "node"),
    ];
    for (file, bytes, named) in cases {
        let root = tempfile::tempdir().unwrap();
        drop(open(root.path(), "n1").unwrap());
        fs::write(root.path().join(file), bytes).unwrap();
        let before = tree(root.path());
        let error = open(root.path(), "n1").unwrap_err();
        let StateDirError::Corrupt { file, .. } = &error else { panic!("{error}") };
        assert!(file.ends_with(named), "{error}");
        assert_eq!(tree(root.path()), before, "{error}");
    }
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("precious"), "data").unwrap();
    let error = open(root.path(), "n1").unwrap_err().to_string();
    assert!(error.contains("precious"), "{error}");
    assert_eq!(tree(root.path()).len(), 1);
}

#[test]
fn a_lost_node_file_is_not_replaced_when_there_is_a_log() {
    let root = tempfile::tempdir().unwrap();
    let made = open(root.path(), "n1").unwrap();
    fs::write(made.log_directory().join("segment-1"), "x").unwrap();
    drop(made);
    fs::remove_file(root.path().join("node")).unwrap();
    let error = open(root.path(), "n1").unwrap_err();
    assert!(matches!(&error, StateDirError::Corrupt { file, .. } if file.ends_with("node")));
}

#[test]
fn an_interrupted_first_start_is_completed() {
    // In the order of creation: each file may be the last one that survived.
    let root = tempfile::tempdir().unwrap();
    let steps: [fn(&Path); 5] = [
        |root| fs::write(root.join("lock"), "12\n").unwrap(),
        |root| fs::write(root.join("format.new"), "raftctl-st").unwrap(),
        |root| fs::write(root.join("format"), "raftctl-state 1\n").unwrap(),
        |root| fs::create_dir(root.join("log")).unwrap(),
        |root| fs::write(root.join("node.new"), "node n").unwrap(),
    ];
    for last in 0..steps.len() {
        let root = root.path().join(last.to_string());
        fs::create_dir(&root).unwrap();
        steps[..=last].iter().for_each(|step| step(&root));
        assert!(open(&root, "n1").unwrap().is_new());
        assert!(!open(&root, "n1").unwrap().is_new());
    }
}

#[test]
fn what_is_not_a_directory_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = open(&path, "n1").unwrap_err();
        assert!(matches!(error, StateDirError::NotADirectory { .. }), "{error}");
    }
}

#[test]
fn errors_of_the_system_keep_their_kind_and_name_the_path() {
    let path = Path::new("/x/y");
    for (errno, expected) in [
        (nix::errno::Errno::EROFS, "cannot be written"),
        (nix::errno::Errno::EACCES, "cannot be written"),
        (nix::errno::Errno::ENOSPC, "no space left"),
        (nix::errno::Errno::EDQUOT, "no space left"),
        (nix::errno::Errno::ENOTDIR, "not a directory"),
        (nix::errno::Errno::EIO, "write"),
    ] {
        let error = refused("write", path, errno.into()).to_string();
        assert!(error.contains(expected) && error.contains("/x/y"), "{error}");
    }
    // A directory that nobody may write to, not even root: /proc.
    let error = open(Path::new("/proc/raftctl"), "n1").unwrap_err().to_string();
    assert!(error.contains("/proc/raftctl"), "{error}");
}
