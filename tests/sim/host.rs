//! One simulated host: a disk that survives, and while the process runs a node, its log and the
//! requests its disk thread has not carried out yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raftctl::consensus::{Replica, ReplicaConfig};
use raftctl::core::authority::Order;
use raftctl::core::command::Release;
use raftctl::core::message::{Entry, HardState};
use raftctl::core::rng::Rng;
use raftctl::core::secret::release_secret;
use raftctl::core::{
    Address, Incarnation, Index, Instant, Invocation, NodeId, NodeName, Reading, Term,
};
use raftctl::node::disk::{DiskRequest, DiskWorker};
use raftctl::node::event::{Consequence, Effect, Event};
use raftctl::node::machine::StateMachine;
use raftctl::node::store::{Installer as _, StoreRequest};
use raftctl::node::{Member, Node, NodeConfig, recover};
use raftctl::storage::{Batch, LogError, LogOptions, LogStore, SegmentedLog, SimDisk};

use super::clock::Clock;
use super::plan::{Mutation, Settings};
use super::recorder::{Lie, Planted, Recorder, digest};
use super::store::{Forgets, SimStore, StoreSide, Stored};
use super::systemd::Systemd;

/// The production log; with a planted bug it forgets to sync what it appends.
pub struct SimLog {
    log: SegmentedLog,
    unsynced: bool,
}

impl LogStore for SimLog {
    fn append(&mut self, batch: &Batch<'_>, sync: bool) -> Result<(), LogError> {
        self.log.append(batch, sync && !self.unsynced)
    }

    fn read(&mut self, low: Index, high: Index, max_bytes: u64) -> Result<Vec<Entry>, LogError> {
        self.log.read(low, high, max_bytes)
    }

    fn compact(&mut self, index: Index, term: Term) -> Result<(), LogError> {
        self.log.compact(index, term)
    }

    fn install(&mut self, index: Index, term: Term, hs: HardState) -> Result<(), LogError> {
        self.log.install(index, term, hs)
    }

    fn first_index(&self) -> Index {
        self.log.first_index()
    }

    fn last_index(&self) -> Index {
        self.log.last_index()
    }

    fn prepare(&mut self) -> Result<bool, LogError> {
        self.log.prepare()
    }
}

pub struct Running {
    pub node: Node<Recorder>,
    pub worker: DiskWorker<SimLog, StoreSide>,
    pub store: StoreSide,
    pub inbox: VecDeque<Event>,
    pub process: u64,
    /// While paused nothing is handled, and the disk thread sleeps too.
    pub paused_until: Instant,
    pub wake_at: Option<Instant>,
    /// A turn that pauses in the middle.
    pub stalled: Stalled,
    /// When the kernel ends this process (CLOCK_BOOTTIME).
    pub dead_man: Option<Instant>,
    /// Orders that the surface to the service manager has not carried out yet.
    pub orders: VecDeque<Order>,
    /// Event scripts that wait for the one that runs.
    pub acts: VecDeque<Consequence>,
    pub script_runs: bool,
    /// What this process says about itself: eligible, priority.
    pub standing: (bool, u32),
    /// The last word of the host to this process: it may not be active.
    pub told_unfit: bool,
}

/// Where a turn pauses.
#[derive(Default)]
pub enum Stalled {
    #[default]
    Not,
    /// Events were handled, the turn was not run.
    BeforeTurn(Vec<Effect>),
    /// The turn was run, these effects are not carried out; then comes the ping, if it was due.
    AfterTurn(VecDeque<Effect>, bool),
}

pub struct Host {
    pub id: NodeId,
    /// Which machine this is: its place among the hosts of the world.
    pub place: usize,
    disk: SimDisk,
    stored: Arc<Mutex<Stored>>,
    pub running: Option<Running>,
    starts: u64,
    pub clock: Clock,
    pub systemd: Systemd,
    /// Raised by every power cut: what was going to happen here does not.
    pub epoch: u64,
    pub powered: bool,
    /// While frozen nothing happens on this host, whoever should do it.
    pub frozen_until: Instant,
    /// How long it was frozen while something ran; beyond the margins nothing is guaranteed.
    pub frozen_for: Duration,
    /// The node lives on another machine now; nobody hears this one any more.
    pub abandoned: bool,
    /// Whether the host may be active, for reasons of its own. Every process is told at once.
    pub fit: bool,
}

