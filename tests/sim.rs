//! Simulation: thousands of seeds, each a cluster with faults that must keep every invariant, and
//! planted bugs that it must catch.
//!
//! `SIM_SEEDS=n` runs n seeds (default 2000), `SIM_START=s` begins at seed s. A failure prints the
//! command that replays it. `SIM_MUTATION=name` plants a bug (the names are in `sim/plan.rs`).

#[path = "sim/mod.rs"]
mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::plan::{Mutation, Settings};
use sim::world::{Counts, World};

/// What runs did, to tell that they did something.
#[derive(Default)]
struct Report {
    elections: u64,
    acked: u64,
    fetches: u64,
    snapshots: u64,
    messages: u64,
}

impl Report {
    fn add(&mut self, other: &Report) {
        self.elections += other.elections;
        self.acked += other.acked;
        self.fetches += other.fetches;
        self.snapshots += other.snapshots;
        self.messages += other.messages;
    }
}

fn run(seed: u64, mutation: Option<Mutation>) -> Result<Report, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, Settings::of(seed, mutation));
        world.trouble()?;
        world.healing()?;
        let acked = world.oracle.acked_write_durable.count() as u64;
        let Counts { messages, fetches, snapshots } = world.counts;
        let elections = world.oracle.elections;
        Ok(Report { elections, acked, fetches, snapshots, messages })
    }));
    outcome.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text:?}: expected a number")),
        Err(_) => default,
    }
}

#[test]
fn every_seed_keeps_every_invariant() {
    let (start, count) = (number("SIM_START", 0), number("SIM_SEEDS", 2000));
    let mutation = std::env::var("SIM_MUTATION").ok().map(|name| {
        Mutation::named(&name).unwrap_or_else(|| panic!("SIM_MUTATION={name:?} is not known"))
    });
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let totals = std::thread::scope(|scope| {
        let worker = |offset| {
            let mut totals = Report::default();
            for seed in (start + offset..start + count).step_by(threads as usize) {
                let report = run(seed, mutation).unwrap_or_else(|violation| {
                    eprintln!("seed {seed}: {violation}");
                    eprintln!(
                        "replay: SIM_START={seed} SIM_SEEDS=1 cargo test --test sim every_seed"
                    );
                    std::process::exit(101);
                });
                totals.add(&report);
            }
            totals
        };
        let workers: Vec<_> =
            (0..threads).map(|offset| scope.spawn(move || worker(offset))).collect();
        let mut totals = Report::default();
        for worker in workers {
            totals.add(&worker.join().expect("workers exit the process on failure"));
        }
        totals
    });
    let Report { elections, acked, fetches, snapshots, messages } = totals;
    println!(
        "{count} seeds from {start}: {elections} elections, {acked} acknowledged writes, \
         {messages} messages, {fetches} fetches, {snapshots} snapshots"
    );
    assert!(elections >= count && acked >= count * 5, "the runs did too little");
    assert!(count < 100 || (fetches > count && snapshots > count / 4), "too little was repaired");
}

/// The planted bug must be found within 400 seeds by the invariant it breaks; `besides` are others
/// that it breaks as well, and nothing else may find it. Prints how many seeds it took.
fn is_caught(mutation: Mutation, intended: &str, besides: &[&str]) {
    const ENOUGH: usize = 3;
    let mut found: Vec<(u64, String)> = Vec::new();
    let mut by_intended = false;
    for seed in 0..400 {
        if let Err(violation) = run(seed, Some(mutation)) {
            let is = |name: &str| violation.split(':').next() == Some(name);
            let known = is(intended) || besides.iter().any(|name| is(name));
            assert!(known, "{mutation:?}, seed {seed}: not by its invariant, but {violation}");
            by_intended |= is(intended);
            found.push((seed, violation));
        }
        if found.len() >= ENOUGH && by_intended {
            break;
        }
    }
    assert!(by_intended, "{mutation:?} was not caught by {intended} in 400 seeds: {found:?}");
    println!("{mutation:?} needs {} seeds", found[0].0 + 1);
    found.iter().for_each(|(seed, violation)| println!("  seed {seed}: {violation}"));
}

/// The log itself notices that synced bytes are gone, and refuses to start.
#[test]
fn a_skipped_fsync_is_caught() {
    is_caught(
        Mutation::SkipFsync,
        "start",
        &["leader_completeness", "log_matching", "election_safety"],
    );
}

#[test]
fn an_append_without_a_sync_is_caught() {
    is_caught(Mutation::AppendUnsynced, "leader_completeness", &["log_matching", "liveness"]);
}

#[test]
fn voting_twice_is_caught() {
    is_caught(Mutation::VoteTwice, "election_safety", &["leader_completeness"]);
}

#[test]
fn a_forgotten_vote_is_caught() {
    is_caught(Mutation::ForgetVote, "election_safety", &[]);
}

#[test]
fn a_forgotten_term_is_caught() {
    is_caught(Mutation::ForgetTerm, "election_safety", &["log_matching"]);
}

#[test]
fn reporting_a_write_early_is_caught() {
    is_caught(Mutation::ReportEarly, "durable_promises", &[]);
}

#[test]
fn applying_twice_is_caught() {
    is_caught(Mutation::ApplyTwice, "state_machine_safety", &[]);
}

#[test]
fn a_stale_snapshot_is_caught() {
    is_caught(Mutation::SnapshotMissesLast, "state_machine_safety", &[]);
}

#[test]
fn acknowledging_before_commit_is_caught() {
    is_caught(Mutation::AckBeforeCommit, "acked_write_durable", &[]);
}

#[test]
fn committing_without_a_quorum_is_caught() {
    is_caught(Mutation::CommitWithoutQuorum, "leader_completeness", &["liveness"]);
}
