//! Event scripts run by the service manager, of which there is a fake one: it runs what the test
//! says for as long as the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use raftctl::events::unit::{BoxFuture, UnitOutcome, UnitRunner, UnitStarter};
use raftctl::events::{
    Backend, EventName, Finished, Occurrence, Outcome, Scripts, ScriptsConfig, start,
};
use tokio::sync::watch;

use EventName::{Candidate, Change, Follower, Leader};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What runs, and how the manager behaves.
#[derive(Default)]
struct State {
    running: BTreeSet<String>,
    ended: BTreeMap<String, Result<UnitOutcome, String>>,
    /// A unit ends when it is asked to.
    obeys_stop: bool,
    /// A unit ends when it is killed.
    obeys_kill: bool,
    /// So many calls of `stop` fail first.
    stop_fails: u32,
}

/// A service manager.
struct Manager {
    directory: PathBuf,
    calls: SyncSender<String>,
    state: watch::Sender<State>,
}

impl Manager {
    /// Says what is called, and whether there is an event file then.
    fn called(&self, verb: &str, unit: &str) {
        let file = match fs::read_dir(&self.directory).map(Iterator::count) {
            Ok(0) => "none".to_owned(),
            Ok(1) => "one".to_owned(),
            other => format!("{other:?}"),
        };
        self.calls.send(format!("{verb} {} {file}", short(unit))).unwrap();
    }

    fn end(&self, event: EventName, how: Result<UnitOutcome, String>) {
        self.state.send_modify(|state| {
            state.ended.insert(format!("raftctl-event@n1:{event}.service"), how);
        });
    }
}

fn short(unit: &str) -> &str {
    let rest = unit.strip_prefix("raftctl-event@n1:").and_then(|u| u.strip_suffix(".service"));
    rest.unwrap_or_else(|| panic!("unit {unit:?}"))
}

impl UnitStarter for Manager {
    fn run(&self, unit: String, deadline: Duration) -> BoxFuture<Result<UnitOutcome, String>> {
        self.called("run", &unit);
        assert!(deadline > Duration::from_secs(1), "{deadline:?}");
        let state = self.state.clone();
        state.send_modify(|state| {
            assert!(state.running.is_empty(), "two at a time: {unit} beside {:?}", state.running);
            state.running.insert(unit.clone());
        });
        Box::pin(async move {
            let mut watched = state.subscribe();
            watched.wait_for(|state| state.ended.contains_key(&unit)).await.unwrap();
            let mut how = None;
            state.send_modify(|state| {
                how = state.ended.remove(&unit);
                if !matches!(how, Some(Err(_))) {
                    state.running.remove(&unit);
                }
            });
            how.unwrap()
        })
    }

    fn stop(&self, unit: String) -> BoxFuture<Result<(), String>> {
        self.called("stop", &unit);
        let state = self.state.clone();
        let mut fails = false;
        state.send_modify(|state| {
            fails = state.stop_fails > 0;
            state.stop_fails = state.stop_fails.saturating_sub(1);
            if state.obeys_stop && !fails {
                state.running.remove(&unit);
            }
        });
        Box::pin(async move {
            if fails {
                return Err("no reply".to_owned());
            }
            let mut watched = state.subscribe();
            watched.wait_for(|state| !state.running.contains(&unit)).await.unwrap();
            Ok(())
        })
    }

    fn kill(&self, unit: String) -> BoxFuture<Result<(), String>> {
        self.called("kill", &unit);
        self.state.send_modify(|state| {
            if state.obeys_kill {
                state.running.remove(&unit);
            }
        });
        Box::pin(async move { Ok(()) })
    }
}

/// A runner with a fake manager and a directory for event files.
struct Lab {
    dir: tempfile::TempDir,
    timeout: Duration,
    kill_after: Duration,
    demote_timeout: Duration,
    manager: Arc<Manager>,
    calls: Receiver<String>,
}

