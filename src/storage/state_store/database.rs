//! The tables of the database: what is written in one transaction, and how it is read back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use prost::Message as _;
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase as _, ReadableTableMetadata as _,
    TableDefinition, TableError, WriteTransaction,
};

use super::error::{
    StateStoreError, corrupt, database_error, io_error, storage_error, table_error,
    transaction_error,
};
use super::layers::Changes;
use super::row;
use crate::core::kv::Clients;
use crate::core::state::ClusterState;
use crate::core::{Index, Term};
use crate::storage::disk::sync_directory;

/// Everything beside the rows, as of one index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Head {
    /// The last entry it includes, and its term.
    pub applied: (Index, Term),
    /// An encoded [`ClusterState`].
    pub state: Vec<u8>,
    /// Encoded [`Clients`].
    pub clients: Vec<u8>,
    /// Rows.
    pub keys: u64,
    /// Their bytes, as the quota counts them.
    pub bytes: u64,
}

/// [`Head`] in the database, without the clients.
#[derive(Clone, PartialEq, prost::Message)]
struct EncodedHead {
    #[prost(uint64, tag = "1")]
    index: Index,
    #[prost(uint64, tag = "2")]
    term: Term,
    #[prost(bytes = "vec", tag = "3")]
    state: Vec<u8>,
    #[prost(uint64, tag = "4")]
    keys: u64,
    #[prost(uint64, tag = "5")]
    bytes: u64,
}

/// What of the database is decoded when it is opened.
pub(super) struct Decoded {
    pub head: Head,
    pub state: ClusterState,
    pub clients: Clients,
}

/// Two rows: the head, and the clients. Each is the CRC32C of the rest, then an encoded message.
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("cluster");
const HEAD: &str = "applied";
const CLIENTS: &str = "clients";

/// The rows ([`row`]). Not there in databases of the first versions.
pub(super) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

pub(super) fn builder(cache_bytes: usize) -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

/// Opens one that is there.
pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Database, StateStoreError> {
    builder(cache_bytes).open(path).map_err(|e| database_error(path, e))
}

/// Makes a new one without rows, in place of anything else that has the name.
pub(super) fn create(
    path: &Path,
    cache_bytes: usize,
    head: &Head,
) -> Result<Database, StateStoreError> {
    remove(path)?;
    let database = builder(cache_bytes).create(path).map_err(|e| database_error(path, e))?;
    let transaction = begin(path, &database)?;
    transaction.open_table(ROWS).map_err(|e| table_error(path, e))?;
    write_head(path, &transaction, head)?;
    commit(path, transaction)?;
    Ok(database)
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<(), StateStoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error(path, "remove", error))
        }
        _ => Ok(()),
    }
}

/// Gives a database that is not open its name, durably.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StateStoreError> {
    let directory = to.parent().expect("a database path has a directory");
    File::open(from).and_then(|file| file.sync_all()).map_err(|e| io_error(from, "sync", e))?;
    fs::rename(from, to).map_err(|e| io_error(from, "rename", e))?;
    sync_directory(directory).map_err(|e| io_error(directory, "sync", e))
}

/// The name of a file beside the database at `path`.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    path.with_extension(what)
}

/// Writes the head and what has changed since the last one, durably and at once.
pub(super) fn write(
    path: &Path,
    database: &Database,
    head: &Head,
    changes: &Changes,
) -> Result<(), StateStoreError> {
    let transaction = begin(path, database)?;
    let mut table = transaction.open_table(ROWS).map_err(|e| table_error(path, e))?;
    for (key, row) in &changes.rows {
        let done = match row {
            Some(row) => table.insert(key.as_slice(), row::encode(key, row).as_slice()).map(drop),
            None => table.remove(key.as_slice()).map(drop),
        };
        done.map_err(|e| storage_error(path, "write", e))?;
    }
    let found = table.len().map_err(|e| storage_error(path, "count", e))?;
    if found != head.keys {
        return Err(corrupt(path, format!("it has {found} rows, expected {}", head.keys)));
    }
    drop(table);
    write_head(path, &transaction, head)?;
    commit(path, transaction)
}

