//! What a leader knows of the view that it sends, and of each member that gets it.

use std::collections::VecDeque;

use crate::core::Instant;
use crate::core::message::Message;
use crate::transport::snapshot::{Extent, SnapshotOffer};

/// The view that is sent.
#[derive(Default)]
pub(super) enum View {
    #[default]
    None,
    /// The store was asked.
    Asked,
    /// The engine has its payload.
    Held { offer: SnapshotOffer, last_used: Instant },
}

/// One member that gets rows.
pub(super) struct Stream {
    /// What the engine wants to be sent; it follows the last piece.
    pub message: Message,
    pub phase: Phase,
    /// When the member was asked, or has answered, last.
    pub heard_at: Instant,
    /// When it had more than before.
    pub progress_at: Instant,
    pub has: Extent,
    /// Why it did not take it, told once.
    pub refused: Option<String>,
}

pub(super) enum Phase {
    /// It was asked what it has.
    Offered,
    /// It did not take it; it is asked again after a while.
    Refused,
    /// The view is searched for where to go on.
    Seeking,
    /// Pieces are on their way.
    Flowing {
        /// A piece is being read.
        reads: bool,
        /// Positions after the pieces that are not reported yet.
        waiting: VecDeque<u64>,
        /// The last piece is among them.
        all: bool,
    },
    /// It has everything; the message was sent.
    Installing,
}
