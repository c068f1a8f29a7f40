//! Whether what enforces the end of an activation is in force, asked of a fake service manager.

mod systemd_support;

use std::time::Duration;

use raftctl::config::OnDemoteTimeout;
use raftctl::systemd::armed::{Enforced, Expected, look};
use raftctl::systemd::manager::SystemdManager;
use systemd_support::{FENCE, Fake, LEADER, PrivateBus, Unit, within};

const AGENT: &str = "raftctl@n1.service";
const DEADLINE: &str = "raftctl-deadline@n1.target";

struct Scene {
    fake: Fake,
    manager: SystemdManager,
    expected: Expected,
    bus: PrivateBus,
}

impl Scene {
    /// A host on which everything is as it should be, also for a reboot.
    async fn new(action: OnDemoteTimeout) -> Option<Scene> {
        let bus = PrivateBus::start()?;
        let fake = Fake::start(&bus).await;
        let manager = SystemdManager::start(bus.bus(), LEADER.to_owned());
        let agent = Unit { watchdog_usec: 500_000, watchdog_signal: 9, ..Unit::inactive() };
        fake.put(AGENT, agent);
        fake.put(FENCE, Unit::inactive());
        let gate = bus.directory.path().join("active");
        fake.put(LEADER, Unit { wants: vec![DEADLINE], ..Unit::leader(&gate) });
        let deadline = Unit {
            job_timeout_usec: 1_500_000,
            job_timeout_action: "reboot-immediate",
            part_of: vec![LEADER],
            ..Unit::inactive()
        };
        fake.put(DEADLINE, deadline);
        fake.watched_by_hardware(Some(10_000_000));
        let expected = Expected {
            node: "n1".parse().unwrap(),
            action,
            watchdog: Duration::from_millis(500),
            demote_timeout: Duration::from_millis(1500),
        };
        Some(Scene { fake, manager, expected, bus })
    }

    async fn look(&self) -> Enforced {
        within("look", look(&self.manager, &self.expected)).await.unwrap()
    }

    /// What is wrong, which has to be one thing.
    async fn problem(&self) -> String {
        let problems = self.look().await.problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].clone()
    }
}

macro_rules! scene {
    ($action:expr) => {
        match Scene::new($action).await {
            Some(scene) => scene,
            None => return,
        }
    };
}

#[tokio::test]
async fn what_fits_the_bound_is_in_force() {
    for action in [OnDemoteTimeout::Kill, OnDemoteTimeout::Reboot] {
        let mut scene = scene!(action);
        let good = Enforced { problems: vec![], hardware_watchdog: Some(true) };
        assert_eq!(scene.look().await, good);
        // Shorter is as good; and drop-ins have whole milliseconds.
        scene.fake.edit(AGENT, |unit| unit.watchdog_usec = 100_000);
        scene.expected.demote_timeout = Duration::from_micros(1_499_100);
        assert_eq!(scene.look().await, good);
    }
}

#[tokio::test]
async fn what_does_not_fit_the_bound_is_named() {
    type Edit = fn(&mut Unit);
    let cases: [(&str, Edit, &str); 11] = [
        (AGENT, |unit| unit.watchdog_usec = 500_001, "WatchdogUSec 501 ms, expected at most 500"),
        (AGENT, |unit| unit.watchdog_usec = 0, "has no WatchdogUSec, expected at most 500 ms"),
        (AGENT, |unit| unit.watchdog_usec = u64::MAX, "has no WatchdogUSec"),
        (AGENT, |unit| unit.watchdog_signal = 6, "WatchdogSignal 6, expected SIGKILL"),
        (AGENT, |unit| unit.load = "bad-setting", "is \"bad-setting\", expected \"loaded\""),
        (FENCE, |unit| unit.load = "not-found", "is \"not-found\", expected \"loaded\""),
        (DEADLINE, |unit| unit.job_timeout_usec = u64::MAX, "no JobTimeoutUSec, expected at most"),
        (DEADLINE, |unit| unit.job_timeout_usec = 1_501_000, "1501 ms, expected at most 1500 ms"),
        (DEADLINE, |unit| unit.job_timeout_action = "reboot-force", "JobTimeoutAction \"reboot-f"),
        (DEADLINE, |unit| unit.part_of.clear(), "lacks PartOf=raftctl-leader@n1.target"),
        (LEADER, |unit| unit.wants.clear(), "lacks Wants=raftctl-deadline@n1.target"),
    ];
    for (unit, edit, problem) in cases {
        let scene = scene!(OnDemoteTimeout::Reboot);
        scene.fake.edit(unit, edit);
        let found = scene.problem().await;
        assert!(found.starts_with(unit) && found.contains(problem), "{problem}: {found}");
    }
    // Nobody counts on a reboot where processes are killed.
    let scene = scene!(OnDemoteTimeout::Kill);
    scene.fake.edit(DEADLINE, |unit| unit.load = "not-found");
    assert!(scene.look().await.problems.is_empty());
}

#[tokio::test]
async fn the_watchdog_of_the_manager_is_on_off_or_unknown() {
    let scene = scene!(OnDemoteTimeout::Kill);
    for (usec, is_on) in [(Some(0), Some(false)), (Some(1), Some(true)), (None, None)] {
        scene.fake.watched_by_hardware(usec);
        assert_eq!(scene.look().await.hardware_watchdog, is_on);
    }
}

#[tokio::test]
async fn the_end_of_a_reload_and_another_manager_are_heard_of() {
    let mut scene = scene!(OnDemoteTimeout::Kill);
    scene.look().await;
    let mut reloads = scene.manager.reloads();
    reloads.borrow_and_update();
    scene.fake.reloading(true).await;
    // A question after it is answered after it: the beginning is not what is waited for.
    scene.look().await;
    assert!(!reloads.has_changed().unwrap());
    scene.fake.reloading(false).await;
    within("reload", reloads.changed()).await.unwrap();
    scene.fake.reexec(&scene.bus).await;
    within("reexec", reloads.changed()).await.unwrap();
    scene.look().await;
}
