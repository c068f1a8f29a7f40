//! Floor 2: Raft over TCP on a listener that is given.
//!
//! Owns the sockets. Every node dials every peer twice, once for control and once for bulk
//! messages, and only the dialer sends on a connection; so a heartbeat or a vote never waits behind
//! a large append. What arrives, and what can be told about the peers' processes, goes to the
//! driver as [`PeerEvent`]s in one bounded queue.
//!
//! Guarantees: a message is handed over only from the node it claims to be from, of this cluster
//! and of the recorded incarnation, and whole (CRC32C). A release announced on a connection without
//! a handshake is handed over as such, and nothing else is concluded from it. Whatever bytes
//! arrive, nothing panics and memory stays within `limits`. Messages of one connection keep their
//! order; any of them may be lost.
//!
//! Does not do: encryption or proof of identity (whoever can reach the listener and knows the
//! names and identities can speak), retries, or any judgement of what a Raft message says.
//!
//! | module | what |
//! |---|---|
//! | [`frame`], [`wire`] | bytes; pure |
//! | [`handshake`] | who may speak with whom; pure |
//! | [`snapshot`] | the rows of a snapshot as payloads; pure |
//! | `announce` | releases said by somebody who is no peer: what is taken, and how many; pure |
//! | `link`, `complaints` | what is news to the driver, what is news to the log; pure |
//! | `lane` | the queue of one outgoing connection |
//! | `dial`, `accept` | the tasks: one for each outgoing and each incoming connection |
//! | `reach`, `jitter` | one dial; the pause before the next |
//! | `stream` | a socket as a source of frames |
//! | `counters` | what was sent, received and dropped |
//! | `shared` | what the tasks have in common |

mod accept;
mod announce;
mod complaints;
mod counters;
mod dial;
pub mod frame;
pub mod handshake;
mod jitter;
mod lane;
mod link;
mod reach;
mod shared;
pub mod snapshot;
mod stream;
mod tell;
pub mod wire;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::core::command::Release;
use crate::core::kv::KvFrame;
use crate::core::message::Message;
use crate::core::release::ReleaseOutcome;
use crate::core::{Address, ClusterId, Incarnation, NodeId, NodeName};
use crate::limits;
pub use counters::Counters;
use dial::Dialer;
use lane::{Outgoing, Pushed};
use shared::Shared;
use snapshot::SnapshotFrame;
use wire::{ConnectionKind, Standing, StatusReply, StatusRequest};

/// Who this node is, as it tells its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the cluster, from the configuration.
    pub cluster_name: String,
    /// This node's name.
    pub node: NodeName,
    /// This node's number.
    pub id: NodeId,
    /// Identity of its state directory.
    pub incarnation: Incarnation,
    /// Random number of this run of the agent: another one proves that the former is gone.
    pub process: u64,
    /// Digest of the configured member list; must be equal until both sides know the cluster's
    /// identity.
    pub bootstrap: [u8; 16],
    /// E (DESIGN 5), in milliseconds; must be equal on all members.
    pub election_min_ms: u64,
    /// Version of the program, for the log.
    pub version: String,
}

/// Another member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where its listener is reached.
    pub address: Address,
}

/// What the replicated state says; the handshake holds peers to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Identity of the cluster, once committed.
    pub cluster_id: Option<ClusterId>,
    /// Recorded incarnations of members.
    pub incarnations: BTreeMap<NodeId, Incarnation>,
}

