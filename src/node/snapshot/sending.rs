//! The leader's side: one view, from which several members may get the rows at once.
//!
//! The engine wants a snapshot, so the store is asked for a view of what is durable; the engine
//! gets its payload, and each message that it then makes for a member becomes a stream of pieces.
//! Any number of streams read one view. It is kept for a while after the last of them, so that a
//! connection that broke, or another member that lags, finds it again; the log above it is held as
//! long (`node::truncate`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::news::{SnapshotNews, SnapshotStep};
use super::stream::{Phase, Stream, View};
use super::{Position, Progress, SnapshotRequest};
use crate::consensus::RaftRole;
use crate::core::message::{Kind, Message};
use crate::core::{Instant, NodeId, snapshot};
use crate::limits;
use crate::node::Node;
use crate::node::event::Effect;
use crate::node::machine::StateMachine;
use crate::node::store::{StoreRequest, Viewed};
use crate::transport::snapshot::{
    Extent, SnapshotFrame, SnapshotOffer, SnapshotPiece, SnapshotReport,
};

/// What a leader sends.
#[derive(Default)]
pub(in crate::node) struct Sending {
    view: View,
    streams: BTreeMap<NodeId, Stream>,
    /// When the next piece may be read, by the configured rate.
    next_piece_at: Instant,
    /// Who was given a piece last.
    served: Option<NodeId>,
    /// Snapshots with rows that a member has installed.
    pub sent: u64,
}

impl Sending {
    /// The position of the view.
    pub(in crate::node) fn held(&self) -> Option<Position> {
        match &self.view {
            View::Held { offer, .. } => Some((offer.index, offer.term)),
            _ => None,
        }
    }

    /// The stream to `peer` of this position.
    fn stream(&mut self, peer: NodeId, position: Position) -> Option<&mut Stream> {
        let held = self.held();
        self.streams.get_mut(&peer).filter(|_| held == Some(position))
    }

    /// What goes on.
    pub(super) fn progress(&self) -> impl Iterator<Item = Progress> {
        let offer = match &self.view {
            View::Held { offer, .. } => Some(offer),
            _ => None,
        };
        let streams = offer.into_iter().flat_map(|o| self.streams.iter().map(move |s| (o, s)));
        streams.map(|(offer, (&peer, stream))| {
            let (index, total_bytes, bytes) = (offer.index, offer.bytes, stream.has.bytes);
            Progress { peer, incoming: false, index, bytes, total_bytes }
        })
    }

    /// When something is due.
    fn deadline(&self) -> Option<Instant> {
        let due = |stream: &Stream| match &stream.phase {
            Phase::Flowing { reads: false, waiting, all: false }
                if waiting.len() < limits::SNAPSHOT_WINDOW_PIECES =>
            {
                self.next_piece_at.min(stream.heard_at + limits::SNAPSHOT_RETRY)
            }
            _ => stream.heard_at + limits::SNAPSHOT_RETRY,
        };
        let streams = self.streams.values().map(due).min();
        let kept = match &self.view {
            View::Held { last_used, .. } => Some(*last_used + limits::SNAPSHOT_KEEP),
            _ => None,
        };
        streams.into_iter().chain(kept).min()
    }
}

impl<M: StateMachine> Node<M> {
    /// The engine has nothing to give to a member that lags.
    pub(in crate::node) fn snapshot_wanted(&mut self, effects: &mut Vec<Effect>) {
        match self.sending.view {
            View::Asked => return,
            // The engine asked before it was given this one.
            View::Held { .. } if self.view_is_of_use() => return,
            View::Held { .. } => self.let_view_go(effects),
            View::None => {}
        }
        self.sending.view = View::Asked;
        self.ask_store(StoreRequest::View, effects);
    }

    /// Whether the log still has what comes after the view.
    fn view_is_of_use(&self) -> bool {
        self.sending.held().is_some_and(|(index, _)| index + 1 >= self.replica.first_index())
    }

    /// The store has left a view, or has none yet.
    pub(in crate::node) fn viewed(&mut self, viewed: Option<Viewed>, effects: &mut Vec<Effect>) {
        self.sending.view = View::None;
        let Some(viewed) = viewed else { return };
        let Viewed { position: (index, term), state, header, keys, bytes, has_rows } = viewed;
        let leads = self.replica.position().role == RaftRole::Leader;
        let payload = snapshot::payload(state, has_rows);
        if leads && self.replica.provide_snapshot(index, payload) {
            let offer = SnapshotOffer { index, term, header, keys, bytes };
            self.sending.view = View::Held { offer, last_used: self.now };
        } else {
            effects.push(Effect::Snapshot(SnapshotRequest::Release));
        }
    }

