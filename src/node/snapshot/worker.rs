//! The work of the thread of snapshots: reads rows of a view, writes rows that arrive.
//!
//! Synchronous; production runs it on a thread of its own, the simulator in its only thread. It
//! decides nothing about members or time. A view that cannot be read, and a snapshot that cannot be
//! written, are told and given up: nothing has been promised of either, and neither is worth the
//! process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use prost::Message as _;

use super::Position;
use super::files::{Intake, Intakes, RowView};
use crate::core::{Index, NodeId, Term};
use crate::limits;
use crate::storage::state_store::{RowSum, SnapshotHeader};
use crate::transport::snapshot::{Extent, SnapshotOffer, SnapshotPiece, SnapshotReport};

/// Where the store leaves a view for this thread. Holds one at most; a newer one replaces it.
#[derive(Clone, Default)]
pub struct ViewSlot(Arc<Mutex<Option<Box<dyn RowView>>>>);

impl ViewSlot {
    /// Leaves a view.
    pub fn put(&self, view: Box<dyn RowView>) {
        *self.0.lock().expect("no holder of this lock panics") = Some(view);
    }

    fn take(&self) -> Option<Box<dyn RowView>> {
        self.0.lock().expect("no holder of this lock panics").take()
    }
}

/// What the node asks of the thread of snapshots, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotRequest {
    /// Find out from where to go on for a member; answered by [`SnapshotDone::Sought`].
    Seek {
        /// The member.
        peer: NodeId,
        /// Which snapshot: that of the view.
        position: Position,
        /// What the member has.
        has: Extent,
        /// Key of the last row that it has.
        last_key: Option<Vec<u8>>,
    },
    /// Read the next rows for a member; answered by [`SnapshotDone::Read`].
    Read {
        /// The member.
        peer: NodeId,
        /// Which snapshot.
        position: Position,
    },
    /// The view is not needed any more.
    Release,
    /// Begin or go on with what arrives; answered by [`SnapshotDone::Reported`].
    Begin {
        /// To be repeated in the answer.
        round: u64,
        /// What was offered.
        offer: SnapshotOffer,
    },
    /// Add rows to it; answered by [`SnapshotDone::Reported`].
    Add {
        /// To be repeated in the answer.
        round: u64,
        /// The rows.
        piece: SnapshotPiece,
    },
    /// What has arrived is installed, or not needed any more.
    Forget,
}

/// What the thread of snapshots has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotDone {
    /// A member goes on from here: from what it has, or from the beginning.
    Sought {
        /// The member.
        peer: NodeId,
        /// Which snapshot.
        position: Position,
        /// From where.
        from: Extent,
    },
    /// The next rows for a member.
    Read {
        /// The member.
        peer: NodeId,
        /// The rows.
        piece: SnapshotPiece,
    },
    /// The view cannot be read, or is not there any more.
    ViewLost {
        /// Which snapshot.
        position: Position,
        /// Why.
        why: String,
    },
    /// What has arrived so far.
    Reported {
        /// Of the request.
        round: u64,
        /// For the sender.
        report: SnapshotReport,
    },
}

/// Where a member is in the view.
struct Cursor {
    after: Option<Vec<u8>>,
    sum: RowSum,
}

/// See the module.
pub struct SnapshotWorker {
    slot: ViewSlot,
    view: Option<Box<dyn RowView>>,
    cursors: BTreeMap<NodeId, Cursor>,
    intakes: Box<dyn Intakes>,
    arrival: Option<Arrival>,
}

/// What arrives.
struct Arrival {
    position: Position,
    /// `None`: it is complete, and the store's.
    intake: Option<Box<dyn Intake>>,
    has: Extent,
    /// Rows in all.
    total: u64,
}

impl SnapshotWorker {
    /// A worker with nothing to do, which takes views from `slot`.
    pub fn new(slot: ViewSlot, intakes: Box<dyn Intakes>) -> Self {
        SnapshotWorker { slot, view: None, cursors: BTreeMap::new(), intakes, arrival: None }
    }

    /// Carries out one request.
    pub fn step(&mut self, request: SnapshotRequest) -> Option<SnapshotDone> {
        Some(match request {
            SnapshotRequest::Seek { peer, position, has, last_key } => {
                let sought = self.seek(peer, position, has, last_key);
                let from = |from| SnapshotDone::Sought { peer, position, from };
                sought.map_or_else(|why| SnapshotDone::ViewLost { position, why }, from)
            }
            SnapshotRequest::Read { peer, position } => {
                let read = self.read(peer, position);
                let piece = |piece| SnapshotDone::Read { peer, piece };
                read.map_or_else(|why| SnapshotDone::ViewLost { position, why }, piece)
            }
            SnapshotRequest::Release => {
                self.view = None;
                self.slot.take();
                self.cursors.clear();
                return None;
            }
            SnapshotRequest::Begin { round, offer } => {
                let position = (offer.index, offer.term);
                let begun = self.begin(offer);
                self.reported(round, position, true, begun)
            }
            SnapshotRequest::Add { round, piece } => {
                let position = (piece.index, piece.term);
                let added = self.add(&piece);
                self.reported(round, position, false, added)
            }
            SnapshotRequest::Forget => {
                self.arrival = None;
                return None;
            }
        })
    }

