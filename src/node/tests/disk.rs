//! The disk's work: what may be merged, and that merging changes nothing but the number of syncs.

use std::convert::Infallible;

use super::*;
use crate::consensus::{Fetch, FetchId, Persist};
use crate::core::message::Snapshot;
use crate::node::disk::{DiskRequest, DiskWorker};
use crate::node::store::Installer;
use crate::storage::{Batch, LogError, LogOptions, LogStore, SegmentedLog, SimDisk};

/// A store that remembers what it was told, in order.
#[derive(Default)]
struct Keeper {
    installed: Vec<Index>,
}

impl Installer for Keeper {
    type Error = Infallible;

    fn install(&mut self, snapshot: &Snapshot) -> Result<(), Infallible> {
        self.installed.push(snapshot.index);
        Ok(())
    }
}

/// The production log, counting its writes.
struct Counting {
    log: SegmentedLog,
    appends: u64,
}

impl LogStore for Counting {
    fn append(&mut self, batch: &Batch<'_>, sync: bool) -> Result<(), LogError> {
        self.appends += 1;
        self.log.append(batch, sync)
    }

    fn read(&mut self, low: Index, high: Index, max_bytes: u64) -> Result<Vec<Entry>, LogError> {
        self.log.read(low, high, max_bytes)
    }

    fn compact(&mut self, index: Index, term: Term) -> Result<(), LogError> {
        self.log.compact(index, term)
    }

    fn install(&mut self, index: Index, term: Term, hs: HardState) -> Result<(), LogError> {
        self.log.install(index, term, hs)
    }

    fn first_index(&self) -> Index {
        self.log.first_index()
    }

    fn last_index(&self) -> Index {
        self.log.last_index()
    }
}

type Worker = DiskWorker<Counting, Keeper>;

fn options() -> LogOptions {
    LogOptions { segment_bytes: 16 << 10, secret: 1 }
}

fn worker() -> (SimDisk, Worker) {
    let disk = SimDisk::new(1);
    let (log, _) = SegmentedLog::open(Box::new(disk.clone()), options()).expect("opens");
    (disk, DiskWorker::new(Counting { log, appends: 0 }, Keeper::default()))
}

fn entries(from: Index, terms: &[Term]) -> Vec<Entry> {
    let entry =
        |(index, term): (Index, &Term)| Entry { term: *term, index, data: vec![*term as u8] };
    (from..).zip(terms).map(entry).collect()
}

fn write(number: u64, entries: Vec<Entry>, term: Term, vote: u64) -> DiskRequest {
    let hard_state = HardState { term, vote, commit: 0 };
    DiskRequest::Persist { number, persist: Persist { snapshot: None, entries, hard_state } }
}

fn snapshot(number: u64, index: Index, term: Term) -> DiskRequest {
    let snapshot = Snapshot { index, term, voters: vec![1], learners: Vec::new(), data: vec![] };
    let hard_state = HardState { term, vote: 0, commit: index };
    let persist = Persist { snapshot: Some(snapshot), entries: Vec::new(), hard_state };
    DiskRequest::Persist { number, persist }
}

fn fetch(id: u64, low: Index, high: Index) -> DiskRequest {
    DiskRequest::Fetch(Fetch { id: FetchId(id), low, high, max_bytes: u64::MAX })
}

/// Carries out everything that waits; what is reported, as text.
fn run(worker: &mut Worker) -> Vec<String> {
    let mut told = Vec::new();
    while worker.has_work() {
        match worker.step().expect("the disk works") {
            Some(Event::Persisted { number }) => told.push(format!("persisted {number}")),
            Some(Event::Fetched { id, entries }) => {
                let terms: Vec<_> = entries.iter().map(|e| (e.index, e.term)).collect();
                told.push(format!("fetched {} {terms:?}", id.0));
            }
            Some(other) => told.push(format!("{other:?}")),
            None => {}
        }
    }
    told
}

fn terms(worker: &mut Worker) -> Vec<(Index, Term)> {
    let log = &mut worker.log_mut().log;
    let (first, last) = (log.first_index(), log.last_index());
    if first > last {
        return Vec::new();
    }
    let entries = log.read(first, last + 1, u64::MAX).expect("there");
    entries.iter().map(|e| (e.index, e.term)).collect()
}

#[test]
fn waiting_writes_become_one_and_the_last_one_is_reported() {
    let (disk, mut worker) = worker();
    worker.push(write(1, entries(1, &[1, 1, 1]), 1, 1));
    worker.push(write(2, entries(4, &[1]), 1, 1));
    worker.push(write(3, entries(2, &[2, 2]), 2, 3));
    worker.push(write(4, Vec::new(), 3, 2));
    assert_eq!(run(&mut worker), ["persisted 4"]);
    assert_eq!(worker.log_mut().appends, 1);
    assert_eq!(terms(&mut worker), [(1, 1), (2, 2), (3, 2)]);
    drop(worker);
    let mut disk = disk;
    disk.crash();
    let (_, found) = SegmentedLog::open(Box::new(disk), options()).expect("opens");
    assert_eq!((found.hard_state.term, found.hard_state.vote, found.last_index), (3, 2, 3));
}

#[test]
fn a_later_write_may_supersede_all_of_the_earlier_ones() {
    let (_, mut worker) = worker();
    worker.push(write(1, entries(1, &[1, 1]), 1, 1));
    assert_eq!(run(&mut worker), ["persisted 1"]);
    worker.push(write(2, entries(3, &[1, 1]), 1, 1));
    worker.push(write(3, entries(2, &[2]), 2, 2));
    assert_eq!(run(&mut worker), ["persisted 3"]);
    assert_eq!(terms(&mut worker), [(1, 1), (2, 2)]);
}

