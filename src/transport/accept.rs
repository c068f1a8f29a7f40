//! The accepting side: one task for the listener, one for each incoming connection.
//!
//! An incoming connection answers the handshake and is read from then on; nothing else is ever
//! written to it. At most one for each peer and kind is kept, the newest: its dialer has already
//! given up the older one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nix::errno::Errno;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::announce;
use super::frame::{self, FrameType};
use super::handshake::{Mismatch, Speaker};
use super::lane::Signals;
use super::shared::{Shared, count};
use super::snapshot::SnapshotFrame;
use super::stream::{FrameReader, ReadError};
use super::wire::{self, Announce, Announced, ConnectionKind, Greeting, PayloadError};
use super::wire::{Standing, StatusReply, StatusRequest};
use super::{AnnouncementReply, Credit, PeerEvent};
use crate::core::NodeId;
use crate::core::command::Release;
use crate::core::release::UnfitRelease;
use crate::limits;

/// Accepts for ever.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                shared.enter(|ticket| {
                    let inbound = Inbound::new(Arc::clone(&shared), ticket, stream, address);
                    tokio::spawn(inbound.run()).abort_handle()
                });
            }
            // The connection failed before it was accepted (accept(2)); the listener is well.
            Err(error) if !is_shortage(&error) => {
                tracing::debug!("incoming connection failed before it was accepted: {error}");
                tokio::task::yield_now().await;
            }
            Err(error) => {
                let ms = limits::ACCEPT_RETRY.as_millis();
                let line = format!("cannot accept connections: {error}; trying every {ms} ms");
                if shared.is_news(None, &line) {
                    tracing::warn!("{line}");
                }
                sleep(limits::ACCEPT_RETRY).await;
            }
        }
    }
}

/// Whether `accept` failed because of this host rather than of one connection.
fn is_shortage(error: &io::Error) -> bool {
    let transient = [
        Errno::ECONNABORTED,
        Errno::EINTR,
        Errno::ENETDOWN,
        Errno::EPROTO,
        Errno::ENOPROTOOPT,
        Errno::EHOSTDOWN,
        Errno::ENONET,
        Errno::EHOSTUNREACH,
        Errno::ENETUNREACH,
    ];
    !transient.iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// One incoming connection.
struct Inbound {
    shared: Arc<Shared>,
    ticket: u64,
    stream: TcpStream,
    address: SocketAddr,
    reader: FrameReader,
    /// Whom the greeting claims to be from, if there is such a peer.
    claimed: Option<NodeId>,
}

/// Why an incoming connection is closed.
#[derive(Debug, thiserror::Error)]
enum InboundError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("no handshake within {} ms", limits::HANDSHAKE_TIMEOUT.as_millis())]
    TooSlow,
    #[error("{0}")]
    Unfit(Mismatch),
    #[error("{0}")]
    Refused(Mismatch),
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("a frame of type {0:?} where none is expected")]
    Unexpected(FrameType),
    #[error("a message from node {from} to node {to}, expected from {peer} to {us}")]
    Forged { from: u64, to: u64, peer: NodeId, us: NodeId },
    #[error("a release of an activation of node {node}, expected one of {peer}")]
    ForeignRelease { node: u64, peer: NodeId },
    #[error(transparent)]
    Release(#[from] UnfitRelease),
    #[error("more announcements of releases than are taken at once")]
    TooManyAnnouncements,
    #[error("an announcement was not answered in time")]
    Unanswered,
    #[error("this node is stopping")]
    Stopping,
}

impl InboundError {
    /// Whether the other side broke the rules, rather than the connection.
    fn is_fault(&self) -> bool {
        !matches!(
            self,
            InboundError::Read(ReadError::Closed | ReadError::Io(_) | ReadError::Torn { .. })
                | InboundError::Unanswered
                | InboundError::Stopping
        )
    }
}

impl Inbound {
    fn new(shared: Arc<Shared>, ticket: u64, stream: TcpStream, address: SocketAddr) -> Inbound {
        let reader = FrameReader::default();
        Inbound { shared, ticket, stream, address, reader, claimed: None }
    }

    async fn run(mut self) {
        let handshake = timeout(limits::HANDSHAKE_TIMEOUT, self.handshake()).await;
        match handshake.unwrap_or(Err(InboundError::TooSlow)) {
            Ok(Some(speaker)) => self.serve(speaker).await,
            Ok(None) => {
                self.shared.leave(self.ticket);
            }
            Err(error) => {
                self.complain(self.claimed, &error);
                self.shared.leave(self.ticket);
            }
        }
    }

