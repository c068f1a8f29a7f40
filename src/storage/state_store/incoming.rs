//! A snapshot that arrives: a new database beside the old one, filled piece by piece.
//!
//! What was added survives a broken connection as long as the value lives, and a restart up to the
//! last commit (every `limits::SNAPSHOT_COMMIT_BYTES`): [`Incoming::resume`] says where it stands.
//! Nothing of it is believed before [`Incoming::finish`] has read all rows back and compared their
//! sum with the sender's. It then has another name, which [`super::StateStore::install`] expects.

use std::path::Path;

use super::error::StateStoreError;
use super::row::RowSum;
use super::view::SnapshotHeader;
use crate::core::Index;

/// A snapshot that arrives. One at a time; a newer one replaces it.
pub struct Incoming {
    header: SnapshotHeader,
    last: Option<Vec<u8>>,
    sum: RowSum,
}

/// Why a snapshot cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The sender's fault: begin again, from the beginning.
    #[error("snapshot at index {index} is not usable: {why}")]
    Unusable {
        /// Its index.
        index: Index,
        /// What does not fit.
        why: String,
    },
    /// Our disk's.
    #[error(transparent)]
    Store(#[from] StateStoreError),
}

impl Incoming {
    /// Begins a snapshot beside the database at `database`; any other one is removed.
    pub fn begin(_database: &Path, _header: SnapshotHeader) -> Result<Incoming, IncomingError> {
        unimplemented!()
    }

    /// What an earlier run has left beside `database`, if it is newer than `applied` and whole;
    /// anything else is removed.
    pub fn resume(_database: &Path, _applied: Index) -> Result<Option<Incoming>, IncomingError> {
        unimplemented!()
    }

    /// Which snapshot it is, by `index` and `term`.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// The key after which it goes on; `None`: from the first.
    pub fn last_key(&self) -> Option<&[u8]> {
        self.last.as_deref()
    }

    /// What has been added so far, for whoever looks at the progress.
    pub fn so_far(&self) -> RowSum {
        self.sum
    }

    /// Adds the rows of one [`super::Piece`]; after an error, begin again.
    pub fn add(&mut self, _rows: &[u8]) -> Result<(), IncomingError> {
        unimplemented!()
    }

    /// All rows were added: compares them with the sum of the sender and makes them durable, for
    /// [`super::StateStore::install`]. If they differ, nothing of them is left.
    pub fn finish(self, _expected: RowSum) -> Result<SnapshotHeader, IncomingError> {
        unimplemented!()
    }
}