    /// Takes the messages out that rows must come before.
    pub(in crate::node) fn divert_snapshots(
        &mut self,
        messages: &mut Vec<Message>,
        effects: &mut Vec<Effect>,
    ) {
        let needs_rows = |message: &mut Message| {
            let snapshot = message.snapshot.as_ref();
            snapshot.is_some_and(|snapshot| snapshot::has_rows(&snapshot.data))
        };
        if messages.iter().all(|message| message.kind() != Kind::Snapshot) {
            return;
        }
        let diverted: Vec<Message> = messages.extract_if(.., needs_rows).collect();
        for message in diverted {
            self.begin_stream(message, effects);
        }
    }

    fn begin_stream(&mut self, message: Message, effects: &mut Vec<Effect>) {
        let peer = NodeId(message.to);
        let wanted = message.snapshot.as_ref().map(|snapshot| (snapshot.index, snapshot.term));
        if wanted != self.sending.held() {
            self.replica.forget_snapshot();
            self.replica.snapshot_failed(peer);
            return;
        }
        let stream = Stream {
            message,
            phase: Phase::Offered,
            heard_at: self.now,
            progress_at: self.now,
            has: Extent::default(),
            refused: None,
        };
        let resumed = self.sending.streams.insert(peer, stream).is_some();
        if !resumed {
            self.tell_sending(peer, SnapshotStep::Begun, effects);
        }
        self.offer_to(peer, effects);
    }

    fn offer_to(&mut self, peer: NodeId, effects: &mut Vec<Effect>) {
        let now = self.now;
        let View::Held { offer, last_used } = &mut self.sending.view else { return };
        let Some(stream) = self.sending.streams.get_mut(&peer) else { return };
        *last_used = now;
        stream.heard_at = now;
        stream.phase = Phase::Offered;
        let frame = SnapshotFrame::Offer(offer.clone());
        effects.push(Effect::SendSnapshot { to: peer, frame });
    }

    /// A member says what it has.
    pub(super) fn report_arrived(
        &mut self,
        from: NodeId,
        report: SnapshotReport,
        effects: &mut Vec<Effect>,
    ) {
        let now = self.now;
        let position = (report.index, report.term);
        let Some(stream) = self.sending.stream(from, position) else { return };
        if !report.refused.is_empty() {
            stream.phase = Phase::Refused;
            stream.heard_at = now;
            if stream.refused.as_ref() != Some(&report.refused) {
                stream.refused = Some(report.refused);
                self.tell_sending(from, SnapshotStep::Refused, effects);
            }
            return;
        }
        stream.heard_at = now;
        let has = report.has.unwrap_or_default();
        if has.keys > stream.has.keys || report.complete {
            stream.progress_at = now;
        }
        stream.has = has;
        let message = match &mut stream.phase {
            _ if report.complete => Some(stream.message.clone()),
            Phase::Offered if report.answers_offer => {
                stream.phase = Phase::Seeking;
                let last_key = report.last_key;
                let seek = SnapshotRequest::Seek { peer: from, position, has, last_key };
                effects.push(Effect::Snapshot(seek));
                None
            }
            Phase::Flowing { waiting, .. } => {
                while waiting.front().is_some_and(|end| *end <= has.keys) {
                    waiting.pop_front();
                }
                None
            }
            _ => None,
        };
        if let Some(message) = message {
            stream.phase = Phase::Installing;
            effects.push(Effect::Send(message));
        }
        self.replica.snapshot_goes_on(from);
    }

    /// Where a member goes on is known.
    pub(super) fn sought(&mut self, peer: NodeId, position: Position, from: Extent) {
        let now = self.now;
        let Some(stream) = self.sending.stream(peer, position) else { return };
        if matches!(stream.phase, Phase::Seeking) {
            stream.heard_at = now;
            stream.has = from;
            stream.phase = Phase::Flowing { reads: false, waiting: VecDeque::new(), all: false };
        }
    }

    /// The next piece for a member was read.
    pub(super) fn piece_read(
        &mut self,
        peer: NodeId,
        piece: SnapshotPiece,
        effects: &mut Vec<Effect>,
    ) {
        let Some(stream) = self.sending.stream(peer, (piece.index, piece.term)) else { return };
        let Phase::Flowing { reads, waiting, all } = &mut stream.phase else { return };
        *reads = false;
        *all = piece.last;
        waiting.push_back(piece.after.unwrap_or_default().keys);
        let frame = SnapshotFrame::Piece(piece);
        effects.push(Effect::SendSnapshot { to: peer, frame });
    }

    /// The view is gone: whoever was given rows of it begins anew with another.
    pub(super) fn view_lost(&mut self, position: Position, effects: &mut Vec<Effect>) {
        if self.sending.held() == Some(position) {
            self.let_view_go(effects);
        }
    }

