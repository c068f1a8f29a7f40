//! Whether anything still runs in a unit's control group (cgroups(7)).
//!
//! systemd's word that a unit is inactive is not enough: with `KillMode=process`, or after a kill
//! that failed, processes stay behind. What cannot be read counts as populated.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Where the kernel's control groups are mounted.
pub(super) const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Whether a process is in control group `group` (as the service manager names it) or below it.
pub(super) fn populated(root: &Path, group: &str) -> io::Result<bool> {
    if group.is_empty() {
        return Ok(false);
    }
    let group = group.trim_start_matches('/');
    for unified in [root.to_owned(), root.join("unified")] {
        if unified.join("cgroup.controllers").exists() {
            return events_say_populated(&unified.join(group).join("cgroup.events"));
        }
    }
    // Without version 2, systemd tracks processes in a hierarchy of its own.
    any_process(root.join("systemd").join(group))
}

/// Kills every process in control group `group` and below it, at once, also those that are being
/// forked (cgroups, "cgroup.kill"). Only for root, and only in version 2.
pub(super) fn kill(root: &Path, group: &str) -> io::Result<()> {
    let group = group.trim_start_matches('/');
    // An empty name is the root of all groups: the whole host.
    if group.is_empty() || group.split('/').any(|part| part == "..") {
        return Err(io::Error::other(format!("control group {group:?} is not one of a unit")));
    }
    let version_2 = |root: &PathBuf| root.join("cgroup.controllers").exists();
    let root = [root.to_owned(), root.join("unified")].into_iter().find(version_2);
    let root = root.ok_or_else(|| io::Error::other("no control groups of version 2"))?;
    let file = root.join(group).join("cgroup.kill");
    fs::OpenOptions::new().write(true).open(file)?.write_all(b"1")
}

fn events_say_populated(file: &Path) -> io::Result<bool> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(!text.lines().any(|line| line == "populated 0")),
        Err(error) => gone(error),
    }
}

fn any_process(group: PathBuf) -> io::Result<bool> {
    let mut waiting = vec![group];
    while let Some(group) = waiting.pop() {
        match fs::read_to_string(group.join("cgroup.procs")) {
            Ok(text) if !text.trim().is_empty() => return Ok(true),
            Ok(_) => {}
            Err(error) => {
                gone(error)?;
                continue;
            }
        }
        for entry in fs::read_dir(&group)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(false)
}

/// A group that was removed is empty (ENODEV: removed while it was read).
fn gone(error: io::Error) -> io::Result<bool> {
    let removed = error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32);
    if removed { Ok(false) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_layouts_are_read() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let populated = |group: &str| populated(root.path(), group).unwrap();
        put("systemd/s/a/cgroup.procs", "");
        put("systemd/s/a/below/cgroup.procs", "17\n");
        put("systemd/s/b/cgroup.procs", "");
        assert!(populated("/s/a") && !populated("/s/b") && !populated("/s/gone"));
        assert!(!populated(""));

        put("unified/cgroup.controllers", "");
        put("unified/s/b/cgroup.events", "populated 1\nfrozen 0\n");
        assert!(!populated("/s/a") && populated("/s/b"));

        put("cgroup.controllers", "");
        put("s/b/cgroup.events", "populated 0\nfrozen 0\n");
        put("s/c/cgroup.events", "populated 1\nfrozen 0\n");
        assert!(!populated("/s/b") && populated("/s/c") && !populated("/s/gone"));
    }

    #[test]
    fn only_the_group_of_a_unit_is_killed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("s/a")).unwrap();
        assert!(kill(root.path(), "/s/a").is_err(), "version 1 cannot");
        fs::write(root.path().join("cgroup.controllers"), "").unwrap();
        for name in ["cgroup.kill", "s/a/cgroup.kill"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        for wrong in ["", "/", "/..", "/s/../s/a", "/s/gone"] {
            assert!(kill(root.path(), wrong).is_err(), "{wrong}");
        }
        kill(root.path(), "/s/a").unwrap();
        let written = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
        assert_eq!((written("cgroup.kill"), written("s/a/cgroup.kill")), ("".into(), "1".into()));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "").unwrap();
        fs::create_dir_all(root.path().join("s/cgroup.events")).unwrap();
        assert!(populated(root.path(), "/s").is_err());
    }
}
