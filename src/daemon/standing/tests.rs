//! Tests of the owner of the standing, with hold-downs of a fraction of a second.

use super::*;
use crate::core::standing::HoldDown;
use crate::node::status::HostStatus;
use crate::systemd::watch::{Look, Seen};
use tokio::time::timeout;

struct Scene {
    directory: tempfile::TempDir,
    settings: watch::Sender<Arc<Settings>>,
    requests: mpsc::Sender<HostRequest>,
    observed: mpsc::Sender<units::Observed>,
    findings: mpsc::Sender<Finding>,
    events: mpsc::Receiver<Event>,
    host: watch::Receiver<Arc<HostStatus>>,
    owner: JoinHandle<()>,
}

const HOLD_DOWN: Duration = Duration::from_millis(700);

fn settings() -> Settings {
    let rules = HoldDownRules {
        failures: 3,
        window: Duration::from_secs(600),
        hold_down: HOLD_DOWN,
        hold_down_max: Duration::from_secs(3600),
    };
    Settings {
        node: "n1".parse().unwrap(),
        cluster: "blue".to_owned(),
        rules,
        eligible_while: Vec::new(),
        health: config::Health::default(),
    }
}

impl Scene {
    fn new(settings: Settings) -> Scene {
        Scene::over(tempfile::tempdir().unwrap(), settings, true)
    }

    /// What starts over a directory that is there already.
    fn over(directory: tempfile::TempDir, settings: Settings, is_watched: bool) -> Scene {
        let Loaded { standing, damage } = Loaded::read(directory.path());
        let (settings, changed) = watch::channel(Arc::new(settings));
        let (requests, asked) = mpsc::channel(8);
        let (observed, seen) = mpsc::channel(8);
        let (findings, found) = mpsc::channel(8);
        let (to_node, events) = mpsc::channel(8);
        let (publish, host) = Publish::new();
        let mut owner = Owner {
            directory: directory.path().to_owned(),
            standing,
            damage,
            held: None,
            settings: changed,
            units: Known::new(is_watched),
            health: Health::default(),
            finding: None,
            told: Some(false),
            events: to_node,
            publish,
        };
        owner.begin();
        let owner = tokio::spawn(owner.run(asked, seen, found));
        Scene { directory, settings, requests, observed, findings, events, host, owner }
    }

    /// The same host, with another run of the agent.
    async fn restarted(self, settings: Settings) -> Scene {
        self.owner.abort();
        let _ = self.owner.await;
        Scene::over(self.directory, settings, true)
    }

    async fn eligible(&mut self) -> bool {
        match timeout(Duration::from_secs(20), self.events.recv()).await {
            Ok(Some(Event::Eligible { eligible })) => eligible,
            other => panic!("{other:?}"),
        }
    }

    /// The owner has taken everything that it was sent, and has told the node nothing.
    async fn quiet(&mut self) {
        let on = self.host.borrow().maintenance;
        let _ = self.maintenance(on).await;
        let on_now = self.host.borrow().maintenance;
        assert_eq!(on, on_now);
        let none = self.events.try_recv();
        assert!(none.is_err(), "{none:?}");
    }

    async fn maintenance(&self, on: bool) -> Result<(), HostRequestError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(HostRequest::Maintenance { on, reply }).await.unwrap();
        answer.await.unwrap()
    }

    async fn clear(&self) -> Result<(), HostRequestError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(HostRequest::ClearFailures { reply }).await.unwrap();
        answer.await.unwrap()
    }

    /// A member is in `state`, and has failed so often.
    async fn member(&self, state: &str, failures: u32, is_active: bool) {
        let on_leader = vec![seen("web.service", state, failures)];
        let look = Look { on_leader, ..Look::default() };
        self.observed.send(units::Observed { look, is_active }).await.unwrap();
    }

    async fn other(&self, state: &str) {
        let look = Look { others: vec![seen("db.service", state, 0)], ..Look::default() };
        self.observed.send(units::Observed { look, is_active: false }).await.unwrap();
    }

    async fn finding(&self, success: bool, why: &str) {
        self.findings.send(Finding { success, why: why.to_owned() }).await.unwrap();
    }

    fn reasons(&self) -> Vec<String> {
        self.host.borrow().ineligible.clone()
    }

    fn on_disk(&self) -> Standing {
        Standing::read(self.directory.path()).unwrap()
    }
}

