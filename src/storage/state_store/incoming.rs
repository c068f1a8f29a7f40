//! A snapshot that arrives: a new database beside the old one, filled piece by piece.
//!
//! What was added survives a broken connection as long as the value lives, and a restart up to the
//! last commit (every `limits::SNAPSHOT_COMMIT_BYTES`): [`Incoming::resume`] says where it stands.
//! Nothing of it is believed before [`Incoming::finish`] has read all rows back and compared their
//! sum with the sender's. It then has another name, which [`super::StateStore::install`] expects.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message as _;
use redb::{Database, ReadableDatabase as _, WriteTransaction};

use super::database::{self, Head, ROWS, beside};
use super::error::{StateStoreError, storage_error, table_error, transaction_error};
use super::layers::StoredRows;
use super::row::{self, EncodedRow, RowSum};
use super::view::SnapshotHeader;
use crate::core::Index;
use crate::core::kv::{Clients, Row};
use crate::core::state::ClusterState;
use crate::limits;

/// A snapshot that arrives. One at a time; a newer one replaces it.
pub struct Incoming {
    path: PathBuf,
    header: SnapshotHeader,
    last: Option<Vec<u8>>,
    sum: RowSum,
    /// Dropped BEFORE the database is closed.
    transaction: Option<WriteTransaction>,
    /// Bytes since the last commit.
    uncommitted: usize,
    database: Arc<Database>,
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
    pub fn begin(database: &Path, header: SnapshotHeader) -> Result<Incoming, IncomingError> {
        let unusable = |why| IncomingError::Unusable { index: header.index, why };
        ClusterState::from_bytes(&header.state)
            .map_err(|error| unusable(format!("its state is not readable: {error}")))?;
        Clients::from_bytes(&header.clients)
            .map_err(|error| unusable(format!("its clients are not readable: {error}")))?;
        for name in [ARRIVING, OPENED, super::RECEIVED] {
            database::remove(&beside(database, name))?;
        }
        let path = beside(database, ARRIVING);
        let head = Head {
            applied: (header.index, header.term),
            state: header.state.clone(),
            clients: header.clients.clone(),
            keys: header.keys,
            bytes: header.bytes,
        };
        let database = Arc::new(database::create(&path, limits::SNAPSHOT_CACHE_BYTES, &head)?);
        Ok(Incoming::new(path, header, database))
    }

    fn new(path: PathBuf, header: SnapshotHeader, database: Arc<Database>) -> Incoming {
        let (last, sum, transaction) = (None, RowSum::default(), None);
        Incoming { path, header, last, sum, transaction, uncommitted: 0, database }
    }

    /// What an earlier run has left beside `database`, if it is newer than `applied` and whole;
    /// anything else is removed. Reads all rows that are there.
    pub fn resume(database: &Path, applied: Index) -> Result<Option<Incoming>, IncomingError> {
        // redb may panic on a damaged file: one that was being opened is not opened again.
        let opened = beside(database, OPENED);
        database::remove(&opened)?;
        let arriving = beside(database, ARRIVING);
        for name in [super::RECEIVED, ARRIVING] {
            let left = beside(database, name);
            if left.try_exists().map_err(|e| super::error::io_error(&left, "open", e))? {
                database::rename(&left, &opened)?;
                let Ok(mut incoming) = Incoming::reopen(&opened) else { break };
                if incoming.header.index <= applied {
                    break;
                }
                database::rename(&opened, &arriving)?;
                incoming.path = arriving;
                return Ok(Some(incoming));
            }
        }
        for name in [ARRIVING, OPENED, super::RECEIVED] {
            database::remove(&beside(database, name))?;
        }
        Ok(None)
    }

