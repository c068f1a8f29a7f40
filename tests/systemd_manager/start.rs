//! Orders to start.

use raftctl::core::authority::Report;
use raftctl::systemd::manager::Mode;

use super::scene;
use super::systemd_support::{FOLLOWER, LEADER, MEMBER, Scene, Unit};

const DESTRUCTIVE: &str = "org.freedesktop.systemd1.TransactionIsDestructive";

#[tokio::test]
async fn the_gate_is_open_before_the_manager_is_asked_and_the_end_is_reported() {
    let mut scene = scene!();
    assert!(!scene.gate().exists());
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    assert_eq!(std::fs::read_to_string(scene.gate()).unwrap(), "42\n");
    let job = scene.fake.accept(&call).await;
    scene.fake.end(&job, "done", "active").await;
    assert_eq!(scene.report().await, Report::Started { number: 1 });
    assert!(scene.gate().exists());
}

#[tokio::test]
async fn a_failed_member_does_not_fail_the_start() {
    let mut scene = scene!();
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let job = scene.fake.accept(&call).await;
    scene.fake.edit(MEMBER, |unit| unit.active = "failed");
    scene.fake.end(&job, "done", "active").await;
    assert_eq!(scene.report().await, Report::Started { number: 1 });
}

#[tokio::test]
async fn a_unit_that_is_not_ours_is_not_started() {
    type Edit = fn(&mut Unit);
    let cases: [(&str, Edit); 10] = [
        ("masked", |unit| unit.load = "masked"),
        ("missing", |unit| unit.load = "not-found"),
        ("replaced", |unit| unit.fragment = "/etc/systemd/system/raftctl-leader@.target"),
        ("not bound", |unit| unit.binds_to.clear()),
        ("bound to another", |unit| unit.binds_to = vec!["raftctl@n2.service"]),
        ("not ordered", |unit| unit.after = vec!["sysinit.target"]),
        ("without gate", |unit| unit.conditions.clear()),
        ("negated gate", |unit| unit.conditions[0].2 = true),
        ("gate as one of several", |unit| unit.conditions[0].1 = true),
        ("gate of another", |unit| unit.conditions[0].3 = "/run/raftctl/n2/active".to_owned()),
    ];
    let mut scene = scene!();
    for (number, (what, edit)) in (1..).zip(cases) {
        scene.fake.put(LEADER, Unit::leader(&scene.gate()));
        scene.fake.edit(LEADER, edit);
        scene.start(number);
        assert_eq!(scene.report().await, Report::StartFailed { number }, "{what}");
        assert!(!scene.gate().exists(), "{what}");
        scene.fake.assert_quiet();
    }
}

#[tokio::test]
async fn a_unit_that_changes_while_it_starts_has_not_started() {
    let mut scene = scene!();
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let job = scene.fake.accept(&call).await;
    scene.fake.edit(LEADER, |unit| unit.binds_to.clear());
    scene.fake.end(&job, "done", "active").await;
    assert_eq!(scene.report().await, Report::StartFailed { number: 1 });
    assert!(!scene.gate().exists());
}

#[tokio::test]
async fn every_other_end_of_the_job_is_a_failure_and_closes_the_gate() {
    let mut scene = scene!();
    let results = ["failed", "canceled", "timeout", "dependency", "skipped", "invalid", "new"];
    for (number, result) in (1..).zip(results) {
        scene.start(number);
        let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
        let job = scene.fake.accept(&call).await;
        scene.fake.end(&job, result, "inactive").await;
        assert_eq!(scene.report().await, Report::StartFailed { number }, "{result}");
        assert!(!scene.gate().exists(), "{result}");
    }
}

#[tokio::test]
async fn done_is_not_enough_if_a_condition_was_not_met() {
    let mut scene = scene!();
    // What the manager does when the gate is closed before the job runs.
    for (number, active) in [(1, "inactive"), (2, "active")] {
        scene.start(number);
        let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
        let job = scene.fake.accept(&call).await;
        std::fs::remove_file(scene.gate()).unwrap();
        scene.fake.end(&job, "done", active).await;
        assert_eq!(scene.report().await, Report::StartFailed { number });
    }
}

