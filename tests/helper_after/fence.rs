//! The fence: what is killed, and what is not.

use raftctl::helper::fence::{FenceError, Fenced, fence};
use raftctl::storage::fence_record::{EXPECTED_FILE, ExpectedReboot, RECORD_FILE};

use super::scene;
use super::support::*;
use super::systemd_support::{LEADER, MEMBER, Unit, within};

const SCRIPT: &str = "raftctl-event@n1:leader.service";

impl After {
    /// The agent has given up; the target is on its way down.
    async fn giving_up(&self) {
        std::fs::remove_file(self.path("active")).unwrap();
        self.fake.edit(LEADER, |unit| {
            (unit.active, unit.job) = ("deactivating", Some((7, "stop")));
        });
    }

    fn fence(&self) -> tokio::task::JoinHandle<Result<Fenced, FenceError>> {
        let (config, host) = (self.config.clone(), self.host());
        tokio::spawn(async move { fence(&config, host).await })
    }

    /// Makes the control group of `unit` one that can be killed; returns what is written there.
    fn killable(&self, unit: &str) -> std::path::PathBuf {
        let file = self.cgroup("system.slice").join(unit).join("cgroup.kill");
        std::fs::write(&file, "").unwrap();
        file
    }

    async fn killed(&self, file: &std::path::Path) {
        let killed = async {
            while std::fs::read_to_string(file).unwrap() != "1" {
                tokio::task::yield_now().await;
            }
        };
        within("kill", killed).await;
    }

    fn record(&self) -> Option<serde_json::Value> {
        let file = self.config.node.state_directory.join(RECORD_FILE);
        Some(serde_json::from_str(&std::fs::read_to_string(file).ok()?).unwrap())
    }
}

#[tokio::test]
async fn members_and_scripts_are_killed_until_they_are_empty() {
    let mut scene = scene!("");
    scene.giving_up().await;
    scene.fake.put(SCRIPT, Unit { active: "activating", ..Unit::inactive() });
    scene.fake.put("other.service", Unit { active: "active", ..Unit::inactive() });
    for unit in [MEMBER, SCRIPT, "other.service"] {
        scene.populate(unit, true);
    }
    let [member, script, other] = [MEMBER, SCRIPT, "other.service"].map(|u| scene.killable(u));
    let task = scene.fence();
    scene.killed(&member).await;
    scene.killed(&script).await;
    assert!(!task.is_finished(), "they are not empty yet");
    for unit in [MEMBER, SCRIPT] {
        scene.populate(unit, false);
    }
    let killed = vec![SCRIPT.to_owned(), MEMBER.to_owned()];
    let mut expected = killed.clone();
    expected.reverse();
    assert_eq!(within("end", task).await.unwrap().unwrap(), Fenced::Killed(expected.clone()));
    assert_eq!(std::fs::read_to_string(other).unwrap(), "", "not a member");
    scene.fake.assert_quiet();
    let record = scene.record().unwrap();
    assert_eq!(record["killed"], serde_json::json!(expected));
    assert_eq!(record["left"], serde_json::json!([]));
    assert!(record["when_usec"].as_u64().unwrap() > 1_500_000_000_000_000);
    assert!(record["why"].as_str().unwrap().contains("1500 ms"), "{record}");
}

/// Without `cgroup.kill` the service manager does it.
#[tokio::test]
async fn the_service_manager_kills_what_the_kernel_does_not() {
    let mut scene = scene!("");
    scene.giving_up().await;
    scene.populate(MEMBER, true);
    let task = scene.fence();
    let call = scene.fake.expect("KillUnit", MEMBER, "all 9").await;
    scene.populate(MEMBER, false);
    scene.fake.acknowledge(&call).await;
    let killed = within("end", task).await.unwrap().unwrap();
    assert_eq!(killed, Fenced::Killed(vec![MEMBER.to_owned()]));
}

#[tokio::test]
async fn what_is_empty_is_left_alone_and_nothing_is_recorded() {
    let mut scene = scene!("");
    scene.giving_up().await;
    scene.populate(MEMBER, false);
    assert_eq!(within("end", scene.fence()).await.unwrap().unwrap(), Fenced::NothingLeft);
    scene.fake.assert_quiet();
    assert_eq!(scene.record(), None);
}

#[tokio::test]
async fn nothing_is_killed_where_that_is_not_wanted() {
    let mut scene = scene!("[authority]\non_demote_timeout = \"none\"\n");
    scene.giving_up().await;
    scene.populate(MEMBER, true);
    assert_eq!(within("end", scene.fence()).await.unwrap().unwrap(), Fenced::NotWanted);
    scene.fake.assert_quiet();
}

