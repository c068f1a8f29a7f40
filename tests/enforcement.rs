//! What a real agent tells about its host, whose service manager is a fake one on a private bus.

mod systemd_support;

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use raftctl::dbus::client::{Client, ClientError};
use raftctl::dbus::describe::Describe;
use raftctl::dbus::{NODE_INTERFACE, ROOT_PATH};
use raftctl::limits::FOLLOWED_UNITS_POLL;
use raftctl::storage::fence_record::ExpectedReboot;
use raftctl::storage::standing::STANDING_FILE;
use systemd_support::{Call, DEADLINE, FENCE, Fake, LEADER, MEMBER, PrivateBus, Unit, within};
use tokio::process::{Child, Command};

const AGENT: &str = "raftctl@n1.service";

struct Scene {
    fake: Fake,
    agent: Child,
    bus: PrivateBus,
}

impl Scene {
    /// An agent of a cluster of one, with these lines in its `[authority]`.
    async fn new(authority: &str) -> Option<Scene> {
        Scene::with(&format!("enforcement = \"systemd\"\n{authority}"), "").await
    }

    /// The same, with what the shell sets before it becomes the agent.
    async fn with(authority: &str, environment: &str) -> Option<Scene> {
        let bus = PrivateBus::start()?;
        let fake = Fake::start(&bus).await;
        let root = bus.directory.path();
        let run = root.join("run");
        fake.put(LEADER, Unit::leader(&run.join("active")));
        fake.put(FENCE, Unit::inactive());
        fake.put(MEMBER, Unit::inactive());
        let agent = Unit { watchdog_usec: 500_000, watchdog_signal: 9, ..Unit::inactive() };
        fake.put(AGENT, agent);
        fake.watched_by_hardware(Some(0));
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "[node]\nname = \"n1\"\nstate_directory = \"state\"\nruntime_directory = \"run\"\n\
             [cluster]\nname = \"c\"\n[cluster.members]\nn1 = \"{address}\"\n\
             [authority]\n{authority}"
        );
        std::fs::write(root.join("n1.toml"), text).unwrap();
        let agent = start(&bus, environment);
        Some(Scene { fake, agent, bus })
    }

    async fn client(&self) -> Client {
        let socket = self.bus.directory.path().join("run/bus");
        let connected = async {
            loop {
                match Client::connect(&socket, DEADLINE).await {
                    Ok(client) => return client,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        within("client", connected).await
    }

    /// Calls a method of the agent that has no answer, while the service manager goes on.
    async fn ask(&mut self, method: &str) {
        let socket = self.bus.directory.path().join("run/bus");
        let stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let built = zbus::connection::Builder::unix_stream(stream).p2p().build();
        let connection = within("connection", built).await.unwrap();
        let asked =
            connection.call_method(None::<&str>, ROOT_PATH, Some(NODE_INTERFACE), method, &());
        within("answer", asked).await.unwrap();
    }

    /// Does what the agent asks the service manager for, until the agent says what is waited for.
    async fn until(&mut self, client: &Client, what: impl Fn(&Describe) -> bool) -> Describe {
        let told = async {
            loop {
                let told = client.describe().await.unwrap();
                if what(&told) {
                    return told;
                }
            }
        };
        let mut told = std::pin::pin!(within("description", told));
        loop {
            tokio::select! {
                told = &mut told => return told,
                call = self.fake.any_call() => carry_out(&self.fake, &call).await,
            }
        }
    }
}

fn start(bus: &PrivateBus, environment: &str) -> Child {
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!("{environment} exec \"$0\" --config \"$1\""));
    command.arg(env!("CARGO_BIN_EXE_raftctld")).arg(bus.directory.path().join("n1.toml"));
    command.stdin(Stdio::null());
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).env("WATCHDOG_USEC", "500000");
    // SAFETY: prctl(2) may be called between fork and exec.
    unsafe {
        let signal = nix::sys::signal::Signal::SIGKILL;
        command.pre_exec(move || Ok(nix::sys::prctl::set_pdeathsig(signal)?));
    }
    Command::from(command).kill_on_drop(true).spawn().unwrap()
}

async fn carry_out(fake: &Fake, call: &Call) {
    let job = fake.accept(call).await;
    let is_up = call.method == "StartUnit" && call.unit == LEADER;
    fake.end(&job, "done", if is_up { "active" } else { "inactive" }).await;
}

macro_rules! scene {
    ($authority:expr) => {
        match Scene::new($authority).await {
            Some(scene) => scene,
            None => return,
        }
    };
}

