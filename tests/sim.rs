//! Simulation: thousands of seeds, each a cluster with faults that must keep every invariant, and
//! planted bugs that it must catch.
//!
//! `SIM_SEEDS=n` runs n seeds (default 2000), `SIM_START=s` begins at seed s. A failure prints the
//! command that replays it.

#[path = "sim/mod.rs"]
mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::plan::{Mutation, Settings};
use sim::world::World;

/// What a run did, to tell that it did something.
struct Report {
    elections: u64,
    acked: usize,
}

fn run(seed: u64, mutation: Option<Mutation>) -> Result<Report, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, Settings::of(seed, mutation));
        world.trouble()?;
        world.healing()?;
        let acked = world.oracle.acked_write_durable.count();
        Ok(Report { elections: world.oracle.elections, acked })
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
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let totals = std::thread::scope(|scope| {
        let worker = |offset| {
            let mut totals = (0, 0);
            for seed in (start + offset..start + count).step_by(threads as usize) {
                let report = run(seed, None).unwrap_or_else(|violation| {
                    eprintln!("seed {seed}: {violation}");
                    eprintln!(
                        "replay: SIM_START={seed} SIM_SEEDS=1 cargo test --test sim every_seed"
                    );
                    std::process::exit(101);
                });
                totals.0 += report.elections;
                totals.1 += report.acked;
            }
            totals
        };
        let workers: Vec<_> =
            (0..threads).map(|offset| scope.spawn(move || worker(offset))).collect();
        workers.into_iter().fold((0, 0), |sum, worker| {
            let part = worker.join().expect("workers exit the process on failure");
            (sum.0 + part.0, sum.1 + part.1)
        })
    });
    println!(
        "{count} seeds from {start}: {} elections, {} acknowledged writes",
        totals.0, totals.1
    );
    assert!(
        totals.0 >= count && totals.1 as u64 >= count * 5,
        "the runs did too little: {totals:?}"
    );
}

fn is_caught(mutation: Mutation, expected: &[&str]) {
    for seed in 0..400 {
        if let Err(violation) = run(seed, Some(mutation)) {
            println!("{mutation:?} caught by seed {seed}: {violation}");
            let known = expected.iter().any(|name| violation.contains(name));
            assert!(known, "{mutation:?} was caught by something unexpected: {violation}");
            return;
        }
    }
    panic!("{mutation:?} was not caught in 400 seeds");
}

#[test]
fn a_skipped_fsync_is_caught() {
    is_caught(
        Mutation::SkipFsync,
        &["_safety", "acked", "leader_comp", "log_matching", "start", "liveness", "panic"],
    );
}

#[test]
fn voting_twice_is_caught() {
    is_caught(Mutation::VoteTwice, &["election_safety"]);
}

#[test]
fn a_forgotten_vote_is_caught() {
    is_caught(Mutation::ForgetVote, &["election_safety"]);
}

#[test]
fn applying_twice_is_caught() {
    is_caught(Mutation::ApplyTwice, &["state_machine_safety"]);
}

#[test]
fn acknowledging_before_commit_is_caught() {
    is_caught(Mutation::AckBeforeCommit, &["acked_write_durable"]);
}

#[test]
fn a_seed_replays_exactly() {
    let trace = |seed| {
        let mut world = World::new(seed, Settings::of(seed, None));
        world.trouble().expect("keeps the invariants");
        format!("{:?} {:?}", world.told, world.answers)
    };
    for seed in 0..4 {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}