fn seen(name: &str, state: &str, failures: u32) -> Seen {
    Seen { name: name.to_owned(), state: state.to_owned(), failures }
}

#[tokio::test]
async fn maintenance_is_on_disk_before_it_is_answered_and_survives() {
    let mut scene = Scene::new(settings());
    assert!(scene.eligible().await, "nothing speaks against it");
    assert!(!scene.directory.path().join(STANDING_FILE).exists());
    scene.maintenance(true).await.unwrap();
    assert!(scene.on_disk().maintenance);
    assert!(scene.host.borrow().maintenance);
    assert_eq!(scene.reasons(), ["maintenance"]);
    assert!(!scene.eligible().await);
    scene.maintenance(true).await.unwrap();
    scene.quiet().await;

    let mut scene = scene.restarted(settings()).await;
    drop(scene.host.wait_for(|host| host.maintenance).await.unwrap());
    scene.quiet().await;
    assert_eq!(scene.reasons(), ["maintenance"]);
    scene.maintenance(false).await.unwrap();
    assert!(scene.eligible().await);
    assert!(!scene.on_disk().maintenance);
    assert!(!scene.host.borrow().maintenance && scene.reasons().is_empty());
}

#[tokio::test]
async fn a_damaged_record_is_maintenance_until_somebody_says_no() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(STANDING_FILE), "{\"mainten\0").unwrap();
    let mut scene = Scene::over(directory, settings(), true);
    let warned = scene.host.wait_for(|host| !host.warnings.is_empty()).await.unwrap().clone();
    assert!(warned.warnings[0].contains("standing.json cannot be read"), "{warned:?}");
    assert_eq!(warned.ineligible, ["maintenance"]);
    // It says "on" already, but the disk does not.
    scene.maintenance(true).await.unwrap();
    assert!(scene.on_disk().maintenance);
    assert!(scene.host.borrow().warnings.is_empty());
    scene.maintenance(false).await.unwrap();
    assert!(scene.eligible().await);
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_and_nothing_changes() {
    let mut scene = Scene::new(settings());
    assert!(scene.eligible().await);
    std::fs::create_dir(scene.directory.path().join(STANDING_FILE)).unwrap();
    let refused = scene.maintenance(true).await.unwrap_err();
    assert!(matches!(refused, HostRequestError::Disk { .. }), "{refused}");
    assert!(!scene.host.borrow().maintenance);
    scene.quiet().await;
    // A hold-down needs no disk.
    scene.member("failed", 3, true).await;
    assert!(!scene.eligible().await);
    assert!(scene.clear().await.is_err());
    assert!(scene.eligible().await, "after its time");
}

#[tokio::test]
async fn three_failures_of_members_hold_down_for_a_while() {
    let mut scene = Scene::new(settings());
    assert!(scene.eligible().await);
    scene.member("active", 5, false).await;
    scene.member("active", 1, true).await;
    scene.member("activating", 1, true).await;
    scene.quiet().await;
    let unit = scene.host.borrow().units[0].clone();
    assert_eq!((unit.name.as_str(), unit.state.as_str()), ("web.service", "activating"));
    assert!(unit.on_leader && unit.failures == 2, "{unit:?}");
    assert_eq!(scene.on_disk().hold_down.failures.len(), 2);

    let begun = Instant::now();
    scene.member("failed", 1, true).await;
    assert!(!scene.eligible().await);
    assert_eq!(scene.reasons(), ["held down after failures of members"]);
    let until = scene.host.borrow().held_down_until_usec.unwrap();
    assert!(until <= now_usec() + HOLD_DOWN.as_micros() as u64);
    assert!(scene.eligible().await);
    assert!(begun.elapsed() >= HOLD_DOWN, "{:?}", begun.elapsed());
    assert_eq!(scene.host.borrow().held_down_until_usec, None);

    // The next one is longer, and cleared.
    scene.member("failed", 3, true).await;
    assert!(!scene.eligible().await);
    scene.quiet().await;
    let HoldDown { begun_usec, until_usec, times, .. } = scene.on_disk().hold_down;
    assert_eq!((until_usec - begun_usec, times), (2 * HOLD_DOWN.as_micros() as u64, 2));
    scene.clear().await.unwrap();
    assert!(scene.eligible().await);
    assert_eq!(scene.on_disk(), Standing::default());
}

