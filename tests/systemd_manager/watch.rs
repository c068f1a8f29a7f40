//! A target that was started on our order and goes down without one.

use raftctl::core::authority::Report;
use raftctl::systemd::manager::Mode;
use zbus::Connection;

use super::scene;
use super::systemd_support::{LEADER, MEMBER, Scene, connect};

#[tokio::test]
async fn a_strangers_stop_is_reported_when_it_is_queued() {
    for kind in ["stop", "restart", "try-restart", "of-a-later-version"] {
        let mut scene = scene!();
        scene.up(1).await;
        // Still active: its members are being stopped.
        scene.fake.queue_job(LEADER, kind).await;
        assert_eq!(scene.report().await, Report::Down, "{kind}");
        assert!(!scene.gate().exists(), "nobody can start it again");
        scene.fake.assert_quiet();
    }
}

#[tokio::test]
async fn a_target_that_goes_down_is_reported() {
    for active in ["deactivating", "inactive", "failed"] {
        let mut scene = scene!();
        scene.up(1).await;
        scene.fake.change(LEADER, |unit| unit.active = active).await;
        assert_eq!(scene.report().await, Report::Down, "{active}");
    }
}

#[tokio::test]
async fn a_restart_that_is_over_before_anybody_looks_is_reported() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.fake.change(LEADER, |unit| unit.invocation += 1).await;
    assert_eq!(scene.report().await, Report::Down);
}

#[tokio::test]
async fn a_target_that_goes_down_unannounced_is_seen() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.fake.judged().await;
    scene.fake.edit(LEADER, |unit| unit.active = "inactive");
    assert_eq!(scene.report().await, Report::Down);
}

#[tokio::test]
async fn what_does_not_stop_the_target_is_no_reason() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.fake.change(MEMBER, |unit| unit.active = "failed").await;
    let job = scene.fake.queue_job(LEADER, "start").await;
    scene.fake.edit(LEADER, |unit| unit.job = None);
    scene.fake.announce_removed(&job, "done").await;
    scene.fake.judged().await;
    scene.stop(2);
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    scene.fake.accept(&call).await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 2 }, "no Down before");
}

#[tokio::test]
async fn our_own_stop_is_not_a_strangers() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.stop(2);
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    let job = scene.fake.accept(&call).await;
    scene.fake.change(LEADER, |unit| unit.active = "deactivating").await;
    scene.fake.edit(MEMBER, |unit| unit.active = "inactive");
    scene.fake.end(&job, "done", "inactive").await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 2 });
    assert_eq!(scene.report().await, Report::Stopped { number: 2 });
    assert!(scene.reports.try_recv().is_err());
}

#[tokio::test]
async fn what_a_stranger_says_about_jobs_is_not_believed() {
    let mut scene = scene!();
    let stranger = connect(&scene.bus).await;
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let job = scene.fake.queue(&call).await;
    forge(&stranger, job.number, "failed").await;
    scene.fake.answer(&call, &job).await;
    forge(&stranger, job.number, "failed").await;
    scene.not_yet("it starts").await;
    scene.fake.end_silently(&job, "active");
    assert_eq!(scene.report().await, Report::Started { number: 1 });
}

/// Says to everybody on the bus, one by one, that a job ended.
async fn forge(stranger: &Connection, number: u32, result: &str) {
    let bus = "org.freedesktop.DBus";
    let names =
        stranger.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "ListNames", &());
    let names: Vec<String> = names.await.unwrap().body().deserialize().unwrap();
    let path = zbus::ObjectPath::try_from(format!("/org/freedesktop/systemd1/job/{number}"));
    let body = (number, path.unwrap(), LEADER, result);
    for name in names.iter().filter(|name| name.starts_with(':')) {
        let interface = "org.freedesktop.systemd1.Manager";
        let sent = stranger.emit_signal(
            Some(name.as_str()),
            "/org/freedesktop/systemd1",
            interface,
            "JobRemoved",
            &body,
        );
        sent.await.unwrap();
    }
}

#[tokio::test]
async fn the_follower_target_is_not_started_beside_an_active_leader_target() {
    let Some(mut scene) = Scene::starting(|unit| unit.active = "active").await else { return };
    scene.fake.looked().await;
    // Comes after whatever follows from the look.
    let manager = scene.host.manager().clone();
    let asked = tokio::spawn(async move { manager.start_unit("a.service", Mode::Fail).await });
    assert_eq!(scene.fake.any_call().await.unit, "a.service");
    asked.abort();
}