/// Begins a transaction that is durable when it is committed. The state of redb's allocator goes
/// with it (quick repair), so that opening after a crash takes milliseconds whatever the size.
pub(super) fn begin(path: &Path, database: &Database) -> Result<WriteTransaction, StateStoreError> {
    let begun = database.begin_write().map_err(|error| transaction_error(path, error));
    let mut transaction = begun?;
    let immediate = transaction.set_durability(Durability::Immediate);
    immediate.expect("there are no persistent savepoints");
    transaction.set_quick_repair(true);
    Ok(transaction)
}

pub(super) fn commit(path: &Path, transaction: WriteTransaction) -> Result<(), StateStoreError> {
    transaction.commit().map_err(|error| match error {
        redb::CommitError::Storage(error) => storage_error(path, "commit", error),
        other => corrupt(path, other.to_string()),
    })
}

fn write_head(
    path: &Path,
    transaction: &WriteTransaction,
    head: &Head,
) -> Result<(), StateStoreError> {
    let (index, term) = head.applied;
    let state = head.state.clone();
    let encoded = EncodedHead { index, term, state, keys: head.keys, bytes: head.bytes };
    let mut table = transaction.open_table(STATE).map_err(|e| table_error(path, e))?;
    for (key, rest) in [(HEAD, &encoded.encode_to_vec()), (CLIENTS, &head.clients)] {
        let mut bytes = crc32c::crc32c(rest).to_le_bytes().to_vec();
        bytes.extend_from_slice(rest);
        let inserted = table.insert(key, bytes.as_slice());
        inserted.map_err(|e| storage_error(path, "write", e))?;
    }
    Ok(())
}

/// The newest commit, decoded, and compared with the number of rows.
pub(super) fn read(path: &Path, database: &Database) -> Result<Decoded, StateStoreError> {
    let transaction = database.begin_read().map_err(|error| transaction_error(path, error))?;
    let head = read_head(path, &transaction)?;
    let unreadable = |error| corrupt(path, format!("the state is not readable: {error}"));
    let state = ClusterState::from_bytes(&head.state).map_err(unreadable)?;
    let clients = Clients::from_bytes(&head.clients).map_err(unreadable)?;
    let found = match transaction.open_table(ROWS) {
        Ok(table) => table.len().map_err(|e| storage_error(path, "count", e))?,
        Err(TableError::TableDoesNotExist(_)) => 0,
        Err(error) => return Err(table_error(path, error)),
    };
    if found != head.keys {
        return Err(corrupt(path, format!("it has {found} rows, expected {}", head.keys)));
    }
    Ok(Decoded { head, state, clients })
}

/// The head, its checksums compared.
pub(super) fn read_head(
    path: &Path,
    transaction: &ReadTransaction,
) -> Result<Head, StateStoreError> {
    let table = transaction.open_table(STATE).map_err(|e| table_error(path, e))?;
    let get = |key| {
        let found = table.get(key).map_err(|e| storage_error(path, "read", e))?;
        let Some(value) = found else { return Ok(None) };
        let (crc, bytes) = value.value().split_at_checked(4).unwrap_or_default();
        if crc != crc32c::crc32c(bytes).to_le_bytes() {
            return Err(corrupt(path, "the checksum of the state does not match".to_owned()));
        }
        Ok(Some(bytes.to_vec()))
    };
    let bytes = get(HEAD)?.ok_or_else(|| corrupt(path, format!("it has no row {HEAD:?}")))?;
    let decoded = EncodedHead::decode(bytes.as_slice());
    let head =
        decoded.map_err(|error| corrupt(path, format!("the state is not readable: {error}")))?;
    let clients = get(CLIENTS)?.unwrap_or_default();
    let EncodedHead { index, term, state, keys, bytes } = head;
    Ok(Head { applied: (index, term), state, clients, keys, bytes })
}