    fn let_view_go(&mut self, effects: &mut Vec<Effect>) {
        for peer in std::mem::take(&mut self.sending.streams).into_keys() {
            self.replica.snapshot_failed(peer);
        }
        self.replica.forget_snapshot();
        self.sending.view = View::None;
        effects.push(Effect::Snapshot(SnapshotRequest::Release));
    }

    /// What time and the replica ask for.
    pub(in crate::node) fn send_snapshots(&mut self, effects: &mut Vec<Effect>) {
        let View::Held { last_used, .. } = &self.sending.view else { return };
        let unused = self.now - *last_used >= limits::SNAPSHOT_KEEP;
        if self.replica.position().role != RaftRole::Leader {
            return self.let_view_go(effects);
        }
        self.end_streams(effects);
        if self.sending.streams.is_empty() && unused {
            return self.let_view_go(effects);
        }
        let peers: Vec<NodeId> = self.sending.streams.keys().copied().collect();
        for &peer in &peers {
            self.watch_stream(peer, effects);
        }
        // In turn, beginning behind the one who was served last.
        let behind = peers.partition_point(|peer| Some(*peer) <= self.sending.served);
        for &peer in peers[behind..].iter().chain(&peers[..behind]) {
            self.read_piece(peer, effects);
        }
    }

    /// Forgets the streams that the engine does not wait for any more.
    fn end_streams(&mut self, effects: &mut Vec<Effect>) {
        let ended = |peer: &NodeId| !self.replica.sends_snapshot(*peer);
        let ended: Vec<NodeId> = self.sending.streams.keys().copied().filter(ended).collect();
        for peer in ended {
            let index = self.sending.held().map_or(0, |(index, _)| index);
            let there = self.replica.matched(peer).is_some_and(|matched| matched >= index);
            let step = if there { SnapshotStep::Installed } else { SnapshotStep::Broken };
            self.tell_sending(peer, step, effects);
            self.sending.sent += u64::from(there);
            self.sending.streams.remove(&peer);
        }
    }

    /// Asks a member that is silent, and gives up one that makes no progress.
    fn watch_stream(&mut self, peer: NodeId, effects: &mut Vec<Effect>) {
        let now = self.now;
        let Some(stream) = self.sending.streams.get(&peer) else { return };
        if now - stream.progress_at >= limits::SNAPSHOT_PATIENCE {
            self.tell_sending(peer, SnapshotStep::Broken, effects);
            self.sending.streams.remove(&peer);
            self.replica.snapshot_failed(peer);
            return;
        }
        let local = matches!(stream.phase, Phase::Seeking | Phase::Flowing { reads: true, .. });
        if now - stream.heard_at >= limits::SNAPSHOT_RETRY {
            self.replica.snapshot_goes_on(peer);
            if !local {
                self.offer_to(peer, effects);
            }
        }
    }

    fn read_piece(&mut self, peer: NodeId, effects: &mut Vec<Effect>) {
        let now = self.now;
        if now < self.sending.next_piece_at {
            return;
        }
        let Some(position) = self.sending.held() else { return };
        let Some(stream) = self.sending.streams.get_mut(&peer) else { return };
        let Phase::Flowing { reads: reads @ false, waiting, all: false } = &mut stream.phase else {
            return;
        };
        if waiting.len() >= limits::SNAPSHOT_WINDOW_PIECES {
            return;
        }
        *reads = true;
        if waiting.is_empty() {
            // Nothing was on its way: its silence begins now.
            stream.heard_at = now;
        }
        self.sending.served = Some(peer);
        let bytes = limits::SNAPSHOT_PIECE_BYTES as u64;
        let pause = Duration::from_nanos(bytes * 1_000_000_000 / self.config.snapshot_rate.max(1));
        // A little is made up for when the driver was late.
        let earliest = Instant(now.0.saturating_sub(CATCH_UP.as_nanos() as u64));
        self.sending.next_piece_at = self.sending.next_piece_at.max(earliest) + pause;
        effects.push(Effect::Snapshot(SnapshotRequest::Read { peer, position }));
    }

    fn tell_sending(&self, peer: NodeId, step: SnapshotStep, effects: &mut Vec<Effect>) {
        let View::Held { offer, .. } = &self.sending.view else { return };
        let refused = self.sending.streams.get(&peer).and_then(|stream| stream.refused.clone());
        let why = refused.unwrap_or_else(|| "the member does not answer".to_owned());
        let (index, bytes) = (offer.index, offer.bytes);
        let news = SnapshotNews { peer, incoming: false, index, bytes, step, why };
        effects.push(Effect::SnapshotNews(news));
    }

    /// When snapshots have something to do.
    pub(in crate::node) fn snapshot_deadline(&self) -> Option<Instant> {
        self.sending.deadline()
    }
}

/// How far behind its rate a leader may make up for what it did not send.
const CATCH_UP: Duration = Duration::from_millis(20);
