//! The engine's view of the log: the tail in memory, the terms of all of it, the rest by request.
//!
//! Guarantees the engine a synchronous answer to everything it asks synchronously: entries that are
//! not applied yet are always in memory, terms always known. Entries it wants for a slow follower
//! may be older: then it gets `LogTemporarilyUnavailable`, and a [`Fetch`] is left for the driver.

use std::cell::RefCell;
use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, StorageError};

use super::output::{Fetch, FetchId};
use super::weights::Weights;
use crate::core::Index;
use crate::core::message::TermRuns;

/// What recovery found, in the engine's terms.
pub(super) struct LogView {
    initial_hard_state: HardState,
    conf_state: ConfState,
    truncated: Index,
    terms: TermRuns,
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    cache_max_bytes: usize,
    /// Index of the last entry of the log.
    last: Index,
    snapshot: Option<Snapshot>,
    weights: Weights,
    asked: RefCell<Asked>,
    fetched: Vec<Entry>,
}

/// What the engine asked for and did not get; drained by `Replica::ready`.
#[derive(Default)]
struct Asked {
    next_fetch: u64,
    new_fetches: Vec<Fetch>,
    waiting: Vec<(FetchId, Index, GetEntriesContext)>,
    snapshot: bool,
}

impl LogView {
    /// A view of a log that is complete up to `truncated`, then has `entries` in memory from
    /// `cached_from` on and older ones on disk.
    pub(super) fn new(
        hard_state: HardState,
        conf_state: ConfState,
        truncated: (Index, u64),
        terms: TermRuns,
        last: Index,
        cache_max_bytes: usize,
    ) -> Self {
        let mut terms = terms;
        if terms.term(truncated.0).is_none() {
            let mut whole = TermRuns::default();
            whole.push(truncated.0, truncated.1);
            for index in truncated.0 + 1..=last {
                if let Some(term) = terms.term(index) {
                    whole.push(index, term);
                }
            }
            terms = whole;
        }
        LogView {
            initial_hard_state: hard_state,
            conf_state,
            truncated: truncated.0,
            terms,
            cache: VecDeque::new(),
            cache_bytes: 0,
            cache_max_bytes,
            last,
            snapshot: None,
            weights: Weights::default(),
            asked: RefCell::default(),
            fetched: Vec::new(),
        }
    }

    /// Puts recovered entries into memory; they end at the last index of the log.
    pub(super) fn warm(&mut self, entries: Vec<Entry>) {
        assert!(self.cache.is_empty());
        if let Some(newest) = entries.last() {
            assert_eq!(newest.index, self.last, "recovered entries must end where the log ends");
        }
        self.cache_bytes = entries.iter().map(cost).sum();
        self.cache = entries.into();
    }

    fn cached_from(&self) -> Index {
        self.cache.front().map_or(self.last + 1, |e| e.index)
    }

