//! The driver: one task that owns the node. Waits for one thing, takes what else is at hand, lets
//! the node turn, carries out the effects in their order. It touches no file and never waits for
//! the disk, a client or a slow peer.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::clock;
use super::disk::{DiskRequest, DiskWorker};
use super::disk_thread::{self, Disk};
use super::event::{Answer, Effect, Event, RequestId};
use super::handle::{NodeHandle, PauseError, Request};
use super::handle::{TakeoverError, TransferError};
use super::kv::Waiting;
use super::machine::StateMachine;
use super::node::Node;
use super::snapshot::{self, SnapshotThread, SnapshotWorker};
use super::status::{Change, NodeStatus};
use super::store::{self, Store, StoreThread, StoreWorker, TravelStatus};
pub use super::surfaces::{Act, Ping, Surfaces};
use super::tell::{self, Teller};
use super::timer::Timer;
use crate::core::command::Release;
use crate::core::{Instant, NodeName, Token};
use crate::limits;
use crate::storage::LogStore;
use crate::transport::{AnnouncementReply, PeerEvent, TransportHandle};

mod remote;

use remote::Remote;

/// The driver's state.
pub struct Driver<M> {
    node: Node<M>,
    transport: TransportHandle,
    peers: mpsc::Receiver<PeerEvent>,
    disk: Disk,
    store: StoreThread,
    /// What the store answered without its thread.
    here: Vec<Event>,
    snapshots: SnapshotThread,
    travels: watch::Sender<Arc<TravelStatus>>,
    /// When they were looked at last.
    travels_at: Instant,
    timer: Timer,
    requests: mpsc::Receiver<Request>,
    /// What the surfaces report: the host, the scripts.
    reports: mpsc::Receiver<Event>,
    status: watch::Sender<Arc<NodeStatus>>,
    changes: broadcast::Sender<Change>,
    surfaces: Surfaces,
    next_request: u64,
    transfers: BTreeMap<RequestId, oneshot::Sender<Result<NodeName, TransferError>>>,
    takeovers: BTreeMap<RequestId, oneshot::Sender<Result<Token, TakeoverError>>>,
    pauses: BTreeMap<RequestId, oneshot::Sender<Result<(), PauseError>>>,
    remote: BTreeMap<u64, Remote>,
    announcements: BTreeMap<RequestId, AnnouncementReply>,
    store_requests: Waiting,
    next_ping: Option<Instant>,
    teller: Teller,
    stopped: bool,
}

impl<M: StateMachine> Driver<M> {
    /// A driver over a started transport, and the handle to it. Starts the threads of the disk
    /// and of the store.
    pub fn new<L, S>(
        node: Node<M>,
        (log, store): (L, S),
        transport: TransportHandle,
        peers: mpsc::Receiver<PeerEvent>,
        reports: mpsc::Receiver<Event>,
        surfaces: Surfaces,
    ) -> std::io::Result<(Self, NodeHandle)>
    where
        L: LogStore + 'static,
        S: Store + 'static,
    {
        let (fatal, metrics) = (surfaces.fatal.clone(), Arc::clone(&surfaces.metrics));
        let intakes = store.intakes();
        let store = StoreWorker::new(store);
        let snapshots = snapshot::start(SnapshotWorker::new(store.views(), intakes))?;
        let store = store::start(store, fatal.clone())?;
        let disk = DiskWorker::new(log, store.link());
        let disk = disk_thread::start(disk, fatal, Arc::clone(&metrics))?;
        let (to_driver, requests) = mpsc::channel(limits::DRIVER_REQUESTS);
        let (status, status_reader) = watch::channel(Arc::new(node.status().clone()));
        let changes = broadcast::Sender::new(limits::CHANGE_BACKLOG);
        let travels = watch::channel(Arc::default());
        let (known, asked) = (surfaces.host.clone(), surfaces.host_requests.clone());
        let handle = NodeHandle::new(to_driver, status_reader, changes.clone(), known, asked)
            .with_store(store.status.clone(), travels.1);
        let driver = Driver {
            node,
            transport,
            peers,
            disk,
            store,
            here: Vec::new(),
            snapshots,
            travels: travels.0,
            travels_at: Instant::default(),
            timer: Timer::new()?,
            requests,
            reports,
            status,
            changes,
            surfaces,
            next_request: 0,
            transfers: BTreeMap::new(),
            takeovers: BTreeMap::new(),
            pauses: BTreeMap::new(),
            remote: BTreeMap::new(),
            announcements: BTreeMap::new(),
            store_requests: Waiting::new(&metrics),
            next_ping: None,
            teller: Teller::new(metrics),
            stopped: false,
        };
        Ok((driver, handle))
    }

