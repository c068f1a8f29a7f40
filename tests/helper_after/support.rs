//! A host whose agent has ended, and members that know what they were told.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use raftctl::config::{Config, ConfigFile};
use raftctl::core::command::Release;
use raftctl::core::release::ReleaseOutcome;
use raftctl::core::state::hash_of;
use raftctl::core::{Incarnation, Invocation, NodeName};
use raftctl::helper::release::{Outcome, ReleaseError, release};
use raftctl::storage::StateDir;
use raftctl::systemd::host::HostSettings;
use raftctl::transport::frame::{self, Decoded, FrameType, HEADER_BYTES};
use raftctl::transport::wire::{Announce, Announced};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::systemd_support::{Call, FENCE, Fake, LEADER, MEMBER, PrivateBus, Unit, within};

/// The run that has ended.
pub const RUN: Invocation = Invocation([7; 16]);

/// What the members know, all of them the same.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Hash of the secret of the activation that is not released.
    pub owed: Option<[u8; 32]>,
    /// Name of the leader, if there is one.
    pub leader: Option<&'static str>,
    /// Questions, which carry nobody's secret.
    pub questions: usize,
    /// Real announcements: who heard each, and what else was true then.
    pub announcements: Vec<String>,
}

impl Cluster {
    fn hear(&mut self, member: &str, release: &Release) -> ReleaseOutcome {
        if release.secret == [0; 32] {
            self.questions += 1;
        } else {
            self.announcements.push(member.to_owned());
        }
        if self.leader != Some(member) {
            return ReleaseOutcome::NotLeader;
        }
        match self.owed {
            None => ReleaseOutcome::Over,
            Some(hash) if hash == hash_of(&release.secret) => {
                self.owed = None;
                ReleaseOutcome::Proposed
            }
            Some(_) => ReleaseOutcome::Forged,
        }
    }
}

/// A host after its agent, with a fake service manager; members n2 and n3.
pub struct After {
    pub fake: Fake,
    pub bus: PrivateBus,
    pub config: Config,
    pub cluster: Arc<Mutex<Cluster>>,
    members: Vec<JoinHandle<()>>,
}

impl Drop for After {
    fn drop(&mut self) {
        self.members.iter().for_each(JoinHandle::abort);
    }
}

