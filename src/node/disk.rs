//! The work of the disk thread: writes in order, as few syncs as possible.
//!
//! Owns the log. Persists that queue up behind a slow sync are
//! merged into one write and one sync: this is the second half of the group commit, and what lets
//! a disk that syncs in 60 ms keep up with many small turns. Synchronous; production runs it on a
//! thread of its own, the simulator in its only thread.
//!
//! An error is never retried here: the process ends, and recovery decides what is true (a failed
//! fsync leaves pages marked clean; retrying it proves nothing).

use std::collections::VecDeque;

use crate::consensus::{Fetch, Persist};
use crate::core::message::{Entry, HardState, Snapshot};
use crate::core::{Index, Term};
use crate::storage::{Batch, LogError, LogStore};

use super::event::Event;
use super::store::Installer;

/// What the node asks of the disk.
#[derive(Clone, Debug)]
pub enum DiskRequest {
    /// Write and sync; answered by [`Event::Persisted`].
    Persist {
        /// The turn to report.
        number: u64,
        /// What to write.
        persist: Persist,
    },
    /// Read; answered by [`Event::Fetched`].
    Fetch(Fetch),
    /// Drop the log up to here.
    Compact {
        /// Last index to drop.
        index: Index,
        /// Its term.
        term: Term,
    },
}

/// The disk failed; the process must end.
#[derive(Debug, thiserror::Error)]
pub enum DiskFailed<E: std::error::Error + 'static> {
    /// The log.
    #[error("the log cannot be written or read")]
    Log(#[source] LogError),
    /// The snapshot was not installed.
    #[error("the snapshot cannot be installed")]
    Store(#[source] E),
}

/// The log, the way to the store, and the requests that wait.
pub struct DiskWorker<L, S> {
    log: L,
    store: S,
    queue: VecDeque<DiskRequest>,
}

impl<L: LogStore, S: Installer> DiskWorker<L, S> {
    /// A worker with nothing to do.
    pub fn new(log: L, store: S) -> Self {
        DiskWorker { log, store, queue: VecDeque::new() }
    }

    /// Adds a request. The number of writes waiting is bounded by the node
    /// (`limits::DISK_QUEUE_REQUESTS`), everything else by what those writes cause.
    pub fn push(&mut self, request: DiskRequest) {
        self.queue.push_back(request);
    }

    /// Whether requests are waiting.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The waiting requests, oldest first.
    pub fn queue(&self) -> &VecDeque<DiskRequest> {
        &self.queue
    }

    /// The log, to look at or to tear down.
    pub fn log_mut(&mut self) -> &mut L {
        &mut self.log
    }

    /// The way to the store.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Carries out the oldest request, together with those that can be merged with it.
    pub fn step(&mut self) -> Result<Option<Event>, DiskFailed<S::Error>> {
        let Some(request) = self.queue.pop_front() else { return Ok(None) };
        match request {
            DiskRequest::Persist { number, persist } => self.persist(number, persist).map(Some),
            DiskRequest::Fetch(fetch) => self.fetch(fetch).map(Some),
            DiskRequest::Compact { index, term } => {
                self.log.compact(index, term).map_err(DiskFailed::Log)?;
                Ok(None)
            }
        }
    }

    /// Idle: does a part of what would make a later append slow; whether there is more to do.
    pub fn prepare(&mut self) -> Result<bool, DiskFailed<S::Error>> {
        match self.log.prepare() {
            Ok(more) => Ok(more),
            // The append that needs it tries again and reports.
            Err(error) if error.is_retryable() => Ok(false),
            Err(error) => Err(DiskFailed::Log(error)),
        }
    }

    fn persist(&mut self, number: u64, persist: Persist) -> Result<Event, DiskFailed<S::Error>> {
        let Persist { snapshot, mut entries, mut hard_state } = persist;
        if let Some(snapshot) = &snapshot {
            // BEFORE the log forgets its entries; recovery mends a crash in between.
            self.store.install(snapshot).map_err(DiskFailed::Store)?;
            let Snapshot { index, term, .. } = *snapshot;
            self.log.install(index, term, hard_state).map_err(DiskFailed::Log)?;
        }
        let number = self.merge(number, &mut entries, &mut hard_state);
        let batch = Batch { entries: &entries, hard_state: Some(hard_state) };
        self.log.append(&batch, true).map_err(DiskFailed::Log)?;
        Ok(Event::Persisted { number })
    }

    /// Takes the writes that wait behind this one into it. Reads and the rest stay, in order: they
    /// only have to come after the writes before them.
    fn merge(&mut self, number: u64, entries: &mut Vec<Entry>, last: &mut HardState) -> u64 {
        let mut number = number;
        let mut kept = VecDeque::new();
        while let Some(request) = self.queue.pop_front() {
            match request {
                DiskRequest::Persist { number: next, persist } if persist.snapshot.is_none() => {
                    if let Some(first) = persist.entries.first() {
                        entries.truncate_from(first.index);
                    }
                    entries.extend(persist.entries);
                    *last = persist.hard_state;
                    number = next;
                }
                snapshot @ DiskRequest::Persist { .. } => {
                    self.queue.push_front(snapshot);
                    break;
                }
                other => kept.push_back(other),
            }
        }
        while let Some(request) = kept.pop_back() {
            self.queue.push_front(request);
        }
        number
    }

    fn fetch(&mut self, fetch: Fetch) -> Result<Event, DiskFailed<S::Error>> {
        let high = fetch.high.min(self.log.last_index() + 1);
        let there = fetch.low >= self.log.first_index() && fetch.low < high;
        let entries = if there {
            self.log.read(fetch.low, high, fetch.max_bytes).map_err(DiskFailed::Log)?
        } else {
            Vec::new()
        };
        Ok(Event::Fetched { id: fetch.id, entries })
    }
}

trait TruncateFrom {
    fn truncate_from(&mut self, index: Index);
}

impl TruncateFrom for Vec<Entry> {
    /// Drops the entries that one at `index` supersedes.
    fn truncate_from(&mut self, index: Index) {
        let keep = self.partition_point(|entry| entry.index < index);
        self.truncate(keep);
    }
}
