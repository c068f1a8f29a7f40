//! The log through its public face: crashes at every writing call, torn sectors, damage, errors.
//!
//! The oracle is the history of states that a scripted workload went through. After a crash the
//! recovered log must equal one of them: not older than the last acknowledged one, not newer than
//! the last one begun.

use std::fmt::Write as _;

use raftctl::core::message::{Entry, HardState};
use raftctl::limits;
use raftctl::storage::{
    Batch, Disk, LogError, LogOptions, LogStore, RealDisk, RecoveredLog, SegmentedLog, SimDisk,
};

const OPTIONS: LogOptions = LogOptions { segment_bytes: 4096 + 1536, secret: 42 };

/// What a log should contain.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    hard_state: HardState,
    truncated: (u64, u64),
    entries: Vec<Entry>,
}

impl Model {
    fn last_index(&self) -> u64 {
        self.truncated.0 + self.entries.len() as u64
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append { entries, hard_state, .. } => {
                if let Some(first) = entries.first() {
                    self.entries.truncate((first.index - self.truncated.0 - 1) as usize);
                    self.entries.extend_from_slice(entries);
                }
                self.hard_state = hard_state.unwrap_or(self.hard_state);
                self.hard_state.commit = self.hard_state.commit.max(self.truncated.0);
            }
            Step::Compact(index) => {
                let term = self.entries[(index - self.truncated.0 - 1) as usize].term;
                self.entries.drain(..(index - self.truncated.0) as usize);
                self.truncated = (*index, term);
                // What may be compacted was committed; a recovered log says so.
                self.hard_state.commit = self.hard_state.commit.max(*index);
            }
            Step::Install(index, term, hard_state) => {
                *self = Model {
                    hard_state: *hard_state,
                    truncated: (*index, *term),
                    entries: Vec::new(),
                }
            }
            Step::Prepare => {}
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append { entries: Vec<Entry>, hard_state: Option<HardState>, sync: bool },
    Compact(u64),
    Install(u64, u64, HardState),
    Prepare,
}

impl Step {
    /// Whether its success means that it, and everything before it, is durable.
    fn acknowledges(&self) -> bool {
        matches!(self, Step::Append { sync: true, .. } | Step::Install(..))
    }

    fn run(&self, log: &mut SegmentedLog, model: &Model) -> Result<(), LogError> {
        match self {
            Step::Append { entries, hard_state, sync } => {
                log.append(&Batch { entries, hard_state: *hard_state }, *sync)
            }
            Step::Compact(index) => {
                let term = model.entries[(index - model.truncated.0 - 1) as usize].term;
                log.compact(*index, term)
            }
            Step::Install(index, term, hard_state) => log.install(*index, *term, *hard_state),
            Step::Prepare => log.prepare().map(drop),
        }
    }
}

fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    let data = (0..bytes).map(|at| (index * 7 + term * 31 + at as u64) as u8).collect();
    Entry { term, index, data }
}

fn entries(first: u64, last: u64, term: u64, bytes: usize) -> Vec<Entry> {
    (first..=last).map(|index| entry(index, term, bytes)).collect()
}

fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit }
}

fn append(entries: Vec<Entry>, hard_state: Option<HardState>, sync: bool) -> Step {
    Step::Append { entries, hard_state, sync }
}

/// Appends, votes, superseded suffixes, unsynced batches, rolls, compactions, an install.
fn script() -> Vec<Step> {
    vec![
        append(vec![], Some(hard_state(1, 2, 0)), true),
        append(entries(1, 3, 1, 40), Some(hard_state(1, 2, 0)), true),
        Step::Prepare,
        append(entries(4, 6, 1, 300), None, false),
        append(entries(7, 7, 1, 10), Some(hard_state(1, 2, 3)), true),
        append(entries(8, 12, 1, 200), None, true),
        append(vec![], Some(hard_state(3, 1, 5)), true),
        append(entries(6, 9, 3, 30), Some(hard_state(3, 1, 6)), true),
        append(entries(10, 14, 3, 250), None, false),
        append(entries(12, 13, 4, 700), Some(hard_state(4, 0, 10)), false),
        append(vec![], None, true),
        Step::Compact(5),
        append(entries(14, 16, 4, 300), Some(hard_state(4, 0, 13)), true),
        Step::Compact(11),
        append(entries(17, 17, 4, 20), None, true),
        Step::Prepare,
        Step::Install(40, 5, hard_state(5, 3, 40)),
        append(entries(41, 43, 6, 350), Some(hard_state(6, 3, 41)), true),
        append(entries(42, 42, 7, 500), Some(hard_state(7, 0, 41)), true),
        Step::Compact(42),
        append(entries(43, 48, 7, 200), Some(hard_state(7, 0, 42)), false),
        append(entries(49, 49, 7, 0), None, true),
    ]
}