pub fn name_of(id: NodeId) -> NodeName {
    format!("n{id}").parse().expect("a valid name")
}

fn address_of(id: NodeId) -> Address {
    format!("192.0.2.{id}:7100").parse().expect("a valid address")
}

impl Host {
    pub fn new(id: NodeId, place: usize, rng: &mut Rng, settings: &Settings) -> Self {
        let mut disk = SimDisk::new(rng.next_u64());
        disk.skip_sync(settings.mutation == Some(Mutation::SkipFsync));
        Host {
            id,
            place,
            disk,
            stored: Arc::default(),
            running: None,
            starts: 0,
            clock: settings.clock(rng),
            systemd: Systemd::new(settings.host(id), settings.habits()),
            epoch: 0,
            powered: true,
            frozen_until: Instant::default(),
            frozen_for: Duration::ZERO,
            abandoned: false,
            fit: true,
        }
    }

    /// Another machine with a copy of this one's disk, as a power cut would leave it.
    pub fn cloned(&self, place: usize, rng: &mut Rng, settings: &Settings) -> Host {
        let mut disk = self.disk.fork(rng.next_u64());
        disk.crash();
        let stored = Arc::new(Mutex::new(self.stored()));
        Host { disk, stored, ..Host::new(self.id, place, rng, settings) }
    }

    /// What the durable state machine holds.
    pub fn stored(&self) -> Stored {
        self.stored.lock().expect("one thread").clone()
    }

    /// The disk is replaced by an empty one and a backup of the state.
    pub fn replace_disk(&mut self, state: &Stored, seed: u64) {
        self.disk = SimDisk::new(seed);
        *self.stored.lock().expect("one thread") = state.clone();
    }

    pub fn reading(&self, now: Instant) -> Reading {
        self.clock.read(now)
    }

    /// What keeps others from being active, except on a host for which nothing is guaranteed.
    pub fn is_frozen(&self, now: Instant) -> bool {
        self.frozen_until > now
    }

    /// Starts the process; it recovers from the disk exactly as production does.
    pub fn start(&mut self, now: Instant, seed: u64, settings: &Settings) -> Result<(), String> {
        assert!(self.running.is_none());
        self.starts += 1;
        let boot = self.reading(now).boot;
        let options = LogOptions { segment_bytes: settings.segment_bytes, secret: seed };
        let (mut log, found) = SegmentedLog::open(Box::new(self.disk.clone()), options)
            .map_err(|e| format!("start: node {} cannot start after a crash: {e}", self.id))?;
        let planted = Planted {
            twice: settings.mutation == Some(Mutation::ApplyTwice) && self.id == NodeId(2),
            stale_snapshot: settings.mutation == Some(Mutation::SnapshotMissesLast),
            stale_rows: settings.mutation == Some(Mutation::SnapshotMissesRow),
            lie: self.lie(settings),
        };
        let mut machine = Recorder::new(planted);
        let stored = self.stored();
        let applied = stored.applied;
        if !stored.bytes.is_empty() {
            machine.restore(applied.0, &stored.bytes).expect("was saved");
        }
        let ids: Vec<NodeId> = (1..=settings.nodes).map(NodeId).collect();
        let recovered = recover(&mut log, found, (machine.cluster(), applied), &ids)
            .map_err(|e| format!("start: node {} cannot recover: {e}", self.id))?;
        let replica = Replica::new(self.replica_config(seed, settings), recovered, boot)
            .map_err(|e| format!("start: node {} cannot start: {e}", self.id))?;
        let node = Node::new(self.node_config(&ids, settings), replica, machine, applied);
        // The host is asked BEFORE anything else happens.
        let word = (!self.fit).then_some(Event::Eligible { eligible: false });
        let log = SimLog { log, unsynced: settings.mutation == Some(Mutation::AppendUnsynced) };
        let clients = settings.mutation == Some(Mutation::RetryAppliesTwice);
        let store = StoreSide::new(SimStore::new(self.stored.clone(), Forgets { clients }));
        self.running = Some(Running {
            node,
            worker: DiskWorker::new(log, store.clone()),
            store,
            inbox: word.into_iter().collect(),
            process: self.process(),
            paused_until: now,
            wake_at: None,
            stalled: Stalled::Not,
            dead_man: None,
            orders: VecDeque::new(),
            acts: VecDeque::new(),
            script_runs: false,
            standing: (self.fit, settings.host(self.id).priority),
            told_unfit: false,
        });
        Ok(())
    }

