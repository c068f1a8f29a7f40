//! The disk of the active host is full, hangs, or dies: authority does not hang with it, and goes
//! to a host whose disk works.

use std::time::Duration;

use crate::service_scene::Scene;
use crate::support::{
    DEADLINE, Host, Lab, Member, Setup, Stop, now, run_package, trials, wait_until,
};

/// How long a disk hangs: many pings of the watchdog, lease rounds and flushes.
const HANGS_FOR: Duration = Duration::from_secs(3);

fn with_disks(body: impl FnOnce(&Lab)) {
    run_package(Setup { boot: false, disk: true, ..Setup::default() }, body);
}

fn job() -> Member {
    Member::new("job")
}

#[test]
fn a_full_disk() {
    with_disks(|lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        for _ in 0..trials() {
            let old = scene.active();
            old.disk().fill();
            scene.undisturbed();
            // What there is to write when authority is handed over has its place already.
            old.run(&["raftctl", "transfer"]).ok();
            let new = scene.next();
            assert_ne!(new.index, old.index);
            // Whether its agent can start again or not, it is in nobody's way.
            old.run(&["systemctl", "restart", &old.agent()]);
            assert_eq!(new.status()["active"], true);
            old.disk().free();
            wait_until("its agent serves again", DEADLINE, || old.status().is_object());
            scene.undisturbed();
        }
        scene.end().figure("transfer with a full disk");
    });
}

/// Nobody waits for the disk of the leader: not the lease, not the watchdog, not the hand-over.
#[test]
fn a_disk_that_hangs() {
    with_disks(|lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        for _ in 0..trials() {
            let old = scene.active();
            let hung = old.disk().hang();
            let until = now() + HANGS_FOR;
            wait_until("the fault has lasted", 2 * HANGS_FOR, || now() >= until);
            scene.undisturbed();
            old.run(&["raftctl", "transfer"]);
            let new = scene.takes_over(old);
            assert_eq!(old.property(&old.agent(), "NRestarts"), "0", "nobody died of it");
            drop(hung);
            assert_eq!(scene.next().index, new.index);
        }
        scene.end().figure("transfer from a host whose disk hangs");
    });
}

/// Leadership goes to somebody else then.
#[test]
fn a_transfer_to_a_host_whose_disk_hangs() {
    with_disks(|lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        for _ in 0..trials() {
            let (old, wanted) = (scene.active(), scene.follower());
            let hung = wanted.disk().hang();
            old.run(&["raftctl", "transfer", &wanted.name]);
            wait_until("somebody is active", DEADLINE, || {
                let others = lab.hosts().filter(|host| host.index != wanted.index);
                let mut active = others.filter(|host| host.status()["active"] == true);
                active.any(|host| host.status()["token"] != scene.token())
            });
            drop(hung);
            scene.next();
        }
        scene.end().figure("transfer to a host whose disk hangs");
    });
}

#[test]
fn a_disk_that_dies() {
    dies(&[job()], "disk dies");
}

/// The agent ends at once, and what it started is ended without it, though there is no disk left
/// from which its end could be proven.
#[test]
fn a_disk_that_dies_under_a_member_that_does_not_stop() {
    dies(&[Member { stop: Stop::Never, ..job() }], "disk dies, the member does not stop");
}

fn dies(members: &[Member], what: &str) {
    with_disks(|lab| {
        let mut scene = Scene::start(lab, members, "");
        for _ in 0..trials() {
            let old = scene.active();
            old.disk().die();
            something_to_write(old);
            let new = scene.takes_over(old);
            assert_ne!(old.property(&old.agent(), "NRestarts"), "0", "it cannot go on");
            // With another disk it is one of them again.
            old.power_cut();
            old.boot();
            assert_eq!(scene.next().index, new.index);
        }
        scene.end().figure(what);
    });
}

/// Handing over writes to the log.
fn something_to_write(leader: &Host) {
    leader.run(&["raftctl", "transfer"]);
}