#[tokio::test]
async fn a_hold_down_survives_a_restart() {
    let mut scene = Scene::new(settings());
    assert!(scene.eligible().await);
    scene.member("failed", 3, true).await;
    assert!(!scene.eligible().await);
    scene.quiet().await;
    let begun_usec = scene.on_disk().hold_down.begun_usec;
    let mut scene = scene.restarted(settings()).await;
    scene.quiet().await;
    assert_eq!(scene.reasons(), ["held down after failures of members"]);
    assert!(scene.eligible().await);
    assert!(now_usec() >= begun_usec + HOLD_DOWN.as_micros() as u64);
    scene.quiet().await;
    let hold_down = scene.on_disk().hold_down;
    assert_eq!((hold_down.times, hold_down.begun_usec), (1, begun_usec), "it is not forgotten");
}

#[tokio::test]
async fn units_have_to_be_active() {
    let needs = || Settings { eligible_while: vec!["db.service".parse().unwrap()], ..settings() };
    let mut scene = Scene::new(needs());
    scene.quiet().await;
    assert_eq!(scene.reasons(), ["the state of unit db.service is not known yet"]);
    scene.other("active").await;
    assert!(scene.eligible().await);
    scene.other("reloading").await;
    scene.quiet().await;
    for (state, why) in [
        ("failed", "unit db.service is failed"),
        ("activating", "unit db.service is activating"),
        ("not-found", "unit db.service does not exist"),
    ] {
        scene.other(state).await;
        assert!(!scene.eligible().await, "{state}");
        assert_eq!(scene.reasons(), [why]);
        scene.other("active").await;
        assert!(scene.eligible().await, "{state}");
    }
    // A configuration without it, and with it again.
    scene.other("failed").await;
    assert!(!scene.eligible().await);
    scene.settings.send_replace(Arc::new(settings()));
    assert!(scene.eligible().await);
    scene.settings.send_replace(Arc::new(needs()));
    assert!(!scene.eligible().await);
}

#[tokio::test]
async fn units_that_cannot_say_anything_are_a_warning() {
    let needs = Settings { eligible_while: vec!["db.service".parse().unwrap()], ..settings() };
    let mut scene = Scene::over(tempfile::tempdir().unwrap(), needs.clone(), false);
    assert!(scene.eligible().await, "without a service manager nothing is concluded");
    let warnings = scene.host.borrow().warnings.clone();
    assert!(warnings[0].contains("is not watched") && warnings[0].contains("db.service"));

    let scene = Scene::new(needs);
    let on_leader = vec![seen("db.service", "inactive", 0)];
    let others = on_leader.clone();
    let look = Look { on_leader, others, omitted: 2, ..Look::default() };
    scene.observed.send(units::Observed { look, is_active: false }).await.unwrap();
    let mut host = scene.host.clone();
    let warned = host.wait_for(|host| host.warnings.len() == 2).await.unwrap();
    assert!(warned.warnings[0].contains("joins the leader target"), "{:?}", warned.warnings);
    assert!(warned.warnings[1].starts_with("2 units beyond"), "{:?}", warned.warnings);
}

#[tokio::test]
async fn health_rises_and_falls() {
    let checked = || {
        let command = vec!["/bin/check".to_owned()];
        Settings { health: config::Health { command, ..Default::default() }, ..settings() }
    };
    let mut scene = Scene::new(checked());
    scene.quiet().await;
    assert_eq!(scene.reasons(), ["its health is not known yet"]);
    scene.finding(true, "exit status 0").await;
    assert!(scene.eligible().await);
    for _ in 0..2 {
        scene.finding(false, "exit status 1").await;
    }
    scene.quiet().await;
    scene.finding(false, "exit status 1: disk full").await;
    assert!(!scene.eligible().await);
    assert_eq!(scene.reasons(), ["health command: exit status 1: disk full"]);
    scene.finding(true, "exit status 0").await;
    scene.quiet().await;
    scene.finding(true, "exit status 0").await;
    assert!(scene.eligible().await);
    // Nothing to run any more, and something again.
    scene.finding(false, "x").await;
    scene.settings.send_replace(Arc::new(settings()));
    scene.quiet().await;
    scene.settings.send_replace(Arc::new(checked()));
    assert!(!scene.eligible().await, "not known");
}
