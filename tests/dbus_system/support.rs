//! A system bus, an agent on it, a fake polkit, and clients of several users.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use raftctl::core::Token;
use raftctl::dbus::system::SystemBus;
use raftctl::dbus::{KEY_VALUE_INTERFACE, LOG_PATH, NODE_INTERFACE, ROOT_PATH};
use raftctl::node::handle::{HostRequest, Request};
use raftctl::node::kv::KvRequest;
use tokio::sync::watch;
use zbus::export::futures_core::Stream as _;
use zbus::proxy::MethodFlags;
use zbus::{Address, Connection, Message, MessageStream, OwnedVariant, Variant, connection};

use super::dbus_support::store::FakeStore;
use super::dbus_support::{DEADLINE, FakeNode, as_user, describe, leader_of_three, name};

/// The agent's name on the bus.
pub const AGENT: &str = "org.raftctl.Agent1.n1";

/// Polkit's.
pub const POLKIT: &str = "org.freedesktop.PolicyKit1";

/// The group of administrators.
pub const GROUP: u32 = 54321;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    Root,
    /// The group is his own.
    Primary,
    /// The group is one of his others.
    Supplementary,
    Stranger,
    /// Another one.
    Other,
}

impl User {
    /// User, group, other groups. The bus wants users that the host knows: these are on every one.
    fn ids(self) -> (u32, u32, &'static [u32]) {
        const NOBODY: u32 = 65534;
        match self {
            User::Root => (0, 0, &[]),
            User::Primary => (1, GROUP, &[]),
            User::Supplementary => (2, NOBODY, &[7, GROUP]),
            User::Stranger => (NOBODY, NOBODY, &[7]),
            User::Other => (3, NOBODY, &[]),
        }
    }

    /// A connection of this user, which the test holds: who it belongs to is settled by `connect`
    /// (unix(7), `SO_PEERCRED`).
    pub async fn connect(self, bus: &Bus) -> Connection {
        let (uid, gid, groups) = self.ids();
        let socket = bus.socket();
        let stream = as_user(uid, gid, groups, || UnixStream::connect(socket).unwrap());
        connection::Builder::unix_stream(stream).user_id(uid).build().await.unwrap()
    }

    /// The same, past its authentication and before anything else.
    pub fn raw(self, bus: &Bus) -> UnixStream {
        let (uid, gid, groups) = self.ids();
        let socket = bus.socket();
        let mut stream = as_user(uid, gid, groups, || UnixStream::connect(socket).unwrap());
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\n").unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
        let last = answers.nth(1).unwrap().unwrap();
        assert!(last.starts_with("OK "), "{last}");
        stream.write_all(b"BEGIN\r\n").unwrap();
        stream
    }
}

/// What polkit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Yes,
    No,
    /// Yes to those who can be asked for a password.
    Challenge,
    /// Nothing, ever.
    Silence,
}

/// A question that polkit was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub action: String,
    pub interactive: bool,
}

#[derive(Clone)]
struct Polkit {
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<Question>>>,
    cancelled: Arc<AtomicUsize>,
}

