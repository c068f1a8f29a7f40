//! From nothing to one leader: hosts that boot, and an agent that only its socket stands for.

use std::net::TcpStream;

use crate::support::cluster::{Leader, PORT};
use crate::support::{DEADLINE, Setup, address, figure, now, on, run_package, trials, wait_until};

#[test]
fn three_hosts_boot_into_one_cluster() {
    run_package(Setup { boot: false, ..Setup::default() }, |lab| {
        lab.configure("");
        for host in lab.hosts() {
            host.enable(&format!("raftctl@{}", host.name));
        }
        let mut took = Vec::new();
        let mut leader = None;
        for _ in 0..trials() {
            if leader.is_some() {
                lab.hosts().for_each(|host| host.power_cut());
            }
            let begun = now();
            lab.boot();
            let new = lab.leader();
            took.push(now() - begun);
            let token = |leader: &Leader| leader.token;
            assert!(leader.as_ref().map(token) < Some(new.token), "{leader:?}, then {new:?}");
            leader = Some(new);
        }
        figure("three hosts, from power on to one leader", &took);
        let leader = leader.expect("at least one trial");
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
