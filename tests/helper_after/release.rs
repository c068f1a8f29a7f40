//! Releases: what has to be true before one is announced, and what ends it.

use raftctl::core::Incarnation;
use raftctl::core::role::EventName;
use raftctl::events::event_file::{self, Expected};
use raftctl::helper::release::{Outcome, ReleaseError, release};
use raftctl::storage::{StateDir, StateDirError};

use super::scene;
use super::support::*;
use super::systemd_support::{LEADER, MEMBER, Unit, within};

/// Short enough for a test, long enough for a loaded machine to start a fence in.
const SHORT: &str = "[authority]\ndemote_timeout = \"600ms\"\n";
/// Longer than any test.
const LONG: &str = "[authority]\ndemote_timeout = \"60s\"\n";
const LONG_WITH_SCRIPT: &str =
    "[authority]\ndemote_timeout = \"60s\"\n[events]\nfollower = \"/bin/true\"\n";
const EVENT: &str = "raftctl-event@n1:follower.service";
const LEADER_EVENT: &str = "raftctl-event@n1:leader.service";

fn n3() -> raftctl::core::NodeName {
    "n3".parse().unwrap()
}

async fn end(
    task: tokio::task::JoinHandle<Result<Outcome, ReleaseError>>,
) -> Result<Outcome, ReleaseError> {
    within("end", task).await.unwrap()
}

#[tokio::test]
async fn a_run_that_was_never_active_has_nothing_to_say() {
    let mut scene = scene!(LONG);
    for file in ["active", "activated"] {
        std::fs::remove_file(scene.path(file)).unwrap();
    }
    assert_eq!(end(scene.release()).await.unwrap(), Outcome::NeverActive);
    scene.fake.assert_quiet();
    let cluster = scene.cluster.lock().unwrap();
    assert_eq!((cluster.questions, cluster.announcements.len()), (0, 0));
}

/// A clean stop is not made longer, even while the service manager does not answer.
#[tokio::test]
async fn what_is_released_already_needs_no_proof_and_no_script() {
    let mut scene = scene!(LONG_WITH_SCRIPT);
    scene.cluster.lock().unwrap().owed = None;
    assert_eq!(end(scene.release()).await.unwrap(), Outcome::AlreadyOver(n3()));
    scene.fake.assert_quiet();
    assert!(scene.announcements().is_empty());
}

#[tokio::test]
async fn a_release_waits_for_target_members_processes_and_script() {
    let mut scene = scene!(LONG_WITH_SCRIPT);
    scene.fake.put(EVENT, Unit::inactive());
    scene.populate(MEMBER, true);
    std::fs::write(scene.path("event-leader.json"), "{}").unwrap();
    let task = scene.release();
    scene.asked().await;
    // Each of these makes it look again, and is not enough.
    scene.fake.change(LEADER, |unit| unit.active = "deactivating").await;
    scene.fake.change(MEMBER, |unit| unit.active = "inactive").await;
    let job = scene.fake.queue_job(LEADER, "stop").await;
    scene.fake.change(LEADER, |unit| unit.active = "inactive").await;
    scene.fake.end(&job, "done", "inactive").await;
    scene.fake.assert_quiet();
    assert!(!scene.path("active").exists(), "the gate is closed first");
    assert!(!scene.path("event-leader.json").exists(), "no script starts late");
    scene.populate(MEMBER, false);

    let call = scene.fake.expect("StartUnit", EVENT, "replace").await;
    let told = std::fs::read(scene.path("event-follower.json")).unwrap();
    let node = &scene.config.node.name;
    let expected = Expected { event: EventName::Follower, node, cluster: "main" };
    let told = event_file::parse(&told, expected).expect("the root side takes it");
    let environment: Vec<_> = told.environment().collect();
    for (name, value) in [("TOKEN", "42"), ("OLD_ROLE", "leader"), ("ROLE", "follower")] {
        assert!(environment.contains(&(format!("RAFTCTL_{name}"), value)), "{environment:?}");
    }
    let job = scene.fake.accept(&call).await;
    assert!(scene.announcements().is_empty(), "the script runs");
    scene.fake.end(&job, "done", "inactive").await;
    assert_eq!(end(task).await.unwrap(), Outcome::Released(n3()));
    assert!(!scene.path("event-follower.json").exists());
    assert!(scene.announcements().contains(&"n3".to_owned()));
    assert!(scene.cluster.lock().unwrap().owed.is_none());
}