#[test]
fn reads_stay_in_order_after_the_writes_before_them() {
    let (_, mut worker) = worker();
    worker.push(write(1, entries(1, &[1, 1]), 1, 1));
    worker.push(fetch(1, 1, 3));
    worker.push(fetch(2, 2, 9));
    worker.push(write(2, entries(3, &[1]), 1, 1));
    worker.push(fetch(3, 3, 4));
    worker.push(fetch(4, 7, 9));
    let told = run(&mut worker);
    assert_eq!(
        told,
        [
            "persisted 2",
            "fetched 1 [(1, 1), (2, 1)]",
            "fetched 2 [(2, 1), (3, 1)]",
            "fetched 3 [(3, 1)]",
            "fetched 4 []"
        ]
    );
}

#[test]
fn what_was_compacted_is_fetched_as_nothing() {
    let (_, mut worker) = worker();
    worker.push(write(1, entries(1, &[1; 9]), 1, 1));
    worker.push(DiskRequest::Compact { index: 5, term: 1 });
    worker.push(fetch(1, 5, 8));
    worker.push(fetch(2, 6, 8));
    let told = run(&mut worker);
    assert_eq!(told, ["persisted 1", "fetched 1 []", "fetched 2 [(6, 1), (7, 1)]"]);
}

#[test]
fn a_snapshot_is_never_merged_into_a_write_before_it() {
    let (_, mut worker) = worker();
    worker.push(write(1, entries(1, &[1, 1]), 1, 1));
    worker.push(snapshot(2, 10, 2));
    worker.push(write(3, entries(11, &[2]), 2, 0));
    worker.push(write(4, entries(12, &[2]), 2, 0));
    assert_eq!(run(&mut worker), ["persisted 1", "persisted 4"]);
    assert_eq!(terms(&mut worker), [(11, 2), (12, 2)]);
    assert_eq!(worker.store_mut().installed, [10]);
}

/// A random history of requests as a node makes them.
fn history(rng: &mut fastrand::Rng) -> Vec<DiskRequest> {
    let (mut term, mut applied, mut compacted, mut number) = (1, 0, 0, 0);
    // Term of each entry, by index; 0 stands before the first.
    let mut log: Vec<Term> = vec![0];
    let mut requests = Vec::new();
    for _ in 0..rng.usize(1..40) {
        let last = log.len() as u64 - 1;
        match rng.u8(0..12) {
            0 if last > applied => {
                applied += rng.u64(1..=last - applied);
            }
            1 if applied > compacted => {
                compacted += rng.u64(1..=applied - compacted);
                let term = log[compacted as usize];
                requests.push(DiskRequest::Compact { index: compacted, term });
            }
            2 => requests.push(fetch(number, 1 + rng.u64(0..=last), last + 1)),
            3 if rng.u8(0..4) == 0 => {
                number += 1;
                log.resize(log.len() + rng.usize(1..5), term);
                applied = log.len() as u64 - 1;
                compacted = applied;
                requests.push(snapshot(number, applied, term));
            }
            4 | 5 => {
                number += 1;
                term += 1;
                requests.push(write(number, Vec::new(), term, rng.u64(0..4)));
            }
            _ => {
                number += 1;
                let from = if rng.bool() { last } else { applied + rng.u64(0..=last - applied) };
                let terms = vec![term; rng.usize(1..4)];
                log.truncate(from as usize + 1);
                log.extend(&terms);
                requests.push(write(number, entries(from + 1, &terms), term, 1));
            }
        }
    }
    requests
}

/// Term, vote and last index after a power cut. (How much of a compaction survives is open.)
fn after_power_cut(mut disk: SimDisk, worker: Worker) -> (Term, u64, Index) {
    drop(worker);
    disk.crash();
    let (_, found) = SegmentedLog::open(Box::new(disk), options()).expect("opens");
    (found.hard_state.term, found.hard_state.vote, found.last_index)
}

/// Carries out `requests`, between one and `together` at a time; the last turn reported.
fn carry_out(
    worker: &mut Worker,
    requests: &[DiskRequest],
    together: impl FnMut() -> usize,
) -> Option<String> {
    let (mut at, mut together, mut last) = (0, together, None);
    while at < requests.len() {
        let some = together().min(requests.len() - at);
        requests[at..at + some].iter().for_each(|request| worker.push(request.clone()));
        at += some;
        let told = run(worker);
        last = told.into_iter().rfind(|line| line.starts_with("persisted")).or(last);
    }
    last
}

#[test]
fn merging_changes_nothing_but_the_number_of_writes() {
    let mut rng = fastrand::Rng::with_seed(4);
    let (mut merged_writes, mut single_writes) = (0, 0);
    for round in 0..300 {
        let requests = history(&mut rng);
        let ((single_disk, mut single), (merged_disk, mut merged)) = (worker(), worker());
        let single_last = carry_out(&mut single, &requests, || 1);
        let merged_last = carry_out(&mut merged, &requests, || rng.usize(1..20));
        assert_eq!(merged_last, single_last, "round {round}");
        assert_eq!(terms(&mut merged), terms(&mut single), "round {round}: {requests:?}");
        assert_eq!(merged.store_mut().installed, single.store_mut().installed);
        merged_writes += merged.log_mut().appends;
        single_writes += single.log_mut().appends;
        let (merged, single) =
            (after_power_cut(merged_disk, merged), after_power_cut(single_disk, single));
        assert_eq!(merged, single, "round {round}: {requests:?}");
    }
    assert!(merged_writes * 3 < single_writes * 2, "{merged_writes} of {single_writes}");
}