fn open(disk: &SimDisk) -> Result<(SegmentedLog, RecoveredLog), LogError> {
    SegmentedLog::open(Box::new(disk.clone()), OPTIONS)
}

fn contents(log: &mut SegmentedLog, recovered: &RecoveredLog) -> Model {
    let (first, last) = (log.first_index(), log.last_index());
    assert_eq!(recovered.last_index, last);
    assert_eq!(recovered.truncated.0 + 1, first);
    let entries = if last >= first { log.read(first, last + 1, u64::MAX).unwrap() } else { vec![] };
    let Model { hard_state, truncated, .. } =
        Model { hard_state: recovered.hard_state, truncated: recovered.truncated, entries: vec![] };
    assert_eq!(recovered.terms.term(truncated.0), Some(truncated.1));
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(entry.index, first + at as u64);
        assert_eq!(recovered.terms.term(entry.index), Some(entry.term));
    }
    Model { hard_state, truncated, entries }
}

/// Runs `steps` until one fails; returns the states passed, and how many steps are acknowledged.
fn run(log: &mut SegmentedLog, history: &mut Vec<Model>, steps: &[Step]) -> usize {
    let mut acknowledged = 0;
    for step in steps {
        let before = history.last().unwrap().clone();
        let mut after = before.clone();
        after.apply(step);
        history.push(after);
        if step.run(log, &before).is_err() {
            break;
        }
        if step.acknowledges() {
            acknowledged = history.len() - 1;
        }
    }
    acknowledged
}

/// Which state of `history`, from `acknowledged` on, the recovered log equals.
fn check(disk: &SimDisk, history: &[Model], acknowledged: usize, what: &str) -> Model {
    let (mut log, recovered) = match open(disk) {
        Ok(opened) => opened,
        Err(error) => panic!("{what}: does not open: {error}"),
    };
    let found = contents(&mut log, &recovered);
    if !history[acknowledged..].contains(&found) {
        let mut text = String::new();
        for (at, state) in history.iter().enumerate().skip(acknowledged) {
            let (hs, last) = (state.hard_state, state.last_index());
            writeln!(text, "{at}: {hs:?} {:?} last {last}", state.truncated).unwrap();
        }
        let last = found.last_index();
        panic!(
            "{what}: found {:?} {:?} last {last} in none of\n{text}",
            found.hard_state, found.truncated
        );
    }
    found
}

/// Appends to a recovered log, crashes again, recovers again: nothing from before the first crash
/// may come back, not even when the appended bytes are the very same as those that were lost.
fn continue_and_crash_again(disk: &mut SimDisk, found: &Model, lost: Option<&Model>, what: &str) {
    let mut log = open(disk).unwrap().0;
    let first = found.last_index() + 1;
    let again = lost.and_then(|lost| {
        let at = first.checked_sub(lost.truncated.0 + 1)? as usize;
        lost.entries.get(at).cloned()
    });
    let next = again.unwrap_or_else(|| entry(first, 9, 100));
    let step = append(vec![next], None, true);
    let mut history = vec![found.clone()];
    assert_eq!(run(&mut log, &mut history, &[step]), 1, "{what}");
    drop(log);
    disk.crash();
    check(disk, &history, 1, what);
}

#[test]
fn every_crash_point_recovers_to_what_was_acknowledged() {
    let steps = script();
    let mut points = 0;
    for point in 1.. {
        let mut disk = SimDisk::new(point);
        let mut history = vec![Model::default()];
        disk.fail_after(point);
        let acknowledged = match open(&disk) {
            Ok((mut log, _)) => run(&mut log, &mut history, &steps),
            Err(_) => 0,
        };
        if !disk.is_crashed() {
            break;
        }
        points += 1;
        for seed in 0..24 {
            let what = format!("crash point {point}, seed {seed}");
            let mut disk = disk.fork(point << 16 | seed);
            disk.crash();
            // A second crash while recovering, at some point, must not make a difference.
            if seed % 3 == 0 {
                disk.fail_after(1 + seed / 3);
                let _ = open(&disk);
                disk.crash();
            }
            let found = check(&disk, &history, acknowledged, &what);
            continue_and_crash_again(&mut disk, &found, history.last(), &what);
        }
    }
    assert!(points > 60, "only {points} crash points; the script does too little");
}

