//! The member's side: what arrives, from whom, and whether it is all here.
//!
//! One snapshot at a time, from the leader of the term only. A newer offer replaces what was there,
//! unless that is being installed. Rows are taken only in their order, and only as many at once as
//! the thread has room for; everything else is dropped, since the sender asks what is here.

use super::news::{SnapshotNews, SnapshotStep};
use super::{Position, Progress, SnapshotDone, SnapshotRequest};
use crate::core::message::{Message, Snapshot};
use crate::core::{Index, NodeId, snapshot};
use crate::limits;
use crate::node::Node;
use crate::node::event::Effect;
use crate::node::machine::StateMachine;
use crate::transport::snapshot::{
    Extent, SnapshotFrame, SnapshotOffer, SnapshotPiece, SnapshotReport,
};

/// What a member receives.
#[derive(Default)]
pub(in crate::node) struct Receiving {
    arrival: Option<Arrival>,
    /// Numbers the arrivals, so that an answer for one before the present one is known as such.
    round: u64,
    /// Snapshots with rows that were installed.
    pub installed: u64,
}

/// A snapshot that arrives.
struct Arrival {
    round: u64,
    from: NodeId,
    position: Position,
    /// Bytes in all.
    bytes: u64,
    /// Position after the rows that were handed to the thread; `None` until it has said.
    next: Option<u64>,
    /// Requests that the thread has not answered.
    offers: usize,
    pieces: usize,
    has: Extent,
    complete: bool,
    /// The replica has taken it: it is being installed.
    installing: bool,
}

impl Receiving {
    /// The arrival that an answer is about.
    fn of(&mut self, round: u64) -> Option<&mut Arrival> {
        self.arrival.as_mut().filter(|arrival| arrival.round == round)
    }

    /// What arrives, for whoever looks at it.
    pub(super) fn progress(&self) -> Option<Progress> {
        let arrival = self.arrival.as_ref()?;
        let (peer, index) = (arrival.from, arrival.position.0);
        let (bytes, total_bytes) = (arrival.has.bytes, arrival.bytes);
        Some(Progress { peer, incoming: true, index, bytes, total_bytes })
    }
}

impl<M: StateMachine> Node<M> {
    /// A peer says something about a snapshot.
    pub(in crate::node) fn snapshot_frame(
        &mut self,
        from: NodeId,
        frame: SnapshotFrame,
        effects: &mut Vec<Effect>,
    ) {
        match frame {
            SnapshotFrame::Offer(offer) => self.offered(from, offer, effects),
            SnapshotFrame::Piece(piece) => self.piece_arrived(from, piece, effects),
            SnapshotFrame::Report(report) => self.report_arrived(from, report, effects),
        }
    }

    /// The thread of snapshots has done something.
    pub(in crate::node) fn snapshot_done(&mut self, done: SnapshotDone, effects: &mut Vec<Effect>) {
        match done {
            SnapshotDone::Sought { peer, position, from } => self.sought(peer, position, from),
            SnapshotDone::Read { peer, piece } => self.piece_read(peer, piece, effects),
            SnapshotDone::ViewLost { position, why } => {
                let index = position.0;
                let text = format!("the view for the snapshot at index {index} is lost: {why}");
                effects.push(Effect::Warn(text));
                self.view_lost(position, effects);
            }
            SnapshotDone::Reported { round, report } => self.reported(round, report, effects),
        }
    }

    fn offered(&mut self, from: NodeId, offer: SnapshotOffer, effects: &mut Vec<Effect>) {
        let standing = self.replica.position();
        if standing.leader != Some(from) {
            return;
        }
        let SnapshotOffer { index, term, bytes, .. } = offer;
        if index <= standing.commit {
            // The message alone says it, too: it changes nothing here.
            let complete = true;
            let report = SnapshotReport { index, term, complete, ..SnapshotReport::default() };
            effects.push(Effect::SendSnapshot { to: from, frame: SnapshotFrame::Report(report) });
            return;
        }
        let round = match &mut self.receiving.arrival {
            Some(arrival) if arrival.installing => return,
            Some(arrival) if arrival.position == (index, term) => {
                if arrival.offers >= OFFERS_WAITING_MAX {
                    return;
                }
                arrival.from = from;
                arrival.offers += 1;
                arrival.round
            }
            _ => {
                self.receiving.round += 1;
                let round = self.receiving.round;
                self.receiving.arrival = Some(Arrival {
                    round,
                    from,
                    position: (index, term),
                    bytes,
                    next: None,
                    offers: 1,
                    pieces: 0,
                    has: Extent::default(),
                    complete: false,
                    installing: false,
                });
                self.tell_receiving(SnapshotStep::Begun, String::new(), effects);
                round
            }
        };
        effects.push(Effect::Snapshot(SnapshotRequest::Begin { round, offer }));
    }

