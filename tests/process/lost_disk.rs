//! Disks that fill up, fail, vanish or go back in time while the rest of the cluster lives on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::Resource;
use raftctl::exit::Exit;

use super::support::{CALM, Cluster, Leader, code, copy_tree, is_root, snapshot};

/// A follower of `leader`.
fn follower(leader: &Leader) -> usize {
    (leader.at + 1) % 3
}

#[test]
fn a_write_that_fails_ends_the_agent_and_the_others_lead_on() {
    let (mut cluster, leader) = Cluster::started(3, CALM);
    let at = follower(&leader);
    let others = [leader.at, (leader.at + 2) % 3];
    let name = |at: usize| format!("n{}", at + 1);
    cluster.stop(at);
    // No file of it can be written at all (setrlimit(2)).
    let (code, said) = cluster.command(at).limit(Resource::RLIMIT_FSIZE, 0).refused();
    assert_eq!(Exit::from_code(code), Some(Exit::Io), "{said:#?}");
    assert!(said.len() == 1 && said[0].contains("File too large"), "{said:#?}");
    assert_eq!(cluster.leader(), leader);

    // It cannot write far enough, first as a follower, then as the leader.
    let mut before = leader;
    for to in [others[1], at] {
        let command = cluster.command(at).limit(Resource::RLIMIT_FSIZE, 8 << 10);
        cluster.start_with(at, command);
        cluster.log(at).wait("serving");
        let connected = |one: &raftctl::dbus::describe::Describe| {
            one.members.iter().all(|member| member.connected)
        };
        cluster.until("it is back", &[before.at], |all| connected(&all[0]).then_some(()));
        let handed = cluster.transfer(before.at, Some(&name(to)));
        let status = cluster.agent(at).ended();
        let log = cluster.forget(at);
        assert_eq!(status.code().and_then(Exit::from_code), Some(Exit::Io), "{status} {log:#?}");
        // In the moment before it ends the node may say something else.
        let last = log.iter().find(|line| line.contains("ending at once"));
        assert!(last.is_some_and(|line| line.contains("File too large")), "{log:#?}");
        let after = cluster.leader_of(&others);
        assert!(after.term >= before.term && after.token >= before.token, "{handed:?}");
        before = after;
    }
    cluster.start(at);
    assert_eq!(cluster.leader(), before);
}

/// A file system of `size` in memory at `path`, unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path, size: &str) -> Option<Small> {
        let options = format!("size={size},mode=755");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "raftctl-test"]).arg(path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            println!("SKIPPED: a full disk needs the permission to mount a tmpfs");
        }
        mounted.then(|| Small(path.to_owned()))
    }

    /// Takes all the space there is.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        let full = std::io::copy(&mut std::io::repeat(7), &mut ballast).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: an agent may still run there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_agent_and_space_brings_it_back() {
    if !is_root("a full disk") {
        return;
    }
    let mut cluster = Cluster::configured(3, CALM);
    // The state directory of n1 is a directory of the small file system.
    let mount = cluster.root().join("small");
    fs::create_dir(&mount).unwrap();
    let Some(small) = Small::mount(&mount, "6m") else { return };
    let text = fs::read_to_string(cluster.config(0)).unwrap();
    let state = mount.join("state");
    let text = text.replace(cluster.state(0).to_str().unwrap(), state.to_str().unwrap());
    fs::write(cluster.config(0), text).unwrap();
    (1..3).for_each(|at| cluster.start(at));
    cluster.leader();

    // Full from the start: nothing is begun that could not be ended.
    small.fill();
    let (code_full, said) = cluster.command(0).refused();
    assert_eq!(Exit::from_code(code_full), Some(Exit::Io), "{said:#?}");
    let says = |word: &str| said.len() == 1 && said[0].contains(word);
    assert!(says(mount.to_str().unwrap()) && says("no space") && says("free some"), "{said:#?}");
    small.free();
    cluster.start(0);
    let mut leader = cluster.leader();

    // Full while it runs. Hand-overs write until something does not fit any more.
    small.fill();
    let mut hand_overs = 0;
    while cluster.agent(0).is_running() && hand_overs < 2000 {
        hand_overs += 1;
        let _ = cluster.transfer(leader.at, None);
        leader = cluster.leader_of(&[1, 2]);
    }
    println!("ended after {hand_overs} hand-overs on a full disk");
    assert!(!cluster.agent(0).is_running(), "a full disk was not noticed");
    let status = cluster.agent(0).ended();
    let log = cluster.forget(0);
    assert_eq!(status.code().and_then(Exit::from_code), Some(Exit::Io), "{status} {log:#?}");
    let last = log.iter().find(|line| line.contains("ending at once"));
    assert!(last.is_some_and(|line| line.contains("no space")), "{log:#?}");

    // Still full: refused, or ended again, and nothing gets worse by trying.
    for _ in 0..3 {
        cluster.start_with(0, cluster.command(0));
        let ready = |line: &str| line.contains("serving") || line.starts_with("raftctld: ");
        cluster.log(0).find(0, ready).expect("it serves or says why not");
        if cluster.agent(0).is_running() {
            cluster.agent(0).kill();
        } else {
            assert_eq!(code(cluster.agent(0).ended()), 74, "{:#?}", cluster.log(0).all());
        }
        cluster.forget(0);
    }
    small.free();
    cluster.start(0);
    cluster.leader();
    cluster.stop(0);
}