#[test]
fn random_workloads_recover_to_what_was_acknowledged() {
    for seed in 0..150 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut disk = SimDisk::new(seed);
        let mut model = Model::default();
        for round in 0..6 {
            let what = format!("seed {seed}, round {round}");
            let mut log = open(&disk).unwrap().0;
            let mut history = vec![model.clone()];
            disk.fail_after(random.u64(1..60));
            let mut acknowledged = 0;
            while !disk.is_crashed() {
                let step = random_step(&mut random, history.last().unwrap());
                let base = history.len() - 1;
                let done = run(&mut log, &mut history, &[step]);
                // `run` counts from the start of the history it was given.
                acknowledged = acknowledged.max(if done > 0 { base + 1 } else { 0 });
            }
            drop(log);
            if random.u8(0..4) == 0 {
                disk.kill()
            } else {
                disk.crash()
            }
            model = check(&disk, &history, acknowledged, &what);
        }
    }
}

fn random_step(random: &mut fastrand::Rng, model: &Model) -> Step {
    let (truncated, last) = (model.truncated.0, model.last_index());
    let term = model.hard_state.term;
    match random.u8(0..20) {
        0 if last > truncated => Step::Compact(random.u64(truncated + 1..=last)),
        1 if random.u8(0..4) == 0 => {
            let index = last + random.u64(0..5);
            Step::Install(index, term, hard_state(term, 0, index))
        }
        2 => Step::Prepare,
        3..=5 => append(vec![], Some(hard_state(term + 1, random.u64(0..3), truncated)), true),
        _ => {
            let back = if random.u8(0..4) == 0 { random.u64(0..4) } else { 0 };
            let first = (last + 1).saturating_sub(back).max(truncated + 1);
            let new = entries(first, first + random.u64(0..4), term, random.usize(0..300));
            let commit = truncated.max(model.hard_state.commit.min(first - 1));
            let state = random.bool().then(|| hard_state(term, 1, commit));
            append(new, state, random.bool())
        }
    }
}

/// The crash tests are worth something only if they notice a disk that lies.
#[test]
fn a_sync_that_does_nothing_is_noticed() {
    let noticed = (0..20).filter(|&seed| {
        let mut disk = SimDisk::new(seed);
        let mut log = open(&disk).unwrap().0;
        disk.skip_sync(true);
        let mut history = vec![Model::default()];
        let acknowledged = run(&mut log, &mut history, &script()[..9]);
        disk.crash();
        match open(&disk) {
            Err(_) => true,
            Ok((mut log, recovered)) => {
                !history[acknowledged..].contains(&contents(&mut log, &recovered))
            }
        }
    });
    assert!(noticed.count() > 15);
}

#[test]
fn damage_to_synced_records_is_refused_with_file_and_offset() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap().0;
    let mut history = vec![Model::default()];
    let steps = script();
    // Up to the first compaction: several segments, all of them needed.
    run(&mut log, &mut history, &steps[..11]);
    // One more batch, so that the one before it is testified for.
    run(&mut log, &mut history, &[append(entries(14, 14, 4, 0), None, true)]);
    drop(log);
    let names: Vec<String> =
        disk.list().unwrap().into_iter().filter(|n| n.starts_with("segment-")).collect();
    assert!(names.len() >= 3, "{names:?}");
    let mut refused = 0;
    for (at, name) in names.iter().enumerate() {
        let bytes = disk.contents(name).unwrap();
        let written = bytes.iter().rposition(|&byte| byte != 0).unwrap();
        // The last batch is one record of 24 + 4 bytes; damage there looks like a torn tail.
        let tail = if at + 1 == names.len() { written - 27 } else { written + 1 };
        for offset in (0..tail).step_by(13) {
            let mut disk = disk.fork(7);
            disk.corrupt(name, offset as u64, 1 << (offset % 8));
            match open(&disk) {
                Err(LogError::Corrupt { file, offset: at, why }) => {
                    refused += 1;
                    assert!(&file == name || file > *name, "{file} for {name}: {why}");
                    assert!(at <= offset as u64, "{at} for {offset}: {why}");
                }
                Err(LogError::NewerFormat { .. }) if offset < 12 => {}
                Err(other) => panic!("{name} {offset}: {other}"),
                // Padding and the unused rest of the header block mean nothing.
                Ok((mut log, recovered)) => {
                    let found = contents(&mut log, &recovered);
                    assert_eq!(&found, history.last().unwrap(), "{name} {offset}");
                    let padding = offset < 4096 || bytes[offset] == 0;
                    assert!(padding, "{name} {offset} means something");
                }
            }
        }
    }
    assert!(refused > 150, "{refused}");
}

