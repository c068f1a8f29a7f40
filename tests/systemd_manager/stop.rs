//! Orders to stop.

use raftctl::core::authority::Report;

use super::scene;
use super::systemd_support::{LEADER, MEMBER, Scene};

#[tokio::test]
async fn the_gate_is_closed_in_the_same_call_and_the_follower_target_comes_last() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.stop(2);
    assert!(!scene.gate().exists(), "closed before order() returns");
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    assert!(scene.reports.try_recv().is_err(), "nothing is queued yet");
    let job = scene.fake.accept(&call).await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 2 });
    scene.fake.edit(MEMBER, |unit| unit.active = "inactive");
    scene.fake.end(&job, "done", "inactive").await;
    assert_eq!(scene.report().await, Report::Stopped { number: 2 });
    scene.fake.follower_started().await;
}

#[tokio::test]
async fn stopped_waits_for_the_job_for_the_members_and_for_their_processes() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.populate(true);
    scene.stop(2);
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    let job = scene.fake.accept(&call).await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 2 });
    scene.not_yet("the job runs").await;
    scene.fake.change(MEMBER, |unit| unit.active = "deactivating").await;
    scene.fake.end(&job, "done", "inactive").await;
    scene.not_yet("the member is deactivating").await;
    let other = scene.fake.queue_job(MEMBER, "stop").await;
    scene.fake.change(MEMBER, |unit| unit.active = "inactive").await;
    scene.not_yet("the member has a job").await;
    scene.populate(false);
    scene.fake.end_silently(&other, "inactive");
    assert_eq!(scene.report().await, Report::Stopped { number: 2 });
    assert!(scene.reports.try_recv().is_err());
}

#[tokio::test]
async fn whatever_is_left_running_is_not_stopped() {
    let mut scene = scene!();
    scene.populate(false);
    type Leave = fn(&Scene);
    let run: [(&str, Leave); 4] = [
        ("active", |scene| scene.fake.edit(MEMBER, |unit| unit.active = "active")),
        ("a main process", |scene| {
            scene.fake.edit(MEMBER, |unit| (unit.active, unit.main_pid) = ("failed", 17));
        }),
        ("processes left behind", |scene| {
            scene.fake.edit(MEMBER, |unit| (unit.active, unit.main_pid) = ("inactive", 0));
            scene.populate(true);
        }),
        ("an unreadable control group", |scene| {
            let group = scene.bus.directory.path().join("cgroup/system.slice/web.service");
            std::fs::remove_file(group.join("cgroup.events")).unwrap();
            std::fs::create_dir(group.join("cgroup.events")).unwrap();
        }),
    ];
    for (number, (what, leave)) in (1..).zip(run) {
        leave(&scene);
        scene.stop(number);
        let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
        let job = scene.fake.accept(&call).await;
        assert_eq!(scene.report().await, Report::StopQueued { number });
        scene.fake.end(&job, "done", "inactive").await;
        assert_eq!(scene.report().await, Report::StopFailed { number }, "{what}");
    }
}

#[tokio::test]
async fn what_depends_on_a_member_has_to_be_down_too() {
    let mut scene = scene!();
    let mut further = super::systemd_support::Unit::inactive();
    further.active = "active";
    scene.fake.put("further.service", further);
    scene.fake.edit(MEMBER, |unit| unit.bound_by = vec!["further.service", LEADER]);
    for (number, report) in
        [(1, Report::StopFailed { number: 1 }), (2, Report::Stopped { number: 2 })]
    {
        scene.stop(number);
        let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
        let job = scene.fake.accept(&call).await;
        scene.fake.end(&job, "done", "inactive").await;
        assert_eq!(scene.report().await, Report::StopQueued { number });
        assert_eq!(scene.report().await, report);
        scene.fake.edit("further.service", |unit| unit.active = "inactive");
    }
}

#[tokio::test]
async fn a_target_that_reads_active_after_its_job_is_not_stopped() {
    let mut scene = scene!();
    for (number, result) in (1..).zip(["timeout", "canceled", "failed", "done"]) {
        scene.stop(number);
        let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
        let job = scene.fake.accept(&call).await;
        assert_eq!(scene.report().await, Report::StopQueued { number });
        scene.fake.end(&job, result, "active").await;
        assert_eq!(scene.report().await, Report::StopFailed { number }, "{result}");
    }
}

#[tokio::test]
async fn an_inactive_target_without_done_is_not_stopped() {
    let mut scene = scene!();
    scene.stop(1);
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    let job = scene.fake.accept(&call).await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 1 });
    scene.fake.end(&job, "timeout", "inactive").await;
    assert_eq!(scene.report().await, Report::StopFailed { number: 1 });
}

