//! Faults of a whole host, or of what connects it: cut off, without power, frozen.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::faults_scene::{Expect, Scene, scene, scene_with};
use crate::support::{Cut, DEADLINE, Member, REBOOT, Stop, now, trials, wait_until};

const CUTS: [(&str, Cut); 3] = [
    ("leader cut off", Cut::Everything),
    ("leader cut off, only its packets leave", Cut::OnlyItsPacketsLeave),
    ("leader cut off, only packets arrive", Cut::OnlyPacketsArrive),
];

const FOLLOWER_CUTS: [(&str, Cut); 3] = [
    ("follower cut off", Cut::Everything),
    ("follower cut off, only its packets leave", Cut::OnlyItsPacketsLeave),
    ("follower cut off, only packets arrive", Cut::OnlyPacketsArrive),
];

/// How long a follower is cut off: many of its elections.
const CUT_FOR: Duration = Duration::from_secs(3);

/// How long a host is frozen: the others take over meanwhile.
const FROZEN_FOR: Duration = Duration::from_secs(5);

#[test]
fn the_leader_is_cut_off() {
    scene(Member::new("quick"), |scene| {
        for (what, cut) in CUTS {
            for _ in 0..trials() {
                let old = scene.settled();
                scene.lab.cut(old.host, cut);
                let at = now();
                let new = scene.successor(&old);
                scene.gone(old.host);
                scene.lab.heal();
                scene.fault(what, (old.host, at), Expect::Silence);
                assert_eq!(scene.settled(), new, "{what}: healing disturbed the new leader");
            }
        }
    });
}

#[test]
fn a_follower_is_cut_off() {
    scene(Member::new("quick"), |scene| {
        for (what, cut) in FOLLOWER_CUTS {
            for _ in 0..trials() {
                cut_follower(scene, what, cut);
            }
        }
    });
}

/// The leader must not notice.
fn cut_follower(scene: &mut Scene, what: &'static str, cut: Cut) {
    let leader = scene.settled();
    let restarts = |scene: &Scene| {
        let host = scene.lab.host(leader.host);
        host.property(&host.agent(), "NRestarts")
    };
    let (before, follower) = (restarts(scene), scene.others(leader.host)[0]);
    scene.lab.cut(follower, cut);
    let at = now();
    let host = scene.lab.host(follower);
    let lost = || {
        let said = host.status();
        said.is_object() && said["leader"] != format!("n{}", leader.host).as_str()
    };
    wait_until("the follower has lost its leader", DEADLINE, lost);
    scene.lasted(at, CUT_FOR);
    scene.lab.heal();
    scene.fault(what, (leader.host, at), Expect::Nothing);
    assert_eq!(scene.settled(), leader, "{what}: the follower disturbed the leader");
    assert_eq!(restarts(scene), before, "{what}: the leader was started again");
}

#[test]
fn the_leader_loses_its_power() {
    scene(Member::new("quick"), |scene| {
        for _ in 0..trials() {
            let old = scene.settled();
            let host = scene.lab.host(old.host);
            let at = now();
            host.power_cut();
            let new = scene.successor(&old);
            scene.was_silent(old.host, at, false);
            host.boot();
            scene.fault("power cut", (old.host, at), Expect::Silence);
            assert_eq!(scene.settled(), new, "the host that came back disturbed the new leader");
        }
    });
}

#[test]
fn the_host_of_the_leader_is_frozen() {
    scene(Member::new("quick"), |scene| {
        for _ in 0..trials() {
            let old = scene.settled();
            let host = scene.lab.host(old.host);
            let at = now();
            host.freeze();
            let new = scene.successor(&old);
            scene.lasted(at, FROZEN_FOR);
            scene.thaw(old.host);
            scene.fault("host frozen", (old.host, at), Expect::Silence);
            scene.was_silent(old.host, at, true);
            assert_eq!(scene.settled(), new, "the thawed host disturbed the new leader");
        }
    });
}

/// Killing does not help: the agent is cut off, or gone, and either way PID 1 reboots the host.
/// An agent that saw it coming says so after the boot.
#[test]
fn a_host_whose_members_never_stop_is_rebooted() {
    const REBOOTS: &str = "[authority]\non_demote_timeout = \"reboot\"\n";
    let deaf = Member { stop: Stop::Never, ..Member::new("deaf") };
    scene_with(deaf, REBOOTS, |scene| {
        for host in scene.lab.hosts() {
            // As if the kernel did not let them die.
            let path = "/etc/systemd/system/raftctl-fence@.service.d/no-kill.conf";
            host.write_file(path, "[Service]\nExecStart=\nExecStart=/bin/true\n");
            host.systemctl(&["daemon-reload"]);
        }
        for _ in 0..trials() {
            for what in ["cut off, the host is rebooted", "kill -9, the host is rebooted"] {
                let old = scene.settled();
                let host = scene.lab.host(old.host);
                wait_until("the fence is armed", DEADLINE, || {
                    host.status()["fence_armed"] == "reboot"
                });
                let at = if what.starts_with("cut") {
                    scene.lab.cut(old.host, Cut::Everything);
                    now()
                } else {
                    host.kill(&host.agent(), Signal::SIGKILL)
                };
                assert_eq!(host.wait_end(DEADLINE), REBOOT, "{}", host.said());
                let new = scene.successor(&old);
                scene.was_silent(old.host, at, false);
                scene.lab.heal();
                host.boot();
                scene.fault(what, (old.host, at), Expect::Silence);
                assert_eq!(scene.settled(), new, "the rebooted host disturbed the new leader");
                if what.starts_with("kill") {
                    continue;
                }
                wait_until("the agent knows why", DEADLINE, || {
                    let fence = &host.status()["last_fence"];
                    fence["what"] == "reboot" && fence["when_usec"].as_u64() > Some(0)
                });
                let said = host.journalctl(&["-b", "-u", &host.agent(), "-o", "cat"]);
                assert!(said.contains("This host was rebooted, as a fence"), "{said}");
            }
        }
    });
}
