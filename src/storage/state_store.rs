//! The applied state in one redb file: membership, activation, and the index they stand at.
//!
//! `apply` costs no sync: it commits with `Durability::None`, state and applied position in one
//! transaction, and a crash goes back to the last [`StateStore::flush`]. The log must keep
//! everything above the index that flush returned, and the node applies it again.
//!
//! A flush saves the allocator state with the commit (quick repair), so that opening after a crash
//! takes milliseconds whatever the size. Quick repair implies two-phase commit: two syncs for each
//! flush instead of one, once in `limits::STATE_FLUSH_INTERVAL`.
//!
//! It does not know what the state means, and it is not the place for what Raft must remember:
//! that is the log.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use prost::Message as _;
use redb::backends::InMemoryBackend;
use redb::{Database, Durability, ReadableDatabase as _, StorageBackend as _, TableDefinition};

use self::error::{
    corrupt, database_error, io_error, storage_error, table_error, transaction_error,
};
use super::disk::sync_directory;
use crate::core::message::Snapshot;
use crate::core::state::ClusterState;
use crate::core::{Index, Term};
use crate::limits;

mod error;
mod incoming;
mod row;
mod view;

pub use error::StateStoreError;
pub use incoming::{Incoming, IncomingError};
pub use row::RowSum;
pub use view::{Piece, SnapshotHeader, View};

/// The database of the applied state.
pub struct StateStore {
    path: PathBuf,
    cache_bytes: usize,
    database: Database,
    applied: (Index, Term),
    durable: Index,
}

/// What the database held when it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredState {
    /// The state.
    pub state: ClusterState,
    /// The last entry it includes, and its term; (0, 0) for none.
    pub applied: (Index, Term),
}

/// The row of the database. It has its own checksum because redb trusts its pages after a
/// two-phase commit, as its documentation says, and does not read theirs again.
#[derive(Clone, PartialEq, prost::Message)]
struct Row {
    #[prost(uint64, tag = "1")]
    index: Index,
    #[prost(uint64, tag = "2")]
    term: Term,
    /// An encoded [`ClusterState`].
    #[prost(bytes = "vec", tag = "3")]
    state: Vec<u8>,
}

impl StateStore {
    /// Opens the database at `path`, or makes one, with a page cache of `cache_bytes`.
    pub fn open(
        path: impl Into<PathBuf>,
        cache_bytes: usize,
    ) -> Result<(StateStore, StoredState), StateStoreError> {
        let path = path.into();
        // What an interrupted install or first start left is in nobody's way.
        let unfinished = unfinished(&path);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&unfinished, "remove", error));
            }
            _ => {}
        }
        let exists = path.try_exists().map_err(|e| io_error(&path, "open", e))?;
        if !exists {
            write_database(&path, cache_bytes, &StoredState::default())?;
        }
        examine(&path)?;
        let database = builder(cache_bytes).open(&path).map_err(|e| database_error(&path, e))?;
        let stored = read(&path, &database)?;
        let (applied, durable) = (stored.applied, stored.applied.0);
        Ok((StateStore { path, cache_bytes, database, applied, durable }, stored))
    }

    /// Notes the state as of the entry at `applied`. Durable with the next flush.
    ///
    /// # Panics
    /// If `applied` goes back.
    pub fn apply(
        &mut self,
        state: &ClusterState,
        applied: (Index, Term),
    ) -> Result<(), StateStoreError> {
        assert!(applied >= self.applied, "applied {applied:?} after {:?}", self.applied);
        write(&self.path, &self.database, Durability::None, state, applied)?;
        self.applied = applied;
        Ok(())
    }

    /// Makes everything applied so far durable; returns the applied index that now is.
    pub fn flush(&mut self) -> Result<Index, StateStoreError> {
        if self.durable < self.applied.0 {
            commit(&self.path, &self.database, Durability::Immediate, |_| Ok(()))?;
            self.durable = self.applied.0;
        }
        Ok(self.durable)
    }

    /// The last applied entry and its term.
    pub fn applied(&self) -> (Index, Term) {
        self.applied
    }

    /// The applied index that survives a crash.
    pub fn durable_index(&self) -> Index {
        self.durable
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is durable now, for a snapshot.
    pub fn view(&self) -> Result<View, StateStoreError> {
        unimplemented!()
    }

    /// Replaces the state by a snapshot, durably: a crash leaves the old database or the new one.
    /// The log must be told afterwards ([`super::LogStore::install`]).
    pub fn install(&mut self, snapshot: &Snapshot) -> Result<StoredState, StateStoreError> {
        let state = ClusterState::from_bytes(&snapshot.data)
            .map_err(|source| StateStoreError::Snapshot { index: snapshot.index, source })?;
        let stored = StoredState { state, applied: (snapshot.index, snapshot.term) };
        write_database(&self.path, self.cache_bytes, &stored)?;
        // The old one goes with its file, which has no name any more.
        self.database = builder(self.cache_bytes)
            .open(&self.path)
            .map_err(|e| database_error(&self.path, e))?;
        self.applied = stored.applied;
        self.durable = stored.applied.0;
        Ok(stored)
    }
}

