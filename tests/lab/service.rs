//! Planned changes of the active host: a transfer, and whatever the administrator does to the agent
//! or the host with systemd's own commands.

use std::time::Duration;

use crate::service_scene::Scene;
use crate::support::{
    DEADLINE, Host, Member, REBOOT, Setup, Stop, run_package, trials, wait_until,
};

/// Hosts that are configured before they boot.
const OFF: fn() -> Setup = || Setup { boot: false, ..Setup::default() };

const SECOND: Duration = Duration::from_secs(1);

fn job() -> Member {
    Member::new("job")
}

#[test]
fn a_transfer() {
    run_package(OFF(), |lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        for _ in 0..trials() {
            let old = scene.active();
            let said = old.run(&["raftctl", "transfer"]).ok();
            let new = scene.next();
            assert_ne!(new.index, old.index);
            assert_eq!(said, format!("{} leads now", new.name));
        }
        scene.end().figure("transfer");
    });
}

#[test]
fn the_agent_of_the_leader_is_stopped() {
    run_package(OFF(), |lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        for _ in 0..trials() {
            let old = scene.active();
            old.systemctl(&["stop", &old.agent()]);
            is_stopped(old);
            let new = scene.takes_over(old).index;
            // Peers that dial again do not start it.
            let refused = resets(old);
            wait_until("peers dial in vain", DEADLINE, || resets(old) > refused + 10);
            is_stopped(old);
            old.systemctl(&["start", &old.agent()]);
            assert_eq!(scene.next().index, new);
        }
        scene.end().figure("systemctl stop");
    });
}

#[test]
fn the_agent_of_the_leader_is_restarted() {
    run_package(OFF(), |lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        for _ in 0..trials() {
            let old = scene.active();
            old.systemctl(&["restart", &old.agent()]);
            assert_ne!(scene.next().index, old.index);
            assert_eq!(old.property(&old.agent(), "NRestarts"), "0");
        }
        scene.end().figure("systemctl restart");
    });
}

#[test]
fn the_host_of_the_leader_reboots() {
    run_package(OFF(), |lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        for _ in 0..trials() {
            let old = scene.active();
            old.run(&["systemctl", "reboot"]);
            assert_eq!(old.wait_end(DEADLINE), REBOOT, "{}", old.said());
            let new = scene.takes_over(old).index;
            old.boot();
            assert_eq!(scene.next().index, new, "the host that came back disturbs nobody");
        }
        scene.end().figure("reboot of the host");
    });
}

#[test]
fn the_host_of_the_leader_is_switched_off() {
    run_package(OFF(), |lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        for _ in 0..trials() {
            let old = scene.active();
            old.run(&["systemctl", "poweroff"]);
            assert_eq!(old.wait_end(DEADLINE), 0, "{}", old.said());
            let new = scene.takes_over(old).index;
            old.boot();
            assert_eq!(scene.next().index, new, "the host that came back disturbs nobody");
        }
        scene.end().figure("power-off of the host");
    });
}

#[test]
fn a_member_takes_a_second_to_stop() {
    run_package(OFF(), |lab| {
        let slow = Member { stop: Stop::Takes(SECOND), ..job() };
        let mut scene = Scene::start(lab, &[slow, Member::new("quick")], "");
        for _ in 0..trials() {
            let old = scene.active();
            old.run(&["raftctl", "transfer"]).ok();
            let old = scene.next();
            old.systemctl(&["restart", &old.agent()]);
            scene.next();
        }
        scene.end().figure("a member that takes 1 s to stop");
    });
}

/// A planned stop may take longer than `demote_timeout`: the successor waits for the release. The
/// member would take a minute; systemd ends it after ten seconds, which is as long for the agent.
#[test]
fn a_member_takes_a_minute_to_stop() {
    run_package(OFF(), |lab| {
        let limit = 10 * SECOND;
        let slow = Member { stop: Stop::Takes(60 * SECOND), stop_timeout: Some(limit), ..job() };
        let mut scene = Scene::start(lab, &[slow], "");
        let old = scene.active();
        // The command may give up before; the hand-over goes on.
        old.run(&["raftctl", "transfer"]);
        assert_ne!(scene.next().index, old.index);
        let seen = scene.end();
        let first = &seen.member().intervals[0];
        assert!(first.length() > limit, "it had all its time: {}", seen.member());
        seen.figure("a member that takes 60 s to stop, ended by TimeoutStopSec=10s");
    });
}

/// Neither the agent nor its socket runs.
#[track_caller]
fn is_stopped(host: &Host) {
    let units = [host.agent(), format!("raftctl@{}.socket", host.name)];
    for unit in units {
        assert_eq!(host.property(&unit, "ActiveState"), "inactive", "{unit}");
    }
}

/// How many connections to ports where nobody listens a host has refused.
fn resets(host: &Host) -> u64 {
    let table = host.run(&["cat", "/proc/net/snmp"]).ok();
    let mut rows = table.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == "OutRsts").expect("Linux counts these");
    value.parse().unwrap()
}