    /// Number of the newest process.
    fn process(&self) -> u64 {
        (self.place as u64) << 48 | self.id.0 << 32 | self.starts
    }

    fn lie(&self, settings: &Settings) -> Option<Lie> {
        let own = settings.timing(self.id).bound();
        match settings.mutation? {
            Mutation::PromoteWithoutWaiting => Some(Lie::Bound(0)),
            Mutation::WaitersOwnBound => own.map(|own| Lie::Bound(own.as_millis() as u64)),
            // (1 − ρ)/(1 + ρ): what the node multiplies by is taken away.
            Mutation::DriftIgnored => Some(Lie::ScaledBound(980_198)),
            Mutation::ActivateAcrossTerms => Some(Lie::Term { of: self.id }),
            Mutation::PausedAgain => Some(Lie::OtherPause),
            Mutation::ExpiresInPause => Some(Lie::NoPause),
            _ => None,
        }
    }

    /// The identity of a process as the log knows it.
    pub fn invocation(process: u64) -> [u8; 16] {
        // Both halves are like no other's: some things go by a part of it.
        let mut invocation = [0; 16];
        invocation[..8].copy_from_slice(&digest(0, &process.to_be_bytes()).to_be_bytes());
        invocation[8..].copy_from_slice(&process.to_be_bytes());
        invocation
    }

    /// The release that says that a run of this host is over for good.
    pub fn release_of(&self, process: u64) -> Release {
        let invocation = Host::invocation(process);
        let secret = release_secret(&self.key(), &self.machine(), Invocation(invocation)).to_vec();
        Release { node: self.id.0, invocation: invocation.to_vec(), token: 0, secret }
    }

    fn key(&self) -> [u8; 32] {
        [self.id.0 as u8; 32]
    }

    pub fn machine(&self) -> [u8; 16] {
        [self.place as u8 + 1; 16]
    }

    fn replica_config(&self, seed: u64, settings: &Settings) -> ReplicaConfig {
        ReplicaConfig {
            id: self.id,
            election_min: settings.election_min,
            election_max: settings.election_min * 2,
            heartbeat: Duration::from_millis(40),
            tick: Duration::from_millis(10),
            seed,
            vote_lease: settings.vote_lease,
            cache_max_bytes: settings.cache_max_bytes,
        }
    }

    fn node_config(&self, ids: &[NodeId], settings: &Settings) -> NodeConfig {
        let member = |id: &NodeId| Member { id: *id, name: name_of(*id), address: address_of(*id) };
        NodeConfig {
            id: self.id,
            cluster_name: "sim".to_owned(),
            members: ids.iter().map(member).collect(),
            incarnation: self.incarnation(),
            invocation: Host::invocation(self.process()),
            cluster_id_proposal: [self.id.0 as u8; 16],
            machine: self.machine(),
            release_key: self.key(),
            timing: settings.timing(self.id),
            log_keep_entries: settings.log_keep_entries,
            log_keep_bytes: 8 << 20,
            snapshot_rate: 1 << 20,
            priority: settings.host(self.id).priority,
            preempt: settings.authority.is_some_and(|plan| plan.preempt),
            // One node has so little room that some of its writes are refused.
            kv_quota_bytes: if self.id.0 == 2 { 200 } else { 1 << 20 },
        }
    }