#[test]
fn damage_to_the_last_batch_is_a_torn_tail() {
    for unsynced in [1, 2] {
        let mut disk = SimDisk::new(1);
        let mut log = open(&disk).unwrap().0;
        let mut history = vec![Model::default()];
        run(&mut log, &mut history, &[append(entries(1, 3, 1, 50), None, true)]);
        let name = disk.list().unwrap().remove(0);
        let synced = disk.contents(&name).unwrap().iter().rposition(|&b| b != 0).unwrap();
        let tail: Vec<Step> =
            (0..unsynced).map(|n| append(entries(4 + n, 4 + n, 1, 50), None, false)).collect();
        run(&mut log, &mut history, &tail);
        drop(log);
        // The first unsynced batch is damaged, the second one is whole: still the tail.
        disk.corrupt(&name, synced as u64 + 30, 1);
        let found = check(&disk, &history, 1, "torn");
        assert_eq!(found, history[1]);
        continue_and_crash_again(&mut disk, &found, history.last(), "torn");
    }
}

#[test]
fn a_record_counts_only_after_the_one_it_was_written_after() {
    // Two histories of one disk; the second record of one is put behind the first of the other.
    // Its checksum holds, its place is right, but it says something about another past.
    let original = SimDisk::new(1);
    drop(open(&original).unwrap());
    let name = original.list().unwrap().remove(0);
    let [ours, theirs] = [3, 4].map(|term| {
        let disk = original.fork(term);
        let mut log = open(&disk).unwrap().0;
        for index in 1..=2 {
            let one = [entry(index, term, 8)];
            log.append(&Batch { entries: &one, hard_state: None }, true).unwrap();
        }
        disk
    });
    let (to, from) = (ours.contents(&name).unwrap(), theirs.contents(&name).unwrap());
    let second = 4096 + (24 + 14_usize).next_multiple_of(8);
    let mut spliced = ours.fork(9);
    for at in second..to.len() {
        spliced.corrupt(&name, at as u64, to[at] ^ from[at]);
    }
    let (mut log, recovered) = open(&spliced).unwrap();
    assert_eq!(recovered.last_index, 1);
    assert_eq!(log.read(1, 2, 1).unwrap(), [entry(1, 3, 8)]);
}

#[test]
fn a_missing_segment_is_refused() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap().0;
    run(&mut log, &mut vec![Model::default()], &script()[..11]);
    drop(log);
    disk.remove("segment-0000000000000002").unwrap();
    let error = open(&disk).err().unwrap().to_string();
    assert!(error.contains("segment-0000000000000001") && error.contains("missing"), "{error}");
    let disk = disk.fork(1);
    disk.remove("segment-0000000000000001").unwrap();
    let error = open(&disk).err().unwrap().to_string();
    assert!(error.contains("entries 1 to") && error.contains("missing"), "{error}");
}

