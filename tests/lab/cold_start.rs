//! From nothing to one leader: hosts that boot, and an agent that only its socket stands for.

use std::net::TcpStream;

use crate::support::cluster::PORT;
use crate::support::{DEADLINE, Setup, address, now, on, run_package, wait_until};

#[test]
fn three_hosts_boot_into_one_cluster() {
    run_package(Setup { boot: false, ..Setup::default() }, |lab| {
        lab.configure("");
        for host in lab.hosts() {
            host.enable(&format!("raftctl@{}", host.name));
        }
        let begun = now();
        lab.boot();
        let leader = lab.leader();
        println!("one leader {:?} after power on", now() - begun);
        for host in lab.hosts() {
            assert_eq!(host.property(&host.agent(), "ActiveState"), "active");
            assert_eq!(host.property(&host.agent(), "NRestarts"), "0");
            let status = host.property(&host.agent(), "StatusText");
            let role = if host.index == leader.host { "leader" } else { "follower" };
            assert!(status.contains(role), "{}: {status:?}", host.name);
        }
    });
}

#[test]
fn a_connection_starts_an_agent() {
    run_package(Setup { boot: false, ..Setup::default() }, |lab| {
        lab.configure("");
        lab.boot();
        // As the administrator does it on a host that runs.
        let (agent, socket) = (lab.host(1).agent(), "raftctl@n1.socket");
        lab.host(1).systemctl(&["enable", "--now", "raftctl@n1.socket"]);
        assert_eq!(lab.host(1).property(socket, "ActiveState"), "active");
        assert_eq!(lab.host(1).property(&agent, "ActiveState"), "inactive");
        on(2, || TcpStream::connect((address(1), PORT)).map(drop)).unwrap();
        let active = |host: usize| {
            let host = lab.host(host);
            host.property(&host.agent(), "ActiveState") == "active"
        };
        wait_until("the agent of n1 runs", DEADLINE, || active(1));

        // And so does a peer that wants to talk to it.
        lab.host(3).systemctl(&["enable", "--now", "raftctl@n3.socket"]);
        assert_eq!(lab.host(3).property(&lab.host(3).agent(), "ActiveState"), "inactive");
        lab.host(2).systemctl(&["enable", "--now", "raftctl@n2"]);
        assert_eq!(lab.host(2).property("raftctl@n2.socket", "ActiveState"), "active");
        wait_until("the agent of n3 runs", DEADLINE, || active(3));
        lab.leader();
    });
}