type Subject = (String, HashMap<String, OwnedVariant>);

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    async fn check_authorization(
        &self,
        subject: Subject,
        action: &str,
        details: HashMap<String, String>,
        flags: u32,
        _cancellation: &str,
    ) -> ((bool, bool, HashMap<String, String>),) {
        assert_eq!(subject.0, "system-bus-name");
        let sender = String::try_from(subject.1["name"].try_clone().unwrap()).unwrap();
        assert!(sender.starts_with(':'), "{sender}");
        assert!(details.is_empty(), "an unprivileged service may not pass any");
        let interactive = flags & 1 != 0;
        let question = Question { action: action.to_owned(), interactive };
        self.asked.lock().unwrap().push(question);
        let says = *self.says.lock().unwrap();
        let (authorised, challenge) = match says {
            Says::Yes => (true, false),
            Says::No => (false, false),
            Says::Challenge => (interactive, !interactive),
            Says::Silence => std::future::pending().await,
        };
        ((authorised, challenge, HashMap::new()),)
    }

    fn cancel_check_authorization(&self, _cancellation: &str) {
        self.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

/// A dbus-daemon with the rules of a system bus.
pub struct Bus {
    directory: tempfile::TempDir,
    daemon: Child,
}

impl Bus {
    /// `None`, with the reason printed, where it cannot be.
    pub fn start() -> Option<Bus> {
        if !nix::unistd::geteuid().is_root() {
            println!("SKIPPED: only root can become another user");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), everybody).unwrap();
        // The policy of the package, with the user that this test is in place of the agent's.
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let policy = package.join("dbus/org.raftctl.Agent1.conf");
        let policy = std::fs::read_to_string(policy).unwrap();
        assert!(policy.contains("<policy user=\"raftctl\">"));
        let policy = policy.replace("user=\"raftctl\"", "user=\"root\"");
        std::fs::write(directory.path().join("agent.conf"), policy).unwrap();
        let text = CONFIG.replace("DIRECTORY", directory.path().to_str().unwrap());
        std::fs::write(directory.path().join("bus.conf"), text).unwrap();
        match spawn(directory.path()) {
            Ok(daemon) => Some(Bus { directory, daemon }),
            Err(error) => {
                println!("SKIPPED: dbus-daemon cannot be started: {error}");
                None
            }
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("bus")
    }

    pub fn address(&self) -> Address {
        format!("unix:path={}", self.socket().display()).parse().unwrap()
    }

    /// Waits until `name` has an owner, or none.
    pub async fn until(&self, name: &str, owned: bool) {
        let connection = User::Root.connect(self).await;
        let began = Instant::now();
        // Without a sleep: each question gives the others time.
        loop {
            let reply = ask_bus(&connection, "NameHasOwner", &(name,)).await.unwrap();
            if reply.body().deserialize::<bool>().unwrap() == owned {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "not within {DEADLINE:?}: {name} owned: {owned}");
        }
    }

    pub fn stop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }

    /// Starts another run of it in its place.
    pub fn start_again(&mut self) {
        std::fs::remove_file(self.socket()).unwrap();
        self.daemon = spawn(self.directory.path()).unwrap();
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What of Debian's system.conf matters here: nobody owns or calls anything that is not allowed.
const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC
 "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=DIRECTORY/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="root"><allow own="org.freedesktop.PolicyKit1"/></policy>
  <limit name="max_connections_per_user">1000</limit>
  <include>DIRECTORY/agent.conf</include>
</busconfig>"#;

/// Starts the daemon and returns when it listens.
fn spawn(directory: &Path) -> std::io::Result<Child> {
    let mut daemon = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", directory.join("bus.conf").display()))
        .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address=1"])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line)?;
    assert!(line.starts_with("unix:path="), "dbus-daemon says {line:?}");
    Ok(daemon)
}

/// An agent on a bus, in a thread of its own, so that clients may block.
pub struct Scene {
    pub bus: Bus,
    polkit: Polkit,
    /// What was done, in order.
    pub done: Arc<Mutex<Vec<String>>>,
    stop: Option<watch::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
    polkit_there: watch::Sender<bool>,
}

impl Scene {
    pub async fn start() -> Option<Scene> {
        let bus = Bus::start()?;
        let says = Arc::new(Mutex::new(Says::No));
        let polkit = Polkit { says, asked: Arc::default(), cancelled: Arc::default() };
        let (stop, stopped) = watch::channel(false);
        let (polkit_there, wanted) = watch::channel(true);
        let done = Arc::<Mutex<Vec<String>>>::default();
        let agent = agent(bus.address(), polkit.clone(), wanted, done.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut stopped = stopped;
                tokio::select! {
                    () = agent => {}
                    _ = stopped.changed() => {}
                }
            });
        });
        let (stop, thread) = (Some(stop), Some(thread));
        let scene = Scene { bus, polkit, done, stop, thread, polkit_there };
        scene.until_there().await;
        Some(scene)
    }

    pub fn polkit_says(&self, says: Says) {
        *self.polkit.says.lock().unwrap() = says;
    }

    /// Polkit goes away.
    pub async fn polkit_ends(&self) {
        self.polkit_there.send(false).unwrap();
        self.bus.until(POLKIT, false).await;
    }

    /// What polkit was asked since the last time.
    pub fn asked(&self) -> Vec<Question> {
        std::mem::take(&mut *self.polkit.asked.lock().unwrap())
    }

    /// How many questions to polkit were taken back.
    pub fn cancelled(&self) -> usize {
        self.polkit.cancelled.load(Ordering::SeqCst)
    }

    /// What was done since the last time.
    pub fn done(&self) -> Vec<String> {
        std::mem::take(&mut *self.done.lock().unwrap())
    }

    /// Waits until the agent has its name, and polkit.
    pub async fn until_there(&self) {
        self.bus.until(AGENT, true).await;
        self.bus.until(POLKIT, true).await;
    }

    /// Calls a method of the root object as `user`; the error is its name.
    pub async fn call<B>(&self, user: User, method: &str, body: &B) -> Result<(), String>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        self.call_with(user, MethodFlags::empty(), method, body).await
    }

    /// The same with message flags.
    pub async fn call_with<B>(
        &self,
        user: User,
        flags: MethodFlags,
        method: &str,
        body: &B,
    ) -> Result<(), String>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let connection = user.connect(&self.bus).await;
        call(&connection, (ROOT_PATH, NODE_INTERFACE), flags, method, body).await
    }

    /// Calls a method of the store as `user`.
    pub async fn store<B>(
        &self,
        user: User,
        flags: MethodFlags,
        method: &str,
        body: &B,
    ) -> Result<(), String>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let connection = user.connect(&self.bus).await;
        call(&connection, (ROOT_PATH, KEY_VALUE_INTERFACE), flags, method, body).await
    }

    /// Sets a property of the log as `user`.
    pub async fn set_log(&self, user: User, property: &str, value: &str) -> Result<(), String> {
        let connection = user.connect(&self.bus).await;
        let to = (LOG_PATH, "org.freedesktop.DBus.Properties");
        let body = ("org.freedesktop.LogControl1", property, Variant::from(value));
        call(&connection, to, MethodFlags::empty(), "Set", &body).await
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

/// The agent, and polkit beside it as long as it is wanted. Whatever the agent is asked is done.
async fn agent(
    address: Address,
    polkit: Polkit,
    mut wanted: watch::Receiver<bool>,
    done: Arc<Mutex<Vec<String>>>,
) {
    let mut node = FakeNode::new(leader_of_three());
    let bus = SystemBus::at(address.clone(), &name("n1"), Some(GROUP));
    tokio::spawn(bus.serve(node.served()));
    tokio::spawn(async move {
        // It comes back with the bus, as the real one does.
        while *wanted.borrow_and_update() {
            let path = "/org/freedesktop/PolicyKit1/Authority";
            let built = connection::Builder::address(address.clone())
                .serve_at(path, polkit.clone())
                .name(POLKIT)
                .build();
            let Ok(connection) = built.await else {
                tokio::task::yield_now().await;
                continue;
            };
            tokio::select! {
                _ = wanted.changed() => {}
                () = connection.closed() => {}
            }
        }
    });
    let mut store = FakeStore::default();
    let note = |what: &str| done.lock().unwrap().push(what.to_owned());
    loop {
        tokio::select! {
            Some(request) = node.requests.recv() => match request {
                Request::Transfer { reply, .. } => {
                    note("transfer");
                    let _ = reply.send(Ok(name("n2")));
                }
                Request::Takeover { reply } => {
                    note("takeover");
                    let _ = reply.send(Ok(Token(42)));
                }
                Request::Pause { on, reply, .. } => {
                    note(if on { "pause" } else { "resume" });
                    let _ = reply.send(Ok(()));
                }
                Request::RemoteStatus { reply, .. } => {
                    let _ = reply.send(Ok(describe(&leader_of_three()).to_json()));
                }
                Request::Kv(request) => {
                    note(if matches!(request, KvRequest::Read { .. }) { "read" } else { "write" });
                    store.answer(request);
                }
                Request::Shutdown => note("shutdown"),
            },
            Some(request) = node.host_requests.recv() => match request {
                HostRequest::Maintenance { reply, .. } => {
                    note("maintenance");
                    let _ = reply.send(Ok(()));
                }
                HostRequest::ClearFailures { reply } => {
                    note("clear");
                    let _ = reply.send(Ok(()));
                }
            },
        }
    }
}

/// Calls the agent on `connection`; the error is its name.
pub async fn call<B>(
    connection: &Connection,
    (path, interface): (&str, &str),
    flags: MethodFlags,
    method: &str,
    body: &B,
) -> Result<(), String>
where
    B: serde::Serialize + zbus::DynamicType,
{
    let call = Message::method_call(path, method).destination(AGENT).interface(interface);
    let call = call.with_flags(flags.into()).build(body).unwrap();
    let serial = call.primary_header().serial_num();
    let mut stream = MessageStream::from(connection);
    connection.send(&call).await.unwrap();
    loop {
        let message = next(&mut stream).await;
        let header = message.header();
        if header.reply_serial() != Some(serial) {
            continue;
        }
        return match header.error_name() {
            Some(name) => Err(name.to_string()),
            None => Ok(()),
        };
    }
}

pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let end = tokio::time::timeout(DEADLINE, future).await;
    end.unwrap_or_else(|_| panic!("no {what} within {DEADLINE:?}"))
}

/// The next message, within the deadline.
pub async fn next(stream: &mut MessageStream) -> Message {
    let next = std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx));
    within("message", next).await.unwrap().unwrap()
}

/// Calls the bus itself.
pub async fn ask_bus<B>(connection: &Connection, method: &str, body: &B) -> zbus::Result<Message>
where
    B: serde::Serialize + zbus::DynamicType,
{
    let (bus, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
    connection.call_method(Some(bus), path, Some(bus), method, body).await
}
