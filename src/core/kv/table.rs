//! The rows under the store: one ordered map from keys to values with their revisions.
//!
//! Floor 2 keeps them in a database; tests and the simulator keep them in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::{Bound, ControlFlow};

use crate::core::Index;

/// One key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The value.
    pub value: Vec<u8>,
    /// Index of the entry that wrote it.
    pub revision: Index,
    /// Index of the entry that made the key, since it was deleted last.
    pub created: Index,
}

impl Row {
    /// What the row counts towards the quota, with its key.
    pub fn size(&self, key: &[u8]) -> u64 {
        row_size(key, &self.value)
    }
}

/// What a row of `key` and `value` counts towards the quota.
pub fn row_size(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + ROW_OVERHEAD_BYTES
}

/// What a row costs beside its bytes: so that empty values do not come for free.
pub const ROW_OVERHEAD_BYTES: u64 = 32;

/// A failure of whatever keeps the rows; infallible in memory.
pub trait TableError: std::error::Error + Send + Sync + 'static {}

impl TableError for Infallible {}

/// Rows in the order of their keys.
pub trait Table {
    /// Why a row cannot be read or written.
    type Error: TableError;

    /// The row of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Row>, Self::Error>;

    /// Shows rows from `from` on (inclusive or not), below `end` if there is one, in order and one
    /// at a time, until `see` has seen enough.
    fn scan(
        &self,
        from: Bound<&[u8]>,
        end: Option<&[u8]>,
        see: &mut dyn FnMut(&[u8], Row) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;

    /// Puts a row, or removes it.
    fn set(&mut self, key: &[u8], row: Option<Row>) -> Result<(), Self::Error>;
}

/// Rows in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryTable(pub BTreeMap<Vec<u8>, Row>);

impl Table for MemoryTable {
    type Error = Infallible;

    fn get(&self, key: &[u8]) -> Result<Option<Row>, Infallible> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        end: Option<&[u8]>,
        see: &mut dyn FnMut(&[u8], Row) -> ControlFlow<()>,
    ) -> Result<(), Infallible> {
        if is_empty(from, end) {
            return Ok(());
        }
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, row) in self.0.range::<[u8], _>((from, end)) {
            if see(key, row.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], row: Option<Row>) -> Result<(), Infallible> {
        match row {
            Some(row) => drop(self.0.insert(key.to_vec(), row)),
            None => drop(self.0.remove(key)),
        }
        Ok(())
    }
}

/// Whether nothing can be from `from` on and below `end`: such a range would panic in a map.
pub fn is_empty(from: Bound<&[u8]>, end: Option<&[u8]>) -> bool {
    let start = match from {
        Bound::Included(key) | Bound::Excluded(key) => key,
        Bound::Unbounded => &[],
    };
    end.is_some_and(|end| end <= start)
}

/// The first key after all that begin with `prefix`; `None` if there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