/// What the transport tells the driver.
#[derive(Debug)]
pub enum PeerEvent {
    /// A Raft message, really from `from` and to this node.
    Message {
        /// The peer that sent it.
        from: NodeId,
        /// The message, decoded but not judged.
        message: Message,
        /// Drop it when the message has been taken over; until then it counts against the sender.
        credit: Credit,
    },
    /// A process of `peer` has passed the handshake of a control connection, in either direction.
    /// Told again only after `Lost`, or for another process.
    Connected {
        /// Which peer.
        peer: NodeId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// Random number of this run of its agent. Another one than before proves that the process
        /// before is gone, as [`PeerEvent::Silent`] does.
        process: u64,
    },
    /// A control connection with `peer`, in either direction, has ended. No evidence yet: the peer
    /// is being dialed anew, and `Connected` or `Silent` follows.
    Lost {
        /// Which peer.
        peer: NodeId,
    },
    /// That dial was refused, or not answered within [`limits::REDIAL_ANSWER`]: evidence that the
    /// peer's process is gone. Dialing goes on.
    Silent {
        /// Which peer.
        peer: NodeId,
    },
    /// `from` asks for this node's status.
    StatusRequest {
        /// Who asks.
        from: NodeId,
        /// To be repeated in the answer.
        request: u64,
        /// As for a message.
        credit: Credit,
    },
    /// `from` answers a status request.
    StatusReply {
        /// Who answers.
        from: NodeId,
        /// Number of the request.
        request: u64,
        /// JSON text.
        status: String,
        /// As for a message.
        credit: Credit,
    },
    /// `from` says that an activation of its own is released, or its whole invocation.
    Release {
        /// The peer, whose activation it is.
        from: NodeId,
        /// What; it has the form of a release.
        release: Release,
        /// As for a message.
        credit: Credit,
    },
    /// `from` says how it stands. Heard after each `Connected` of a peer that knows how to say it,
    /// and at every change.
    Standing {
        /// The peer.
        from: NodeId,
        /// Whether it may be active.
        eligible: bool,
        /// How much it should be preferred.
        priority: u32,
        /// As for a message.
        credit: Credit,
    },
    /// `from` offers a snapshot, sends rows of one, or reports what it has of ours.
    Snapshot {
        /// The peer.
        from: NodeId,
        /// What it says; within its bounds.
        frame: SnapshotFrame,
        /// As for a message.
        credit: Credit,
    },
    /// `from` says something about the store.
    Kv {
        /// The peer.
        from: NodeId,
        /// What, decoded but not judged.
        frame: KvFrame,
        /// As for a message.
        credit: Credit,
    },
    /// Somebody announces that an invocation of another member is released. Not evidence of
    /// anything: who says it is not known, and only the secret may be judged.
    Announced {
        /// What; it has a secret and names another member.
        release: Release,
        /// Takes the answer.
        reply: AnnouncementReply,
    },
}

/// Takes the answer to one announcement. Dropped without one, its connection is closed.
#[derive(Debug)]
pub struct AnnouncementReply {
    sender: oneshot::Sender<ReleaseOutcome>,
    /// Its place among [`limits::ANNOUNCEMENTS_WAITING_MAX`].
    _place: OwnedSemaphorePermit,
}

impl AnnouncementReply {
    /// Answers; nobody may wait any more.
    pub fn send(self, outcome: ReleaseOutcome) {
        let _ = self.sender.send(outcome);
    }

    /// Whether nobody waits any more.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Room in the transport's share of memory that a message occupies until this is dropped. A peer
/// whose messages occupy all of its room is not read. The default occupies nothing.
#[derive(Debug, Default)]
pub struct Credit(Option<OwnedSemaphorePermit>);

impl Credit {
    fn new(permit: OwnedSemaphorePermit) -> Credit {
        Credit(Some(permit))
    }

    /// Bytes of room occupied.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

/// Starts to listen and to dial. `events` should hold [`limits::DRIVER_QUEUE_EVENTS`]; when it is
/// full, connections are not read. Control connections have a share of it that bulk messages can
/// not take, see [`limits::INBOUND_BULK_MESSAGE_MIN_BYTES`]. `seed` spreads the reconnects.
///
/// Must be called inside a tokio runtime with I/O and time; the transport lives until the handle is
/// dropped or shut down.
///
/// # Errors
///
/// If the listener cannot be made non-blocking or registered with the runtime.
pub fn start(
    listener: std::net::TcpListener,
    identity: Identity,
    peers: Vec<Peer>,
    known: Known,
    events: mpsc::Sender<PeerEvent>,
    seed: u64,
) -> io::Result<TransportHandle> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    assert!(peers.iter().all(|peer| peer.id != identity.id), "a node is not its own peer");
    let shared = Arc::new(Shared::new(identity, peers, known, events));
    let acceptor = tokio::spawn(accept::run(Arc::clone(&shared), listener));
    let mut dialers = Vec::new();
    for &peer in shared.peers.keys() {
        for kind in [ConnectionKind::Control, ConnectionKind::Bulk] {
            let dialer = Dialer::new(Arc::clone(&shared), peer, kind, seed);
            dialers.push(tokio::spawn(dialer.run()));
        }
    }
    Ok(TransportHandle { shared, acceptor: Some(acceptor), dialers })
}

/// A running transport. Dropping it closes everything at once.
#[derive(Debug)]
pub struct TransportHandle {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    dialers: Vec<JoinHandle<()>>,
}

impl TransportHandle {
    /// Sends `message` to its receiver. Never waits; a message that cannot be queued is dropped
    /// and counted.
    ///
    /// # Panics
    ///
    /// If the message is not from this node.
    pub fn send(&self, message: Message) {
        assert_eq!(message.from, self.shared.identity.id.0, "a node sends in its own name");
        let kind = if message.is_bulk() { ConnectionKind::Bulk } else { ConnectionKind::Control };
        self.shared.push(NodeId(message.to), kind, Outgoing::Message(message));
    }

