//! The service manager executes itself anew, and the message bus goes away.

use raftctl::core::authority::Report;

use super::scene;
use super::systemd_support::{Fake, LEADER, MEMBER, Unit};

#[tokio::test]
async fn a_start_that_a_reexec_swallowed_is_asked_for_again() {
    let mut scene = scene!();
    scene.start(1);
    let _swallowed = scene.fake.expect("StartUnit", LEADER, "fail").await;
    scene.fake.reexec(&scene.bus).await;
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let job = scene.fake.accept(&call).await;
    scene.fake.end(&job, "done", "active").await;
    assert_eq!(scene.report().await, Report::Started { number: 1 });
}

#[tokio::test]
async fn a_start_whose_answer_a_reexec_swallowed_is_seen_to_be_done() {
    let mut scene = scene!();
    scene.start(1);
    let call = scene.fake.expect("StartUnit", LEADER, "fail").await;
    let job = scene.fake.queue(&call).await;
    scene.fake.end_silently(&job, "active");
    scene.fake.reexec(&scene.bus).await;
    assert_eq!(scene.report().await, Report::Started { number: 1 });
    scene.fake.assert_quiet();
}

#[tokio::test]
async fn a_stop_across_a_reexec_is_seen_to_its_end() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.stop(2);
    let _swallowed = scene.fake.expect("StopUnit", LEADER, "replace").await;
    scene.fake.reexec(&scene.bus).await;
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    let job = scene.fake.accept(&call).await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 2 });
    scene.fake.reexec(&scene.bus).await;
    scene.fake.edit(MEMBER, |unit| unit.active = "inactive");
    scene.fake.end(&job, "done", "inactive").await;
    assert_eq!(scene.report().await, Report::Stopped { number: 2 });
}

#[tokio::test]
async fn a_target_that_went_down_during_a_reexec_is_reported_and_one_that_stayed_is_not() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.fake.reexec(&scene.bus).await;
    scene.fake.subscribed(2).await;
    scene.fake.judged().await;
    assert!(scene.reports.try_recv().is_err());
    scene.fake.edit(LEADER, |unit| unit.active = "inactive");
    scene.fake.reexec(&scene.bus).await;
    assert_eq!(scene.report().await, Report::Down);
}

#[tokio::test]
async fn orders_wait_for_a_bus_that_is_started_again() {
    let mut scene = scene!();
    scene.up(1).await;
    scene.bus.restart();
    scene.stop(2);
    assert!(!scene.gate().exists(), "the gate needs no bus");
    scene.fake = Fake::start(&scene.bus).await;
    let mut leader = Unit::leader(&scene.gate());
    leader.active = "active";
    scene.fake.put(LEADER, leader);
    scene.fake.put(MEMBER, Unit::inactive());
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    let job = scene.fake.accept(&call).await;
    scene.fake.end(&job, "done", "inactive").await;
    assert_eq!(scene.report().await, Report::StopQueued { number: 2 });
    assert_eq!(scene.report().await, Report::Stopped { number: 2 });
}