    /// Appends entries, superseding what was there from the first one on.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.truncated && first.index <= self.last + 1);
        while self.cache.back().is_some_and(|e| e.index >= first.index) {
            let gone = self.cache.pop_back().expect("just seen");
            self.cache_bytes -= cost(&gone);
        }
        for entry in entries {
            self.terms.push(entry.index, entry.term);
            self.cache_bytes += cost(entry);
            self.weights.push(entry.index, cost(entry) as u64);
            self.cache.push_back(entry.clone());
        }
        self.last = entries.last().expect("not empty").index;
    }

    /// Drops the oldest entries from memory while there is too much; never an unapplied one.
    pub(super) fn trim(&mut self, applied: Index) {
        while self.cache_bytes > self.cache_max_bytes
            && self.cache.front().is_some_and(|e| e.index <= applied)
        {
            let gone = self.cache.pop_front().expect("just seen");
            self.cache_bytes -= cost(&gone);
        }
    }

    /// Forgets everything up to and including `index`.
    pub(super) fn compact(&mut self, index: Index) {
        assert!(index <= self.last);
        if index <= self.truncated {
            return;
        }
        self.truncated = index;
        self.terms.compact(index);
        self.weights.compact(index);
        while self.cache.front().is_some_and(|e| e.index <= index) {
            let gone = self.cache.pop_front().expect("just seen");
            self.cache_bytes -= cost(&gone);
        }
        if self.snapshot.as_ref().is_some_and(|s| s.get_metadata().index < index) {
            self.snapshot = None;
        }
    }

    /// Replaces the whole log by a snapshot.
    pub(super) fn install(&mut self, snapshot: &Snapshot) {
        let metadata = snapshot.get_metadata();
        self.truncated = metadata.index;
        self.last = metadata.index;
        self.terms = TermRuns::default();
        self.terms.push(metadata.index, metadata.term);
        self.cache.clear();
        self.cache_bytes = 0;
        self.weights.clear();
        self.conf_state = metadata.get_conf_state().clone();
        // Its rows are not in the message: another one is made when it is needed.
        self.snapshot = None;
    }

    /// The snapshot to give to followers from now on.
    pub(super) fn provide_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(snapshot);
    }

    /// From now on there is none to give.
    pub(super) fn forget_snapshot(&mut self) {
        self.snapshot = None;
    }

    /// See [`super::Replica::leaving_bytes`].
    pub(super) fn leaving_bytes(&self, bytes: u64) -> Index {
        self.weights.leaving(bytes)
    }

    /// See [`super::Replica::log_bytes`].
    pub(super) fn log_bytes(&self) -> u64 {
        self.weights.bytes()
    }

    pub(super) fn term_of(&self, index: Index) -> Option<u64> {
        if index < self.truncated || index > self.last { None } else { self.terms.term(index) }
    }

    pub(super) fn take_fetches(&mut self) -> Vec<Fetch> {
        std::mem::take(&mut self.asked.get_mut().new_fetches)
    }

    pub(super) fn take_snapshot_wanted(&mut self) -> bool {
        std::mem::take(&mut self.asked.get_mut().snapshot)
    }

    /// The engine's context of a fetch, with its entries made readable until `forget_fetched`.
    pub(super) fn deliver(
        &mut self,
        id: FetchId,
        entries: Vec<Entry>,
    ) -> Option<GetEntriesContext> {
        let waiting = &mut self.asked.get_mut().waiting;
        let at = waiting.iter().position(|(other, ..)| *other == id)?;
        let (_, low, context) = waiting.swap_remove(at);
        if entries.first().is_some_and(|e| e.index == low) {
            self.fetched = entries;
        }
        Some(context)
    }

    pub(super) fn forget_fetched(&mut self) {
        self.fetched = Vec::new();
    }

    fn ask(&self, low: Index, high: Index, max_bytes: u64, context: GetEntriesContext) {
        let mut asked = self.asked.borrow_mut();
        if asked.waiting.len() >= super::replica::FETCHES_MAX {
            return; // The next heartbeat answer asks again.
        }
        let id = FetchId(asked.next_fetch);
        asked.next_fetch += 1;
        asked.new_fetches.push(Fetch { id, low, high, max_bytes });
        asked.waiting.push((id, low, context));
    }
}

/// Bytes an entry counts for; the constant is what the allocation around it costs.
fn cost(entry: &Entry) -> usize {
    entry.data.len() + 96
}

/// The longest prefix within `max_bytes`, but at least one entry.
fn take_within<'a>(entries: impl Iterator<Item = &'a Entry>, max_bytes: Option<u64>) -> Vec<Entry> {
    let mut left = max_bytes.unwrap_or(u64::MAX);
    let mut out: Vec<Entry> = Vec::new();
    for entry in entries {
        let bytes = cost(entry) as u64;
        if bytes > left && !out.is_empty() {
            break;
        }
        left = left.saturating_sub(bytes);
        out.push(entry.clone());
    }
    out
}

impl raft::Storage for LogView {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState {
            hard_state: self.initial_hard_state.clone(),
            conf_state: self.conf_state.clone(),
        })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let max_size = max_size.into();
        if low <= self.truncated {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.last + 1, "the engine asks for entries that do not exist");
        let cached_from = self.cached_from();
        if low >= cached_from {
            let from = (low - cached_from) as usize;
            let to = (high - cached_from) as usize;
            return Ok(take_within(self.cache.range(from..to), max_size));
        }
        if self.fetched.first().is_some_and(|e| e.index == low) {
            let below = self.fetched.iter().take_while(|e| e.index < high);
            return Ok(take_within(below, max_size));
        }
        assert!(context.can_async(), "unapplied entries are always in memory");
        self.ask(low, high, max_size.unwrap_or(u64::MAX), context);
        Err(StorageError::LogTemporarilyUnavailable.into())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.truncated {
            return Err(StorageError::Compacted.into());
        }
        self.term_of(index).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if let Some(snapshot) = &self.snapshot {
            let index = snapshot.get_metadata().index;
            if index >= request_index && index >= self.truncated {
                return Ok(snapshot.clone());
            }
        }
        self.asked.borrow_mut().snapshot = true;
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}