    /// Reads `Hello`, answers it. On success the connection is the present one of its peer. `None`
    /// after an announcement, which is no peer.
    async fn handshake(&mut self) -> Result<Option<Speaker>, InboundError> {
        let max = limits::HANDSHAKE_PAYLOAD_MAX_BYTES;
        let (kind, payload) = self.reader.next(&self.stream, max).await?;
        let hello: Greeting = match kind {
            FrameType::Hello => read(payload)?,
            FrameType::Announce => {
                let announce = read(payload)?;
                return self.announcement(announce).await.map(|()| None);
            }
            _ => return Err(InboundError::Unexpected(kind)),
        };
        let claimed = self.shared.peers.get(&NodeId(hello.id));
        self.claimed = claimed.filter(|peer| peer.name.as_str() == hello.node).map(|peer| peer.id);
        let speaker = match self.shared.admit(None, &hello) {
            Ok(speaker) => speaker,
            Err(mismatch) => return Err(self.refuse(mismatch).await),
        };
        // BEFORE the answer: once the dialer has it, it closes its older connection, which must
        // not look like a loss.
        if !self.shared.settle(self.ticket, speaker.id, speaker.kind) {
            return Err(InboundError::Stopping);
        }
        let mut answer = Vec::new();
        let welcome = self.shared.greeting(speaker.id, speaker.kind);
        frame::encode_into(&mut answer, FrameType::Welcome, &welcome);
        self.stream.write_all(&answer).await.map_err(ReadError::Io)?;
        Ok(Some(speaker))
    }

    /// Hands an announcement to the driver and passes its answer on. Nothing is learned of its
    /// sender: it has no identity, is no sign of life, and its connection counts as one without
    /// handshake to the end.
    async fn announcement(&mut self, announce: Announce) -> Result<(), InboundError> {
        let shared = Arc::clone(&self.shared);
        let release = match announce::check(&shared.identity, &shared.peers, announce) {
            Ok(release) => release,
            Err(mismatch) => return Err(self.refuse(mismatch).await),
        };
        let Some(place) = shared.announcement_place() else {
            return Err(InboundError::TooManyAnnouncements);
        };
        let (sender, outcome) = oneshot::channel();
        let reply = AnnouncementReply { sender, _place: place };
        if !shared.hand_over(PeerEvent::Announced { release, reply }).await {
            return Err(InboundError::Stopping);
        }
        count(&shared.tally.announcements, 1);
        let outcome = timeout(limits::ANNOUNCEMENT_ANSWER, outcome).await;
        let outcome = outcome.ok().and_then(Result::ok).ok_or(InboundError::Unanswered)?;
        let mut answer = Vec::new();
        let announced = Announced { outcome: outcome as i32 };
        frame::encode_into(&mut answer, FrameType::Announced, &announced);
        Ok(self.stream.write_all(&answer).await.map_err(ReadError::Io)?)
    }

    /// Says why the other side does not fit.
    async fn refuse(&mut self, mismatch: Mismatch) -> InboundError {
        let mut answer = Vec::new();
        let refusal = mismatch.to_refusal(self.shared.identity.process);
        frame::encode_into(&mut answer, FrameType::Refused, &refusal);
        let _ = self.stream.write_all(&answer).await;
        InboundError::Unfit(mismatch)
    }

    /// Reads until the connection ends.
    async fn serve(mut self, speaker: Speaker) {
        let Speaker { id: peer, incarnation, process, kind, .. } = speaker;
        let is_control = kind == ConnectionKind::Control;
        if is_control {
            self.shared.report(peer, |link| link.connected(incarnation, process)).await;
        }
        for kind in [ConnectionKind::Control, ConnectionKind::Bulk] {
            self.shared.lane(peer, kind).signal(|signals| signals.wake = true);
        }
        let error = loop {
            if let Err(error) = self.receive(peer, kind).await {
                break error;
            }
        };
        self.complain(Some(peer), &error);
        if self.shared.leave(self.ticket) && is_control {
            let ended = Instant::now();
            let redial = |signals: &mut Signals| signals.redial = Some(ended);
            self.shared.report(peer, |link| link.closed(process)).await;
            self.shared.lane(peer, ConnectionKind::Control).signal(redial);
        }
    }

