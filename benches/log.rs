//! Durable appends: the log of this project, its floor, and a general database in its place.
//!
//! `cargo bench --bench log`. The directory is taken from `RAFTCTL_BENCH_DIR` (a temporary one
//! otherwise; mind that it may be memory), trials from `RAFTCTL_BENCH_TRIALS`. The variants take
//! turns, so that other load meets all of them alike. Times are wall clock, median and p99.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use raftctl::core::message::{Entry, HardState};
use raftctl::limits;
use raftctl::storage::{Batch, Disk, LogOptions, LogStore, RealDisk, SegmentedLog, StateStore};
use redb::{Database, Durability, TableDefinition};

const ENTRY_BYTES: usize = 256;
const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

struct Row {
    name: String,
    times: Vec<Duration>,
}

fn main() {
    // `cargo test --all-targets` runs this with `--test` or a filter; there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let trials = std::env::var("RAFTCTL_BENCH_TRIALS").ok().and_then(|n| n.parse().ok());
    let trials: usize = trials.unwrap_or(2000);
    let parent = std::env::var_os("RAFTCTL_BENCH_DIR")
        .unwrap_or_else(|| std::env::temp_dir().into_os_string());
    let dir = tempfile::tempdir_in(parent).expect("a directory to write to");
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!(
        "{}, {build} build, {trials} trials, {ENTRY_BYTES}-byte entries\n",
        dir.path().display()
    );
    print(&appends(dir.path(), trials));
    println!();
    print(&rare_steps(dir.path()));
}

/// The hot path: one durable batch after the other.
fn appends(dir: &Path, trials: usize) -> Vec<Row> {
    let mut variants: Vec<(String, Box<dyn FnMut()>)> = Vec::new();
    for count in [1, 64] {
        let bytes = count * ENTRY_BYTES;
        variants.push((format!("bare write + fdatasync, {bytes} bytes"), bare(dir, bytes)));
    }
    for count in [1, 64] {
        variants.push((format!("this log, {count} entries"), segmented(dir, count)));
    }
    for count in [1, 64] {
        variants.push((format!("redb, {count} entries"), redb(dir, count)));
    }
    let mut rows: Vec<Row> =
        variants.iter().map(|(name, _)| Row { name: name.clone(), times: Vec::new() }).collect();
    for trial in 0..trials + WARM_UP {
        for ((_, append), row) in variants.iter_mut().zip(&mut rows) {
            let start = Instant::now();
            append();
            if trial >= WARM_UP {
                row.times.push(start.elapsed());
            }
        }
    }
    rows
}

fn bare(dir: &Path, bytes: usize) -> Box<dyn FnMut()> {
    let name = format!("bare-{bytes}");
    RealDisk::new(dir).create(&name).unwrap().allocate(limits::LOG_SEGMENT_BYTES).unwrap();
    let file = OpenOptions::new().write(true).open(dir.join(name)).unwrap();
    let data = vec![0x5a; bytes];
    let mut at = 0;
    Box::new(move || {
        file.write_all_at(&data, at).unwrap();
        file.sync_data().unwrap();
        at = (at + data.len() as u64) % (limits::LOG_SEGMENT_BYTES - data.len() as u64);
    })
}

fn segmented(dir: &Path, count: u64) -> Box<dyn FnMut()> {
    let directory = dir.join(format!("log-{count}"));
    std::fs::create_dir(&directory).unwrap();
    let options = LogOptions::with_secret(1);
    let mut log = SegmentedLog::open(Box::new(RealDisk::new(directory)), options).unwrap().0;
    Box::new(move || {
        let entries = entries(log.last_index() + 1, count);
        let hard_state = Some(HardState { term: 1, vote: 1, commit: log.last_index() });
        log.append(&Batch { entries: &entries, hard_state }, true).unwrap();
    })
}