#[tokio::test]
async fn it_is_said_until_there_is_a_leader() {
    let scene = scene!(LONG);
    scene.cluster.lock().unwrap().leader = None;
    scene.stop_target().await;
    let task = scene.release();
    let said = async {
        while scene.announcements().len() < 6 {
            tokio::task::yield_now().await;
        }
    };
    within("announcements", said).await;
    assert!(!task.is_finished());
    scene.cluster.lock().unwrap().leader = Some("n2");
    let by = "n2".parse().unwrap();
    assert_eq!(end(task).await.unwrap(), Outcome::Released(by));
    let heard = scene.announcements();
    assert!(heard.contains(&"n2".to_owned()) && heard.contains(&"n3".to_owned()), "{heard:?}");
}

#[tokio::test]
async fn what_does_not_stop_is_fenced_and_then_released() {
    let mut scene = scene!(SHORT);
    let task = scene.release();
    let call = scene.fenced().await;
    assert!(scene.announcements().is_empty());
    let job = scene.fake.accept(&call).await;
    scene.stop_target().await;
    scene.fake.end(&job, "done", "inactive").await;
    assert_eq!(end(task).await.unwrap(), Outcome::Released(n3()));
}

/// What a demotion that the agent had begun has used up is used up.
#[tokio::test]
async fn the_fence_is_due_when_the_agent_said_it_would_be() {
    for time in ["1\n", "not a number"] {
        let mut scene = scene!(LONG);
        std::fs::write(scene.path("fence-at"), time).unwrap();
        let task = scene.release();
        let call = scene.fenced().await;
        scene.fake.accept(&call).await;
        scene.stop_target().await;
        assert_eq!(end(task).await.unwrap(), Outcome::Released(n3()));
    }
}

#[tokio::test]
async fn what_never_stops_is_never_announced() {
    let mut scene = scene!(SHORT);
    scene.stop_target().await;
    scene.populate(MEMBER, true);
    let task = scene.release();
    let call = scene.fenced().await;
    scene.fake.accept(&call).await;
    let error = end(task).await.unwrap_err().to_string();
    assert!(error.contains("web.service left processes in /system.slice/web.service"), "{error}");
    assert!(scene.announcements().is_empty());
    assert!(scene.cluster.lock().unwrap().questions > 0);
}

#[tokio::test]
async fn nothing_is_fenced_where_that_is_not_wanted() {
    let mut scene =
        scene!("[authority]\ndemote_timeout = \"500ms\"\non_demote_timeout = \"none\"\n");
    let task = scene.release();
    scene.target_is_stopped().await;
    let error = end(task).await.unwrap_err();
    assert!(matches!(error, ReleaseError::StillUp { .. }), "{error}");
    scene.fake.assert_quiet();
    assert!(scene.announcements().is_empty());
}

#[tokio::test]
async fn a_script_that_hangs_or_cannot_start_is_not_passed_over() {
    let more = format!("{SHORT}[events]\nfollower = \"/bin/true\"\n");
    for starts in [true, false] {
        let mut scene = scene!(&more);
        scene.fake.put(EVENT, Unit::inactive());
        scene.stop_target().await;
        let task = scene.release();
        let call = scene.fake.expect("StartUnit", EVENT, "replace").await;
        if starts {
            scene.fake.accept(&call).await;
        } else {
            scene.fake.refuse(&call, "org.freedesktop.DBus.Error.AccessDenied").await;
        }
        let error = end(task).await.unwrap_err().to_string();
        assert!(error.contains("follower script"), "{error}");
        assert!(scene.announcements().is_empty());
    }
}