    fn piece_arrived(&mut self, from: NodeId, piece: SnapshotPiece, effects: &mut Vec<Effect>) {
        let position = (piece.index, piece.term);
        let fits = |arrival: &&mut Arrival| {
            (arrival.from, arrival.position, arrival.next) == (from, position, Some(piece.from))
                && arrival.pieces < limits::SNAPSHOT_WINDOW_PIECES
                && !arrival.complete
                && !arrival.installing
        };
        let Some(arrival) = self.receiving.arrival.as_mut().filter(fits) else { return };
        arrival.pieces += 1;
        arrival.next = Some(piece.after.unwrap_or_default().keys);
        let round = arrival.round;
        effects.push(Effect::Snapshot(SnapshotRequest::Add { round, piece }));
    }

    /// What the thread has of it goes to the sender.
    fn reported(&mut self, round: u64, report: SnapshotReport, effects: &mut Vec<Effect>) {
        let Some(arrival) = self.receiving.of(round).filter(|arrival| !arrival.installing) else {
            return;
        };
        let to = arrival.from;
        if report.refused.is_empty() {
            arrival.has = report.has.unwrap_or_default();
            arrival.complete = report.complete;
            let waiting =
                if report.answers_offer { &mut arrival.offers } else { &mut arrival.pieces };
            *waiting = waiting.saturating_sub(1);
            if arrival.pieces == 0 {
                arrival.next = Some(arrival.has.keys);
            }
        } else {
            self.tell_receiving(SnapshotStep::Refused, report.refused.clone(), effects);
            self.receiving.arrival = None;
        }
        effects.push(Effect::SendSnapshot { to, frame: SnapshotFrame::Report(report) });
    }

    /// Whether the replica may have this message: all rows of its snapshot are here, or it needs
    /// none, or it is too old to change anything.
    pub(in crate::node) fn rows_are_here(&self, message: &Message) -> bool {
        let Some(wanted) = &message.snapshot else { return true };
        if !snapshot::has_rows(&wanted.data) || wanted.index <= self.replica.position().commit {
            return true;
        }
        let arrival = self.receiving.arrival.as_ref();
        arrival.is_some_and(|a| a.complete && a.position == (wanted.index, wanted.term))
    }

    /// The replica has taken a snapshot: nothing may touch its rows before they are installed.
    pub(in crate::node) fn snapshot_taken(&mut self, taken: &Snapshot) {
        let position = (taken.index, taken.term);
        if let Some(arrival) = &mut self.receiving.arrival {
            arrival.installing = arrival.position == position;
        }
    }

    /// What arrives is not needed any more once everything up to it is here.
    pub(in crate::node) fn forget_arrival_below(
        &mut self,
        applied: Index,
        effects: &mut Vec<Effect>,
    ) {
        let Some(arrival) = &self.receiving.arrival else { return };
        if arrival.position.0 > applied {
            return;
        }
        if arrival.installing {
            self.receiving.installed += 1;
            self.tell_receiving(SnapshotStep::Installed, String::new(), effects);
        }
        self.receiving.arrival = None;
        effects.push(Effect::Snapshot(SnapshotRequest::Forget));
    }

    fn tell_receiving(&self, step: SnapshotStep, why: String, effects: &mut Vec<Effect>) {
        let Some(arrival) = &self.receiving.arrival else { return };
        let (peer, index, bytes) = (arrival.from, arrival.position.0, arrival.bytes);
        let news = SnapshotNews { peer, incoming: true, index, bytes, step, why };
        effects.push(Effect::SnapshotNews(news));
    }
}

/// Offers that wait for the thread. At the limit: dropped; the sender asks again.
const OFFERS_WAITING_MAX: usize = 2;