#[tokio::test]
async fn the_end_may_be_announced_before_the_answer() {
    let mut scene = scene!();
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let job = scene.fake.queue(&call).await;
    scene.fake.end(&job, "done", "active").await;
    scene.fake.answer(&call, &job).await;
    assert_eq!(scene.report().await, Report::Started { number: 1 });
}

#[tokio::test]
async fn an_end_of_which_nobody_hears_is_seen() {
    let mut scene = scene!();
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let job = scene.fake.accept(&call).await;
    scene.fake.end_silently(&job, "active");
    assert_eq!(scene.report().await, Report::Started { number: 1 });

    scene.start(2);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let job = scene.fake.accept(&call).await;
    scene.fake.end_silently(&job, "inactive");
    assert_eq!(scene.report().await, Report::StartFailed { number: 2 });
}

#[tokio::test]
async fn an_answer_that_is_seconds_late_is_not_waited_for() {
    let mut scene = scene!();
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let job = scene.fake.queue(&call).await;
    scene.fake.end(&job, "done", "active").await;
    assert_eq!(scene.report().await, Report::Started { number: 1 });
    scene.fake.answer(&call, &job).await;
    scene.stop(2);
    scene.fake.expect("StopUnit", LEADER, "replace").await;
}

#[tokio::test]
async fn a_start_without_answer_or_trace_is_asked_for_again_and_given_up() {
    let mut scene = scene!();
    scene.start(1);
    for _ in 0..raftctl::limits::HOST_START_ATTEMPTS {
        let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
        scene.fake.refuse(&call, "org.freedesktop.DBus.Error.NoReply").await;
    }
    assert_eq!(scene.report().await, Report::StartFailed { number: 1 });
    assert!(!scene.gate().exists());
    scene.fake.assert_quiet();
}

#[tokio::test]
async fn a_job_of_the_follower_target_gives_way_but_no_other() {
    let mut scene = scene!();
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    scene.fake.refuse(&call, DESTRUCTIVE).await;
    let call = scene.fake.follower_call().await;
    assert_eq!((call.method.as_str(), call.mode.as_str()), ("StopUnit", "replace"));
    scene.fake.accept(&call).await;
    // Still refused: somebody stops the leader target.
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    scene.fake.refuse(&call, DESTRUCTIVE).await;
    assert_eq!(scene.report().await, Report::StartFailed { number: 1 });
    assert!(!scene.gate().exists());
    scene.fake.assert_quiet();
}

#[tokio::test]
async fn the_follower_target_is_started_before_the_leader_target_is_asked_for() {
    let Some(mut scene) = Scene::starting(|_| {}).await else { return };
    let follower = scene.fake.follower_call().await;
    assert_eq!(follower.unit, FOLLOWER);
    scene.start(1);
    // Otherwise it could overtake, and stop what was started. Meanwhile the host has time.
    for _ in 0..10 {
        let manager = scene.host.manager().clone();
        let asked = tokio::spawn(async move { manager.start_unit("a.service", Mode::Fail).await });
        let call = scene.fake.any_call().await;
        assert_eq!(call.unit, "a.service");
        scene.fake.accept(&call).await;
        asked.await.unwrap().unwrap();
    }
    let job = scene.fake.accept(&follower).await;
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    scene.fake.end(&job, "canceled", "inactive").await;
    let job = scene.fake.accept(&call).await;
    scene.fake.end(&job, "done", "active").await;
    assert_eq!(scene.report().await, Report::Started { number: 1 });
}

#[tokio::test]
async fn a_newer_start_replaces_an_older_one() {
    let mut scene = scene!();
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let job = scene.fake.accept(&call).await;
    scene.start(2);
    let again = scene.fake.expect("StartUnit", LEADER, "fail").await;
    scene.fake.answer(&again, &job).await;
    scene.fake.end(&job, "done", "active").await;
    assert_eq!(scene.report().await, Report::Started { number: 2 });
    assert!(scene.reports.try_recv().is_err(), "nothing about order 1");
}