#[test]
fn a_failed_sync_closes_the_log_and_nothing_it_covered_is_trusted() {
    for seed in 0..40 {
        let mut disk = SimDisk::new(seed);
        let mut log = open(&disk).unwrap().0;
        let mut history = vec![Model::default()];
        run(&mut log, &mut history, &[append(entries(1, 2, 1, 600), None, true)]);
        disk.fail_sync(1);
        let lost = entry(3, 1, 10);
        let batch = Batch { entries: &[lost], hard_state: None };
        let error = log.append(&batch, true).unwrap_err();
        assert!(matches!(error, LogError::Sync { .. }) && !error.is_retryable(), "{error}");
        assert!(matches!(log.append(&Batch::default(), true), Err(LogError::Poisoned)));
        assert!(matches!(log.read(1, 2, 1), Err(LogError::Poisoned)));
        assert!(matches!(log.compact(1, 1), Err(LogError::Poisoned)));
        assert!(matches!(log.install(9, 1, hard_state(1, 0, 9)), Err(LogError::Poisoned)));
        // The process restarts and reads, from the kernel's memory, what is not on the disk.
        // From then on it must be there.
        disk.kill();
        let (mut log, recovered) = open(&disk).unwrap();
        let found = contents(&mut log, &recovered);
        assert_eq!(found.last_index(), 3);
        drop(log);
        disk.crash();
        check(&disk, &[found], 0, "after a failed sync");
    }
}

#[test]
fn no_space_is_told_before_anything_is_written_and_can_be_retried() {
    let mut disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap().0;
    disk.set_full(true);
    let mut index = 0;
    let error = loop {
        let batch = [entry(index + 1, 1, 200)];
        match log.append(&Batch { entries: &batch, hard_state: None }, true) {
            Ok(()) => index += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::NoSpace { bytes: 5632, .. }), "{error}");
    assert!(error.is_retryable() && index > 3);
    assert_eq!(log.last_index(), index);
    assert!(log.prepare().unwrap_err().is_retryable(), "it is half full");
    // A smaller batch still fits where the last one did not.
    let small = [entry(index + 1, 1, 0)];
    log.append(&Batch { entries: &small, hard_state: None }, true).unwrap();
    disk.set_full(false);
    let large = [entry(index + 2, 1, 200)];
    log.append(&Batch { entries: &large, hard_state: None }, true).unwrap();
    drop(log);
    disk.crash();
    assert_eq!(open(&disk).unwrap().1.last_index, index + 2);
}

#[test]
fn no_space_at_the_first_start_and_a_read_only_disk_leave_nothing_behind() {
    let mut disk = SimDisk::new(1);
    disk.set_full(true);
    assert!(matches!(open(&disk), Err(LogError::NoSpace { .. })));
    disk.set_full(false);
    disk.set_read_only(true);
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, LogError::Io { .. }) && !error.is_retryable(), "{error}");
    assert_eq!(disk.list().unwrap(), [""; 0]);
    disk.set_read_only(false);
    open(&disk).unwrap();
}

#[test]
fn an_entry_larger_than_a_segment_is_refused_and_a_larger_batch_is_split() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap().0;
    let huge = [entry(1, 1, 1536)];
    let error = log.append(&Batch { entries: &huge, hard_state: None }, true).unwrap_err();
    let LogError::EntryTooLarge { index: 1, max: 1536, .. } = error else { panic!("{error}") };
    let many = entries(1, 40, 2, 100);
    let state = Some(hard_state(2, 1, 30));
    log.append(&Batch { entries: &many, hard_state: state }, true).unwrap();
    assert!(log.segments() >= 3);
    assert_eq!(log.read(1, 41, u64::MAX).unwrap(), many);
    drop(log);
    let (mut log, recovered) = open(&disk).unwrap();
    let found = contents(&mut log, &recovered);
    assert_eq!((found.entries, found.hard_state), (many, hard_state(2, 1, 30)));
}

#[test]
fn reads_respect_their_bounds() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap().0;
    let all = entries(1, 30, 1, 100);
    for entry in &all {
        let batch = Batch { entries: std::slice::from_ref(entry), hard_state: None };
        log.append(&batch, false).unwrap();
    }
    let new = entries(20, 25, 2, 50);
    log.append(&Batch { entries: &new, hard_state: None }, true).unwrap();
    let expected: Vec<Entry> = all[..19].iter().chain(&new).cloned().collect();
    for low in 1..=25 {
        for high in low + 1..=26 {
            let got = log.read(low, high, u64::MAX).unwrap();
            assert_eq!(got, expected[low as usize - 1..high as usize - 1]);
        }
        assert_eq!(log.read(low, 26, 0).unwrap(), expected[low as usize - 1..low as usize]);
    }
    assert_eq!(log.read(1, 26, 330).unwrap().len(), 3);
    for (low, high) in [(0, 2), (26, 27), (5, 5), (7, 6), (20, 27)] {
        let error = log.read(low, high, 1).unwrap_err();
        assert!(matches!(error, LogError::OutOfRange { first: 1, last: 25, .. }), "{error}");
    }
    log.compact(22, 2).unwrap();
    assert!(log.read(22, 24, 1).is_err());
    assert_eq!(log.read(23, 26, u64::MAX).unwrap(), expected[22..]);
}

