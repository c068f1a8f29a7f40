//! The verbs that change whether a host or the cluster may be active, and those that wait: as
//! processes against a fake node, on its private socket and over a message bus.

mod dbus_support;
mod systemd_support;

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use dbus_support::{DEADLINE, FakeNode, describe, follower_of_three, leader_of_three, name};
use raftctl::node::handle::{
    HostRequest, HostRequestError, PauseError, RemoteStatusError, Request,
};
use raftctl::node::status::{Change, UnitStatus};
use systemd_support::PrivateBus;
use tokio::process::Command;
use zbus::connection;
use zbus::message::Flags;

fn raftctl(directory: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
    command.arg("--runtime-directory").arg(directory).args(arguments.split_whitespace());
    command.env_remove("RAFTCTL_RUNTIME_DIRECTORY").stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit status, standard output, standard error.
async fn end(mut command: Command) -> (i32, String, String) {
    let running = command.spawn().unwrap().wait_with_output();
    let output: Output = tokio::time::timeout(DEADLINE, running).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn run(directory: &Path, arguments: &str) -> (i32, String, String) {
    end(raftctl(directory, arguments)).await
}

/// Serves node `id` of three in `directory/n<id>`.
fn serve(directory: &Path, id: u64) -> (FakeNode, tokio::task::JoinHandle<()>) {
    let own = directory.join(format!("n{id}"));
    std::fs::create_dir_all(&own).unwrap();
    let status = if id == 1 { leader_of_three() } else { follower_of_three(id) };
    let node = FakeNode::new(status);
    let (_, serving) = node.serve(&own);
    (node, serving)
}

#[tokio::test]
async fn maintenance_says_what_happens_next() {
    let directory = tempfile::tempdir().unwrap();
    let (mut n1, _serving) = serve(directory.path(), 1);
    let answer = async |node: &mut FakeNode, with: Result<(), HostRequestError>| {
        let HostRequest::Maintenance { on, reply } = node.host_request().await else { panic!() };
        reply.send(with).unwrap();
        on
    };
    let on = answer(&mut n1, Ok(()));
    let (ran, on) = tokio::join!(run(directory.path(), "maintenance on"), on);
    assert!(on);
    assert_eq!((ran.0, ran.2.as_str()), (0, ""));
    assert!(
        ran.1.contains("n1 is out of service: it stops what it runs and hands over"),
        "{ran:?}"
    );
    assert!(ran.1.contains("raftctl maintenance off n1 puts it back"), "{ran:?}");

    n1.on_host(|host| {
        host.maintenance = true;
        host.ineligible = vec!["maintenance".to_owned(), "unit a.service is failed".to_owned()];
    });
    let off = answer(&mut n1, Ok(()));
    let (ran, on) = tokio::join!(run(directory.path(), "maintenance off n1"), off);
    assert!(!on);
    let expected = "n1 is in service again, but still not eligible: unit a.service is failed\n";
    assert_eq!((ran.0, ran.1.as_str()), (0, expected));

    let off = answer(&mut n1, Ok(()));
    let json = run(directory.path(), "maintenance off --json=short -n n1");
    let (ran, _) = tokio::join!(json, off);
    assert_eq!((ran.0, ran.1.as_str()), (0, "{\"maintenance\":false,\"node\":\"n1\"}\n"));

    let full = HostRequestError::Disk { reason: "no space left".to_owned() };
    let (ran, _) =
        tokio::join!(run(directory.path(), "maintenance on"), answer(&mut n1, Err(full)));
    assert_eq!((ran.0, ran.1.as_str()), (1, ""));
    assert!(ran.2.contains("no space left"), "{ran:?}");

    // It is a matter of that host.
    let ran = run(directory.path(), "maintenance on n2").await;
    assert_eq!((ran.0, ran.1.as_str()), (1, ""));
    assert!(ran.2.contains("run `raftctl maintenance on` there (192.0.2.2:7100)"), "{ran:?}");
    let ran = run(directory.path(), "maintenance on n7").await;
    assert_eq!(ran.0, 2);
    assert!(ran.2.contains("no node n7 in cluster db: expected n1, n2, n3"), "{ran:?}");
    assert_eq!(run(directory.path(), "maintenance maybe").await.0, 2);
    let (_n2, _serving2) = serve(directory.path(), 2);
    let ran = run(directory.path(), "maintenance on").await;
    assert_eq!(ran.0, 2);
    assert!(ran.2.contains("several agents run here, n1, n2: expected NODE"), "{ran:?}");
    let nobody = tempfile::tempdir().unwrap();
    assert_eq!(run(nobody.path(), "maintenance on").await.0, 3);
}

#[tokio::test]
async fn failures_are_cleared() {
    let directory = tempfile::tempdir().unwrap();
    let (mut n1, _serving) = serve(directory.path(), 1);
    let answer = async |node: &mut FakeNode| {
        let HostRequest::ClearFailures { reply } = node.host_request().await else { panic!() };
        reply.send(Ok(())).unwrap();
    };
    let (ran, ()) = tokio::join!(run(directory.path(), "clear"), answer(&mut n1));
    assert_eq!((ran.0, ran.1.as_str()), (0, "n1 has no failures to forget; nothing to do\n"));
    n1.on_host(|host| {
        host.held_down_until_usec = Some(1_772_366_400_000_000);
        host.ineligible = vec!["held down".to_owned()];
        let (name, state) = ("nginx.service".to_owned(), "failed".to_owned());
        host.units = vec![UnitStatus { name, on_leader: true, state, failures: 3 }];
    });
    let (ran, ()) = tokio::join!(run(directory.path(), "clear n1"), answer(&mut n1));
    let expected = "n1: failures of nginx.service are forgotten, it is no longer held down\n";
    assert_eq!((ran.0, ran.1.as_str()), (0, expected));
}

#[tokio::test]
async fn a_pause_and_its_end_go_to_the_leader() {
    let directory = tempfile::tempdir().unwrap();
    let (mut n1, _serving) = serve(directory.path(), 1);
    let answer = async |node: &mut FakeNode, with: Result<(), PauseError>| {
        let Request::Pause { on, force, reply } = node.request().await else { panic!() };
        reply.send(with).unwrap();
        (on, force)
    };
    let (ran, asked) = tokio::join!(run(directory.path(), "pause"), answer(&mut n1, Ok(())));
    assert_eq!((ran.0, asked), (0, (true, false)));
    assert!(ran.1.contains("cluster db is paused: n1 stays as it is"), "{ran:?}");
    let (ran, asked) = tokio::join!(run(directory.path(), "resume"), answer(&mut n1, Ok(())));
    assert_eq!((ran.0, asked), (0, (false, false)));
    assert!(ran.1.contains("cluster db goes on\n"), "{ran:?}");

    let elsewhere = PauseError::ActiveElsewhere { node: "n3".to_owned() };
    let refused = answer(&mut n1, Err(elsewhere));
    let (ran, _) = tokio::join!(run(directory.path(), "resume"), refused);
    assert_eq!((ran.0, ran.1.as_str()), (1, ""));
    for part in ["\"n3\" is active", "only then: raftctl resume --force"] {
        assert!(ran.2.contains(part), "{ran:?}");
    }
    let (ran, asked) =
        tokio::join!(run(directory.path(), "resume --force"), answer(&mut n1, Ok(())));
    assert_eq!((ran.0, asked), (0, (false, true)));

    let other = tempfile::tempdir().unwrap();
    let (mut n2, _serving2) = serve(other.path(), 2);
    let refused = answer(&mut n2, Err(PauseError::NotLeader { leader: Some("n1".to_owned()) }));
    let (ran, _) = tokio::join!(run(other.path(), "pause"), refused);
    assert_eq!(ran.0, 1);
    assert!(ran.2.contains("run `raftctl pause` on the host of n1 (192.0.2.1:7100)"), "{ran:?}");
}

/// Answers for the other members: none of them is there.
fn alone(mut node: FakeNode) -> tokio::task::JoinHandle<FakeNode> {
    tokio::spawn(async move {
        while let Some(request) = node.requests.recv().await {
            let Request::RemoteStatus { of, reply } = request else { panic!("{request:?}") };
            let n2 = Ok(describe(&follower_of_three(2)).to_json());
            let silent = RemoteStatusError::Unreachable { name: of.to_string(), deadline_ms: 500 };
            let _ = reply.send(if of == name("n2") { n2 } else { Err(silent) });
        }
        node
    })
}

#[tokio::test]
async fn waiting_ends_when_it_is_so_or_the_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let (node, _serving) = serve(directory.path(), 1);
    node.on_host(|host| host.ineligible = vec!["maintenance".to_owned()]);
    let (status, host) = (node.status.clone(), node.host.clone());
    let _answers = alone(node);
    for (arguments, said) in [
        ("wait --for leader", "n1 leads\n"),
        ("wait --for active", "n1 is active\n"),
        ("wait --for active -n n1 --timeout 1min", "n1 is active\n"),
        ("wait --for quorum --timeout 0", "n1 hears a quorum\n"),
        ("wait --for eligible -n n2", "n2 is eligible\n"),
    ] {
        assert_eq!(run(directory.path(), arguments).await, (0, said.to_owned(), String::new()));
    }
    let json = run(directory.path(), "wait --for leader --json=short").await.1;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["node"], &json["state"]), (&"n1".into(), &"leader".into()));

    for (arguments, why) in [
        ("wait --for eligible --timeout 1s", "n1 is not: maintenance"),
        ("wait --for active -n n2 --timeout 1s", "n2 is follower"),
    ] {
        let (status, out, error) = run(directory.path(), arguments).await;
        assert_eq!((status, out.as_str()), (6, ""), "{error}");
        assert!(error.contains("within 1s") && error.contains(why), "{error}");
    }
    // It becomes so while somebody waits.
    let mut waiting = raftctl(directory.path(), "wait --for eligible --timeout 1min");
    let waiting = waiting.spawn().unwrap();
    host.send_modify(|host| Arc::make_mut(host).ineligible.clear());
    let done = tokio::time::timeout(DEADLINE, waiting.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(done.status.code(), Some(0));
    status.send_modify(|status| Arc::make_mut(status).leader = None);
    let mut waiting = raftctl(directory.path(), "wait --for leader");
    let waiting = waiting.spawn().unwrap();
    status.send_modify(|status| Arc::make_mut(status).leader = Some(raftctl::core::NodeId(2)));
    let done = tokio::time::timeout(DEADLINE, waiting.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(done.stdout, b"n2 leads\n");

    for wrong in ["wait", "wait --for nothing", "wait --for leader --timeout soon"] {
        assert_eq!(run(directory.path(), wrong).await.0, 2, "{wrong}");
    }
}

#[tokio::test]
async fn an_agent_that_is_not_there_yet_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (status, _, error) = run(directory.path(), "wait --for leader --timeout 300ms").await;
    assert_eq!(status, 6);
    assert!(error.contains("no agent is running"), "{error}");
    let mut waiting = raftctl(directory.path(), "wait --for leader --timeout 1min");
    let waiting = waiting.spawn().unwrap();
    let (_node, _serving) = serve(directory.path(), 1);
    let done = tokio::time::timeout(DEADLINE, waiting.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(done.stdout, b"n1 leads\n");
    // Nor is a configuration that cannot be read waited for.
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
    command.args(["--config", "/nowhere.toml", "wait", "--for", "leader"]).stderr(Stdio::null());
    assert_eq!(end(command).await.0, 2);
}

#[tokio::test]
async fn the_monitor_tells_of_quorum_pauses_units_and_eligibility() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    let directory = tempfile::tempdir().unwrap();
    let (node, _serving) = serve(directory.path(), 2);
    let mut child = raftctl(directory.path(), "monitor --json=short").spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut event = async || -> serde_json::Value {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line.expect("a line")).unwrap()
    };
    assert_eq!(event().await["event"], "state");
    node.update(|_| {}, Some(Change::Quorum { has: false, term: 7 }));
    let said = event().await;
    assert_eq!((&said["event"], &said["quorum"]), (&"quorum-changed".into(), &false.into()));
    node.update(|status| status.paused = true, Some(Change::Paused { paused: true, term: 7 }));
    assert_eq!(event().await["paused"], true);
    node.on_host(|host| host.ineligible = vec!["maintenance".to_owned()]);
    let said = event().await;
    assert_eq!(said["event"], "eligibility-changed");
    assert_eq!((&said["eligible"], &said["ineligible"][0]), (&false.into(), &"maintenance".into()));
    node.on_host(|host| {
        let (name, state) = ("nginx.service".to_owned(), "failed".to_owned());
        host.units = vec![UnitStatus { name, on_leader: true, state, failures: 1 }];
    });
    let said = event().await;
    assert_eq!((&said["unit"], &said["state"]), (&"nginx.service".into(), &"failed".into()));
}

