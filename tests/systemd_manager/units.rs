//! One-shot units that other surfaces run.

use raftctl::systemd::manager::{Finished, JobResult, ManagerError};
use tokio::time::Instant;

use super::scene;
use super::systemd_support::{DEADLINE, Unit};

const SCRIPT: &str = "raftctl-event@n1:follower.service";

#[tokio::test]
async fn a_oneshot_ends_with_its_job() {
    let mut scene = scene!();
    scene.fake.put(SCRIPT, Unit::inactive());
    for (result, service, status, job) in [
        ("done", "success", 0, JobResult::Done),
        ("failed", "exit-code", 3, JobResult::Failed),
        ("timeout", "timeout", 15, JobResult::Timeout),
    ] {
        let manager = scene.host.manager().clone();
        let deadline = Instant::now() + DEADLINE;
        let run = tokio::spawn(async move { manager.run_oneshot(SCRIPT, deadline).await });
        let call = scene.fake.expect("StartUnit", SCRIPT, "replace").await;
        let queued = scene.fake.accept(&call).await;
        scene.fake.edit(SCRIPT, |unit| (unit.result, unit.status) = (service, status));
        scene.fake.end(&queued, result, "inactive").await;
        let finished = Finished { job, result: service.to_owned(), status };
        assert_eq!(run.await.unwrap().unwrap(), finished);
    }
}

#[tokio::test]
async fn a_oneshot_whose_end_nobody_announces_is_seen() {
    let mut scene = scene!();
    scene.fake.put(SCRIPT, Unit::inactive());
    let manager = scene.host.manager().clone();
    let deadline = Instant::now() + DEADLINE;
    let run = tokio::spawn(async move { manager.run_oneshot(SCRIPT, deadline).await });
    let call = scene.fake.expect("StartUnit", SCRIPT, "replace").await;
    let queued = scene.fake.accept(&call).await;
    scene.fake.edit(SCRIPT, |unit| (unit.result, unit.status) = ("exit-code", 2));
    scene.fake.end_silently(&queued, "failed");
    let finished = run.await.unwrap().unwrap();
    let result = "exit-code".to_owned();
    assert_eq!(finished, Finished { job: JobResult::Failed, result, status: 2 });
}

#[tokio::test]
async fn a_oneshot_has_a_deadline_and_may_be_refused() {
    let mut scene = scene!();
    scene.fake.put(SCRIPT, Unit::inactive());
    let manager = scene.host.manager().clone();
    let run = tokio::spawn(async move {
        let deadline = Instant::now() + raftctl::limits::HOST_POLL;
        manager.run_oneshot(SCRIPT, deadline).await
    });
    let call = scene.fake.expect("StartUnit", SCRIPT, "replace").await;
    scene.fake.accept(&call).await;
    assert!(matches!(run.await.unwrap(), Err(ManagerError::TimedOut { .. })));

    let manager = scene.host.manager().clone();
    let deadline = Instant::now() + DEADLINE;
    let run = tokio::spawn(async move { manager.run_oneshot(SCRIPT, deadline).await });
    let call = scene.fake.expect("StartUnit", SCRIPT, "replace").await;
    scene.fake.refuse(&call, "org.freedesktop.DBus.Error.AccessDenied").await;
    assert!(matches!(run.await.unwrap(), Err(ManagerError::NotStarted { .. })));
}