    /// The view of `position`.
    fn view(&mut self, position: Position) -> Result<&dyn RowView, String> {
        if let Some(newer) = self.slot.take() {
            self.view = Some(newer);
            self.cursors.clear();
        }
        let view = self.view.as_deref().filter(|view| {
            let SnapshotHeader { index, term, .. } = *view.header();
            (index, term) == position
        });
        view.ok_or_else(|| "it was let go".to_owned())
    }

    fn seek(
        &mut self,
        peer: NodeId,
        position: Position,
        has: Extent,
        last_key: Option<Vec<u8>>,
    ) -> Result<Extent, String> {
        let view = self.view(position)?;
        let mut cursor = Cursor { after: None, sum: RowSum::default() };
        if has.keys > 0 {
            // The member's rows are those of this view only if they have the same sum.
            let sum = view.sum_through(last_key.as_deref()).map_err(|e| chain(e.as_ref()))?;
            if extent(sum) == has {
                cursor = Cursor { after: last_key, sum };
            }
        }
        let from = extent(cursor.sum);
        self.cursors.insert(peer, cursor);
        Ok(from)
    }

    fn read(&mut self, peer: NodeId, position: Position) -> Result<SnapshotPiece, String> {
        let cursor = self.cursors.remove(&peer);
        let view = self.view(position)?;
        let mut cursor = cursor.ok_or_else(|| "nobody has asked where to begin".to_owned())?;
        let from = cursor.sum.keys;
        let total = view.header().keys;
        let after = cursor.after.as_deref();
        let read = view.rows_after(after, limits::SNAPSHOT_PIECE_BYTES, &mut cursor.sum);
        let read = read.map_err(|e| chain(e.as_ref()))?;
        let last = read.last.is_none() || cursor.sum.keys >= total;
        cursor.after = read.last.or(cursor.after);
        let (index, term) = position;
        let after = Some(extent(cursor.sum));
        self.cursors.insert(peer, cursor);
        Ok(SnapshotPiece { index, term, from, rows: read.rows, after, last })
    }

    fn begin(&mut self, offer: SnapshotOffer) -> Result<(), String> {
        let position = (offer.index, offer.term);
        if self.arrival.as_ref().is_some_and(|arrival| arrival.position == position) {
            return Ok(());
        }
        self.arrival = None;
        let header = SnapshotHeader::decode(offer.header.as_slice())
            .map_err(|error| format!("its header is not readable: {error}"))?;
        if (header.index, header.term, header.keys) != (offer.index, offer.term, offer.keys) {
            return Err("its header is that of another".to_owned());
        }
        let intake = self.intakes.begin(header).map_err(|e| chain(&e))?;
        let has = extent(intake.so_far());
        self.arrival = Some(Arrival { position, intake: Some(intake), has, total: offer.keys });
        Ok(())
    }

    fn add(&mut self, piece: &SnapshotPiece) -> Result<(), String> {
        let position = (piece.index, piece.term);
        let same = |arrival: &Arrival| arrival.position == position;
        let mut arrival = self.arrival.take().filter(same).ok_or("nothing was begun")?;
        let Some(mut intake) = arrival.intake.take() else {
            self.arrival = Some(arrival);
            return Ok(());
        };
        if piece.from == arrival.has.keys {
            if !piece.rows.is_empty() {
                intake.add(&piece.rows).map_err(|e| chain(&e))?;
            }
            arrival.has = extent(intake.so_far());
            let expected = piece.after.unwrap_or_default();
            if arrival.has != expected {
                return Err("what arrived is not what was sent".to_owned());
            }
            if piece.last {
                if arrival.has.keys != arrival.total {
                    return Err(format!("{} rows of {}", arrival.has.keys, arrival.total));
                }
                let sum = intake.so_far();
                intake.finish(sum).map_err(|e| chain(&e))?;
                self.arrival = Some(arrival);
                return Ok(());
            }
        }
        arrival.intake = Some(intake);
        self.arrival = Some(arrival);
        Ok(())
    }

    fn reported(
        &mut self,
        round: u64,
        (index, term): (Index, Term),
        answers_offer: bool,
        result: Result<(), String>,
    ) -> SnapshotDone {
        let mut report = SnapshotReport { index, term, answers_offer, ..Default::default() };
        match (result, &self.arrival) {
            (Err(why), _) => {
                self.arrival = None;
                report.refused = shortened(why);
            }
            (Ok(()), Some(arrival)) => {
                report.has = Some(arrival.has);
                report.complete = arrival.intake.is_none();
                let intake = arrival.intake.as_ref();
                report.last_key = intake.and_then(|i| i.last_key()).map(<[u8]>::to_vec);
            }
            (Ok(()), None) => report.refused = "nothing was begun".to_owned(),
        }
        SnapshotDone::Reported { round, report }
    }
}

fn extent(sum: RowSum) -> Extent {
    Extent { keys: sum.keys, bytes: sum.bytes, crc: sum.crc }
}

/// An error with its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    line
}

/// What fits a report.
fn shortened(why: String) -> String {
    why.chars().take(250).collect()
}
