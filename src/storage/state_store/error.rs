//! Why the state machine's database cannot do what was asked, and the errors of redb as such.

use std::io;
use std::path::{Path, PathBuf};

use redb::{DatabaseError, StorageError, TableError, TransactionError};

use crate::core::Index;
use crate::core::kv;

/// Why the database cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StateStoreError {
    /// It is not a database of ours, or not a whole one.
    #[error(
        "state database {} is damaged: {why}; give the node an empty state directory, or restore \
         this one",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Another process has it open.
    #[error("state database {} is in use by another process; stop that one first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file system is full.
    #[error("no space left for state database {}; free some", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused; what was not flushed must be taken for lost, and the process abort.
    #[error("state database {}: {operation} failed", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The snapshot's payload is not a state. Nothing was changed.
    #[error("snapshot at index {index} is not readable")]
    Snapshot {
        /// Its index.
        index: Index,
        /// What does not fit.
        #[source]
        source: prost::DecodeError,
    },
}

impl kv::TableError for StateStoreError {}

pub(super) fn database_error(path: &Path, error: DatabaseError) -> StateStoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StateStoreError::InUse { path: path.to_owned() },
        DatabaseError::Storage(error) => storage_error(path, "open", error),
        other => corrupt(path, other.to_string()),
    }
}

pub(super) fn transaction_error(path: &Path, error: TransactionError) -> StateStoreError {
    match error {
        TransactionError::Storage(error) => storage_error(path, "begin", error),
        other => corrupt(path, other.to_string()),
    }
}

pub(super) fn table_error(path: &Path, error: TableError) -> StateStoreError {
    match error {
        TableError::Storage(error) => storage_error(path, "open table", error),
        other => corrupt(path, other.to_string()),
    }
}

pub(super) fn storage_error(
    path: &Path,
    operation: &'static str,
    error: StorageError,
) -> StateStoreError {
    match error {
        // redb says so when the file does not begin as a database, and when it is cut short.
        StorageError::Io(source)
            if matches!(
                source.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            corrupt(path, source.to_string())
        }
        StorageError::Io(source) => io_error(path, operation, source),
        StorageError::Corrupted(why) => corrupt(path, why),
        other => io_error(path, operation, io::Error::other(other.to_string())),
    }
}

pub(super) fn io_error(path: &Path, operation: &'static str, source: io::Error) -> StateStoreError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StateStoreError::NoSpace { path, source }
        }
        _ => StateStoreError::Io { path, operation, source },
    }
}

pub(super) fn corrupt(path: &Path, why: String) -> StateStoreError {
    StateStoreError::Corrupt { path: path.to_owned(), why }
}
