//! From a configuration to a running agent: everything that may fail, in the order in which a
//! failure does least harm, each with its exit status.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::socket::Backlog;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::buses;
use super::enforcement;
use super::error::{SetupError, error_chain};
use super::host::{self, OrderSink};
use super::http;
use super::logging::Level;
use super::publish::Publish;
use super::reload::{self, Reload};
use super::scripts::{self, Running};
use super::standing::{self, Control, Loaded};
use super::supervisor;
use crate::config::{Config, TICK};
use crate::consensus::{Replica, ReplicaConfig};
use crate::core::authority::Timing;
use crate::core::state::ClusterState;
use crate::core::story::tell;
use crate::core::{Incarnation, Invocation};
use crate::dbus::describe::Describe;
use crate::dbus::{peer, private};
use crate::events::{self, Scripts};
use crate::exit::Exit;
use crate::limits;
use crate::node::driver::{Driver, Surfaces};
use crate::node::event::Event;
use crate::node::handle::HostRequest;
use crate::node::machine::ClusterMachine;
use crate::node::metrics::Metrics;
use crate::node::status::HostStatus;
use crate::node::store::DatabaseStore;
use crate::node::{Member, Node, NodeConfig, clock, recover};
use crate::storage::state_dir::StateDir;
use crate::storage::state_store::{StateStore, StateStoreError, StoredState};
use crate::storage::{LogOptions, RealDisk, SegmentedLog};
use crate::systemd::listen::RaftSocket;
use crate::systemd::notify::{Notifier, NotifyState, Pinger, status_text};
use crate::transport::{self, Identity, Known, Peer};

/// Everything that was opened before the runtime starts.
pub(super) struct Prepared {
    /// Holds the lock until the process ends.
    directory: StateDir,
    node: Node<ClusterMachine>,
    disk: (SegmentedLog, DatabaseStore),
    listener: TcpListener,
    bus: private::Listener,
    http: http::Bound,
    known: Known,
    process: u64,
    standing: Loaded,
}

/// Opens and binds everything.
pub(super) fn prepare(config: &Config, passed: Option<RaftSocket>) -> Result<Prepared, SetupError> {
    let runtime = &config.node.runtime_directory;
    let failed = |source| SetupError::RuntimeDirectory { path: runtime.clone(), source };
    std::fs::create_dir_all(runtime).map_err(failed)?;
    let listener = listen(config, passed)?;
    let bus = private::bind(&config.node.socket(), peer::administrators());
    let bus = bus.map_err(SetupError::Bus)?;
    let http = http::bind(config)?;
    let name = &config.node.name;
    let fresh = Incarnation(random()?);
    let root = &config.node.state_directory;
    let directory = StateDir::open(root, name, &config.cluster.name, fresh)?;
    let process = u64::from_be_bytes(random()?);
    let standing = Loaded::read(root);
    let (mut node, disk) = open_state(config, &directory)?;
    // BEFORE its first turn: a node whose standing is not known must not be promoted.
    node.handle(clock::reading(), Event::Eligible { eligible: false }, &mut Vec::new());
    let known = node.known();
    Ok(Prepared { directory, node, disk, listener, bus, http, known, process, standing })
}

fn random<const N: usize>() -> Result<[u8; N], SetupError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(SetupError::Random)?;
    Ok(bytes)
}

/// systemd's name of this run, so that what runs after a crash can name it as well.
fn invocation() -> Result<Invocation, SetupError> {
    let given = std::env::var("INVOCATION_ID").ok().filter(|_| host::is_service());
    match given.and_then(|id| id.parse().ok()) {
        Some(invocation) => Ok(invocation),
        None => Ok(Invocation(random()?)),
    }
}

/// The Raft listener: the one that was passed, or else one of our own.
fn listen(config: &Config, passed: Option<RaftSocket>) -> Result<TcpListener, SetupError> {
    let address = config.node.listen.as_str();
    let failed = |source| SetupError::Listen { address: address.to_owned(), source };
    let resolved: Vec<SocketAddr> = address.to_socket_addrs().map_err(failed)?.collect();
    match passed {
        Some(RaftSocket::Listener(listener)) => {
            let found = listener.local_addr().map_err(failed)?;
            if !resolved.contains(&found) {
                return Err(SetupError::OtherAddress { found, expected: address.to_owned() });
            }
            return Ok(listener);
        }
        Some(RaftSocket::Unset) => tracing::info!(
            address,
            "the socket unit has no address for this node, binding it here; an IP address and \
             systemctl daemon-reload would let peers start this agent"
        ),
        None => {}
    }
    let listener = TcpListener::bind(resolved.as_slice()).map_err(failed)?;
    // As many waiting connections as the kernel allows: when the queue is full it drops the SYN,
    // and a member that dials among a crowd tries again only after a second (tcp(7)).
    let longer = nix::sys::socket::listen(&listener, Backlog::MAXALLOWABLE);
    longer.map_err(|errno| failed(errno.into()))?;
    Ok(listener)
}