    pub fn incarnation(&self) -> Incarnation {
        Incarnation([self.id.0 as u8; 16])
    }

    /// Hands a request to the disk thread; whether it was idle.
    pub fn disk(&mut self, request: DiskRequest, mutation: Option<Mutation>) -> bool {
        let Some(running) = &mut self.running else { return false };
        let idle = !running.worker.has_work();
        let mut request = request;
        match &mut request {
            DiskRequest::Persist { persist, .. } if mutation == Some(Mutation::ForgetVote) => {
                persist.hard_state.vote = 0;
            }
            DiskRequest::Persist { persist, .. } if mutation == Some(Mutation::ForgetTerm) => {
                let HardState { term, vote, .. } = &mut persist.hard_state;
                if *term > 1 {
                    (*term, *vote) = (*term - 1, 0);
                }
            }
            _ => {}
        }
        running.worker.push(request);
        idle
    }

    /// Lets the disk thread carry out one request.
    pub fn disk_step(&mut self) -> Result<Option<Event>, String> {
        let Some(running) = &mut self.running else { return Ok(None) };
        running.worker.step().map_err(|e| format!("node {}: {e:?}", self.id))
    }

    /// Hands a request to the thread of the store; whether it was idle.
    pub fn store(&mut self, request: StoreRequest) -> bool {
        let Some(running) = &mut self.running else { return false };
        let (worker, _) = &mut *running.store.lock();
        if let StoreRequest::Apply(work) = &request {
            let machine = running.node.machine();
            let saved = (machine.save_without_rows(), machine.snapshot());
            worker.store_mut().at.insert(work.applied.0, saved);
        }
        let idle = !worker.has_work();
        worker.push(request);
        idle
    }

    /// The rows of the store where they have changed since somebody looked last.
    pub fn fresh_rows(&mut self) -> Vec<(Index, u64)> {
        let Some(running) = &mut self.running else { return Vec::new() };
        std::mem::take(&mut running.store.lock().0.store_mut().fresh)
    }

    /// Lets the thread of the store carry out one request; what it says, and whether more wait.
    pub fn store_step(&mut self) -> Result<(Vec<Event>, bool), String> {
        let Some(running) = &mut self.running else { return Ok(Default::default()) };
        let (worker, told) = &mut *running.store.lock();
        let event = worker.step().map_err(|e| format!("node {}: {e:?}", self.id))?;
        let events = told.drain(..).chain(event).collect();
        Ok((events, worker.has_work()))
    }

    /// Makes the state machine durable.
    pub fn save(&mut self) -> Result<Option<Event>, String> {
        let Some(running) = &mut self.running else { return Ok(None) };
        let (worker, _) = &mut *running.store.lock();
        let flushed = worker.begin_flush(Box::new(|| {})).and_then(|()| worker.end_flush());
        flushed.map_err(|e| format!("node {}: {e:?}", self.id))
    }

    /// The process dies. With `power_cut`, what was not synced may be lost or torn; `half`: the
    /// write in progress reached the disk's cache, but not its sync; or, if it installs a
    /// snapshot, the store and not the log.
    pub fn crash(&mut self, power_cut: bool, half: bool) {
        let Some(mut running) = self.running.take() else {
            if power_cut {
                self.disk.crash();
            }
            return;
        };
        let front = running.worker.queue().front().cloned();
        if half && let Some(DiskRequest::Persist { persist, .. }) = front {
            let entries = &persist.entries[..];
            let batch = Batch { entries, hard_state: Some(persist.hard_state) };
            let _ = match &persist.snapshot {
                Some(snapshot) => running.worker.store_mut().install(snapshot).is_ok(),
                None => running.worker.log_mut().append(&batch, false).is_ok(),
            };
        }
        drop(running);
        if power_cut { self.disk.crash() } else { self.disk.kill() }
    }

    /// Whether the process runs.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }
}
