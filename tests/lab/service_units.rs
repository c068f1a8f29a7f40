//! systemd's own commands around an active host: the manager restarts or reloads, units are started
//! and stopped by hand; and what the units say about themselves.

use std::thread;

use crate::service_scene::Scene;
use crate::support::{DEADLINE, Host, Member, Setup, Stop, run_package, wait_until};

const OFF: fn() -> Setup = || Setup { boot: false, ..Setup::default() };

fn job() -> Member {
    Member::new("job")
}

#[test]
fn the_manager_is_executed_again_during_a_hand_over() {
    run_package(OFF(), |lab| {
        // Long enough that all managers are new before the first member has stopped.
        let slow = Member { stop: Stop::Takes(DEADLINE / 10), ..job() };
        let mut scene = Scene::start(lab, &[slow], "");
        let old = scene.active();
        thread::scope(|scope| {
            scope.spawn(|| old.run(&["raftctl", "transfer"]));
            let target = leader_target(old);
            wait_until("the members stop", DEADLINE, || {
                !matches!(old.property(&target, "Job").as_str(), "" | "0")
            });
            // Both the host that hands over and those that may take over.
            lab.hosts().for_each(|host| drop(host.run(&["systemctl", "daemon-reexec"])));
        });
        assert_ne!(scene.next().index, old.index);
        let seen = scene.end();
        assert_eq!(seen.member().intervals.len(), 2, "{}", seen.member());
        seen.figure("daemon-reexec during a hand-over");
    });
}

#[test]
fn the_manager_reloads_and_nothing_changes() {
    run_package(OFF(), |lab| {
        let scene = Scene::start(lab, &[job()], "");
        let running = lab.hosts().map(|host| host.main_pid(&host.agent()));
        let running: Vec<_> = running.collect();
        for host in lab.hosts() {
            host.systemctl(&["daemon-reload"]);
            host.systemctl(&["daemon-reexec"]);
            host.systemctl(&["daemon-reload"]);
        }
        scene.undisturbed();
        let seen = scene.end();
        assert_eq!(seen.member().intervals.len(), 1, "{}", seen.member());
        let still = lab.hosts().map(|host| host.main_pid(&host.agent()));
        assert_eq!(still.collect::<Vec<_>>(), running);
    });
}

#[test]
fn nothing_starts_by_hand_on_a_follower() {
    run_package(OFF(), |lab| {
        let scene = Scene::start(lab, &[job()], "");
        let host = scene.follower();
        let (target, member) = (leader_target(host), job().unit());
        // Both succeed, as always when a condition is not met (systemd.unit(5)), and start nothing.
        host.run(&["systemctl", "start", &target]);
        assert_eq!(host.property(&target, "ActiveState"), "inactive");
        assert_eq!(host.property(&target, "ConditionResult"), "no");
        host.run(&["systemctl", "start", &member]);
        assert_ne!(host.property(&member, "ActiveState"), "active");
        host.run(&["systemctl", "restart", &member, &target]);
        assert_ne!(host.property(&member, "ActiveState"), "active");
        scene.undisturbed();
        let seen = scene.end();
        assert_eq!(seen.member().intervals.len(), 1, "{}", seen.member());
    });
}

#[test]
fn a_target_stopped_by_hand_is_handed_over() {
    run_package(OFF(), |lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        let old = scene.active();
        old.systemctl(&["stop", &leader_target(old)]);
        assert_ne!(scene.next().index, old.index);
        assert_eq!(old.property(&leader_target(old), "ActiveState"), "inactive");
        assert_eq!(old.property(&old.agent(), "ActiveState"), "active");
        assert_eq!(old.property(&old.agent(), "NRestarts"), "0");

        // Restarting it is stopping it, too.
        let old = scene.active();
        old.run(&["systemctl", "restart", &leader_target(old)]);
        assert_ne!(scene.next().index, old.index);
        scene.end().figure("the leader target stopped by hand");
    });
}

#[test]
fn a_reload_says_what_it_cannot_change() {
    run_package(OFF(), |lab| {
        let scene = Scene::start(lab, &[job()], "");
        let host = scene.active();
        let (agent, path) = (host.agent(), format!("/etc/raftctl/{}.toml", host.name));
        let before = host.read_file(&path).unwrap();
        let pid = host.main_pid(&agent);

        let more = "[log]\nlevel = \"debug\"\n[raft]\nelection_max = \"500ms\"\n";
        host.write_file(&path, &format!("{before}{more}"));
        host.systemctl(&["reload", &agent]);
        wait_until("what changed", DEADLINE, || said(host, "[log] level: info -> debug"));
        assert!(said(host, "election_max = 500ms needs a restart of this agent; it stays 400ms"));
        wait_until("it is ready again", DEADLINE, || {
            host.property(&agent, "ActiveState") == "active"
        });

        // A file that cannot be used fails the reload, and the agent runs on.
        host.write_file(&path, &format!("{before}[log]\nlevel = 7\n"));
        assert_ne!(host.run(&["systemctl", "reload", &agent]).code, 0);
        assert_eq!(host.property(&agent, "ActiveState"), "active");
        assert_eq!(host.main_pid(&agent), pid);
        scene.undisturbed();
        assert_eq!(scene.end().member().intervals.len(), 1);
    });
}

#[test]
fn process_1_knows_what_the_agent_is_doing() {
    run_package(OFF(), |lab| {
        let scene = Scene::start(lab, &[job()], "");
        let leader = lab.leader();
        for host in lab.hosts() {
            let show = |property| host.property(&host.agent(), property);
            let line = match host.index == leader.host {
                true => {
                    format!("leader of 3 in term {}, active, token {}", leader.term, leader.token)
                }
                false => format!("follower of n{} in term {}", leader.host, leader.term),
            };
            wait_until(&line, DEADLINE, || show("StatusText") == line);
            assert_eq!(show("Type"), "notify");
            assert_eq!(show("NotifyAccess"), "main");
            assert_eq!(show("WatchdogUSec"), "500ms");
            assert_eq!(show("WatchdogSignal"), "9");
            assert_eq!(show("User"), "raftctl");
            assert_eq!(show("SubState"), "running");
            for (property, other) in [("Requires", "socket"), ("After", "socket")] {
                let other = format!("raftctl@{}.{other}", host.name);
                assert!(has(&show(property), &other), "{property} of {}", host.agent());
            }
            let target = leader_target(host);
            let show = |property| host.property(&target, property);
            assert!(has(&show("BindsTo"), &host.agent()) && has(&show("After"), &host.agent()));
            assert!(has(&show("Conflicts"), &format!("raftctl-follower@{}.target", host.name)));
            assert_eq!(has(&show("ActiveState"), "active"), host.index == leader.host);
            let member = host.property(&job().unit(), "BindsTo");
            assert!(has(&member, &target), "{member}");
            assert_eq!(host.systemctl(&["list-units", "--failed", "--no-legend"]), "");
        }
        scene.end();
    });
}

fn leader_target(host: &Host) -> String {
    format!("raftctl-leader@{}.target", host.name)
}

/// One of several words.
fn has(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|other| other == word)
}

/// Whether the agent wrote `text` to the journal.
fn said(host: &Host, text: &str) -> bool {
    let entries = host.journal(&["-u", &host.agent()]);
    entries.iter().any(|entry| entry["MESSAGE"].as_str().is_some_and(|said| said.contains(text)))
}