    fn reopen(path: &Path) -> Result<Incoming, StateStoreError> {
        let database = Arc::new(database::open(path, limits::SNAPSHOT_CACHE_BYTES)?);
        let transaction = database.begin_read().map_err(|e| transaction_error(path, e))?;
        let Head { applied: (index, term), state, clients, keys, bytes } =
            database::read_head(path, &transaction)?;
        drop(transaction);
        let header = SnapshotHeader { index, term, state, clients, keys, bytes };
        let mut incoming = Incoming::new(path.to_owned(), header, database);
        (incoming.sum, incoming.last) = incoming.stored()?;
        Ok(incoming)
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
    pub fn add(&mut self, mut rows: &[u8]) -> Result<(), IncomingError> {
        let length = rows.len();
        let transaction = match self.transaction.take() {
            Some(transaction) => transaction,
            None => database::begin(&self.path, &self.database)?,
        };
        let path = self.path.clone();
        let mut table = transaction.open_table(ROWS).map_err(|e| table_error(&path, e))?;
        while !rows.is_empty() {
            let (key, row) = self.next_row(&mut rows)?;
            let inserted = table.insert(key.as_slice(), row::encode(&key, &row).as_slice());
            inserted.map_err(|e| storage_error(&path, "write", e))?;
            self.sum.add(&key, &row);
            self.last = Some(key);
        }
        drop(table);
        self.transaction = Some(transaction);
        self.uncommitted += length;
        if self.uncommitted >= limits::SNAPSHOT_COMMIT_BYTES {
            self.commit()?;
        }
        Ok(())
    }

    fn next_row(&self, rows: &mut &[u8]) -> Result<(Vec<u8>, Row), IncomingError> {
        let decoded = EncodedRow::decode_length_delimited(&mut *rows);
        let EncodedRow { key, value, revision, created } =
            decoded.map_err(|error| self.unusable(format!("a row is not readable: {error}")))?;
        if key.is_empty() || self.last.as_ref().is_some_and(|last| *last >= key) {
            let why = format!("the key {} is not in order", key.escape_ascii());
            return Err(self.unusable(why));
        }
        let row = Row { value, revision, created };
        // BEFORE it takes space: no more than was announced.
        let (keys, bytes) = (self.sum.keys + 1, self.sum.bytes + row.size(&key));
        if keys > self.header.keys || bytes > self.header.bytes {
            let (keys, bytes) = (self.header.keys, self.header.bytes);
            let why = format!("it has more than the {keys} rows of {bytes} bytes it announced");
            return Err(self.unusable(why));
        }
        Ok((key, row))
    }

    /// Makes durable what was added.
    pub(super) fn commit(&mut self) -> Result<(), StateStoreError> {
        self.uncommitted = 0;
        match self.transaction.take() {
            Some(transaction) => database::commit(&self.path, transaction),
            None => Ok(()),
        }
    }

    /// The sum and the last key of the rows that are committed.
    fn stored(&self) -> Result<(RowSum, Option<Vec<u8>>), StateStoreError> {
        let rows = StoredRows::open(&self.path, &self.database)?;
        let (mut sum, mut last) = (RowSum::default(), None);
        for found in rows.range(Bound::Unbounded, None)? {
            let (key, row) = found?;
            sum.add(&key, &row);
            last = Some(key);
        }
        Ok((sum, last))
    }

    /// All rows were added: compares them with the sum of the sender and makes them durable, for
    /// [`super::StateStore::install`]. If they differ, nothing of them is left. Reads all rows.
    pub fn finish(mut self, expected: RowSum) -> Result<SnapshotHeader, IncomingError> {
        self.commit()?;
        let found = self.stored()?.0;
        let SnapshotHeader { keys, bytes, .. } = self.header;
        let Incoming { path, header, database, .. } = self;
        // Closed, so that it is opened quickly the next time.
        drop(database);
        if found != expected || (found.keys, found.bytes) != (keys, bytes) {
            database::remove(&path)?;
            let why = format!(
                "rows {found:?} have arrived, expected {expected:?} and {keys} rows of {bytes} \
                 bytes"
            );
            return Err(IncomingError::Unusable { index: header.index, why });
        }
        database::rename(&path, &beside(&path, super::RECEIVED))?;
        Ok(header)
    }

    fn unusable(&self, why: String) -> IncomingError {
        IncomingError::Unusable { index: self.header.index, why }
    }
}

/// A file that is being filled.
pub(super) const ARRIVING: &str = "arriving";

/// One that is being opened after a restart.
pub(super) const OPENED: &str = "opened";