    /// Runs until the node has stopped; then everything is durable and the connections are closed.
    pub async fn run(mut self) {
        let mut effects = Vec::new();
        self.turn(&mut effects);
        while !self.stopped {
            let deadline = self.next_deadline();
            tokio::select! {
                biased;
                Some(event) = self.disk.events.recv() => self.handle(event, &mut effects),
                Some(event) = self.store.events.recv() => self.handle(event, &mut effects),
                Some(event) = self.snapshots.events.recv() => self.handle(event, &mut effects),
                Some(event) = self.reports.recv() => self.handle(event, &mut effects),
                Some(event) = self.peers.recv() => self.peer_event(event, &mut effects),
                Some(request) = self.requests.recv() => self.request(request, &mut effects),
                () = self.timer.wait(deadline) => {}
            }
            self.take_waiting(&mut effects);
            self.turn(&mut effects);
        }
        let Driver { transport, disk, store, snapshots, .. } = self;
        transport.shutdown().await;
        drop(disk.requests);
        drop(disk.events);
        // Bounded by the disk; a process that was asked to stop waits for its last write.
        let ends = move || {
            let _ = disk.thread.join();
            store.join();
            snapshots.join();
        };
        let _ = tokio::task::spawn_blocking(ends).await;
    }

    /// Takes what else is at hand, up to the size of one group commit.
    fn take_waiting(&mut self, effects: &mut Vec<Effect>) {
        for _ in 0..limits::DRIVER_DRAIN_EVENTS {
            if let Ok(event) = self.disk.events.try_recv() {
                self.handle(event, effects);
            } else if let Ok(event) = self.store.events.try_recv() {
                self.handle(event, effects);
            } else if let Ok(event) = self.snapshots.events.try_recv() {
                self.handle(event, effects);
            } else if let Ok(event) = self.reports.try_recv() {
                self.handle(event, effects);
            } else if let Ok(event) = self.peers.try_recv() {
                self.peer_event(event, effects);
            } else if let Ok(request) = self.requests.try_recv() {
                self.request(request, effects);
            } else {
                break;
            }
        }
    }

    fn handle(&mut self, event: Event, effects: &mut Vec<Effect>) {
        self.node.handle(clock::reading(), event, effects);
    }

    fn turn(&mut self, effects: &mut Vec<Effect>) {
        let now = clock::reading();
        self.expire_remote(now.boot);
        loop {
            self.node.turn(now, effects);
            // Answers first: who waits for one runs before those who write to peers and disk.
            for effect in effects.extract_if(.., |effect| matches!(effect, Effect::Answer { .. })) {
                self.carry_out(effect);
            }
            for effect in effects.drain(..) {
                self.carry_out(effect);
            }
            if self.here.is_empty() {
                break;
            }
            for event in std::mem::take(&mut self.here) {
                self.node.handle(now, event, effects);
            }
        }
        self.teller.turned(&self.node, now.boot);
        if now.boot - self.travels_at >= limits::STORE_STATUS_INTERVAL {
            self.travels_at = now.boot;
            self.travels.send_replace(Arc::new(self.node.travels()));
        }
        self.next_ping = (self.surfaces.ping)(now.boot, self.node.ping_until());
    }

    fn next_deadline(&self) -> Instant {
        let remote = self.remote.values().map(|r| r.deadline);
        remote.chain(self.next_ping).fold(self.node.next_deadline(), Instant::min)
    }

    fn peer_event(&mut self, event: PeerEvent, effects: &mut Vec<Effect>) {
        match event {
            PeerEvent::Message { message, .. } => self.handle(Event::Message(message), effects),
            PeerEvent::Connected { peer, incarnation, process } => {
                self.handle(Event::Connected { peer, incarnation, process }, effects);
            }
            PeerEvent::Lost { peer } => self.handle(Event::Lost { peer }, effects),
            PeerEvent::Silent { peer } => self.handle(Event::Silent { peer }, effects),
            PeerEvent::StatusRequest { from, request, .. } => {
                let status = self.describe();
                self.transport.send_status_reply(from, request, status);
            }
            PeerEvent::StatusReply { from, request, status, .. } => {
                if self.remote.get(&request).is_some_and(|r| r.to == from)
                    && let Some(remote) = self.remote.remove(&request)
                {
                    let _ = remote.reply.send(Ok(status));
                }
            }
            PeerEvent::Release { from, release, .. } => {
                self.handle(Event::Release { from: Some(from), request: None, release }, effects);
            }
            PeerEvent::Standing { from: peer, eligible, priority, .. } => {
                self.handle(Event::PeerStanding { peer, eligible, priority }, effects);
            }
            PeerEvent::Snapshot { from, frame, .. } => {
                self.handle(Event::Snapshot { from, frame }, effects);
            }
            PeerEvent::Kv { from, frame, .. } => {
                self.handle(Event::KvFrame { from, frame }, effects);
            }
            PeerEvent::Announced { release, reply } => self.announced(release, reply, effects),
        }
    }