impl After {
    /// A host where the activation with token 42 is still up and not released; n3 leads. `more` is
    /// added to the configuration.
    pub async fn new(more: &str) -> Option<After> {
        let bus = PrivateBus::start()?;
        let fake = Fake::start(&bus).await;
        let directory = bus.directory.path();
        let cluster = Arc::new(Mutex::new(Cluster { leader: Some("n3"), ..Cluster::default() }));
        let (mut addresses, mut members) = (Vec::new(), Vec::new());
        for name in ["n2", "n3"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap().to_string());
            members.push(tokio::spawn(serve(listener, name, Arc::clone(&cluster))));
        }
        let config = config(directory, &addresses, more);
        let (name, cluster_name) = (&config.node.name, &config.cluster.name);
        let root = &config.node.state_directory;
        let state = StateDir::open(root, name, cluster_name, Incarnation([1; 16])).unwrap();
        cluster.lock().unwrap().owed = Some(hash_of(&state.release_key().secret(RUN)));
        drop(state);
        let run = &config.node.runtime_directory;
        std::fs::create_dir(run).unwrap();
        for file in ["active", "activated"] {
            std::fs::write(run.join(file), "42\n").unwrap();
        }
        let mut leader = Unit::leader(&run.join("active"));
        (leader.active, leader.condition) = ("active", true);
        fake.put(LEADER, leader);
        fake.put(MEMBER, Unit { active: "active", ..Unit::inactive() });
        std::fs::create_dir(directory.join("cgroup")).unwrap();
        std::fs::write(directory.join("cgroup/cgroup.controllers"), "").unwrap();
        Some(After { fake, bus, config, cluster, members })
    }

    /// A file in the runtime directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.config.node.runtime_directory.join(name)
    }

    /// A directory of control groups.
    pub fn cgroup(&self, name: &str) -> PathBuf {
        self.bus.directory.path().join("cgroup").join(name)
    }

    pub fn host(&self) -> HostSettings {
        let node: NodeName = "n1".parse().unwrap();
        let runtime = self.config.node.runtime_directory.clone();
        let mut settings = HostSettings::new(node, runtime, self.bus.bus());
        settings.cgroup_root = self.cgroup("");
        settings
    }

    /// Runs the release to its end, in a task of its own.
    pub fn release(&self) -> JoinHandle<Result<Outcome, ReleaseError>> {
        let (config, host) = (self.config.clone(), self.host());
        tokio::spawn(async move { release(&config, host, RUN).await })
    }

    /// Waits until the target is to be stopped, and queues the job, which does not end.
    pub async fn target_is_stopped(&mut self) {
        let call = self.fake.expect("StopUnit", LEADER, "replace").await;
        self.fake.accept(&call).await;
    }

    /// The call that starts the fence. The target may be ordered to stop before or beside it.
    pub async fn fenced(&mut self) -> Call {
        loop {
            let call = self.fake.call().await;
            match (call.method.as_str(), call.unit.as_str()) {
                ("StartUnit", FENCE) => return call,
                ("StopUnit", LEADER) => drop(self.fake.accept(&call).await),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Target and member stop, and it is announced.
    pub async fn stop_target(&self) {
        self.fake.edit(MEMBER, |unit| unit.active = "inactive");
        let inactive = |unit: &mut Unit| {
            unit.active = "inactive";
            unit.job = None;
        };
        self.fake.change(LEADER, inactive).await;
    }

    /// Waits until the members have been asked.
    pub async fn asked(&self) {
        let asked = async {
            while self.cluster.lock().unwrap().questions == 0 {
                tokio::task::yield_now().await;
            }
        };
        within("question", asked).await;
    }

    pub fn announcements(&self) -> Vec<String> {
        self.cluster.lock().unwrap().announcements.clone()
    }

    /// What the control group of a unit says about processes in it.
    pub fn populate(&self, unit: &'static str, populated: bool) {
        let group = self.cgroup("system.slice").join(unit);
        std::fs::create_dir_all(&group).unwrap();
        let text = format!("populated {}\nfrozen 0\n", u8::from(populated));
        std::fs::write(group.join("cgroup.events"), text).unwrap();
        self.fake.edit(unit, |found| found.control_group = format!("/system.slice/{unit}"));
    }
}

fn config(directory: &Path, addresses: &[String], more: &str) -> Config {
    let text = format!(
        "[node]\nname = \"n1\"\nstate_directory = \"state\"\nruntime_directory = \"run\"\n\
         [cluster]\nmembers = {{ n1 = \"127.0.0.1:9\", n2 = \"{}\", n3 = \"{}\" }}\n{more}",
        addresses[0], addresses[1]
    );
    let file = ConfigFile::parse_bytes(text.as_bytes(), "test", directory);
    let file = file.unwrap_or_else(|error| panic!("{error}"));
    file.node(Some("n1")).unwrap().clone()
}

/// A member that answers announcements and nothing else.
async fn serve(listener: TcpListener, name: &'static str, cluster: Arc<Mutex<Cluster>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let Some((kind, payload)) = read_frame(&mut stream).await else { continue };
        assert_eq!(kind, FrameType::Announce);
        let announce: Announce = prost::Message::decode(payload.as_slice()).unwrap();
        assert_eq!((announce.cluster_name.as_str(), announce.receiver.as_str()), ("main", name));
        let release = announce.release.unwrap();
        assert_eq!((release.node, release.token), (1, 0));
        assert_eq!(release.invocation, RUN.0);
        let outcome = cluster.lock().unwrap().hear(name, &release);
        let mut answer = Vec::new();
        let announced = Announced { outcome: outcome as i32 };
        frame::encode_into(&mut answer, FrameType::Announced, &announced);
        let _ = stream.write_all(&answer).await;
    }
}

/// The next frame, or `None` when the other side has closed.
pub async fn read_frame(stream: &mut TcpStream) -> Option<(FrameType, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Decoded::Frame { kind, consumed, .. } = frame::decode(&bytes, 4096).unwrap() {
            return Some((kind, bytes[HEADER_BYTES..consumed].to_vec()));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
