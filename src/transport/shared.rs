//! What the tasks of one transport have in common.
//!
//! One lock around small maps; nobody waits while holding it. News are decided and handed over
//! under that lock, so the driver hears them in the order in which they were decided.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::announce::Rate;
use super::complaints::Complaints;
use super::handshake::{self, Mismatch, Ours, Speaker};
use super::lane::{Lane, Outgoing, Pushed};
use super::link::{Link, News};
use super::wire::{ConnectionKind, Greeting, Standing};
use super::{Counters, Credit, Identity, Known, Peer, PeerEvent};
use crate::core::story::tell;
use crate::core::{ClusterId, Incarnation, NodeId};
use crate::limits;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub identity: Identity,
    pub peers: BTreeMap<NodeId, Peer>,
    pub tally: Tally,
    lanes: BTreeMap<NodeId, Lanes>,
    events: mpsc::Sender<PeerEvent>,
    announcement_places: Arc<Semaphore>,
    state: Mutex<State>,
}

/// The two connections to a peer, and what its own two may have waiting here.
#[derive(Debug)]
struct Lanes {
    control: Lane,
    bulk: Lane,
    control_credit: Arc<Semaphore>,
    bulk_credit: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    known: Known,
    seen: BTreeMap<NodeId, Incarnation>,
    cluster_ids: BTreeMap<NodeId, ClusterId>,
    links: BTreeMap<NodeId, Link>,
    complaints: Complaints,
    next_ticket: u64,
    handshaking: BTreeMap<u64, AbortHandle>,
    inbound: BTreeMap<(NodeId, ConnectionKind), (u64, AbortHandle)>,
    announcement_rate: Rate,
    /// What this node says about itself, once it is known.
    standing: Option<Standing>,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub sent_frames: AtomicU64,
    pub sent_bytes: AtomicU64,
    pub received_frames: AtomicU64,
    pub received_bytes: AtomicU64,
    pub dropped_full: AtomicU64,
    pub dropped_unreachable: AtomicU64,
    pub dropped_too_large: AtomicU64,
    pub refused: AtomicU64,
    pub faulty: AtomicU64,
    pub evicted: AtomicU64,
    pub announcements: AtomicU64,
    pub dropped_announcements: AtomicU64,
}

impl Tally {
    pub(super) fn snapshot(&self) -> Counters {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            sent_frames: load(&self.sent_frames),
            sent_bytes: load(&self.sent_bytes),
            received_frames: load(&self.received_frames),
            received_bytes: load(&self.received_bytes),
            dropped_full: load(&self.dropped_full),
            dropped_unreachable: load(&self.dropped_unreachable),
            dropped_too_large: load(&self.dropped_too_large),
            refused: load(&self.refused),
            faulty: load(&self.faulty),
            evicted: load(&self.evicted),
            announcements: load(&self.announcements),
            dropped_announcements: load(&self.dropped_announcements),
        }
    }
}

