//! The payloads of a snapshot on its way: its rows, which are too many for one Raft message.
//!
//! Pure. The sender offers a snapshot, the receiver reports what it has of it, and pieces follow
//! from there on; a report answers each. Nothing is believed of them here but their size: whether a
//! snapshot is wanted, and whether its rows fit together, is the business of `node`.
//!
//! A position is a number of rows, counted from the first in the order of their keys; what lies
//! before it is named by its last key and a checksum, so that two senders of one snapshot agree.

use super::frame::{self, FrameType};
use super::wire::{ConnectionKind, PayloadError};
use crate::core::{Index, Term};
use crate::limits;

/// The lowest protocol version whose speakers take these.
pub(super) const PROTOCOL_SNAPSHOT: u32 = 3;

/// What is sent about a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotFrame {
    /// From the sender: begin, or say what you have of it.
    Offer(SnapshotOffer),
    /// From the sender: some rows.
    Piece(SnapshotPiece),
    /// From the receiver: what it has.
    Report(SnapshotReport),
}

/// Payload of `SnapshotOffer`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SnapshotOffer {
    /// The last entry that the snapshot includes.
    #[prost(uint64, tag = "1")]
    pub index: Index,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: Term,
    /// Everything but the rows, as the store encodes it.
    #[prost(bytes = "vec", tag = "3")]
    pub header: Vec<u8>,
    /// Rows in all.
    #[prost(uint64, tag = "4")]
    pub keys: u64,
    /// Their bytes, as the quota counts them.
    #[prost(uint64, tag = "5")]
    pub bytes: u64,
}

/// Payload of `SnapshotPiece`: consecutive rows.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SnapshotPiece {
    /// The last entry that the snapshot includes.
    #[prost(uint64, tag = "1")]
    pub index: Index,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: Term,
    /// Position of the first of the rows.
    #[prost(uint64, tag = "3")]
    pub from: u64,
    /// The rows, as the store encodes them.
    #[prost(bytes = "vec", tag = "4")]
    pub rows: Vec<u8>,
    /// What the receiver has after them.
    #[prost(message, optional, tag = "5")]
    pub after: Option<Extent>,
    /// Whether these are the last ones.
    #[prost(bool, tag = "6")]
    pub last: bool,
}

/// The rows up to a position.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Extent {
    /// How many.
    #[prost(uint64, tag = "1")]
    pub keys: u64,
    /// Their bytes, as the quota counts them.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// CRC32C of them all, however they were cut into pieces.
    #[prost(fixed32, tag = "3")]
    pub crc: u32,
}

/// Payload of `SnapshotReport`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SnapshotReport {
    /// The last entry that the snapshot includes.
    #[prost(uint64, tag = "1")]
    pub index: Index,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: Term,
    /// What the receiver has.
    #[prost(message, optional, tag = "3")]
    pub has: Option<Extent>,
    /// Key of the last row that it has.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub last_key: Option<Vec<u8>>,
    /// Whether it has all of it, checked and durable.
    #[prost(bool, tag = "5")]
    pub complete: bool,
    /// Whether it answers an offer, or else rows.
    #[prost(bool, tag = "7")]
    pub answers_offer: bool,
    /// Why it does not take it, or what it had was of no use; empty: it does.
    #[prost(string, tag = "6")]
    pub refused: String,
}

impl SnapshotFrame {
    /// Rows travel as bulk; a report is small and must not wait.
    pub(super) fn connection(&self) -> ConnectionKind {
        match self {
            SnapshotFrame::Offer(_) | SnapshotFrame::Piece(_) => ConnectionKind::Bulk,
            SnapshotFrame::Report(_) => ConnectionKind::Control,
        }
    }

    pub(super) fn payload_bytes(&self) -> usize {
        use prost::Message as _;
        match self {
            SnapshotFrame::Offer(offer) => offer.encoded_len(),
            SnapshotFrame::Piece(piece) => piece.encoded_len(),
            SnapshotFrame::Report(report) => report.encoded_len(),
        }
    }

    pub(super) fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            SnapshotFrame::Offer(offer) => {
                frame::encode_into(out, FrameType::SnapshotOffer, offer);
            }
            SnapshotFrame::Piece(piece) => {
                frame::encode_into(out, FrameType::SnapshotPiece, piece);
            }
            SnapshotFrame::Report(report) => {
                frame::encode_into(out, FrameType::SnapshotReport, report);
            }
        }
    }

    /// Refuses what no correct peer sends, whatever it means.
    pub(super) fn check(self) -> Result<SnapshotFrame, PayloadError> {
        let (what, found, max) = match &self {
            SnapshotFrame::Offer(offer) => {
                ("bytes of a snapshot's header", offer.header.len(), limits::SNAPSHOT_MAX_BYTES)
            }
            SnapshotFrame::Piece(piece) => {
                ("bytes of a snapshot's rows", piece.rows.len(), limits::SNAPSHOT_PIECE_MAX_BYTES)
            }
            SnapshotFrame::Report(report) => {
                let key = report.last_key.as_ref().map_or(0, Vec::len);
                ("bytes of a report", key + report.refused.len(), REPORT_MAX_BYTES)
            }
        };
        if found > max { Err(PayloadError::TooMany { what, max }) } else { Ok(self) }
    }
}

/// A key, and a sentence.
const REPORT_MAX_BYTES: usize = limits::KV_KEY_MAX_BYTES + 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_no_larger_than_it_may_be() {
        let rows = |bytes| SnapshotPiece { rows: vec![0; bytes], ..SnapshotPiece::default() };
        let piece = |bytes| SnapshotFrame::Piece(rows(bytes)).check();
        assert!(piece(limits::SNAPSHOT_PIECE_MAX_BYTES).is_ok());
        assert!(piece(limits::SNAPSHOT_PIECE_MAX_BYTES + 1).is_err());
        let header = vec![0; limits::SNAPSHOT_MAX_BYTES + 1];
        let offer = SnapshotOffer { header, ..SnapshotOffer::default() };
        assert!(SnapshotFrame::Offer(offer).check().is_err());
        let last_key = Some(vec![0; 4096]);
        let report = SnapshotReport { last_key, ..SnapshotReport::default() };
        assert!(SnapshotFrame::Report(report).check().is_err());
    }

    #[test]
    fn what_is_encoded_has_the_size_that_was_said() {
        let frames = [
            SnapshotFrame::Offer(SnapshotOffer { index: 7, ..SnapshotOffer::default() }),
            SnapshotFrame::Piece(SnapshotPiece { rows: vec![1; 500], ..SnapshotPiece::default() }),
            SnapshotFrame::Report(SnapshotReport { term: 3, ..SnapshotReport::default() }),
        ];
        for frame in frames {
            let mut out = Vec::new();
            frame.encode_into(&mut out);
            assert_eq!(out.len(), frame::HEADER_BYTES + frame.payload_bytes());
        }
    }
}