impl Lab {
    fn new() -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let (sender, calls) = sync_channel(100);
        let state = State { obeys_stop: true, obeys_kill: true, ..State::default() };
        let (directory, state) = (dir.path().to_owned(), watch::Sender::new(state));
        let manager = Arc::new(Manager { directory, calls: sender, state });
        let (timeout, kill_after) = (PATIENCE, PATIENCE);
        Lab { dir, timeout, kill_after, demote_timeout: PATIENCE * 6, manager, calls }
    }

    /// Scripts for `events`, after the manager was asked to clear away.
    fn start(&self, events: &[EventName]) -> Scripts {
        let starter: Arc<dyn UnitStarter> = self.manager.clone();
        let directory = self.dir.path().to_owned();
        let units = UnitRunner::new("n1".parse().unwrap(), directory, starter);
        let path = |event: &EventName| (*event, Path::new("/etc/raftctl").join(event.as_str()));
        start(ScriptsConfig {
            scripts: events.iter().map(path).collect(),
            timeout: self.timeout,
            kill_after: self.kill_after,
            demote_timeout: self.demote_timeout,
            fence_after: None,
            backend: Backend::Unit(units),
            metrics: Arc::default(),
            cluster: "blue".into(),
            node: "n1".into(),
        })
        .unwrap()
    }

    /// What is called before the first script, and then `run`.
    #[track_caller]
    fn begins(&self, run: &str) {
        for event in EventName::ALL.into_iter().filter(|event| event.is_of_role()) {
            self.calls(&[&format!("stop {event} none")]);
        }
        self.calls(&[run]);
    }

    #[track_caller]
    fn calls(&self, expected: &[&str]) {
        for call in expected {
            assert_eq!(self.calls.recv_timeout(PATIENCE).as_deref(), Ok(*call));
        }
    }
}

fn submit(scripts: &Scripts, first: u64, events: &[EventName]) {
    for (number, event) in (first..).zip(events) {
        scripts.submit(Occurrence {
            planned: false,
            number,
            event: *event,
            role: event.as_str(),
            old_role: "starting",
            leader: Some("n2".into()),
            leader_address: None,
            term: 5,
            token: Some(7),
            reason: "a test",
            timestamp_usec: 1_700_000_000_000_000,
        });
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 2, future).await }).unwrap()
}

/// Waits until `count` scripts have ended; the last one.
#[track_caller]
fn finished(scripts: &Scripts, count: u64) -> Finished {
    let mut status = scripts.status();
    block_on(async {
        let status = status.wait_for(|status| status.finished >= count).await.unwrap();
        status.last.clone().unwrap()
    })
}

#[track_caller]
fn over(scripts: &Scripts, number: u64) {
    let mut over = scripts.over();
    assert_eq!(block_on(async { *over.wait_for(|over| *over >= number).await.unwrap() }), number);
}

#[test]
fn a_unit_is_told_by_a_file_that_is_there_only_while_it_runs() {
    let lab = Lab::new();
    let scripts = lab.start(&[Leader]);
    submit(&scripts, 1, &[Leader]);
    lab.begins("run leader one");
    let path = lab.dir.path().join("event-leader.json");
    let told: BTreeMap<String, String> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((told["event"].as_str(), told["token"].as_str()), ("leader", "7"));
    assert_eq!(told.len(), 13);
    let running = scripts.status().borrow().running.clone().unwrap();
    assert_eq!((running.event, running.pid), (Leader, None));
    lab.manager.end(Leader, Ok(UnitOutcome::Exited(3)));
    let ended = finished(&scripts, 1);
    assert!(matches!(ended.outcome, Outcome::Exited(3)), "{:?}", ended.outcome);
    over(&scripts, 1);
    assert!(!path.exists());
}

#[test]
fn one_unit_at_a_time_in_the_order_of_events() {
    let lab = Lab::new();
    let scripts = lab.start(&[Leader, Follower, Change]);
    submit(&scripts, 1, &[Leader]);
    lab.begins("run leader one");
    submit(&scripts, 2, &[Follower, Candidate, Leader]);
    for (event, next) in [
        (Leader, "run change one"),
        (Change, "run follower one"),
        (Follower, "run change one"),
        (Change, "run leader one"),
    ] {
        assert!(*scripts.over().borrow() < 2 || next.contains("leader"));
        lab.manager.end(event, Ok(UnitOutcome::Exited(0)));
        lab.calls(&[next]);
    }
    over(&scripts, 3);
    lab.manager.end(Leader, Ok(UnitOutcome::Signalled(6)));
    lab.calls(&["run change one"]);
    lab.manager.end(Change, Ok(UnitOutcome::Failed("resources".into())));
    over(&scripts, 4);
}

#[test]
fn at_its_limit_a_unit_is_stopped_and_then_killed() {
    for (obeys_stop, calls) in
        [(true, &["stop leader none"][..]), (false, &["stop leader none", "kill leader none"])]
    {
        let mut lab = Lab::new();
        (lab.timeout, lab.kill_after) = (Duration::from_millis(200), Duration::from_millis(200));
        let scripts = lab.start(&[Leader]);
        lab.manager.state.send_modify(|state| state.obeys_stop = obeys_stop);
        submit(&scripts, 1, &[Leader]);
        lab.begins("run leader one");
        lab.calls(calls);
        let ended = finished(&scripts, 1);
        let outcome = &ended.outcome;
        assert!(matches!(outcome, Outcome::TimedOut { killed } if *killed != obeys_stop));
        over(&scripts, 1);
    }
}