#[test]
fn segments_are_recycled_not_grown_and_old_records_stay_dead() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap().0;
    let mut sizes = Vec::new();
    for index in 1..=400 {
        let one = [entry(index, 1, 150)];
        log.append(&Batch { entries: &one, hard_state: None }, true).unwrap();
        if index % 10 == 0 {
            log.compact(index - 5, 1).unwrap();
            log.prepare().unwrap();
        }
        sizes.push(disk.list().unwrap().len());
    }
    assert!(*sizes.iter().max().unwrap() <= 6, "{sizes:?}");
    drop(log);
    let (mut log, recovered) = open(&disk).unwrap();
    assert_eq!((recovered.truncated, recovered.last_index), ((395, 1), 400));
    assert_eq!(log.read(396, 401, u64::MAX).unwrap(), entries(396, 400, 1, 150));
}

#[test]
fn a_log_starts_small_and_takes_more_space_in_steps_only_when_it_is_used() {
    let disk = SimDisk::new(1);
    let options = LogOptions::with_secret(1);
    let mut log = SegmentedLog::open(Box::new(disk.clone()), options).unwrap().0;
    let sizes = |disk: &SimDisk| -> Vec<u64> {
        let names = disk.list().unwrap();
        names.iter().map(|name| disk.open(name).unwrap().len().unwrap()).collect()
    };
    assert!(!log.prepare().unwrap());
    assert_eq!(sizes(&disk), [limits::LOG_FIRST_SEGMENT_BYTES]);
    let large = |index| [entry(index, 1, 600 << 10)];
    log.append(&Batch { entries: &large(1), hard_state: None }, true).unwrap();
    let mut steps = 0;
    loop {
        let before = disk.writes();
        let more = log.prepare().unwrap();
        // A step, and at most the creation or the renaming of the file.
        assert!(disk.writes() - before <= 2);
        steps += 1;
        if !more {
            break;
        }
    }
    assert_eq!(steps, limits::LOG_SEGMENT_BYTES / limits::LOG_ALLOCATE_STEP_BYTES);
    assert_eq!(sizes(&disk), [limits::LOG_FIRST_SEGMENT_BYTES, limits::LOG_SEGMENT_BYTES]);
    let before = disk.writes();
    log.append(&Batch { entries: &large(2), hard_state: None }, true).unwrap();
    assert_eq!((log.segments(), disk.writes() - before), (2, 6));
    drop(log);
    let (mut log, recovered) = SegmentedLog::open(Box::new(disk.clone()), options).unwrap();
    assert_eq!(recovered.last_index, 2);
    assert_eq!(log.read(2, 3, 1).unwrap(), large(2));
}

#[test]
fn an_append_is_one_write_and_one_sync() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap().0;
    let before = disk.writes();
    for index in 1..=5 {
        let one = [entry(index, 1, 64)];
        log.append(&Batch { entries: &one, hard_state: Some(hard_state(1, 1, 0)) }, true).unwrap();
    }
    assert_eq!(disk.writes() - before, 10);
    log.append(&Batch::default(), true).unwrap();
    assert_eq!(disk.writes() - before, 10, "nothing to sync");
}

#[test]
fn a_real_directory_holds_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_bytes: 64 << 10, secret: 1 };
    let open = || SegmentedLog::open(Box::new(RealDisk::new(dir.path())), options).unwrap();
    let mut log = open().0;
    let all = entries(1, 500, 3, 300);
    for part in all.chunks(25) {
        log.append(&Batch { entries: part, hard_state: Some(hard_state(3, 1, 0)) }, true).unwrap();
    }
    log.compact(200, 3).unwrap();
    log.prepare().unwrap();
    drop(log);
    let (mut log, recovered) = open();
    assert_eq!((recovered.truncated, recovered.last_index), ((200, 3), 500));
    assert_eq!(log.read(201, 501, u64::MAX).unwrap(), all[200..]);
    assert_eq!(recovered.hard_state, hard_state(3, 1, 200));
}