#[test]
fn a_read_only_file_system_is_refused() {
    if !is_root("a read-only file system") {
        return;
    }
    let (mut cluster, _) = Cluster::started(1, "");
    cluster.stop(0);
    let saved = cluster.root().join("saved");
    let state = cluster.state(0);
    fs::rename(&state, &saved).unwrap();
    fs::create_dir(&state).unwrap();
    let Some(_small) = Small::mount(&state, "40m") else { return };
    for entry in fs::read_dir(&saved).unwrap() {
        let entry = entry.unwrap();
        let target = state.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
    let before = snapshot(&state);
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(&state).status();
    assert!(remount.is_ok_and(|status| status.success()));
    let (code, said) = cluster.command(0).refused();
    assert_eq!(Exit::from_code(code), Some(Exit::NoPermission), "{said:#?}");
    let says = |word: &str| said.len() == 1 && said[0].contains(word);
    assert!(says(state.to_str().unwrap()) && says("mount it writable"), "{said:#?}");
    assert!(snapshot(&state) == before);
}

#[test]
fn a_wiped_disk_is_refused_by_the_others_until_it_is_restored() {
    let (mut cluster, leader) = Cluster::started(3, CALM);
    let at = follower(&leader);
    let third = (leader.at + 2) % 3;
    // The incarnations are recorded once all have been seen.
    cluster.stop(at);
    let state = cluster.state(at);
    let saved = cluster.root().join("saved");
    fs::rename(&state, &saved).unwrap();
    cluster.start(at);
    let [old, new] = [&saved, &state].map(|path| incarnation(path));
    assert_ne!(old, new);
    let name = format!("n{}", at + 1);
    for (node, there, here) in [(leader.at, &new, &old), (third, &new, &old), (at, &old, &new)] {
        let line = cluster.log(node).wait(&format!("incarnation of {name} is"));
        let end = format!("incarnation of {name} is {there} there and {here} here");
        assert!(line.ends_with(&(end + ".")), "{line}");
    }
    cluster.log(at).wait("role follower -> candidate");
    let described = cluster.describe(at);
    assert_eq!((described.leader, described.cluster_id), (None, None));
    assert_eq!(cluster.leader_of(&[leader.at, third]), leader);
    cluster.kill(at);
    cluster.stays(&leader, Duration::from_millis(500));

    // It is kept out by a restarted cluster, too: what they know is not only in memory.
    cluster.start(at);
    for node in [leader.at, third] {
        cluster.kill(node);
    }
    for node in [leader.at, third] {
        cluster.start(node);
        cluster.log(node).wait(&format!("incarnation of {name} is"));
    }
    let after = cluster.leader_of(&[leader.at, third]);
    assert_eq!(after.cluster_id, leader.cluster_id);
    cluster.kill(at);

    fs::remove_dir_all(&state).unwrap();
    fs::rename(&saved, &state).unwrap();
    cluster.start(at);
    assert_eq!(cluster.leader(), after);
}

fn incarnation(state: &Path) -> String {
    let text = fs::read_to_string(state.join("node")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("incarnation "));
    line.unwrap().to_owned()
}

#[test]
fn a_disk_that_went_back_in_time_is_noticed_and_harms_nobody() {
    let (mut cluster, first) = Cluster::started(3, CALM);
    let at = follower(&first);
    let third = (first.at + 2) % 3;
    cluster.stop(at);
    let state = cluster.state(at);
    let saved = cluster.root().join("saved");
    copy_tree(&state, &saved);
    // The log grows, and the leader learns that it has grown there, too.
    let name = format!("n{}", third + 1);
    assert_eq!(cluster.transfer(first.at, Some(&name)).unwrap(), name);
    cluster.leader();
    cluster.start(at);
    let leader = cluster.leader();
    cluster.stop(at);
    assert!(snapshot(&state) != snapshot(&saved));
    fs::remove_dir_all(&state).unwrap();
    copy_tree(&saved, &state);
    cluster.start(at);
    let line = cluster.log(at).wait("counts on log index");
    assert!(line.contains("wiped or restored from an old copy"), "{line}");
    assert_eq!(cluster.leader_of(&[first.at, third]), leader);
    assert!(cluster.agent(at).is_running());
    // It goes on asking for votes, and goes on being refused.
    cluster.log(at).wait("role follower -> candidate");
    assert_eq!(cluster.leader_of(&[first.at, third]), leader);
    cluster.stop(at);
    cluster.stays(&leader, Duration::from_millis(500));
}

#[test]
fn a_clone_of_a_follower_disturbs_nobody() {
    let (mut cluster, leader) = Cluster::started(3, CALM);
    let at = follower(&leader);
    cluster.stop(at);
    // The same state in another place, as a virtual machine restored from a backup has it.
    let clone = cluster.root().join("clone");
    fs::create_dir(&clone).unwrap();
    copy_tree(&cluster.state(at), &clone.join("state"));
    let port = super::support::free_ports(1)[0];
    let text = fs::read_to_string(cluster.config(at)).unwrap();
    let listen = format!("listen = \"127.0.0.1:{port}\"\n[cluster]");
    let text = text.replace("[cluster]", &listen);
    let text = text.replace(&format!("/n{}/", at + 1), "/clone/");
    let config = clone.join("raftctl.toml");
    fs::write(&config, text).unwrap();
    cluster.start(at);
    assert_eq!(cluster.leader(), leader);
    let mut twin = super::support::AgentCommand::new(&config).spawn();
    twin.log.wait("serving");
    twin.log.wait("role follower -> candidate");
    cluster.stays(&leader, Duration::from_millis(1500));
    assert_eq!(code(twin.terminate().0), 0);
    cluster.stays(&leader, Duration::from_millis(500));
}