/// What a client over the message bus meets instead of an agent.
struct FakeAgent {
    /// Which methods were called, and whether the user could have been asked for a password.
    asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl FakeAgent {
    fn note(&self, header: &zbus::message::Header<'_>) {
        let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let member = header.member().unwrap().to_string();
        self.asked.lock().unwrap().push((member, interactive));
    }
}

#[zbus::interface(name = "org.raftctl.Agent1.Node")]
impl FakeAgent {
    fn describe(&self, #[zbus(header)] header: zbus::message::Header<'_>) -> String {
        self.note(&header);
        describe(&leader_of_three()).to_json()
    }

    fn set_maintenance(
        &self,
        #[zbus(header)] header: zbus::message::Header<'_>,
        on: bool,
    ) -> zbus::fdo::Result<()> {
        self.note(&header);
        match on {
            true => Ok(()),
            false => Err(zbus::fdo::Error::AccessDenied("polkit says no".to_owned())),
        }
    }
}

/// org.freedesktop.LogControl1(5).
struct FakeLog(String);

#[zbus::interface(name = "org.freedesktop.LogControl1")]
impl FakeLog {
    #[zbus(property)]
    fn log_level(&self) -> String {
        self.0.clone()
    }

    #[zbus(property)]
    fn set_log_level(&mut self, level: String) -> zbus::fdo::Result<()> {
        if level == "err" {
            return Err(zbus::fdo::Error::AccessDenied("polkit says no".to_owned()));
        }
        self.0 = level;
        Ok(())
    }
}

#[tokio::test]
async fn whoever_may_not_use_the_socket_is_heard_on_the_bus() {
    let Some(bus) = PrivateBus::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("n1")).unwrap();
    // An agent that has read who we are, and closes.
    let listener = tokio::net::UnixListener::bind(directory.path().join("n1/bus")).unwrap();
    let _closing = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let on_bus = |arguments: &str| {
        let mut command = raftctl(directory.path(), arguments);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address());
        end(command)
    };
    // Nobody is on the bus: the socket's answer is the one that tells.
    let (status, _, error) = on_bus("maintenance on").await;
    assert_eq!(status, 4, "{error}");
    assert!(error.contains("does not admit this user"), "{error}");

    let asked = Arc::new(Mutex::new(Vec::new()));
    let agent = FakeAgent { asked: Arc::clone(&asked) };
    let built = connection::Builder::address(bus.address().as_str());
    let built = built.serve_at("/org/raftctl/Agent1", agent);
    let log = FakeLog("info".to_owned());
    let built = built.serve_at("/org/freedesktop/LogControl1", log);
    let _agent = built.name("org.raftctl.Agent1.n1").build().await.unwrap();
    let (status, out, error) = on_bus("maintenance on").await;
    assert_eq!(status, 0, "{error}");
    assert!(out.contains("n1 is out of service"), "{out}");
    let take = || std::mem::take(&mut *asked.lock().unwrap());
    let call = |name: &str, interactive| (name.to_owned(), interactive);
    let expected = [("Describe", false), ("SetMaintenance", true), ("Describe", false)];
    assert_eq!(take(), expected.map(|(name, interactive)| call(name, interactive)));
    let (status, out, error) = on_bus("--no-ask-password maintenance off").await;
    assert_eq!((status, out.as_str()), (4, ""));
    assert!(error.contains("polkit says no"), "{error}");
    assert_eq!(take()[1], call("SetMaintenance", false));
    assert_eq!(on_bus("log-level").await.1, "info\n");
    let (status, out, error) = on_bus("log-level debug").await;
    assert_eq!(status, 0, "{error}");
    assert!(out.starts_with("n1 logs at level debug until"), "{out}");
    assert_eq!(on_bus("log-level --json=short").await.1, "{\"level\":\"debug\",\"node\":\"n1\"}\n");
    let (status, _, error) = on_bus("log-level err").await;
    assert_eq!(status, 4, "{error}");
    assert!(error.contains("polkit says no"), "{error}");
    assert_eq!(on_bus("log-level loud").await.0, 2);
    // Reading takes the same way.
    let (status, out, _) = on_bus("list --no-legend").await;
    assert_eq!(status, 0);
    assert!(out.starts_with("n1  db"), "{out}");
    // A bus that is not there is no way, and no reason to hang.
    let mut command = raftctl(directory.path(), "list");
    command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere");
    let (status, out, _) = end(command).await;
    assert_eq!(status, 0);
    assert!(out.contains("no answer"), "{out}");
}