    /// Reads one frame and hands over what it says.
    async fn receive(&mut self, peer: NodeId, kind: ConnectionKind) -> Result<(), InboundError> {
        let shared = &self.shared;
        let max = match kind {
            ConnectionKind::Bulk => limits::FRAME_PAYLOAD_MAX_BYTES,
            _ => limits::CONTROL_PAYLOAD_MAX_BYTES,
        };
        let (frame_type, payload) = self.reader.next(&self.stream, max).await?;
        count(&shared.tally.received_frames, 1);
        count(&shared.tally.received_bytes, payload.len());
        let weight = match frame_type {
            FrameType::Message => wire::weigh(payload)?,
            _ => payload.len(),
        };
        // BEFORE decoding: what is not paid for does not exist.
        let credit = shared.credit(peer, kind, weight).await;
        let event = read_event(shared.identity.id, peer, frame_type, payload, credit)?;
        if shared.hand_over(event).await { Ok(()) } else { Err(InboundError::Stopping) }
    }

    fn complain(&self, peer: Option<NodeId>, error: &InboundError) {
        let Inbound { shared, address, .. } = self;
        let name = peer.map_or("a stranger", |id| shared.peers[&id].name.as_str());
        let (counter, key, line) = match error {
            InboundError::Unfit(mismatch) => {
                let line = format!("Refused a connection from {name} at {address}: {mismatch}");
                (&shared.tally.refused, mismatch.to_string(), line)
            }
            InboundError::Refused(mismatch) => {
                let line = format!("{name} at {address} refuses this node: {mismatch}");
                (&shared.tally.refused, mismatch.to_string(), line)
            }
            InboundError::TooManyAnnouncements => {
                let line = format!("Closed a connection from {name} at {address}: {error}");
                (&shared.tally.dropped_announcements, error.to_string(), line)
            }
            error if error.is_fault() => {
                let line = format!("Closed a connection from {name} at {address}: {error}");
                (&shared.tally.faulty, error.to_string(), line)
            }
            error => {
                tracing::debug!("connection from {name} at {address} ended: {error}");
                return;
            }
        };
        count(counter, 1);
        shared.complain(peer, &key, &line);
    }
}

/// What a frame of `peer` says, if it may say it.
fn read_event(
    us: NodeId,
    peer: NodeId,
    frame_type: FrameType,
    payload: &[u8],
    credit: Credit,
) -> Result<PeerEvent, InboundError> {
    Ok(match frame_type {
        FrameType::Message => {
            let message = wire::read_message(payload)?;
            if message.from != peer.0 || message.to != us.0 {
                let (from, to) = (message.from, message.to);
                return Err(InboundError::Forged { from, to, peer, us });
            }
            PeerEvent::Message { from: peer, message, credit }
        }
        FrameType::StatusRequest => {
            let StatusRequest { request } = read(payload)?;
            PeerEvent::StatusRequest { from: peer, request, credit }
        }
        FrameType::StatusReply => {
            let StatusReply { request, status } = read(payload)?;
            PeerEvent::StatusReply { from: peer, request, status, credit }
        }
        FrameType::Release => {
            let release: Release = read(payload)?;
            if release.node != peer.0 {
                return Err(InboundError::ForeignRelease { node: release.node, peer });
            }
            release.check_form()?;
            PeerEvent::Release { from: peer, release, credit }
        }
        FrameType::Standing => {
            let Standing { eligible, priority } = read(payload)?;
            PeerEvent::Standing { from: peer, eligible, priority, credit }
        }
        FrameType::SnapshotOffer => snapshot(peer, SnapshotFrame::Offer(read(payload)?), credit)?,
        FrameType::SnapshotPiece => snapshot(peer, SnapshotFrame::Piece(read(payload)?), credit)?,
        FrameType::SnapshotReport => snapshot(peer, SnapshotFrame::Report(read(payload)?), credit)?,
        FrameType::Kv => PeerEvent::Kv { from: peer, frame: wire::read_kv(payload)?, credit },
        FrameType::Refused => {
            return Err(InboundError::Refused(Mismatch::from_refusal(&read(payload)?)));
        }
        FrameType::Hello | FrameType::Welcome | FrameType::Announce | FrameType::Announced => {
            return Err(InboundError::Unexpected(frame_type));
        }
    })
}

fn snapshot(from: NodeId, frame: SnapshotFrame, credit: Credit) -> Result<PeerEvent, PayloadError> {
    Ok(PeerEvent::Snapshot { from, frame: frame.check()?, credit })
}

fn read<T: prost::Message + Default>(payload: &[u8]) -> Result<T, PayloadError> {
    Ok(T::decode(payload)?)
}
