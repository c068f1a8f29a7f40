//! The disk of the active host is full, hangs, or dies: authority does not hang with it, and goes
//! to a host whose disk works.

use std::time::Duration;

use crate::service_scene::Scene;
use crate::support::record::Interval;
use crate::support::{
    DEADLINE, Host, Lab, Member, Setup, figure, now, run_package, trials, wait_until,
};

/// How long a leader waits for its disk (DESIGN 5.8).
const STALL: Duration = Duration::from_secs(1);

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
            assert_ne!(scene.next().index, old.index);
            // Whether its agent can start again or not, it is in nobody's way.
            old.run(&["systemctl", "restart", &old.agent()]);
            let new = scene.active();
            assert_eq!(new.status()["active"], true);
            old.disk().free();
            wait_until("its agent serves again", DEADLINE, || old.status().is_object());
            scene.undisturbed();
        }
        scene.end().figure("transfer with a full disk");
    });
}

#[test]
fn a_disk_that_hangs() {
    with_disks(|lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        let mut lasted = Vec::new();
        for _ in 0..trials() {
            let (old, restarted) = (scene.active(), scene.follower());
            let hung = old.disk().hang();
            let at = now();
            something_to_write(restarted);
            let new = scene.takes_over(old);
            wait_until("the member is gone", DEADLINE, || old.pids(&job().unit()).is_empty());
            lasted.push(at);
            assert_eq!(old.property(&old.agent(), "NRestarts"), "0", "nobody died of it");
            drop(hung);
            assert_eq!(scene.next().index, new.index);
        }
        let seen = scene.end();
        let until = |at: &Duration| {
            let was = |one: &&Interval| one.from < *at && one.until > *at;
            let held = seen.member().intervals.iter().find(was).expect("it ran when the disk hung");
            held.until - *at
        };
        let lasted: Vec<Duration> = lasted.iter().map(until).collect();
        assert!(lasted.iter().all(|time| *time >= STALL), "{lasted:?}");
        figure("disk hangs: until the old member is gone", &lasted);
        seen.figure("disk hangs");
    });
}

#[test]
fn a_disk_that_dies() {
    with_disks(|lab| {
        let mut scene = Scene::start(lab, &[job()], "");
        for _ in 0..trials() {
            let (old, restarted) = (scene.active(), scene.follower());
            old.disk().die();
            something_to_write(restarted);
            let new = scene.takes_over(old);
            assert_ne!(old.property(&old.agent(), "NRestarts"), "0", "it cannot go on");
            // With another disk it is one of them again.
            old.power_cut();
            old.boot();
            assert_eq!(scene.next().index, new.index);
        }
        scene.end().figure("disk dies");
    });
}

/// The leader notes in the log that a member has started anew.
fn something_to_write(follower: &Host) {
    follower.systemctl(&["restart", &follower.agent()]);
}