    /// Asks `to` for its status; the answer comes as [`PeerEvent::StatusReply`]. False if the
    /// request was dropped.
    pub fn send_status_request(&self, to: NodeId, request: u64) -> bool {
        let item = Outgoing::StatusRequest(StatusRequest { request });
        self.shared.push(to, ConnectionKind::Control, item) == Pushed::Queued
    }

    /// Answers a status request of `to`. False if the answer was dropped, which includes that it
    /// is larger than [`limits::CONTROL_PAYLOAD_MAX_BYTES`].
    pub fn send_status_reply(&self, to: NodeId, request: u64, status: String) -> bool {
        let item = Outgoing::StatusReply(StatusReply { request, status });
        self.shared.push(to, ConnectionKind::Control, item) == Pushed::Queued
    }

    /// Says to `to` that an activation of this node is released. False if it was dropped.
    ///
    /// # Panics
    ///
    /// If the activation is not this node's.
    pub fn send_release(&self, to: NodeId, release: Release) -> bool {
        assert_eq!(release.node, self.shared.identity.id.0, "a node releases in its own name");
        let item = Outgoing::Release(release);
        self.shared.push(to, ConnectionKind::Control, item) == Pushed::Queued
    }

    /// Sends something about a snapshot to `to`. It may be dropped; a sender asks again.
    pub fn send_snapshot(&self, to: NodeId, frame: SnapshotFrame) {
        let kind = frame.connection();
        self.shared.push(to, kind, Outgoing::Snapshot(frame));
    }

    /// Says something about the store to `to`: writes behind the appends, the rest among what is
    /// small. False if it was dropped.
    pub fn send_kv(&self, to: NodeId, frame: KvFrame) -> bool {
        let small = frame.writes.is_empty();
        let kind = if small { ConnectionKind::Control } else { ConnectionKind::Bulk };
        self.shared.push(to, kind, Outgoing::Kv(frame)) == Pushed::Queued
    }

    /// From now on every peer is told this, now and whenever a connection is made. Never dropped;
    /// of several words only the newest may be said.
    pub fn set_standing(&self, eligible: bool, priority: u32) {
        self.shared.set_standing(Standing { eligible, priority });
    }

    /// Takes over what the replicated state says now. Cheap when nothing has changed.
    pub fn learn(&self, known: Known) {
        self.shared.learn(known);
    }

    /// The counts so far.
    pub fn counters(&self) -> Counters {
        self.shared.tally.snapshot()
    }

    /// Stops listening, writes what is queued for at most [`limits::SHUTDOWN_FLUSH`], closes.
    pub async fn shutdown(mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.abort();
            // Its end closes the listener; a peer that redials is refused from then on.
            let _ = acceptor.await;
        }
        for lane in self.shared.each_lane() {
            lane.signal(|signals| signals.close = true);
        }
        let deadline = tokio::time::Instant::now() + limits::SHUTDOWN_FLUSH + FLUSH_SLACK;
        for dialer in &mut self.dialers {
            let _ = tokio::time::timeout_at(deadline, dialer).await;
        }
    }
}

impl Drop for TransportHandle {
    fn drop(&mut self) {
        for task in self.acceptor.iter().chain(&self.dialers) {
            task.abort();
        }
        self.shared.close_inbound();
    }
}

/// What the dialers may take longer than they should before they are cut off.
const FLUSH_SLACK: Duration = Duration::from_millis(100);