/// Adds to one of the counts.
pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl Shared {
    pub(super) fn new(
        identity: Identity,
        peers: Vec<Peer>,
        known: Known,
        events: mpsc::Sender<PeerEvent>,
    ) -> Shared {
        let lanes = |peer: &Peer| {
            let lanes = Lanes {
                control: Lane::new(limits::CONTROL_PAYLOAD_MAX_BYTES),
                bulk: Lane::new(limits::FRAME_PAYLOAD_MAX_BYTES),
                control_credit: Arc::new(Semaphore::new(limits::INBOUND_CONTROL_BYTES)),
                bulk_credit: Arc::new(Semaphore::new(limits::INBOUND_BULK_BYTES)),
            };
            (peer.id, lanes)
        };
        Shared {
            identity,
            lanes: peers.iter().map(lanes).collect(),
            peers: peers.into_iter().map(|peer| (peer.id, peer)).collect(),
            tally: Tally::default(),
            events,
            announcement_places: Arc::new(Semaphore::new(limits::ANNOUNCEMENTS_WAITING_MAX)),
            state: Mutex::new(State { known, ..State::default() }),
        }
    }

    /// The lane of a configured peer.
    pub(super) fn lane(&self, peer: NodeId, kind: ConnectionKind) -> &Lane {
        let lanes = &self.lanes[&peer];
        if kind == ConnectionKind::Bulk { &lanes.bulk } else { &lanes.control }
    }

    /// Every lane there is.
    pub(super) fn each_lane(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.values().flat_map(|lanes| [&lanes.control, &lanes.bulk])
    }

    /// Queues `item` for `to` and counts it if it was dropped.
    pub(super) fn push(&self, to: NodeId, kind: ConnectionKind, item: Outgoing) -> Pushed {
        let known = self.lanes.contains_key(&to);
        let pushed = if known { self.lane(to, kind).push(item) } else { Pushed::Unreachable };
        match pushed {
            Pushed::Queued => {}
            Pushed::Full => count(&self.tally.dropped_full, 1),
            Pushed::Unreachable => count(&self.tally.dropped_unreachable, 1),
            Pushed::TooLarge => count(&self.tally.dropped_too_large, 1),
            Pushed::TooNew => {
                let name = &self.peers[&to].name;
                let line = format!("{name} runs a version that does not know the store");
                self.complain(Some(to), &line, &line);
            }
        }
        pushed
    }

    /// From now on this node says this about itself, to everybody.
    pub(super) fn set_standing(&self, standing: Standing) {
        let mut state = self.lock();
        state.standing = Some(standing);
        // Under the lock: a connection that is just made cannot get the word before after this one.
        self.lanes.values().for_each(|lanes| lanes.control.offer(standing));
    }

    /// A connection to `peer` stands that speaks this protocol version.
    pub(super) fn introduce(&self, peer: NodeId, kind: ConnectionKind, protocol: u32) {
        let state = self.lock();
        let says_standing = kind == ConnectionKind::Control;
        self.lane(peer, kind).connected(protocol, state.standing.filter(|_| says_standing));
    }

    /// What to say to a configured peer.
    pub(super) fn greeting(&self, receiver: NodeId, kind: ConnectionKind) -> Greeting {
        let state = self.lock();
        handshake::greeting(self.ours(&state), &self.peers[&receiver], kind)
    }

    /// Judges a greeting, and remembers who it was if it fits.
    pub(super) fn admit(
        &self,
        dialed: Option<NodeId>,
        theirs: &Greeting,
    ) -> Result<Speaker, Mismatch> {
        let mut state = self.lock();
        let speaker = handshake::check(self.ours(&state), dialed, theirs)?;
        state.seen.entry(speaker.id).or_insert(speaker.incarnation);
        if let Some(cluster_id) = speaker.cluster_id {
            state.cluster_ids.insert(speaker.id, cluster_id);
        }
        Ok(speaker)
    }

    /// A place for one announcement on its way to the driver and back, unless too many come.
    pub(super) fn announcement_place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.announcement_places).try_acquire_owned().ok()?;
        self.lock().announcement_rate.admit(Instant::now()).then_some(place)
    }

    /// Takes over what the replicated state says. A peer that no longer fits loses its connections
    /// and has to pass the handshake again.
    pub(super) fn learn(&self, known: Known) {
        let mut state = self.lock();
        if state.known == known {
            return;
        }
        let mut unfit = Vec::new();
        for &peer in self.peers.keys() {
            let recorded = known.incarnations.get(&peer);
            let other_disk = recorded.is_some() && state.seen.get(&peer) != recorded;
            let theirs = state.cluster_ids.get(&peer);
            let other_cluster = known.cluster_id.is_some_and(|id| theirs.is_some_and(|t| *t != id));
            if (other_disk && state.seen.remove(&peer).is_some()) || other_cluster {
                state.cluster_ids.remove(&peer);
                unfit.push(peer);
            }
        }
        state.known = known;
        for peer in unfit {
            for kind in [ConnectionKind::Control, ConnectionKind::Bulk] {
                if let Some((_, task)) = state.inbound.remove(&(peer, kind)) {
                    task.abort();
                }
                self.lane(peer, kind).signal(|signals| signals.discard = true);
            }
        }
    }

    /// Tells the driver what an observation of `peer` means, if it means anything new.
    pub(super) async fn report(
        &self,
        peer: NodeId,
        observe: impl FnOnce(&mut Link) -> Option<News>,
    ) {
        // The place in the queue comes first: between decision and hand-over nothing may happen.
        let Ok(place) = self.events.reserve().await else { return };
        let mut state = self.lock();
        place.send(match observe(state.links.entry(peer).or_default()) {
            None => return,
            Some(News::Connected { incarnation, process }) => {
                PeerEvent::Connected { peer, incarnation, process }
            }
            Some(News::Lost) => PeerEvent::Lost { peer },
            Some(News::Silent) => PeerEvent::Silent { peer },
        });
    }

    /// What the driver was told about `peer` last.
    pub(super) fn link(&self, peer: NodeId) -> Link {
        self.lock().links.get(&peer).copied().unwrap_or_default()
    }

    /// Hands an event to the driver; waits while its queue is full. False when nobody listens.
    pub(super) async fn hand_over(&self, event: PeerEvent) -> bool {
        self.events.send(event).await.is_ok()
    }

    /// Waits until `peer` may have `bytes` more waiting for the driver.
    pub(super) async fn credit(&self, peer: NodeId, kind: ConnectionKind, bytes: usize) -> Credit {
        let lanes = &self.lanes[&peer];
        let (pool, least, most) = match kind {
            ConnectionKind::Bulk => (
                &lanes.bulk_credit,
                limits::INBOUND_BULK_MESSAGE_MIN_BYTES,
                limits::INBOUND_BULK_BYTES,
            ),
            _ => (
                &lanes.control_credit,
                limits::INBOUND_CONTROL_MESSAGE_MIN_BYTES,
                limits::INBOUND_CONTROL_BYTES,
            ),
        };
        // Something heavier than the whole pool waits for all of it, not for ever.
        let bytes = u32::try_from(bytes.clamp(least, most)).expect("the pools are below 4 GiB");
        let permit = Arc::clone(pool).acquire_many_owned(bytes).await;
        Credit::new(permit.expect("the pools are never closed"))
    }

    /// Logs a warning about `peer` (`None` for a stranger) unless it was said lately.
    pub(super) fn complain(&self, peer: Option<NodeId>, key: &str, line: &str) {
        if self.is_news(peer, key) {
            let name = peer.and_then(|peer| self.peers.get(&peer)).map(|peer| peer.name.as_str());
            tell!(PeerRefused, peer = name, reason = line; "{line}.");
        }
    }

    /// Whether it was not said lately.
    pub(super) fn is_news(&self, peer: Option<NodeId>, key: &str) -> bool {
        self.lock().complaints.admit(peer, key, Instant::now())
    }

    /// Enters a new incoming connection, whose task `spawn` starts with the ticket it is given.
    /// The oldest one without a handshake makes room.
    pub(super) fn enter(&self, spawn: impl FnOnce(u64) -> AbortHandle) {
        let mut state = self.lock();
        if state.handshaking.len() >= limits::HANDSHAKING_CONNECTIONS_MAX
            && let Some((_, oldest)) = state.handshaking.pop_first()
        {
            oldest.abort();
            count(&self.tally.evicted, 1);
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        // Spawned under the lock: the task cannot look for its ticket before it is there.
        let task = spawn(ticket);
        state.handshaking.insert(ticket, task);
    }

    /// Makes an incoming connection the one of `peer` and `kind`; an older one is closed without
    /// a word to the driver. False if the connection was itself closed meanwhile.
    pub(super) fn settle(&self, ticket: u64, peer: NodeId, kind: ConnectionKind) -> bool {
        let mut state = self.lock();
        let Some(task) = state.handshaking.remove(&ticket) else { return false };
        if let Some((_, older)) = state.inbound.insert((peer, kind), (ticket, task)) {
            older.abort();
        }
        true
    }

    /// Forgets an incoming connection that ended. True if it was the present one of a peer.
    pub(super) fn leave(&self, ticket: u64) -> bool {
        let mut state = self.lock();
        state.handshaking.remove(&ticket);
        let present = state.inbound.iter().find(|(_, (other, _))| *other == ticket);
        let key = present.map(|(key, _)| *key);
        key.is_some_and(|key| state.inbound.remove(&key).is_some())
    }

    /// Closes every incoming connection.
    pub(super) fn close_inbound(&self) {
        let mut state = self.lock();
        let handshaking = std::mem::take(&mut state.handshaking);
        let inbound = std::mem::take(&mut state.inbound);
        for task in handshaking.into_values().chain(inbound.into_values().map(|(_, task)| task)) {
            task.abort();
        }
    }

    fn ours<'a>(&'a self, state: &'a State) -> Ours<'a> {
        let State { known, seen, .. } = state;
        Ours { identity: &self.identity, known, peers: &self.peers, seen }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}