/// Log, state and replica, made to agree.
fn open_state(
    config: &Config,
    directory: &StateDir,
) -> Result<(Node<ClusterMachine>, (SegmentedLog, DatabaseStore)), SetupError> {
    let disk = Box::new(RealDisk::new(directory.log_directory()));
    let secret = u64::from_be_bytes(random()?);
    let log_failed = |source| SetupError::Log { path: directory.log_directory(), source };
    let opened = SegmentedLog::open(disk, LogOptions::with_secret(secret));
    let (mut log, found) = opened.map_err(log_failed)?;
    let (store, stored) = open_store(directory.database_path())?;
    check_members(config, &stored.state)?;
    let voters: Vec<_> = config.cluster.members.iter().map(|m| m.id).collect();
    let applied = stored.applied;
    let recovered = recover(&mut log, found, (&stored.state, applied), &voters);
    let recovered = recovered.map_err(log_failed)?;
    let replica_config = ReplicaConfig {
        id: config.node.id,
        election_min: config.raft.election_min,
        election_max: config.raft.election_max,
        heartbeat: config.raft.heartbeat,
        tick: TICK,
        seed: u64::from_be_bytes(random()?),
        vote_lease: true,
        cache_max_bytes: limits::ENTRY_CACHE_MAX_BYTES,
    };
    let path = || config.node.state_directory.clone();
    let unfit = |source| SetupError::Replica { path: path(), source };
    let replica = Replica::new(replica_config, recovered, clock::now()).map_err(unfit)?;
    let member = |m: &crate::config::Member| Member {
        id: m.id,
        name: m.name.clone(),
        address: m.address.clone(),
    };
    let invocation = invocation()?;
    let node_config = NodeConfig {
        id: config.node.id,
        cluster_name: config.cluster.name.clone(),
        members: config.cluster.members.iter().map(member).collect(),
        incarnation: directory.incarnation(),
        invocation: invocation.0,
        cluster_id_proposal: random()?,
        machine: directory.release_key().machine(),
        release_key: directory.release_key().key(),
        timing: host::timing(config),
        log_keep_entries: limits::LOG_KEEP_ENTRIES,
        log_keep_bytes: limits::LOG_KEEP_BYTES,
        snapshot_rate: config.kv.snapshot_rate,
        priority: config.eligibility.priority,
        preempt: config.eligibility.preempt,
        kv_quota_bytes: config.kv.quota_bytes,
    };
    let store = DatabaseStore::new(store, config.kv.quota_bytes);
    let node = Node::new(node_config, replica, ClusterMachine(stored.state), applied);
    Ok((node, (log, store)))
}

/// The committed members are the cluster. A list that was changed afterwards would give a number,
/// and the votes in its name, to another node, and its new members could found a second cluster.
fn check_members(config: &Config, state: &ClusterState) -> Result<(), SetupError> {
    let committed: Vec<_> = state.members().iter().map(|m| (m.id, m.name.as_str())).collect();
    let listed: Vec<_> = config.cluster.members.iter().map(|m| (m.id.0, m.name.as_str())).collect();
    if committed.is_empty() || committed == listed {
        return Ok(());
    }
    let names = |members: &[(u64, &str)]| {
        members.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    };
    let (committed, listed) = (names(&committed), names(&listed));
    Err(SetupError::Members { path: config.node.state_directory.clone(), committed, listed })
}

/// Opens the database. It panics on some kinds of damage instead of returning an error; that, too,
/// has to be one clear line and its exit status.
fn open_store(path: PathBuf) -> Result<(StateStore, StoredState), StateStoreError> {
    let before = std::panic::take_hook();
    let damaged = path.clone();
    std::panic::set_hook(Box::new(move |info| {
        let why = info.payload_as_str().unwrap_or("it is not readable").replace('\n', " ");
        let error = SetupError::Store(StateStoreError::Corrupt { path: damaged.clone(), why });
        let exit = error.exit();
        super::complain(&error_chain(&error), exit);
        std::process::exit(i32::from(exit.code()));
    }));
    let opened = StateStore::open(path, limits::STATE_CACHE_BYTES);
    std::panic::set_hook(before);
    opened
}

