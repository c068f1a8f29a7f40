//! A consistent view of what is durable, for a snapshot to be sent while the store goes on.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use prost::Message as _;
use redb::{Database, ReadableDatabase as _};

use super::database;
use super::error::{StateStoreError, transaction_error};
use super::layers::StoredRows;
use super::row::{EncodedRow, RowSum};
use crate::core::{Index, Term};

/// What a snapshot begins with: everything but the rows. It fits a frame.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotHeader {
    /// The last entry that it includes.
    #[prost(uint64, tag = "1")]
    pub index: Index,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: Term,
    /// The state of the cluster ([`crate::core::state::ClusterState::to_bytes`]).
    #[prost(bytes = "vec", tag = "3")]
    pub state: Vec<u8>,
    /// Who has written lately ([`crate::core::kv::Clients::to_bytes`]).
    #[prost(bytes = "vec", tag = "4")]
    pub clients: Vec<u8>,
    /// Rows in all.
    #[prost(uint64, tag = "5")]
    pub keys: u64,
    /// Their bytes, as the quota counts them.
    #[prost(uint64, tag = "6")]
    pub bytes: u64,
}

/// Some rows of a snapshot, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What [`super::Incoming::add`] takes. Opaque on its way.
    pub rows: Vec<u8>,
    /// Key of the last of them: where the next piece goes on. `None`: there are no more rows.
    pub last: Option<Vec<u8>>,
}

/// The state at the index that was durable when the view was made. Another thread may read it while
/// the store goes on, even when that installs a snapshot. Pages that it still needs are not used
/// again meanwhile: the file grows the longer it lives.
pub struct View {
    header: SnapshotHeader,
    rows: StoredRows,
}

impl View {
    pub(super) fn open(path: &Path, database: &Arc<Database>) -> Result<View, StateStoreError> {
        let transaction = database.begin_read().map_err(|e| transaction_error(path, e))?;
        let head = database::read_head(path, &transaction)?;
        let rows = StoredRows::of(path, database, &transaction)?;
        let ((index, term), keys, bytes) = (head.applied, head.keys, head.bytes);
        let (state, clients) = (head.state, head.clients);
        let header = SnapshotHeader { index, term, state, clients, keys, bytes };
        Ok(View { header, rows })
    }

    /// Everything but the rows.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// The rows after the key `after`, or the first ones: about `max_bytes` of them, one at least
    /// unless there are no more. Adds them to `sum`.
    pub fn rows_after(
        &self,
        after: Option<&[u8]>,
        max_bytes: usize,
        sum: &mut RowSum,
    ) -> Result<Piece, StateStoreError> {
        let mut piece = Piece { rows: Vec::new(), last: None };
        for found in self.rows.range(beyond(after), None)? {
            let (key, row) = found?;
            sum.add(&key, &row);
            let encoded = EncodedRow {
                key: key.clone(),
                value: row.value,
                revision: row.revision,
                created: row.created,
            };
            let to_memory = encoded.encode_length_delimited(&mut piece.rows);
            to_memory.expect("a vector grows");
            piece.last = Some(key);
            if piece.rows.len() >= max_bytes {
                break;
            }
        }
        Ok(piece)
    }

    /// The sum of all rows up to and including `last`: to go on after a key that the receiver has.
    /// Reads them all; `None` gives the sum of nothing.
    pub fn sum_through(&self, last: Option<&[u8]>) -> Result<RowSum, StateStoreError> {
        let mut sum = RowSum::default();
        let Some(last) = last else { return Ok(sum) };
        for found in self.rows.range(Bound::Unbounded, None)? {
            let (key, row) = found?;
            if key.as_slice() > last {
                break;
            }
            sum.add(&key, &row);
        }
        Ok(sum)
    }
}

/// Where rows begin that come after a key, or all of them.
pub(super) fn beyond(after: Option<&[u8]>) -> Bound<&[u8]> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}
