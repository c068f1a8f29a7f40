//! The agent as systemd sees it: descriptors go in, notifications come out, SIGHUP means reload.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::support::{AgentCommand, Cluster, DEADLINE};

/// What an agent tells systemd.
struct Manager {
    socket: UnixDatagram,
    begun: Instant,
}

impl Manager {
    /// Listens, and makes `command` tell it.
    fn of(cluster: &Cluster, mut command: AgentCommand) -> (Manager, AgentCommand) {
        let path = cluster.root().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        command.command.env("NOTIFY_SOCKET", path);
        (Manager { socket, begun: Instant::now() }, command)
    }

    fn hear(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).expect("a notification in time");
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    /// The next notification that contains `what`; what comes before it is passed over.
    fn until(&self, what: &str) -> String {
        loop {
            let text = self.hear();
            assert!(self.begun.elapsed() < DEADLINE, "no {what:?}, but {text:?}");
            if text.contains(what) {
                return text;
            }
        }
    }
}

#[test]
fn systemd_is_told_of_every_step_of_a_life() {
    let mut cluster = Cluster::configured(1, "");
    let (manager, command) = Manager::of(&cluster, cluster.command(0));
    cluster.start_with(0, command);
    let ready = manager.until("READY=1");
    assert!(ready.contains("STATUS="), "{ready}");
    let leader = cluster.leader();
    let status =
        format!("STATUS=leader of 1 in term {}, active, token {}\n", leader.term, leader.token);
    if ready != format!("READY=1\n{status}") {
        manager.until(&status);
    }

    cluster.agent(0).signal(Signal::SIGHUP);
    let reloading = manager.until("RELOADING=1");
    let at = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(at.is_some_and(|at| at.parse::<u64>().is_ok_and(|at| at > 0)), "{reloading}");
    assert_eq!(manager.until("READY=1"), format!("READY=1\n{status}"));

    cluster.agent(0).signal(Signal::SIGTERM);
    manager.until("STOPPING=1");
    cluster.forget(0);
}

#[test]
fn the_watchdog_hears_the_driver() {
    let mut cluster = Cluster::configured(1, "");
    let (manager, mut command) = Manager::of(&cluster, cluster.command(0));
    command.command.env("WATCHDOG_USEC", "200000");
    cluster.start_with(0, command);
    manager.until("WATCHDOG=1");
    let begun = Instant::now();
    for _ in 0..5 {
        manager.until("WATCHDOG=1");
    }
    // Each half of the interval, so at least four of these five pauses have their full length.
    let took = begun.elapsed().as_millis();
    assert!(took >= 390, "five pings within {took} ms");
    cluster.stop(0);
}

#[test]
fn an_agent_listens_on_what_it_was_passed() {
    let mut cluster = Cluster::configured(1, "");
    let address = cluster.address(0);
    // Held here too: the agent could not bind it by itself.
    let held = TcpListener::bind(&address).unwrap();
    let command = cluster.command(0).pass(vec![held.try_clone().unwrap().into()], "raft");
    cluster.start_with(0, command);
    cluster.log(0).wait("serving");
    cluster.leader();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // It was accepted: the agent closes a connection that speaks another protocol.
    std::io::Write::write_all(&mut stream, &[b'x'; 64]).unwrap();
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
    cluster.stop(0);
}

#[test]
fn a_socket_unit_without_address_leaves_binding_to_the_agent() {
    let mut cluster = Cluster::configured(1, "");
    let unset = UnixListener::bind(cluster.root().join("unset")).unwrap();
    let command = cluster.command(0).pass(vec![unset.into()], "raft");
    cluster.start_with(0, command);
    cluster.log(0).wait("binding it here");
    cluster.log(0).wait("serving");
    cluster.leader();
    cluster.stop(0);
}

/// An agent that was passed the wrong thing says what, and ends.
#[test]
fn wrong_descriptors_are_refused() {
    let cluster = Cluster::configured(1, "");
    let other = || TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = fs::File::open(cluster.config(0)).unwrap();
    let deaf = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Stream,
        nix::sys::socket::SockFlag::empty(),
        None,
    );
    let cases: [(Vec<OwnedFd>, &str, i32, &str); 7] = [
        (vec![other().into()], "http", 69, "\"http\": expected \"raft\""),
        (vec![other().into()], "", 69, "\"\": expected \"raft\""),
        (vec![other().into(), other().into()], "raft:raft", 69, "two descriptors"),
        (vec![udp.into()], "raft", 69, "not a valid tcp socket: expected a TCP socket"),
        (vec![file.into()], "raft", 69, "not a socket: expected a TCP socket"),
        (vec![deaf.unwrap()], "raft", 69, "it does not listen: expected a TCP socket"),
        (vec![other().into()], "raft", 78, "the address in the configuration; run systemctl"),
    ];
    for (passed, names, status, words) in cases {
        let (code, said) = cluster.command(0).pass(passed, names).refused();
        let said = said.join("\n");
        assert_eq!(code, status, "{words}: {said}");
        assert!(said.contains(words), "expected {words:?}: {said}");
    }
}