#[test]
fn a_demotion_has_the_unit_stopped_that_is_in_its_way() {
    let mut lab = Lab::new();
    let third = Duration::from_millis(300);
    lab.demote_timeout = 3 * third;
    let scripts = lab.start(&[Leader, Follower]);
    submit(&scripts, 1, &[Leader]);
    lab.begins("run leader one");
    let begun = Instant::now();
    submit(&scripts, 2, &[Follower]);
    lab.calls(&["stop leader none"]);
    assert!(begun.elapsed() >= third);
    lab.calls(&["run follower one"]);
    let ended = finished(&scripts, 1);
    assert!(matches!(ended.outcome, Outcome::MadeWay { killed: false }), "{:?}", ended.outcome);
    over(&scripts, 1);
    lab.manager.end(Follower, Ok(UnitOutcome::Exited(0)));
    over(&scripts, 2);
}

#[test]
fn what_cannot_be_killed_is_not_over_until_it_is_gone() {
    let mut lab = Lab::new();
    (lab.timeout, lab.kill_after) = (Duration::from_millis(100), Duration::from_millis(100));
    let scripts = lab.start(&[Leader]);
    lab.manager.state.send_modify(|state| (state.obeys_stop, state.obeys_kill) = (false, false));
    submit(&scripts, 1, &[Leader, Follower]);
    submit(&scripts, 3, &[Leader]);
    lab.begins("run leader one");
    lab.calls(&["stop leader none", "kill leader none"]);
    submit(&scripts, 4, &[Follower]);
    let ended = finished(&scripts, 1);
    assert!(matches!(ended.outcome, Outcome::TimedOut { killed: true }), "{:?}", ended.outcome);
    assert!(*scripts.over().borrow() < 3);
    lab.manager.state.send_modify(|state| state.running.clear());
    over(&scripts, 4);
}

#[test]
fn a_unit_that_the_manager_lost_sight_of_is_stopped_until_that_is_certain() {
    let lab = Lab::new();
    let scripts = lab.start(&[Leader]);
    submit(&scripts, 1, &[Leader]);
    lab.begins("run leader one");
    lab.manager.state.send_modify(|state| state.stop_fails = 2);
    lab.manager.end(Leader, Err("connection lost".into()));
    lab.calls(&["stop leader none", "stop leader none", "stop leader none"]);
    let ended = finished(&scripts, 1);
    assert!(matches!(&ended.outcome, Outcome::Lost(why) if why == "connection lost"));
    over(&scripts, 1);
}

#[test]
fn what_cannot_be_started_is_reported_and_over() {
    let lab = Lab::new();
    let scripts = lab.start(&[Leader]);
    submit(&scripts, 1, &[Leader]);
    lab.begins("run leader one");
    lab.manager.end(Leader, Ok(UnitOutcome::Refused("Access denied".into())));
    let ended = finished(&scripts, 1);
    let Outcome::NotStarted(error) = ended.outcome else { panic!("{:?}", ended.outcome) };
    let words = "did not start raftctl-event@n1:leader.service: Access denied";
    assert!(error.to_string().contains(words), "{error}");
    over(&scripts, 1);

    fs::remove_dir(lab.dir.path()).unwrap();
    submit(&scripts, 2, &[Follower]);
    submit(&scripts, 3, &[Leader]);
    let ended = finished(&scripts, 2);
    let Outcome::NotStarted(error) = ended.outcome else { panic!("{:?}", ended.outcome) };
    assert!(error.to_string().contains("cannot write"), "{error}");
    over(&scripts, 3);
}

#[test]
fn stopping_the_agent_stops_the_unit_and_runs_the_demotion() {
    let lab = Lab::new();
    let scripts = lab.start(&[Leader, Follower]);
    submit(&scripts, 1, &[Leader]);
    lab.begins("run leader one");
    submit(&scripts, 2, &[Follower]);
    lab.manager.end(Follower, Ok(UnitOutcome::Exited(0)));
    let (status, over) = (scripts.status(), scripts.over());
    block_on(scripts.stop(Duration::from_secs(2)));
    lab.calls(&["stop leader none", "run follower one"]);
    assert!(status.borrow().last.as_ref().unwrap().outcome.is_success());
    assert_eq!(*over.borrow(), 2);
}
