//! A private message bus, and on it a service manager that does what a test says.

#![allow(unused, reason = "each test binary uses its own part")]

mod fake;
mod unit;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use raftctl::core::authority::{Order, Report};
use raftctl::core::{NodeName, Token};
use raftctl::systemd::bus::BusAddress;
use raftctl::systemd::host::{self, HostHandle, HostSettings};
use tempfile::TempDir;
use tokio::sync::mpsc;

pub use fake::{Call, Fake, Job, connect, next, path};
pub use unit::Unit;

/// Every wait of a test ends by then.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub const LEADER: &str = "raftctl-leader@n1.target";
pub const FOLLOWER: &str = "raftctl-follower@n1.target";
pub const FENCE: &str = "raftctl-fence@n1.service";
pub const MEMBER: &str = "web.service";

pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let end = tokio::time::timeout(DEADLINE, future).await;
    end.unwrap_or_else(|_| panic!("no {what} within {DEADLINE:?}"))
}

/// A dbus-daemon of this test alone.
pub struct PrivateBus {
    pub directory: TempDir,
    daemon: Child,
}

impl PrivateBus {
    /// `None`, with the reason printed, where there is no dbus-daemon.
    pub fn start() -> Option<PrivateBus> {
        let directory = tempfile::tempdir().unwrap();
        let config = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>"#,
            directory.path().join("bus").display()
        );
        std::fs::write(directory.path().join("bus.conf"), config).unwrap();
        let daemon = match spawn(directory.path()) {
            Ok(daemon) => daemon,
            Err(error) => {
                println!("SKIPPED: dbus-daemon cannot be started: {error}");
                return None;
            }
        };
        Some(PrivateBus { directory, daemon })
    }

    /// Ends the daemon with all its connections, and starts another one in its place.
    pub fn restart(&mut self) {
        self.end();
        std::fs::remove_file(self.directory.path().join("bus")).unwrap();
        self.daemon = spawn(self.directory.path()).unwrap();
    }

    pub fn address(&self) -> String {
        format!("unix:path={}", self.directory.path().join("bus").display())
    }

    pub fn bus(&self) -> BusAddress {
        self.address().parse().unwrap()
    }

    fn end(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the daemon and returns when it listens.
fn spawn(directory: &Path) -> std::io::Result<Child> {
    let mut daemon = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", directory.join("bus.conf").display()))
        .args(["--nofork", "--nopidfile", "--print-address=1"])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line)?;
    assert!(line.starts_with("unix:path="), "dbus-daemon says {line:?}");
    Ok(daemon)
}

/// A host over a fake service manager.
pub struct Scene {
    pub fake: Fake,
    pub host: HostHandle,
    pub reports: mpsc::Receiver<Report>,
    pub bus: PrivateBus,
}

impl Scene {
    /// A host at rest: the manager is connected, and the follower target was started.
    pub async fn new() -> Option<Scene> {
        let mut scene = Scene::starting(|_| {}).await?;
        scene.fake.follower_started().await;
        Some(scene)
    }

    /// A host that has just been started, over a leader target as `edit` leaves it.
    pub async fn starting(edit: impl FnOnce(&mut Unit)) -> Option<Scene> {
        let bus = PrivateBus::start()?;
        let fake = Fake::start(&bus).await;
        let gate = bus.directory.path().join("active");
        fake.put(LEADER, Unit::leader(&gate));
        fake.put(MEMBER, Unit::inactive());
        fake.edit(LEADER, edit);
        let node: NodeName = "n1".parse().unwrap();
        let mut settings = HostSettings::new(node, bus.directory.path().to_owned(), bus.bus());
        settings.cgroup_root = bus.directory.path().join("cgroup");
        std::fs::create_dir(&settings.cgroup_root).unwrap();
        std::fs::write(settings.cgroup_root.join("cgroup.controllers"), "").unwrap();
        let (host, reports) = host::start(settings).unwrap();
        Some(Scene { fake, host, reports, bus })
    }

    pub fn gate(&self) -> PathBuf {
        self.bus.directory.path().join("active")
    }

    pub fn start(&self, number: u64) {
        self.host.order(Order::Start { number, token: Token(42) });
    }

    pub fn stop(&self, number: u64) {
        self.host.order(Order::Stop { number });
    }

    pub async fn report(&mut self) -> Report {
        within("report", self.reports.recv()).await.unwrap()
    }

    /// The host has looked at everything as it is now, and says nothing.
    pub async fn not_yet(&mut self, why: &str) {
        self.fake.judged().await;
        assert_eq!(self.reports.try_recv().ok(), None, "{why}");
    }

    /// Starts the target to its end, with order `number`.
    pub async fn up(&mut self, number: u64) {
        self.start(number);
        let job = self.fake.expect("StartUnit", LEADER, "fail").await;
        let job = self.fake.accept(&job).await;
        self.fake.edit(MEMBER, |unit| unit.active = "active");
        self.fake.end(&job, "done", "active").await;
        assert_eq!(self.report().await, Report::Started { number });
    }

    /// What the member's control group says about processes in it.
    pub fn populate(&self, populated: bool) {
        let group = self.bus.directory.path().join("cgroup/system.slice/web.service");
        std::fs::create_dir_all(&group).unwrap();
        let text = format!("populated {}\nfrozen 0\n", u8::from(populated));
        std::fs::write(group.join("cgroup.events"), text).unwrap();
        self.fake.edit(MEMBER, |unit| {
            unit.control_group = "/system.slice/web.service".to_owned();
        });
    }
}
