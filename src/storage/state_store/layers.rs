//! The rows as they are now: what has changed lately, in memory, over what is in the database.
//!
//! Three layers: the changes since the last flush, those that are being written, and the database
//! as the flush before left it. The first that knows a key is right.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadableDatabase as _, TableError};

use super::ROWS;
use super::error::{StateStoreError, corrupt, storage_error, table_error, transaction_error};
use super::row;
use crate::core::kv::{self, Row, Table};

/// Rows that were put or removed, not yet in the database.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub rows: BTreeMap<Vec<u8>, Option<Row>>,
    /// What they take in memory, about.
    pub bytes: usize,
}

impl Changes {
    pub(super) fn set(&mut self, key: &[u8], row: Option<Row>) {
        let size = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.value.len());
        let new = size(&row);
        match self.rows.insert(key.to_vec(), row) {
            Some(before) => self.bytes -= size(&before),
            None => self.bytes += key.len() + CHANGE_OVERHEAD_BYTES,
        }
        self.bytes += new;
    }
}

/// What a change takes beside key and value: its place in the map and three heads of allocations.
const CHANGE_OVERHEAD_BYTES: usize = 128;

/// The rows of the database at one commit. Later commits do not change it.
pub(super) struct StoredRows {
    path: PathBuf,
    /// `None`: the database is from before there were rows.
    table: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    /// The table is readable as long as it is open.
    _database: Arc<Database>,
}

impl StoredRows {
    /// The newest ones.
    pub fn open(path: &Path, database: &Arc<Database>) -> Result<StoredRows, StateStoreError> {
        let transaction = database.begin_read().map_err(|e| transaction_error(path, e))?;
        StoredRows::of(path, database, &transaction)
    }

    /// Those of a transaction.
    pub fn of(
        path: &Path,
        database: &Arc<Database>,
        transaction: &redb::ReadTransaction,
    ) -> Result<StoredRows, StateStoreError> {
        let table = match transaction.open_table(ROWS) {
            Ok(table) => Some(table),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(table_error(path, error)),
        };
        Ok(StoredRows { path: path.to_owned(), table, _database: Arc::clone(database) })
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Row>, StateStoreError> {
        let Some(table) = &self.table else { return Ok(None) };
        match table.get(key).map_err(|e| storage_error(&self.path, "read", e))? {
            Some(bytes) => self.decode(key, bytes.value()).map(Some),
            None => Ok(None),
        }
    }

    /// Those from `from` on and below `end`.
    pub fn range(
        &self,
        from: Bound<&[u8]>,
        end: Option<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<(Vec<u8>, Row), StateStoreError>>, StateStoreError>
    {
        let failed = |e| storage_error(&self.path, "read", e);
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let range = match &self.table {
            Some(table) => Some(table.range::<&[u8]>((from, end)).map_err(failed)?),
            None => None,
        };
        Ok(range.into_iter().flatten().map(move |entry| {
            let (key, bytes) = entry.map_err(failed)?;
            let key = key.value();
            Ok((key.to_vec(), self.decode(key, bytes.value())?))
        }))
    }

    fn decode(&self, key: &[u8], bytes: &[u8]) -> Result<Row, StateStoreError> {
        let damaged = || format!("the checksum of the row {} does not match", key.escape_ascii());
        row::decode(key, bytes).ok_or_else(|| corrupt(&self.path, damaged()))
    }
}

/// All layers, as one table.
pub(super) struct Layers<'a> {
    /// Since the last flush.
    pub active: &'a mut Changes,
    /// On their way to the database.
    pub flushing: Option<&'a Changes>,
    pub stored: &'a StoredRows,
}

impl Table for Layers<'_> {
    type Error = StateStoreError;

    fn get(&self, key: &[u8]) -> Result<Option<Row>, StateStoreError> {
        let flushing = self.flushing.and_then(|changes| changes.rows.get(key));
        match self.active.rows.get(key).or(flushing) {
            Some(row) => Ok(row.clone()),
            None => self.stored.get(key),
        }
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        end: Option<&[u8]>,
        see: &mut dyn FnMut(&[u8], Row) -> ControlFlow<()>,
    ) -> Result<(), StateStoreError> {
        if kv::is_empty(from, end) {
            return Ok(());
        }
        let below = end.map_or(Bound::Unbounded, Bound::Excluded);
        let upper = self.active.rows.range::<[u8], _>((from, below)).peekable();
        let lower = self.flushing.map(|changes| changes.rows.range::<[u8], _>((from, below)));
        let lower = lower.into_iter().flatten().peekable();
        let mut changed = Newer { upper, lower }.peekable();
        let mut stored = self.stored.range(from, end)?;
        let mut next = stored.next().transpose()?;
        loop {
            let flow = match (changed.peek(), next.take()) {
                (None, None) => return Ok(()),
                (Some(&(key, row)), beside)
                    if beside.as_ref().is_none_or(|(found, _)| key <= found) =>
                {
                    changed.next();
                    // The same key further down does not count.
                    next = match beside {
                        Some((found, _)) if found == *key => stored.next().transpose()?,
                        other => other,
                    };
                    row.as_ref().map(|row| see(key, row.clone()))
                }
                (_, Some((found, row))) => {
                    next = stored.next().transpose()?;
                    Some(see(&found, row))
                }
                (Some(_), None) => unreachable!("a change comes before nothing"),
            };
            if flow.is_some_and(|flow| flow.is_break()) {
                return Ok(());
            }
        }
    }

    fn set(&mut self, key: &[u8], row: Option<Row>) -> Result<(), StateStoreError> {
        self.active.set(key, row);
        Ok(())
    }
}

/// Two ordered layers as one: of a key in both, the upper one's.
struct Newer<A: Iterator, B: Iterator> {
    upper: Peekable<A>,
    lower: Peekable<B>,
}

type Change<'a> = (&'a Vec<u8>, &'a Option<Row>);

impl<'a, A, B> Iterator for Newer<A, B>
where
    A: Iterator<Item = Change<'a>>,
    B: Iterator<Item = Change<'a>>,
{
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        match (self.upper.peek(), self.lower.peek()) {
            (Some((upper, _)), Some((lower, _))) if lower < upper => self.lower.next(),
            (Some((upper, _)), Some((lower, _))) => {
                if upper == lower {
                    self.lower.next();
                }
                self.upper.next()
            }
            (Some(_), None) => self.upper.next(),
            (None, _) => self.lower.next(),
        }
    }
}