/// A fence that was queued for long must not kill what is active by right; but a target that only
/// reads active, because its stop job timed out, has no gate.
#[tokio::test]
async fn a_node_that_is_active_again_is_left_alone() {
    let mut scene = scene!("");
    scene.populate(MEMBER, true);
    assert_eq!(within("end", scene.fence()).await.unwrap().unwrap(), Fenced::ActiveAgain);
    scene.fake.assert_quiet();
    std::fs::remove_file(scene.path("active")).unwrap();
    let file = scene.killable(MEMBER);
    let task = scene.fence();
    scene.killed(&file).await;
    scene.populate(MEMBER, false);
    let call = scene.fake.expect("StopUnit", LEADER, "replace").await;
    assert!(!task.is_finished(), "the target is up, and nobody stops it");
    scene.fake.accept(&call).await;
    assert!(matches!(within("end", task).await.unwrap(), Ok(Fenced::Killed(_))));
}

/// An activation may begin while the fence still waits for what it has killed.
#[tokio::test]
async fn a_node_that_becomes_active_meanwhile_is_left_alone() {
    let scene = scene!("");
    scene.giving_up().await;
    scene.fake.put(SCRIPT, Unit { active: "activating", ..Unit::inactive() });
    for (unit, populated) in [(MEMBER, false), (SCRIPT, true)] {
        scene.populate(unit, populated);
    }
    let [member, script] = [MEMBER, SCRIPT].map(|unit| scene.killable(unit));
    let task = scene.fence();
    scene.killed(&script).await;
    // The script never ends. The gate is opened, then the target is up, and then its member.
    std::fs::write(scene.path("active"), "42\n").unwrap();
    scene.fake.edit(LEADER, |unit| (unit.active, unit.job) = ("active", None));
    scene.populate(MEMBER, true);
    let killed = vec![SCRIPT.to_owned()];
    assert_eq!(within("end", task).await.unwrap().unwrap(), Fenced::Killed(killed));
    assert_eq!(std::fs::read_to_string(member).unwrap(), "", "it runs by right");
}

#[tokio::test]
async fn what_cannot_be_killed_is_an_error_and_recorded() {
    let scene = scene!("[authority]\non_demote_timeout = \"reboot\"\n");
    scene.giving_up().await;
    scene.populate(MEMBER, true);
    scene.killable(MEMBER);
    // Where the unprivileged agent could have put a link, no file elsewhere is written.
    let state = &scene.config.node.state_directory;
    let precious = scene.path("precious");
    std::fs::write(&precious, "precious").unwrap();
    for name in [RECORD_FILE, EXPECTED_FILE].map(|n| [n.to_owned(), format!("{n}.new")]).concat() {
        std::os::unix::fs::symlink(&precious, state.join(name)).unwrap();
    }
    let error = within("end", scene.fence()).await.unwrap().unwrap_err();
    assert!(matches!(&error, FenceError::Left { left } if left == &[MEMBER]), "{error}");
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "precious");
    let record = scene.record().unwrap();
    assert_eq!(record["left"], serde_json::json!([MEMBER]));
    assert_eq!(record["what"], "kill");
    // The agent after the reboot finds out that it was one, and what it was for.
    let reboot = ExpectedReboot::came_true(state, "another boot").unwrap().unwrap();
    assert_eq!((reboot.what.as_str(), reboot.left), ("reboot", vec![MEMBER.to_owned()]));
    assert!(reboot.why.contains("1500 ms"), "{}", reboot.why);
}

#[tokio::test]
async fn a_reboot_is_not_expected_any_more_once_everything_is_dead() {
    let scene = scene!("[authority]\non_demote_timeout = \"reboot\"\n");
    scene.giving_up().await;
    scene.populate(MEMBER, true);
    let file = scene.killable(MEMBER);
    let task = scene.fence();
    scene.killed(&file).await;
    let note = scene.config.node.state_directory.join(EXPECTED_FILE);
    let noted = async {
        while !note.exists() {
            tokio::task::yield_now().await;
        }
    };
    within("note", noted).await;
    scene.populate(MEMBER, false);
    // PID 1 reboots as long as the target has not stopped, whatever has been killed.
    scene.fake.judged().await;
    assert!(note.exists() && !task.is_finished());
    for unit in [MEMBER, LEADER] {
        scene.fake.edit(unit, |unit| (unit.active, unit.job) = ("inactive", None));
    }
    within("end", task).await.unwrap().unwrap();
    assert!(!note.exists());
}

/// What tells of the end begins when everything has stopped, and has its own time.
#[tokio::test]
async fn a_script_that_begins_after_the_first_look_is_left_alone() {
    let scene = scene!("");
    scene.giving_up().await;
    scene.fake.put(SCRIPT, Unit { active: "activating", ..Unit::inactive() });
    for (unit, populated) in [(MEMBER, true), (SCRIPT, false)] {
        scene.populate(unit, populated);
    }
    let [member, script] = [MEMBER, SCRIPT].map(|unit| scene.killable(unit));
    let task = scene.fence();
    scene.killed(&member).await;
    scene.populate(SCRIPT, true);
    scene.populate(MEMBER, false);
    let killed = vec![MEMBER.to_owned()];
    assert_eq!(within("end", task).await.unwrap().unwrap(), Fenced::Killed(killed));
    assert_eq!(std::fs::read_to_string(script).unwrap(), "", "it still runs");
}
