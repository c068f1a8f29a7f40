//! The standing of a host: members that fail move to another host, an operator takes a host out of
//! service, and a host without what it needs is not chosen.

use crate::faults_scene::BOUND;
use crate::service_scene::Scene;
use crate::support::{Cut, DEADLINE, Host, Member, Setup, now, run_package, wait_until};

const OFF: fn() -> Setup = || Setup { boot: false, ..Setup::default() };

/// What records further events, beside the recorder of the others.
const FURTHER: &str = "/etc/raftctl/record-further";
const RECORDED: &str = "/var/lib/lab-further";

fn job() -> Member {
    Member::new("job")
}

/// Kills the member, and waits until the agent has counted that.
fn fail(host: &Host, failures: u64) {
    wait_until("the member runs", DEADLINE, || {
        host.property("job.service", "ActiveState") == "active"
    });
    host.systemctl(&["kill", "--signal=KILL", "job.service"]);
    wait_until("the failure is counted", DEADLINE, || {
        let status = host.status();
        let units = status["units"].as_array().cloned().unwrap_or_default();
        let counted = units.iter().any(|unit| unit["failures"].as_u64() >= Some(failures));
        counted || status["eligible"] == false
    });
}

#[test]
fn a_member_that_fails_three_times_moves_until_that_is_cleared() {
    run_package(OFF(), |lab| {
        let more = "[eligibility]\nfailures = 3\nwindow = \"10min\"\nhold_down = \"1h\"\n";
        let mut scene = Scene::start(lab, &[job()], more);
        let restarts = "[Service]\nRestart=on-failure\nRestartSec=100ms\n";
        for host in lab.hosts() {
            host.write_file("/etc/systemd/system/job.service.d/restart.conf", restarts);
            host.systemctl(&["daemon-reload"]);
        }
        let old = scene.active();
        fail(old, 1);
        fail(old, 2);
        assert_eq!(old.status()["eligible"], true);
        fail(old, 3);
        assert_ne!(scene.next().index, old.index);
        let status = old.status();
        assert_eq!(status["eligible"], false, "{status}");
        assert!(status["held_down_until_usec"].as_u64() > Some(0), "{status}");
        // The others know it, and do not hand over to it.
        let refused = scene.active().run(&["raftctl", "transfer", &old.name]);
        assert_ne!(refused.code, 0);
        // It is not forgotten with the agent.
        old.systemctl(&["restart", &old.agent()]);
        wait_until("the agent is back", DEADLINE, || old.status()["eligible"] == false);
        old.run(&["raftctl", "clear"]).ok();
        wait_until("it is eligible", DEADLINE, || old.status()["eligible"] == true);
        let now = scene.active();
        wait_until("the hand-over", DEADLINE, || {
            now.run(&["raftctl", "transfer", &old.name]).code == 0
        });
        assert_eq!(scene.next().index, old.index);
        scene.end().figure("a member that fails");
    });
}

#[test]
fn a_host_in_maintenance_stays_out_and_scripts_hear_of_it() {
    run_package(OFF(), |lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        for host in lab.hosts() {
            let script =
                format!("#!/bin/sh\necho \"$RAFTCTL_EVENT $RAFTCTL_REASON\" >>{RECORDED}\n");
            host.write_script(FURTHER, &script);
            let path = format!("/etc/raftctl/{}.toml", host.name);
            let events = ["active", "released", "maintenance", "quorum-lost"];
            let keys = events.map(|event| format!("{event} = {FURTHER:?}\n")).concat();
            let text = host.read_file(&path).unwrap();
            host.write_file(&path, &text.replace("[events]\n", &format!("[events]\n{keys}")));
            host.systemctl(&["reload", &host.agent()]);
        }
        let old = scene.active();
        old.run(&["raftctl", "maintenance", "on"]).ok();
        let new = scene.next();
        assert_ne!(new.index, old.index);
        let heard = |host: &Host, line: &str| {
            let text = host.read_file(RECORDED).unwrap_or_default();
            text.lines().any(|found| found == line)
        };
        wait_until("maintenance", DEADLINE, || heard(old, "maintenance maintenance on"));
        wait_until("released", DEADLINE, || heard(old, "released everything has stopped"));
        wait_until("active", DEADLINE, || heard(new, "active the leader target runs"));
        // As root, in units of their own.
        let unit = format!("raftctl-event@{}:maintenance.service", old.name);
        assert!(!old.journal(&["-u", &unit]).is_empty(), "{unit} did not run");

        old.run(&["systemctl", "reboot"]);
        old.wait_end(DEADLINE);
        old.boot();
        wait_until("the agent is back", DEADLINE, || old.status()["maintenance"] == true);
        assert_eq!(old.status()["eligible"], false);
        scene.undisturbed();
        old.run(&["raftctl", "maintenance", "off"]).ok();
        wait_until("it is eligible", DEADLINE, || old.status()["eligible"] == true);
        scene.end().figure("maintenance");
    });
}

/// While the cluster is paused what is active runs on, though it hears nobody for longer than its
/// bound, and nothing else starts; the one that is active says when it is over.
#[test]
fn a_paused_cluster_moves_nothing() {
    run_package(OFF(), |lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        let active = scene.active();
        active.run(&["raftctl", "pause"]).ok();
        lab.cut(active.index, Cut::Everything);
        let at = now();
        let other = scene.follower();
        let leader = || other.status()["leader"].as_str().unwrap_or_default().to_owned();
        wait_until("the others elect another leader", DEADLINE, || {
            !leader().is_empty() && leader() != active.name
        });
        wait_until("longer than the bound", DEADLINE, || now() >= at + 2 * BOUND);
        assert!(!active.pids(&job().unit()).is_empty(), "{}", active.said());
        lab.heal();
        wait_until("all agree again", DEADLINE, || active.status()["leader"] == leader().as_str());
        let leads = lab.hosts().find(|host| host.name == leader()).unwrap();
        assert_ne!(leads.run(&["raftctl", "resume"]).code, 0, "it is not the active one");
        leads.run(&["raftctl", "transfer", &active.name]).ok();
        active.run(&["raftctl", "resume"]).ok();
        wait_until("the cluster goes on", DEADLINE, || other.status()["paused"] == false);
        scene.leads_again();
        assert_eq!(scene.end().member().intervals.len(), 1);
    });
}