/// Runs the agent until it is asked to stop.
pub(super) fn serve(
    config: &Config,
    prepared: Prepared,
    read: reload::Read,
    level: Level,
) -> Result<(), SetupError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(SetupError::System)?;
    let Prepared { directory, node, disk, listener, bus, http, known, process, standing } =
        prepared;
    let result = runtime.block_on(async {
        let (events, peers) = mpsc::channel(limits::DRIVER_QUEUE_EVENTS);
        let identity = identity(config, directory.incarnation(), process);
        let transport =
            transport::start(listener, identity, other_members(config), known, events, process)
                .map_err(SetupError::System)?;
        let notifier = notifier();
        let pinger = Pinger::from_env(notifier.clone());
        let (outside, reports) = mpsc::channel(limits::DRIVER_REQUESTS);
        let timing = host::timing(config);
        host::log_enforcement(config, &timing);
        let on_host = host::start(config, &timing, &outside)?;
        let manager = on_host.as_ref().map(|host| host.manager().clone());
        let metrics = Arc::new(Metrics::default());
        let running = Running::of(config, &timing, on_host.as_ref(), &metrics);
        let scripts = Arc::new(events::start(scripts::config_of(config, &running))?);
        host::follow_scripts(scripts.over(), outside.clone());
        let (publish, known) = Publish::new();
        let (asked, requests) = mpsc::channel(limits::DRIVER_REQUESTS);
        let surfaces = surfaces(Arc::clone(&scripts), host::orders(on_host), pinger, known, asked);
        let surfaces = Surfaces { metrics: Arc::clone(&metrics), ..surfaces };
        let driver = Driver::new(node, disk, transport, peers, reports, surfaces);
        let (driver, handle) = driver.map_err(SetupError::System)?;
        if manager.is_some() {
            host::watch_host(config, handle.clone(), outside.clone())?;
        }
        let telling = scripts::tell_further(config, &scripts, &standing, handle.clone());
        let status = handle.watch();
        let ends = standing::Ends { manager, status, requests, events: outside.clone(), publish };
        let standing = look_after(config, &timing, standing, ends)?;
        let stop_bus = buses::serve(config, bus, handle.clone(), level.clone())?;
        let http = http::serve(http, handle.clone(), metrics);
        let reload = Reload {
            config: config.clone(),
            read,
            level,
            scripts: scripts.clone(),
            running,
            standing: standing.settings(),
            http: http.settings(),
        };
        let reloading = reload::on_hangup(reload, notifier.clone(), handle.clone())?;
        let stopping = supervisor::stop_on_signal(handle.clone(), notifier.clone())?;
        let (name, address) = (&config.node.name, &config.node.listen);
        let (cluster, version) = (&config.cluster.name, env!("CARGO_PKG_VERSION"));
        tell!(
            Started, version = version, address = address.as_str();
            "raftctl {version} is serving node {name} of cluster {cluster} on {address}."
        );
        // A task of its own: waking the runtime's main future costs a system call each time.
        let driver = tokio::spawn(driver.run());
        let status = status_text(&handle.status());
        notifier.tell(&[NotifyState::Ready, NotifyState::Status(&status)]).await;
        let announcing = tokio::spawn(supervisor::announce(notifier, handle));
        driver.await.map_err(|e| SetupError::System(e.into()))?;
        end([announcing, reloading, telling]).await;
        http.stop().await;
        standing.stop().await;
        // The tasks are gone, and so is their hold on the scripts.
        if let Ok(scripts) = Arc::try_unwrap(scripts) {
            scripts.stop(config.events.timeout).await;
        }
        stop_bus();
        stopping.abort();
        tell!(Stopped; "{} has stopped.", config.node.name);
        Ok(())
    });
    drop(directory);
    result
}

fn notifier() -> Notifier {
    Notifier::from_env().unwrap_or_else(|error| {
        tracing::warn!("cannot reach the service manager at NOTIFY_SOCKET: {error}, ignoring");
        Notifier::default()
    })
}

/// Starts those who look after the host, as far as it is not an order.
fn look_after(
    config: &Config,
    timing: &Timing,
    standing: Loaded,
    ends: standing::Ends,
) -> Result<Control, SetupError> {
    let (manager, publish) = (ends.manager.clone(), ends.publish.clone());
    enforcement::follow(config, timing, manager, ends.status.clone(), publish);
    standing::start(config, standing, ends).map_err(SetupError::System)
}

/// Ends tasks that would go on for ever.
async fn end(tasks: [JoinHandle<()>; 3]) {
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
}

fn identity(config: &Config, incarnation: Incarnation, process: u64) -> Identity {
    Identity {
        cluster_name: config.cluster.name.clone(),
        node: config.node.name.clone(),
        id: config.node.id,
        incarnation,
        process,
        bootstrap: config.bootstrap_digest(),
        election_min_ms: config.raft.election_min.as_millis() as u64,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn other_members(config: &Config) -> Vec<Peer> {
    let others = config.cluster.members.iter().filter(|m| m.id != config.node.id);
    others.map(|m| Peer { id: m.id, name: m.name.clone(), address: m.address.clone() }).collect()
}

fn surfaces(
    scripts: Arc<Scripts>,
    order: OrderSink,
    mut pinger: Pinger,
    host: watch::Receiver<Arc<HostStatus>>,
    host_requests: mpsc::Sender<HostRequest>,
) -> Surfaces {
    Surfaces {
        metrics: Arc::default(),
        host_requests,
        order,
        act: Box::new(move |consequence, status| {
            scripts.submit(scripts::occurrence(consequence, status));
        }),
        describe: |status, host| Describe::new(status, host).to_json(),
        host,
        ping: Box::new(move |now, until| {
            pinger.allow_until(until);
            pinger.turn(now)
        }),
        fatal: Arc::new(|error| {
            let text = error_chain(error);
            tell!(
                Failed, reason = text.as_str();
                "The agent is ending at once, the next start will see what was written: {text}."
            );
            // Time for the log's thread; the queue is usually empty.
            std::thread::sleep(super::logging::LAST_LINE);
            std::process::exit(i32::from(Exit::Io as u8));
        }),
    }
}