    fn announced(&mut self, release: Release, reply: AnnouncementReply, effects: &mut Vec<Effect>) {
        // Those that nobody waits for any more give their place back.
        self.announcements.retain(|_, reply| !reply.is_closed());
        let request = RequestId(self.fresh_number());
        self.announcements.insert(request, reply);
        let event = Event::Release { from: None, request: Some(request), release };
        self.handle(event, effects);
    }

    fn request(&mut self, request: Request, effects: &mut Vec<Effect>) {
        tell::asked(&request);
        match request {
            Request::Transfer { to, reply } => {
                let request = RequestId(self.fresh_number());
                self.transfers.insert(request, reply);
                self.handle(Event::Transfer { request, to }, effects);
            }
            Request::Takeover { reply } => {
                let request = RequestId(self.fresh_number());
                self.takeovers.insert(request, reply);
                self.handle(Event::Takeover { request }, effects);
            }
            Request::Pause { on, force, reply } => {
                let request = RequestId(self.fresh_number());
                self.pauses.insert(request, reply);
                self.handle(Event::Pause { request, on, force }, effects);
            }
            Request::RemoteStatus { of, reply } => self.ask_remote(of, reply),
            Request::Kv(request) => {
                let id = RequestId(self.fresh_number());
                let event = self.store_requests.take(id, request, clock::now());
                self.handle(event, effects);
            }
            Request::Shutdown => self.handle(Event::Shutdown, effects),
        }
    }

    fn describe(&self) -> String {
        (self.surfaces.describe)(self.node.status(), &self.surfaces.host.borrow())
    }

    fn fresh_number(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(message) => self.transport.send(message),
            Effect::Persist { number, persist } => {
                self.ask_disk(DiskRequest::Persist { number, persist });
            }
            Effect::Fetch(fetch) => self.ask_disk(DiskRequest::Fetch(fetch)),
            Effect::Compact { index, term } => self.ask_disk(DiskRequest::Compact { index, term }),
            Effect::Store(request) => self.here.extend(self.store.ask(request)),
            Effect::Snapshot(request) => self.snapshots.ask(request),
            Effect::SendSnapshot { to, frame } => self.transport.send_snapshot(to, frame),
            Effect::SnapshotNews(news) => tell::snapshot(&news, self.node.status()),
            Effect::Answer { request, answer } => self.answer(request, answer),
            Effect::Learn(known) => self.transport.learn(known),
            Effect::Publish(status) => {
                self.teller.published(&status);
                self.status.send_replace(Arc::new(*status));
            }
            Effect::Changed(change) => {
                self.teller.changed(&change, self.node.status());
                // Nobody listening is no error.
                let _ = self.changes.send(change);
            }
            Effect::Act(consequence) => (self.surfaces.act)(&consequence, self.node.status()),
            Effect::Announce { to, release } => {
                self.transport.send_release(to, release);
            }
            Effect::Standing { eligible, priority } => {
                self.transport.set_standing(eligible, priority);
            }
            Effect::Host(order) => (self.surfaces.order)(order),
            Effect::KvSend { to, frame } => {
                self.transport.send_kv(to, frame);
            }
            Effect::Warn(text) => tracing::warn!("{text}, ignoring"),
            Effect::Stopped => self.stopped = true,
        }
    }

    fn ask_disk(&mut self, request: DiskRequest) {
        // The node bounds the writes that wait (`limits::DISK_QUEUE_REQUESTS`), and everything else
        // follows from writes that are done: the channel cannot be full unless that is broken.
        let sent = self.disk.requests.try_send(Box::new(request));
        sent.expect("more disk requests than the node allows, or the disk thread is gone");
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        tell::answered(&answer);
        match answer {
            Answer::Transferred(result) => {
                if let Some(reply) = self.transfers.remove(&request) {
                    let _ = reply.send(result);
                }
            }
            Answer::TakenOver(result) => {
                if let Some(reply) = self.takeovers.remove(&request) {
                    let _ = reply.send(result);
                }
            }
            Answer::Paused(result) => {
                if let Some(reply) = self.pauses.remove(&request) {
                    let _ = reply.send(result);
                }
            }
            Answer::Written(result) => self.store_requests.written(request, result),
            Answer::Read(result) => self.store_requests.read(request, result),
            Answer::Release(outcome) => {
                if let Some(reply) = self.announcements.remove(&request) {
                    reply.send(outcome);
                }
            }
            Answer::Applied { .. } | Answer::Refused { .. } | Answer::Unknown => {}
        }
    }
}
