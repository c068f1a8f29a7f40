//! What the thread of snapshots needs of the store: a view to read, a place for what arrives.

use std::path::PathBuf;

use crate::storage::state_store::{Incoming, IncomingError, Piece, RowSum, SnapshotHeader, View};

/// Why a view cannot be read.
pub type ViewError = Box<dyn std::error::Error + Send + Sync>;

/// The durable state at one position, while the store goes on.
pub trait RowView: Send {
    /// Everything but the rows.
    fn header(&self) -> &SnapshotHeader;

    /// The rows after a key, or the first ones: about `max_bytes`. Adds them to `sum`.
    fn rows_after(
        &self,
        after: Option<&[u8]>,
        max_bytes: usize,
        sum: &mut RowSum,
    ) -> Result<Piece, ViewError>;

    /// The sum of all rows up to and including `last`.
    fn sum_through(&self, last: Option<&[u8]>) -> Result<RowSum, ViewError>;
}

/// A snapshot that arrives.
pub trait Intake: Send {
    /// The key after which it goes on.
    fn last_key(&self) -> Option<&[u8]>;

    /// What has been added so far.
    fn so_far(&self) -> RowSum;

    /// Adds rows; after an error, begin again.
    fn add(&mut self, rows: &[u8]) -> Result<(), IncomingError>;

    /// Checks all rows and makes them durable, for the store to install.
    fn finish(self: Box<Self>, expected: RowSum) -> Result<(), IncomingError>;
}

/// Where snapshots arrive.
pub trait Intakes: Send {
    /// Begins this one, or goes on with what an earlier run has of it; any other is removed.
    fn begin(&mut self, header: SnapshotHeader) -> Result<Box<dyn Intake>, IncomingError>;
}

/// Snapshots arrive beside a database.
pub struct DatabaseIntakes(pub PathBuf);

impl Intakes for DatabaseIntakes {
    fn begin(&mut self, header: SnapshotHeader) -> Result<Box<dyn Intake>, IncomingError> {
        let found = Incoming::resume(&self.0, header.index.saturating_sub(1))?;
        let position = (header.index, header.term);
        let same = |i: &Incoming| (i.header().index, i.header().term) == position;
        Ok(match found.filter(same) {
            Some(incoming) => Box::new(incoming),
            None => Box::new(Incoming::begin(&self.0, header)?),
        })
    }
}

/// A store without rows takes none.
pub struct NoIntakes;

impl Intakes for NoIntakes {
    fn begin(&mut self, header: SnapshotHeader) -> Result<Box<dyn Intake>, IncomingError> {
        let why = "this store takes no rows".to_owned();
        Err(IncomingError::Unusable { index: header.index, why })
    }
}

impl RowView for View {
    fn header(&self) -> &SnapshotHeader {
        View::header(self)
    }

    fn rows_after(
        &self,
        after: Option<&[u8]>,
        max_bytes: usize,
        sum: &mut RowSum,
    ) -> Result<Piece, ViewError> {
        Ok(View::rows_after(self, after, max_bytes, sum)?)
    }

    fn sum_through(&self, last: Option<&[u8]>) -> Result<RowSum, ViewError> {
        Ok(View::sum_through(self, last)?)
    }
}

impl Intake for Incoming {
    fn last_key(&self) -> Option<&[u8]> {
        Incoming::last_key(self)
    }

    fn so_far(&self) -> RowSum {
        Incoming::so_far(self)
    }

    fn add(&mut self, rows: &[u8]) -> Result<(), IncomingError> {
        Incoming::add(self, rows)
    }

    fn finish(self: Box<Self>, expected: RowSum) -> Result<(), IncomingError> {
        Incoming::finish(*self, expected).map(drop)
    }
}
