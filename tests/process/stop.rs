//! Asked to stop, an agent hands over what it has and exits 0.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::{CALM, Cluster, code};

/// A stop waits for two election timeouts at most, and for the follower script.
const STOP_MAX: Duration = Duration::from_secs(5);

#[test]
fn a_leader_hands_over_before_it_exits() {
    let (mut cluster, mut leader) = Cluster::started(3, CALM);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let said = cluster.said.count();
        let begun = Instant::now();
        cluster.agent(leader.at).signal(signal);
        let status = cluster.agent(leader.at).ended();
        let took = begun.elapsed();
        assert_eq!(code(status), 0);
        // Sooner than anybody could have noticed the loss of a leader: it was handed over.
        println!("{signal}: handed over and exited in {took:?}");
        assert!(took < STOP_MAX, "{took:?}");
        let log = cluster.forget(leader.at);
        let says = |what: &str| log.iter().any(|line| line.contains(what));
        assert!(says("-> follower: leadership handed over"), "{log:#?}");
        assert!(says(&format!("hands over and stops, because of {signal}")), "{log:#?}");
        assert!(says("stopped"), "{log:#?}");

        let next = cluster.leader();
        assert_eq!(next.term, leader.term + 1, "one election was enough");
        let (old, new) = (leader.at + 1, next.at + 1);
        cluster.said.wait_from(said, &format!("n{new} leader {} {}", next.term, next.token));
        // The script of the old one had ended when the agent exited.
        let all = cluster.said.all();
        let demoted = format!("n{old} follower ");
        assert!(all[said..].iter().any(|line| line.starts_with(&demoted)), "{all:#?}");
        cluster.start(leader.at);
        assert_eq!(cluster.leader(), next, "the one that came back disturbs nobody");
        leader = next;
    }
}

#[test]
fn a_follower_exits_at_once_and_nobody_notices() {
    let (mut cluster, leader) = Cluster::started(3, CALM);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let at = (leader.at + 1) % 3;
        cluster.agent(at).signal(signal);
        let begun = Instant::now();
        assert_eq!(code(cluster.agent(at).ended()), 0);
        assert!(begun.elapsed() < STOP_MAX);
        cluster.forget(at);
        assert_eq!(cluster.leader(), leader);
        assert!(!cluster.socket(at).exists(), "the socket is removed");
        cluster.start(at);
        assert_eq!(cluster.leader(), leader);
    }
}

#[test]
fn a_signal_that_is_repeated_changes_nothing() {
    let (mut cluster, leader) = Cluster::started(3, "");
    for signal in [Signal::SIGTERM, Signal::SIGTERM, Signal::SIGINT] {
        cluster.agent(leader.at).signal(signal);
    }
    assert_eq!(code(cluster.agent(leader.at).ended()), 0);
    cluster.forget(leader.at);
    cluster.leader();
}

#[test]
fn a_cluster_that_is_stopped_as_a_whole_exits_0_everywhere() {
    for count in [1, 2, 3, 5] {
        let (mut cluster, _) = Cluster::started(count, "");
        let begun = Instant::now();
        (0..count).for_each(|at| cluster.agent(at).signal(Signal::SIGTERM));
        for at in 0..count {
            let status = cluster.agent(at).ended();
            assert_eq!(code(status), 0, "{:#?}", cluster.log(at).all());
        }
        assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());
    }
}

#[test]
fn an_agent_without_a_leader_stops_at_once() {
    let mut cluster = Cluster::configured(3, "");
    cluster.start(0);
    let (status, took) = cluster.agent(0).terminate();
    assert_eq!(code(status), 0);
    assert!(took < STOP_MAX, "{took:?}");
}

#[test]
fn a_script_that_hangs_delays_the_stop_by_its_time_limit_only() {
    let more = |script: &str| {
        format!("[events]\nfollower = {script:?}\ntimeout = \"300ms\"\nkill_after = \"100ms\"\n")
    };
    let mut cluster = Cluster::configured(1, "");
    let hang = cluster.script("hang", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n");
    cluster.configure(0, &cluster.members(), &more(hang.to_str().unwrap()));
    cluster.start(0);
    cluster.leader();
    let (status, took) = cluster.agent(0).terminate();
    assert_eq!(code(status), 0);
    assert!(took < STOP_MAX, "{took:?}");
    let log = cluster.forget(0);
    assert!(log.iter().any(|line| line.contains("took too long, ignoring")), "{log:#?}");
}
