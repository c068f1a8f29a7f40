//! Whatever becomes of the log, the agent goes on.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::Resource;
use nix::sys::signal::Signal;
use raftctl::exit::Exit;

use super::support::{CALM, Cluster, code};

/// A pipe that is full, so that whoever writes a byte to it waits: its two ends.
pub fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read_end, write_end) = std::io::pipe().unwrap();
    let (read_end, write_end): (OwnedFd, OwnedFd) = (read_end.into(), write_end.into());
    fcntl(&write_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut file = fs::File::from(write_end.try_clone().unwrap());
    while file.write(b"unread\n").is_ok() {}
    // The agent shares the flags; it does not expect that a write is refused.
    fcntl(&write_end, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (read_end, write_end)
}

#[test]
fn nobody_reads_the_log_and_the_leader_leads_on() {
    let calm = format!("{CALM}[log]\nlevel = \"trace\"\n");
    let mut cluster = Cluster::configured(3, &calm);
    let pipes: Vec<_> = (0..3).map(|_| full_pipe()).collect();
    for (at, (_, write_end)) in pipes.iter().enumerate() {
        let stderr = write_end.try_clone().unwrap();
        cluster.start_with(at, cluster.command(at).stderr(stderr));
        cluster.answers(at);
    }
    let (_, to) = cluster.leads_on_unread();
    cluster.agent(to).signal(Signal::SIGKILL);
    cluster.agent(to).ended();
    cluster.forget(to);
    cluster.leader();
    for at in cluster.running() {
        let (status, took) = cluster.agent(at).terminate();
        assert_eq!(code(status), 0);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn an_agent_whose_disk_fails_ends_although_nobody_reads_its_log() {
    let (mut cluster, _) = Cluster::started(1, "");
    cluster.stop(0);
    let (_read_end, write_end) = full_pipe();
    let command = cluster.command(0).stderr(write_end).limit(Resource::RLIMIT_FSIZE, 8 << 10);
    cluster.start_with(0, command);
    let status = cluster.agent(0).ended();
    assert_eq!(status.code().and_then(Exit::from_code), Some(Exit::Io), "{status}");
}

#[test]
fn the_reader_of_the_log_is_gone_and_the_leader_leads_on() {
    let mut cluster = Cluster::configured(1, "");
    let (read_end, write_end) = std::io::pipe().unwrap();
    let command = cluster.command(0).stderr(write_end);
    cluster.start_with(0, command);
    cluster.answers(0);
    drop(read_end);
    cluster.leader();
    cluster.transfer(0, None).unwrap_err();
    let (status, _) = cluster.agent(0).terminate();
    assert_eq!(code(status), 0);
}

#[test]
fn a_log_file_is_appended_to_and_a_full_one_stops_nobody() {
    let mut cluster = Cluster::configured(1, "");
    let members = cluster.members();
    let file = cluster.root().join("agent.log");
    fs::write(&file, "earlier\n").unwrap();
    let more = format!("[log]\nfile = {file:?}\nformat = \"json\"\n");
    cluster.configure(0, &members, &more);
    cluster.start_with(0, cluster.command(0));
    cluster.answers(0);
    let leader = cluster.leader();
    let (status, _) = cluster.agent(0).terminate();
    assert_eq!(code(status), 0);
    assert_eq!(cluster.forget(0), Vec::<String>::new(), "all of it is in the file");
    let text = fs::read_to_string(&file).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("earlier"));
    let mut last = String::new();
    for line in lines {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        last = object["message"].as_str().unwrap().to_owned();
    }
    assert_eq!(last, "n1 has stopped.");

    cluster.configure(0, &members, "[log]\nfile = \"/dev/full\"\nlevel = \"trace\"\n");
    cluster.start_with(0, cluster.command(0));
    cluster.answers(0);
    let again = cluster.leader();
    assert!(again.term > leader.term);
    let (status, took) = cluster.agent(0).terminate();
    assert_eq!(code(status), 0);
    assert!(took < Duration::from_secs(5), "{took:?}");
}