#[tokio::test]
async fn the_monitor_hears_the_agent_on_the_bus_and_nobody_else() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    let Some(bus) = PrivateBus::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("n1")).unwrap();
    let listener = tokio::net::UnixListener::bind(directory.path().join("n1/bus")).unwrap();
    let _closing = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let serve = async || {
        let agent = FakeAgent { asked: Arc::default() };
        let built = connection::Builder::address(bus.address().as_str());
        let built = built.serve_at("/org/raftctl/Agent1", agent);
        built.name("org.raftctl.Agent1.n1").build().await.unwrap()
    };
    let agent = serve().await;
    let mut command = raftctl(directory.path(), "monitor --json=short");
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut event = async || -> serde_json::Value {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line.expect("a line")).unwrap()
    };
    assert_eq!(event().await["event"], "state");
    // Somebody who sends what the agent sends, to whomever the bus knows.
    let forger = systemd_support::connect(&bus).await;
    let (path, interface) = ("/org/raftctl/Agent1", "org.raftctl.Agent1.Node");
    let bus_name = "org.freedesktop.DBus";
    let names = forger.call_method(Some(bus_name), "/", Some(bus_name), "ListNames", &()).await;
    let names: Vec<String> = names.unwrap().body().deserialize().unwrap();
    for name in names.iter().filter(|name| name.starts_with(':')) {
        let lie = ("n1", "forged", 9u64);
        let sent = forger.emit_signal(Some(name.as_str()), path, interface, "LeaderChanged", &lie);
        sent.await.unwrap();
    }
    // The bus keeps the order of what one connection sends; the answer comes after the lies.
    forger.call_method(Some(bus_name), "/", Some(bus_name), "GetId", &()).await.unwrap();
    let truth = ("n1", "n2", 8u64);
    let nobody = None::<&str>;
    agent.emit_signal(nobody, path, interface, "LeaderChanged", &truth).await.unwrap();
    let said = event().await;
    assert_eq!((&said["event"], &said["new"]), (&"leader-changed".into(), &"n2".into()));
    // The agent goes away, and comes back.
    agent.close().await.unwrap();
    assert_eq!(event().await["event"], "agent-gone");
    let _agent = serve().await;
    assert_eq!(event().await["event"], "state");
}