#[tokio::test]
async fn a_gate_that_cannot_be_closed_is_not_a_stop() {
    let mut scene = scene!();
    std::fs::create_dir(scene.gate()).unwrap();
    for number in [1, 2] {
        scene.stop(number);
        let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
        let job = scene.fake.accept(&call).await;
        assert_eq!(scene.report().await, Report::StopQueued { number });
        scene.fake.end(&job, "done", "inactive").await;
        let expected = match number {
            1 => Report::StopFailed { number },
            _ => Report::Stopped { number },
        };
        assert_eq!(scene.report().await, expected);
        let _ = std::fs::remove_dir(scene.gate());
    }
}

#[tokio::test]
async fn a_target_that_is_not_loaded_is_stopped_at_once() {
    let mut scene = scene!();
    scene.stop(1);
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    scene.fake.refuse(&call, "org.freedesktop.systemd1.NoSuchUnit").await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 1 });
    assert_eq!(scene.report().await, Report::Stopped { number: 1 });
}

#[tokio::test]
async fn an_end_of_which_nobody_hears_is_seen() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.stop(2);
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    let job = scene.fake.accept(&call).await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 2 });
    scene.fake.edit(MEMBER, |unit| unit.active = "inactive");
    scene.fake.end_silently(&job, "inactive");
    assert_eq!(scene.report().await, Report::Stopped { number: 2 });
}

#[tokio::test]
async fn the_end_may_be_announced_before_the_answer() {
    let mut scene = scene!();
    scene.stop(1);
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    let job = scene.fake.queue(&call).await;
    scene.fake.end(&job, "done", "inactive").await;
    scene.fake.answer(&call, &job).await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 1 });
    assert_eq!(scene.report().await, Report::Stopped { number: 1 });
}

#[tokio::test]
async fn a_refused_stop_is_asked_for_until_it_is_queued() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.stop(2);
    let errors = [
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.freedesktop.DBus.Error.NoReply",
        "org.freedesktop.DBus.Error.LimitsExceeded",
    ];
    for error in errors {
        let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
        scene.fake.refuse(&call, error).await;
        assert!(scene.reports.try_recv().is_err(), "{error} acknowledges nothing");
    }
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    scene.fake.accept(&call).await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 2 });
}

#[tokio::test]
async fn a_stop_cancels_a_start_in_progress() {
    let mut scene = scene!();
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let starting = scene.fake.accept(&call).await;
    scene.stop(2);
    assert!(!scene.gate().exists());
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    scene.fake.announce_removed(&starting, "canceled").await;
    let stopping = scene.fake.accept(&call).await;
    scene.fake.end(&stopping, "done", "inactive").await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 2 });
    assert_eq!(scene.report().await, Report::Stopped { number: 2 });
    assert!(scene.reports.try_recv().is_err(), "nothing about order 1");
    assert!(!scene.gate().exists());
}

#[tokio::test]
async fn a_start_whose_answer_comes_after_the_stop_changes_nothing() {
    let mut scene = scene!();
    scene.start(1);
    let late = scene.fake.expect("StartUnit", LEADER, "fail").await;
    scene.stop(2);
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    let stopping = scene.fake.accept(&call).await;
    scene.fake.end(&stopping, "done", "inactive").await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 2 });
    assert_eq!(scene.report().await, Report::Stopped { number: 2 });
    // Only now the manager gets to the start: the closed gate is what it finds.
    let starting = scene.fake.accept(&late).await;
    assert!(!scene.gate().exists());
    scene.fake.end(&starting, "done", "inactive").await;
    scene.stop(3);
    scene.fake.expect("StopUnit", LEADER, "replace").await;
    assert!(scene.reports.try_recv().is_err(), "nothing about order 1");
}

#[tokio::test]
async fn a_fence_does_not_wait_behind_a_stop_that_hangs() {
    use raftctl::core::Token;
    use raftctl::core::authority::Order;

    let mut scene = scene!();
    scene.up(1).await;
    scene.stop(2);
    let _unanswered = scene.fake.expect("StopUnit", LEADER, "replace").await;
    scene.host.order(Order::Fence { token: Token(42) });
    let fence = super::systemd_support::FENCE;
    // Refused: asked for again while it is ordered.
    let call = scene.fake.expect("StartUnit", fence, "replace").await;
    scene.fake.refuse(&call, "org.freedesktop.DBus.Error.AccessDenied").await;
    let call = scene.fake.expect("StartUnit", fence, "replace").await;
    scene.fake.accept(&call).await;
    // And not once it is started.
    scene.stop(3);
    scene.fake.expect("StopUnit", LEADER, "replace").await;
}
