//! A fake node behind a real private bus, for tests of the bus and of the command line.

#![allow(unused, reason = "each test binary uses its own part")]

pub mod store;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raftctl::config::LogLevel;
use raftctl::core::command::MemberKind;
use raftctl::core::{ClusterId, NodeId, NodeName, Token};
use raftctl::dbus::describe::Describe;
use raftctl::dbus::log_control::Log;
use raftctl::dbus::objects::Served;
use raftctl::dbus::private;
use raftctl::limits;
use raftctl::node::handle::{HostRequest, NodeHandle, Request};
use raftctl::node::status::{Change, HostStatus, MemberStatus, NodeStatus, Role};
use tokio::sync::{broadcast, mpsc, watch};

/// Every wait of a test ends by then.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The test's end of a [`NodeHandle`].
pub struct FakeNode {
    pub handle: NodeHandle,
    pub requests: mpsc::Receiver<Request>,
    pub status: watch::Sender<Arc<NodeStatus>>,
    pub changes: broadcast::Sender<Change>,
    pub host: watch::Sender<Arc<HostStatus>>,
    pub host_requests: mpsc::Receiver<HostRequest>,
    pub log: Arc<FakeLog>,
}

/// A log that keeps nothing but its level.
#[derive(Debug)]
pub struct FakeLog(pub Mutex<LogLevel>);

impl Log for FakeLog {
    fn level(&self) -> LogLevel {
        *self.0.lock().unwrap()
    }

    fn set_level(&self, level: LogLevel) {
        *self.0.lock().unwrap() = level;
    }

    fn target(&self) -> &'static str {
        "console"
    }
}

impl FakeNode {
    pub fn new(status: NodeStatus) -> FakeNode {
        let (request_sender, requests) = mpsc::channel(limits::DRIVER_QUEUE_EVENTS);
        let (status, status_receiver) = watch::channel(Arc::new(status));
        let (changes, _) = broadcast::channel(limits::CHANGE_BACKLOG);
        let (host, known) = watch::channel(Arc::default());
        let (asked, host_requests) = mpsc::channel(limits::DRIVER_REQUESTS);
        let handle =
            NodeHandle::new(request_sender, status_receiver, changes.clone(), known, asked);
        let log = Arc::new(FakeLog(Mutex::new(LogLevel::Info)));
        FakeNode { handle, requests, status, changes, host, host_requests, log }
    }

    /// Changes the status as the driver does: the status first, the change after it.
    pub fn update(&self, edit: impl FnOnce(&mut NodeStatus), change: Option<Change>) {
        self.status.send_modify(|status| edit(Arc::make_mut(status)));
        if let Some(change) = change {
            let _ = self.changes.send(change);
        }
    }

    /// What is known of the host changes.
    pub fn on_host(&self, edit: impl FnOnce(&mut HostStatus)) {
        self.host.send_modify(|host| edit(Arc::make_mut(host)));
    }

    /// What the objects are made of.
    pub fn served(&self) -> Served {
        Served::new(self.handle.clone(), self.log.clone())
    }

    /// Starts the private bus in `directory`; call it inside the runtime.
    pub fn serve(&self, directory: &Path) -> (PathBuf, tokio::task::JoinHandle<()>) {
        self.serve_for(directory, None)
    }

    /// The same, for the members of `group` too.
    pub fn serve_for(
        &self,
        directory: &Path,
        group: Option<u32>,
    ) -> (PathBuf, tokio::task::JoinHandle<()>) {
        let path = directory.join(private::SOCKET_NAME);
        let listener = private::bind(&path, group).unwrap();
        let serving = private::serve(listener, self.served());
        (path, tokio::spawn(async move { serving.await.unwrap() }))
    }

    /// The next request to whoever looks after the host, within the deadline.
    pub async fn host_request(&mut self) -> HostRequest {
        tokio::time::timeout(DEADLINE, self.host_requests.recv()).await.unwrap().unwrap()
    }

    /// The next request, within the deadline.
    pub async fn request(&mut self) -> Request {
        tokio::time::timeout(DEADLINE, self.requests.recv()).await.unwrap().unwrap()
    }
}

/// Runs `body` in a thread of this process with another user and other groups; only for root.
pub fn as_user<T: Send>(uid: u32, gid: u32, groups: &[u32], body: impl FnOnce() -> T + Send) -> T {
    use nix::libc::{SYS_setgroups, SYS_setresgid, SYS_setresuid, c_long, syscall};
    let (user, group) = (c_long::from(uid), c_long::from(gid));
    let become_user = || {
        // SAFETY: the system calls take numbers, and a list that lives longer than the call. Called
        // directly they change the credentials of this thread alone (setresuid(2), "C
        // library/kernel differences"), which ends below.
        let results = unsafe {
            [
                syscall(SYS_setgroups, groups.len(), groups.as_ptr()),
                syscall(SYS_setresgid, group, group, group),
                syscall(SYS_setresuid, user, user, user),
            ]
        };
        assert_eq!(results, [0, 0, 0]);
        body()
    };
    std::thread::scope(|scope| scope.spawn(become_user).join().unwrap())
}

/// Three members, n1 leads and is this node.
pub fn leader_of_three() -> NodeStatus {
    let member = |id: u64| MemberStatus {
        id: NodeId(id),
        name: name(&format!("n{id}")),
        address: format!("192.0.2.{id}:7100").parse().unwrap(),
        kind: MemberKind::Voter,
        connected: id != 3,
        matched: Some(40 + id),
        eligible: Some(true),
        priority: Some(100),
    };
    NodeStatus {
        name: name("n1"),
        id: NodeId(1),
        cluster_name: "db".to_owned(),
        cluster_id: Some(ClusterId([0xab; 16])),
        role: Role::Leader,
        active: true,
        term: 7,
        token: Some(Token(42)),
        leader: Some(NodeId(1)),
        paused: false,
        commit_index: 43,
        phase: raftctl::core::authority::Phase::Active,
        applied_index: 42,
        members: vec![member(1), member(2), member(3)],
    }
}

/// What a node says about itself on a host of which nothing is known.
pub fn describe(status: &NodeStatus) -> Describe {
    Describe::new(status, &HostStatus::default())
}

/// The same cluster as node `id` sees it.
pub fn follower_of_three(id: u64) -> NodeStatus {
    let mut status = leader_of_three();
    status.name = name(&format!("n{id}"));
    status.id = NodeId(id);
    (status.role, status.active) = (Role::Follower, false);
    status.members.iter_mut().for_each(|member| member.matched = None);
    status
}

pub fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}
