//! Rows that were read lately, shared by the thread of the store and the driver, which answers from
//! here without waking that thread.
//!
//! Guarantees that what [`Recent::read`] returns is what the store would answer after everything
//! that it was asked to apply. The driver never waits for it: where the thread is at work, or a row
//! is not here, it asks the thread. Bounded: the rows read least lately go first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::Stored;
use crate::core::Index;
use crate::core::kv::{Change, KvCommand, Operation, Page, Query, ROW_OVERHEAD_BYTES, Row, Work};
use crate::limits;

/// See the module.
#[derive(Default)]
pub(super) struct Recent(Mutex<Inner>);

/// Keys that are known not to be there have no row.
type Rows = HashMap<Vec<u8>, Option<Row>>;

#[derive(Default)]
struct Inner {
    /// What they are true of; `None`: the thread is at work.
    applied: Option<Index>,
    /// Those read since the generation before was full.
    young: Rows,
    young_bytes: usize,
    old: Rows,
}

impl Recent {
    /// What the queries ask for, if all of it is here and true of `applied`.
    pub(super) fn read(&self, queries: &[(u64, Query)], applied: Index) -> Option<Stored> {
        let inner = self.0.try_lock().ok().filter(|inner| inner.applied == Some(applied))?;
        let page = |(number, query): &(u64, Query)| {
            let row = inner.look(query)?.clone();
            let rows = row.map(|row| (query.key.clone(), row)).into_iter().collect();
            Some((*number, Page { rows, more: false }))
        };
        let pages = queries.iter().map(page).collect::<Option<_>>()?;
        Some(Stored::Read { pages, applied })
    }

    /// The thread is about to apply `work`.
    pub(super) fn begin(&self, work: &Work) {
        let mut inner = self.lock();
        inner.applied = None;
        for committed in &work.commands {
            inner.forget(&committed.command);
        }
    }

    /// The thread has applied everything up to here.
    pub(super) fn applied(&self, applied: Index) {
        self.lock().applied = Some(applied);
    }

    /// Everything is replaced by a snapshot.
    pub(super) fn clear(&self, applied: Index) {
        *self.lock() = Inner { applied: Some(applied), ..Inner::default() };
    }

    /// The thread has answered these.
    pub(super) fn keep(&self, queries: &[(u64, Query)], pages: &[(u64, Page)]) {
        let mut inner = self.lock();
        for ((_, query), (_, page)) in queries.iter().zip(pages) {
            if !query.is_prefix {
                inner.insert(&query.key, page.rows.first().map(|(_, row)| row.clone()));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Inner {
    fn look(&self, query: &Query) -> Option<&Option<Row>> {
        let here = |rows: &'_ Rows| rows.contains_key(&query.key);
        let rows = if here(&self.young) { &self.young } else { &self.old };
        rows.get(&query.key).filter(|_| !query.is_prefix)
    }

    fn insert(&mut self, key: &[u8], row: Option<Row>) {
        let bytes = row.as_ref().map_or(0, |row| row.value.len());
        let bytes = key.len() + bytes + ROW_OVERHEAD_BYTES as usize;
        if self.young_bytes + bytes > limits::STORE_RECENT_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(key.to_vec(), row);
    }

    fn forget(&mut self, command: &KvCommand) {
        if self.young.is_empty() && self.old.is_empty() {
            return;
        }
        let mut all = false;
        let mut remove = |key: &[u8]| {
            self.young.remove(key);
            self.old.remove(key);
        };
        match &command.operation {
            Some(Operation::Put(put)) => remove(&put.key),
            Some(Operation::Delete(delete)) => remove(&delete.key),
            Some(Operation::DeletePrefix(_)) => all = true,
            Some(Operation::Txn(txn)) => {
                for step in txn.then.iter().chain(&txn.otherwise) {
                    match &step.change {
                        Some(Change::Put(put)) => remove(&put.key),
                        Some(Change::Delete(delete)) => remove(&delete.key),
                        Some(Change::DeletePrefix(_)) => all = true,
                        Some(Change::Get(_)) | None => {}
                    }
                }
            }
            None => {}
        }
        if all {
            (self.young, self.old, self.young_bytes) = Default::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kv::{Awaited, Committed, DeletePrefix, Put};

    fn query(key: &str) -> (u64, Query) {
        (1, Query { key: key.into(), ..Query::default() })
    }

    fn page(value: &[u8]) -> (u64, Page) {
        let row = Row { value: value.to_vec(), revision: 1, created: 1 };
        (1, Page { rows: vec![(b"k".to_vec(), row)], more: false })
    }

    fn work(operation: Operation) -> Work {
        let command = KvCommand { operation: Some(operation), ..KvCommand::default() };
        let commands = vec![Committed { index: 2, token: None, command, awaited: Awaited::No }];
        Work { commands, applied: (2, 1), state: None }
    }

    fn kept() -> Recent {
        let recent = Recent::default();
        recent.applied(1);
        recent.keep(&[query("k")], &[page(b"a")]);
        recent.keep(&[query("none")], &[(1, Page::default())]);
        recent
    }

    #[test]
    fn what_was_read_is_found_as_long_as_it_is_the_newest() {
        let recent = kept();
        let found = Stored::Read { pages: vec![page(b"a")], applied: 1 };
        assert_eq!(recent.read(&[query("k")], 1), Some(found));
        let Some(Stored::Read { pages, .. }) = recent.read(&[query("none")], 1) else { panic!() };
        assert_eq!(pages[0].1.rows, [], "known not to be there");
        assert_eq!(recent.read(&[query("k")], 2), None, "the thread has more to apply");
        assert_eq!(recent.read(&[query("k"), query("other")], 1), None, "not all of it is here");
        let prefix = (1, Query { is_prefix: true, ..query("k").1 });
        assert_eq!(recent.read(&[prefix], 1), None);
    }

    #[test]
    fn a_write_makes_it_forget() {
        let put = || Operation::Put(Put { key: b"k".to_vec(), value: Vec::new() });
        let recent = kept();
        recent.begin(&work(put()));
        assert_eq!(recent.read(&[query("none")], 1), None, "the thread is at work");
        recent.applied(2);
        assert_eq!(recent.read(&[query("k")], 2), None);
        assert!(recent.read(&[query("none")], 2).is_some());
        recent.begin(&work(Operation::DeletePrefix(DeletePrefix::default())));
        recent.applied(3);
        assert_eq!(recent.read(&[query("none")], 3), None);
        let recent = kept();
        recent.clear(9);
        assert_eq!(recent.read(&[query("k")], 9), None);
    }

    #[test]
    fn it_is_bounded_and_keeps_what_was_read_last() {
        let recent = kept();
        let large = vec![0; limits::STORE_RECENT_BYTES / 8];
        for at in 0..100 {
            recent.keep(&[query(&at.to_string())], &[page(&large)]);
        }
        let there = |at: u64| recent.read(&[query(&at.to_string())], 1).is_some();
        let held = (0..100).filter(|at| there(*at)).count();
        assert!((3..8).contains(&held) && there(99), "{held}");
    }
}