/// Refuses a damaged database BEFORE redb opens the file: to open one is to repair it, which
/// writes. The copy in memory may be repaired; what matters is that it can be, and the row in it.
fn examine(path: &Path) -> Result<(), StateStoreError> {
    let file = File::open(path).map_err(|e| io_error(path, "open", e))?;
    let mut bytes = Vec::new();
    let most = limits::STATE_EXAMINED_MAX_BYTES;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| io_error(path, "read", e))?;
    if bytes.len() as u64 > most {
        return Ok(());
    }
    let copy = InMemoryBackend::new();
    let filled = copy.set_len(bytes.len() as u64).and_then(|()| copy.write(0, &bytes));
    filled.map_err(|e| io_error(path, "copy", e))?;
    drop(bytes);
    let builder = builder(0);
    let mut database = builder.create_with_backend(copy).map_err(|e| database_error(path, e))?;
    read(path, &database)?;
    database.check_integrity().map_err(|e| database_error(path, e))?;
    Ok(())
}

/// Writes a whole new database and gives it its name when it is durable.
fn write_database(
    path: &Path,
    cache_bytes: usize,
    stored: &StoredState,
) -> Result<(), StateStoreError> {
    let unfinished = unfinished(path);
    let database =
        builder(cache_bytes).create(&unfinished).map_err(|e| database_error(&unfinished, e))?;
    write(&unfinished, &database, Durability::Immediate, &stored.state, stored.applied)?;
    drop(database);
    let directory = path.parent().expect("a database path has a directory");
    File::open(&unfinished)
        .and_then(|file| file.sync_all())
        .map_err(|e| io_error(&unfinished, "sync", e))?;
    fs::rename(&unfinished, path).map_err(|e| io_error(&unfinished, "rename", e))?;
    sync_directory(directory).map_err(|e| io_error(directory, "sync", e))
}

fn builder(cache_bytes: usize) -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

fn write(
    path: &Path,
    database: &Database,
    durability: Durability,
    state: &ClusterState,
    (index, term): (Index, Term),
) -> Result<(), StateStoreError> {
    let row = Row { index, term, state: state.to_bytes() }.encode_to_vec();
    let mut bytes = crc32c::crc32c(&row).to_le_bytes().to_vec();
    bytes.extend_from_slice(&row);
    commit(path, database, durability, |transaction| {
        let mut table = transaction.open_table(STATE).map_err(|e| table_error(path, e))?;
        let inserted = table.insert(KEY, bytes.as_slice());
        inserted.map_err(|e| storage_error(path, "write", e)).map(drop)
    })
}

fn commit(
    path: &Path,
    database: &Database,
    durability: Durability,
    work: impl FnOnce(&redb::WriteTransaction) -> Result<(), StateStoreError>,
) -> Result<(), StateStoreError> {
    let begun = database.begin_write().map_err(|error| transaction_error(path, error));
    let mut transaction = begun?;
    transaction.set_durability(durability).expect("there are no persistent savepoints");
    transaction.set_quick_repair(matches!(durability, Durability::Immediate));
    work(&transaction)?;
    transaction.commit().map_err(|error| match error {
        redb::CommitError::Storage(error) => storage_error(path, "commit", error),
        other => corrupt(path, other.to_string()),
    })
}

fn read(path: &Path, database: &Database) -> Result<StoredState, StateStoreError> {
    let transaction = database.begin_read().map_err(|error| transaction_error(path, error))?;
    let table = transaction.open_table(STATE).map_err(|e| table_error(path, e))?;
    let value = table.get(KEY).map_err(|e| storage_error(path, "read", e))?;
    let value = value.ok_or_else(|| corrupt(path, format!("it has no row {KEY:?}")))?;
    let (crc, bytes) = value.value().split_at_checked(4).unwrap_or_default();
    if crc != crc32c::crc32c(bytes).to_le_bytes() {
        return Err(corrupt(path, "the checksum of the state does not match".to_owned()));
    }
    let unreadable = |error| corrupt(path, format!("the state is not readable: {error}"));
    let row = Row::decode(bytes).map_err(unreadable)?;
    let state = ClusterState::from_bytes(&row.state).map_err(unreadable)?;
    Ok(StoredState { state, applied: (row.index, row.term) })
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("cluster");
/// The only row: CRC32C of the rest, then an encoded [`Row`].
const KEY: &str = "applied";

#[cfg(test)]
mod tests;