#[tokio::test]
async fn a_fence_is_armed_as_long_as_the_service_manager_has_what_the_bound_counts_on() {
    let mut scene = scene!("");
    let client = scene.client().await;
    let told = scene.until(&client, |told| told.fence_armed == "kill").await;
    assert_eq!(told.warnings.len(), 1, "{:?}", told.warnings);
    assert!(told.warnings[0].starts_with("no hardware watches PID 1"), "{:?}", told.warnings);
    assert_eq!(told.last_fence, None);
    scene.until(&client, |told| told.active && told.authority == "active").await;

    // Somebody edits the unit while the agent runs.
    scene.fake.edit(AGENT, |unit| unit.watchdog_usec = 3_000_000);
    scene.fake.watched_by_hardware(Some(10_000_000));
    scene.fake.reloading(false).await;
    let told = scene.until(&client, |told| told.fence_armed == "none").await;
    let expected = "the fence is not armed: raftctl@n1.service has WatchdogUSec 3000 ms, expected \
                    at most 500 ms";
    assert_eq!(told.warnings, [expected]);
    scene.fake.edit(AGENT, |unit| unit.watchdog_usec = 400_000);
    scene.fake.reloading(false).await;
    let told = scene.until(&client, |told| told.fence_armed == "kill").await;
    assert!(told.warnings.is_empty(), "{:?}", told.warnings);

    // Through the node itself: there is nothing to take over from.
    let Err(ClientError::Refused { name, .. }) = client.takeover(true).await else { panic!() };
    assert_eq!(name, "NothingActive");
    assert!(scene.agent.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn a_reboot_that_was_a_fence_is_told_and_what_is_not_armed_says_why() {
    let mut scene = scene!("on_demote_timeout = \"reboot\"\n");
    scene.client().await;
    scene.agent.kill().await.unwrap();
    let (boot_id, why) = ("another boot".to_owned(), "slow".to_owned());
    let state = scene.bus.directory.path().join("state");
    ExpectedReboot { boot_id, when_usec: 7, why }.write(&state).unwrap();
    scene.agent = start(&scene.bus, "");
    let client = scene.client().await;
    let told = scene.until(&client, |told| told.last_fence.is_some()).await;
    let fence = told.last_fence.unwrap();
    assert_eq!((fence.when_usec, fence.what.as_str(), fence.why.as_str()), (7, "reboot", "slow"));
    // The drop-in for the reboot was not loaded.
    let told = scene.until(&client, |told| told.warnings.len() > 1).await;
    assert_eq!(told.fence_armed, "none");
    assert!(told.warnings[0].contains("raftctl-deadline@n1.target has no JobTimeoutUSec"));
}

#[tokio::test]
async fn a_node_that_nothing_bounds_warns() {
    let mut scene = scene!("on_demote_timeout = \"none\"\n");
    let client = scene.client().await;
    let told = scene.until(&client, |told| told.active).await;
    assert_eq!((told.fence_armed.as_str(), told.warnings.len()), ("none", 1));
    let warning = &told.warnings[0];
    assert!(warning.contains("on_demote_timeout is \"none\""), "{warning}");
    assert!(warning.contains("raftctl takeover --force"), "{warning}");
}

/// As a service, which systemd says by this variable.
#[tokio::test]
async fn a_service_locks_its_memory_if_it_may_and_warns_if_nothing_enforces() {
    let scene = Scene::with("enforcement = \"none\"\n", "SYSTEMD_EXEC_PID=$$").await;
    let Some(scene) = scene else { return };
    let client = scene.client().await;
    let told = client.describe().await.unwrap();
    let expected = "nothing enforces that only one host is active: [authority] enforcement is \
                    \"none\"";
    assert_eq!((told.fence_armed.as_str(), told.warnings), ("none", vec![expected.to_owned()]));

    let about = |file| {
        std::fs::read_to_string(format!("/proc/{}/{file}", scene.agent.id().unwrap())).unwrap()
    };
    let limits = about("limits");
    let limit = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap();
    let status = about("status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    let locked: u64 = locked.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    let is_unlimited = limit.split_whitespace().nth(3) == Some("unlimited");
    assert_eq!(locked > 0, is_unlimited, "{limit}; {locked} kB");
}

fn failures(told: &Describe, name: &str) -> Option<u32> {
    told.units.iter().find(|unit| unit.name == name).map(|unit| unit.failures)
}

#[tokio::test]
async fn members_that_fail_hold_their_host_down_until_that_is_cleared() {
    let mut scene = scene!("[eligibility]\nfailures = 3\nhold_down = \"1h\"\n");
    let client = scene.client().await;
    let told = scene.until(&client, |told| told.active && !told.units.is_empty()).await;
    let unit = &told.units[0];
    assert_eq!((unit.name.as_str(), unit.on.as_str(), unit.failures), (MEMBER, "leader", 0));
    assert!(told.eligible && told.held_down_until_usec.is_none());
    // It fails and is restarted by itself, which is one failure.
    let begun = std::time::Instant::now();
    scene
        .fake
        .change(MEMBER, |unit| (unit.active, unit.result) = ("activating", "exit-code"))
        .await;
    scene.until(&client, |told| failures(told, MEMBER) == Some(1)).await;
    scene
        .fake
        .change(MEMBER, |unit| {
            (unit.active, unit.result) = ("active", "success");
            (unit.restarts, unit.invocation) = (1, 1);
        })
        .await;
    let told = scene.until(&client, |told| told.units[0].state == "active").await;
    assert_eq!((failures(&told, MEMBER), told.active), (Some(1), true));
    // Another one joins, and fails for good.
    scene.fake.put("app.service", Unit { active: "active", ..Unit::inactive() });
    scene.fake.edit(LEADER, |unit| unit.bound_by.push("app.service"));
    scene.fake.reloading(false).await;
    scene.until(&client, |told| failures(told, "app.service") == Some(0)).await;
    let fails = |unit: &mut Unit| (unit.active, unit.result) = ("failed", "signal");
    scene.fake.change("app.service", fails).await;
    let told = scene.until(&client, |told| failures(told, "app.service") == Some(1)).await;
    assert!(told.active && told.eligible);
    let waited = begun.elapsed();
    assert!(waited < FOLLOWED_UNITS_POLL, "nobody heard of it: {waited:?}");
    // Twice at once.
    scene.fake.change(MEMBER, |unit| (unit.restarts, unit.invocation) = (3, 3)).await;
    let told = scene.until(&client, |told| !told.eligible && !told.active).await;
    assert_eq!(told.ineligible, ["held down after failures of members"]);
    assert!(told.held_down_until_usec.is_some());
    // What happens to them now does not count.
    scene.fake.change(MEMBER, fails).await;
    // What is told comes before the disk, which may be the reason: a crash in between forgets it.
    let record = scene.bus.directory.path().join("state").join(STANDING_FILE);
    let on_disk = || {
        let text = std::fs::read_to_string(&record).unwrap_or_default();
        text.contains(&told.held_down_until_usec.unwrap().to_string())
    };
    let fails = |unit: &raftctl::dbus::describe::DescribeUnit| unit.state == "failed";
    scene.until(&client, |told| told.units.iter().any(fails) && on_disk()).await;

    // The agent that follows knows it, and does not become active.
    scene.agent.kill().await.unwrap();
    scene.fake.edit(LEADER, |unit| unit.active = "inactive");
    scene.agent = start(&scene.bus, "");
    let client = scene.client().await;
    let told = scene.until(&client, |told| told.held_down_until_usec.is_some()).await;
    assert!(!told.eligible && !told.active, "{told:?}");
    scene.ask("ClearFailures").await;
    let told = scene.until(&client, |told| told.active).await;
    assert!(told.eligible && told.held_down_until_usec.is_none());
    assert_eq!(failures(&told, MEMBER), Some(0));
}

#[tokio::test]
async fn a_host_without_what_it_needs_is_not_active() {
    let mut scene = scene!("[eligibility]\neligible_while = [\"db.service\"]\n");
    let client = scene.client().await;
    let told =
        scene.until(&client, |told| told.ineligible == ["unit db.service is inactive"]).await;
    assert!(!told.active);
    for (state, why) in [("failed", "is failed"), ("activating", "is activating")] {
        scene.fake.put("db.service", Unit { active: "active", ..Unit::inactive() });
        scene.fake.change("db.service", |unit| unit.active = "active").await;
        scene.until(&client, |told| told.active).await;
        let begun = std::time::Instant::now();
        scene.fake.change("db.service", |unit| unit.active = state).await;
        let told = scene.until(&client, |told| !told.eligible && !told.active).await;
        assert_eq!(told.ineligible, [format!("unit db.service {why}")]);
        assert!(begun.elapsed() < FOLLOWED_UNITS_POLL, "nobody heard of it");
    }
}