#[test]
fn a_reload_applies_what_can_change_and_names_the_rest() {
    let (mut cluster, leader) = Cluster::started(1, "");
    let members = cluster.members();
    let reload = |cluster: &mut Cluster, more: &str| {
        cluster.configure(0, &members, more);
        cluster.agent(0).signal(Signal::SIGHUP);
    };

    reload(&mut cluster, "[log]\nlevel = \"loud\"\n");
    cluster.log(0).wait("expected one of");
    let said = cluster.log(0).all();
    assert!(said.iter().any(|line| line.contains("nothing was changed")), "{said:#?}");

    let change = cluster.script("change", "#!/bin/sh\necho \"changed $1\" >\"${0%/*}/said\"\n");
    let more = format!(
        "[events]\nchange = {change:?}\ntimeout = \"7s\"\n[log]\nlevel = \"debug\"\n\
         [raft]\nelection_min = \"400ms\"\n"
    );
    reload(&mut cluster, &more);
    cluster.log(0).wait("configuration was read again");
    let said = cluster.log(0).all();
    for words in [
        "[raft] election_min = 400ms needs a restart of this agent; it stays 200ms",
        "[events] timeout: 30s -> 7s",
        "[log] level: info -> debug",
    ] {
        assert!(said.iter().any(|line| line.contains(words)), "no {words:?} in {said:#?}");
    }
    assert!(has(&said, "[events] change: none -> ", &change), "{said:#?}");
    assert_eq!(cluster.leader(), leader, "nobody noticed");

    // The new script runs from the next event on.
    let heard = cluster.said.count();
    cluster.stop(0);
    cluster.said.wait_from(heard, "changed change");
}

fn has(lines: &[String], words: &str, path: &Path) -> bool {
    let path = path.display().to_string();
    lines.iter().any(|line| line.contains(words) && line.contains(&path))
}

/// Scripts that were not configured at the start begin to run, and unwanted ones stop.
#[test]
fn a_reload_can_bring_the_first_script() {
    let (mut cluster, _) = Cluster::started(1, "[events]\ntimeout = \"9s\"\n");
    let script = cluster.root().join("script");
    let more = format!("[events]\nfollower = {script:?}\n");
    cluster.configure(0, &cluster.members(), &more);
    cluster.agent(0).signal(Signal::SIGHUP);
    cluster.log(0).wait("configuration was read again");
    let heard = cluster.said.count();
    cluster.stop(0);
    cluster.said.wait_from(heard, "n1 follower");
}

/// Only what systemd has started is seen on the system bus: a cluster on somebody's desk is his.
#[test]
fn an_agent_started_by_hand_does_not_touch_the_system_bus() {
    let mut cluster = Cluster::configured(1, "[authority]\nenforcement = \"none\"\n");
    let path = cluster.root().join("system");
    let bus = UnixListener::bind(&path).unwrap();
    bus.set_nonblocking(true).unwrap();
    let address = format!("unix:path={}", path.display());
    let mut by_hand = cluster.command(0);
    // A shell inherits these from the service that it is part of.
    by_hand.command.env("DBUS_SYSTEM_BUS_ADDRESS", &address).env("SYSTEMD_EXEC_PID", "1");
    cluster.start_with(0, by_hand);
    cluster.log(0).wait("serving");
    cluster.leader();
    cluster.stop(0);
    assert_eq!(bus.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

    let mut service = AgentCommand::bare(Path::new("/bin/sh"));
    let agent = format!(
        "SYSTEMD_EXEC_PID=$$ exec {} --config {}",
        env!("CARGO_BIN_EXE_raftctld"),
        cluster.config(0).display()
    );
    service.command.args(["-c", &agent]).env("DBUS_SYSTEM_BUS_ADDRESS", &address);
    cluster.start_with(0, service);
    // A bus that says nothing: the agent leads all the same, and stops when it is asked to.
    bus.set_nonblocking(false).unwrap();
    let (_silent, _) = bus.accept().unwrap();
    cluster.log(0).wait("serving");
    cluster.leader();
    cluster.stop(0);
}