#[tokio::test]
async fn a_script_of_the_agent_that_still_runs_is_stopped_and_awaited() {
    let mut scene = scene!(LONG);
    scene.fake.put(LEADER_EVENT, Unit { active: "activating", ..Unit::inactive() });
    scene.stop_target().await;
    let task = scene.release();
    let call = scene.fake.expect("StopUnit", LEADER_EVENT, "replace").await;
    let job = scene.fake.accept(&call).await;
    scene.asked().await;
    assert!(scene.announcements().is_empty());
    scene.fake.end(&job, "done", "inactive").await;
    assert_eq!(end(task).await.unwrap(), Outcome::Released(n3()));
}

#[tokio::test]
async fn a_script_that_failed_is_over_all_the_same() {
    let mut scene = scene!(LONG_WITH_SCRIPT);
    scene.fake.put(EVENT, Unit::inactive());
    scene.stop_target().await;
    let task = scene.release();
    let call = scene.fake.expect("StartUnit", EVENT, "replace").await;
    let job = scene.fake.accept(&call).await;
    scene.fake.edit(EVENT, |unit| (unit.result, unit.status) = ("exit-code", 3));
    scene.fake.end(&job, "failed", "failed").await;
    assert_eq!(end(task).await.unwrap(), Outcome::Released(n3()));
}

/// By hand, beside an agent that lives: it could start the target again at any moment.
#[tokio::test]
async fn nothing_is_released_while_an_agent_runs() {
    let mut scene = scene!(SHORT);
    let (root, node) = (&scene.config.node.state_directory, &scene.config.node.name);
    let agent = StateDir::open(root, node, "main", Incarnation([2; 16])).unwrap();
    scene.stop_target().await;
    let error = end(scene.release()).await.unwrap_err();
    assert!(matches!(error, ReleaseError::State(StateDirError::Locked { .. })), "{error}");
    assert!(scene.path("active").exists(), "its gate is left alone");
    scene.fake.assert_quiet();
    assert!(scene.announcements().is_empty());
    drop(agent);
}

#[tokio::test]
async fn without_the_key_or_the_bus_nothing_is_announced() {
    let scene = scene!(SHORT);
    let mut host = scene.host();
    host.bus = "unix:path=/nonexistent/bus".parse().unwrap();
    let result = within("end", release(&scene.config, host, RUN)).await;
    assert!(matches!(result, Err(ReleaseError::StillUp { .. })), "{result:?}");
    std::fs::remove_file(scene.config.node.state_directory.join("release-key")).unwrap();
    scene.stop_target().await;
    let result = end(scene.release()).await;
    assert!(matches!(result, Err(ReleaseError::NoKey)), "{result:?}");
    assert!(scene.announcements().is_empty());
}

/// Its own agent died of it; what it ran has to stop all the same.
#[tokio::test]
async fn without_a_disk_everything_stops_and_is_fenced() {
    let mut scene = scene!(SHORT);
    std::fs::remove_dir_all(&scene.config.node.state_directory).unwrap();
    let task = scene.release();
    let call = scene.fenced().await;
    scene.fake.accept(&call).await;
    assert!(!scene.path("active").exists(), "the gate is closed");
    scene.stop_target().await;
    let error = end(task).await.unwrap_err();
    assert!(matches!(error, ReleaseError::State(_)), "{error}");
    assert!(scene.announcements().is_empty());
}

#[tokio::test]
async fn a_secret_that_nobody_believes_is_not_a_release() {
    let scene = scene!(SHORT);
    scene.cluster.lock().unwrap().owed = Some([9; 32]);
    scene.stop_target().await;
    let error = end(scene.release()).await.unwrap_err();
    assert!(matches!(error, ReleaseError::Unheard), "{error}");
    assert!(!scene.announcements().is_empty());
}