fn redb(dir: &Path, count: u64) -> Box<dyn FnMut()> {
    let mut builder = Database::builder();
    builder.set_cache_size(limits::STATE_CACHE_BYTES);
    let database = builder.create(dir.join(format!("redb-{count}"))).unwrap();
    let mut last = 0;
    Box::new(move || {
        let mut transaction = database.begin_write().unwrap();
        transaction.set_durability(Durability::Immediate).unwrap();
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            for entry in entries(last + 1, count) {
                table.insert(entry.index, entry.data.as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
        last += count;
    })
}

/// What happens once in a while.
fn rare_steps(dir: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut measure = |name: &str, times: usize, step: &mut dyn FnMut(usize) -> Duration| {
        let times = (0..times).map(step).collect();
        rows.push(Row { name: name.to_owned(), times });
    };
    measure("preallocate a segment", 20, &mut |at| {
        let mut file = RealDisk::new(dir).create(&format!("allocated-{at}")).unwrap();
        time(|| file.allocate(limits::LOG_SEGMENT_BYTES).unwrap())
    });
    measure("append an entry of 1 MiB", 20, &mut |at| {
        let directory = dir.join(format!("large-{at}"));
        std::fs::create_dir(&directory).unwrap();
        let mut log = SegmentedLog::open(real(&directory), LogOptions::with_secret(1)).unwrap().0;
        (0..2).for_each(|_| append_large(&mut log));
        time(|| append_large(&mut log))
    });
    measure("the same, rolling to a prepared segment", 20, &mut |at| {
        let mut log = filled(dir, &format!("roll-{at}"));
        while log.prepare().unwrap() {}
        let segments = log.segments();
        let time = time(|| append_large(&mut log));
        assert_eq!(log.segments(), segments + 1);
        time
    });
    measure("open an empty log directory", 20, &mut |at| {
        let directory = dir.join(format!("empty-{at}"));
        std::fs::create_dir(&directory).unwrap();
        time(|| drop(SegmentedLog::open(real(&directory), LogOptions::with_secret(1)).unwrap()))
    });
    drop(filled(dir, "full"));
    measure("open a log of 16 MiB", 20, &mut |_| {
        let directory = dir.join("full");
        time(|| drop(SegmentedLog::open(real(&directory), LogOptions::with_secret(1)).unwrap()))
    });
    measure("make a state database", 20, &mut |at| time(|| drop(black_box(state_store(dir, at)))));
    measure("open a state database", 20, &mut |at| time(|| drop(black_box(state_store(dir, at)))));
    measure("a step of preallocation", 20, &mut |at| {
        let mut file = RealDisk::new(dir).create(&format!("step-{at}")).unwrap();
        time(|| file.allocate(limits::LOG_ALLOCATE_STEP_BYTES).unwrap())
    });
    measure("fsync of the directory after a rename", 20, &mut |at| {
        let (a, b) = (dir.join(format!("name-{at}")), dir.join(format!("renamed-{at}")));
        File::create(&a).unwrap().sync_all().unwrap();
        time(|| {
            std::fs::rename(&a, &b).unwrap();
            File::open(dir).unwrap().sync_all().unwrap();
        })
    });
    rows
}

fn state_store(dir: &Path, at: usize) -> StateStore {
    StateStore::open(dir.join(format!("state-{at}.redb")), limits::STATE_CACHE_BYTES).unwrap().0
}

/// A log whose second segment has no room for what [`append_large`] appends.
fn filled(dir: &Path, name: &str) -> SegmentedLog {
    let directory = dir.join(name);
    std::fs::create_dir(&directory).unwrap();
    let mut log = SegmentedLog::open(real(&directory), LogOptions::with_secret(1)).unwrap().0;
    // The first segment is a small one.
    while log.segments() == 1 {
        append_large(&mut log);
    }
    for _ in 2..limits::LOG_SEGMENT_BYTES / LARGE_BYTES {
        append_large(&mut log);
    }
    log
}

fn append_large(log: &mut SegmentedLog) {
    let data = vec![1; LARGE_BYTES as usize - 256];
    let entry = Entry { term: 1, index: log.last_index() + 1, data };
    log.append(&Batch { entries: &[entry], hard_state: None }, true).unwrap();
}

fn real(directory: &Path) -> Box<dyn Disk> {
    Box::new(RealDisk::new(directory))
}

fn entries(first: u64, count: u64) -> Vec<Entry> {
    (first..first + count)
        .map(|index| Entry { term: 1, index, data: vec![index as u8; ENTRY_BYTES] })
        .collect()
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn print(rows: &[Row]) {
    println!("{:<44} {:>9} {:>9}", "", "median", "p99");
    for Row { name, times } in rows {
        let mut times = times.clone();
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
        println!("{name:<44} {:>6} µs {:>6} µs", at(0.5), at(0.99));
    }
}

/// Rounds before the first one that counts.
const WARM_UP: usize = 20;
/// Bytes of a large entry's record, about.
const LARGE_BYTES: u64 = 1 << 20;
