//! Simulation: thousands of seeds, each a cluster with faults that must keep every invariant, and
//! planted bugs that it must catch.
//!
//! `SIM_SEEDS=n` runs n seeds (default 2000), `SIM_START=s` begins at seed s. A failure prints the
//! command that replays it. `SIM_MUTATION=name` plants a bug (the names are in `sim/plan.rs`).

#[path = "sim/mod.rs"]
mod sim;
#[path = "sim_support/store_plan.rs"]
mod store_plan;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::checker::record::Tally;
use sim::plan::{Mutation, Settings, StorePlan};
use sim::world::{Counts, World};

/// What runs did, to tell that they did something.
#[derive(Default)]
struct Report {
    elections: u64,
    acked: u64,
    fetches: u64,
    snapshots: u64,
    messages: u64,
    activations: u64,
    /// Overlaps with a host that was frozen as a whole, of which nothing is promised.
    apart: u64,
    scripts: u64,
    unbounded: u64,
    /// Elections for which no voter waited.
    quick: u64,
    /// Writes of processes that were told that they may not be active.
    ineligible: u64,
    /// Turns of nodes that a pause kept active, and resumptions with an active node.
    rested: u64,
    resumed: u64,
    /// What clients of the store did.
    store: Tally,
    /// Histories with so many unknown outcomes that the checker gave up.
    undecided: u64,
}

impl Report {
    fn add(&mut self, other: &Report) {
        self.elections += other.elections;
        self.acked += other.acked;
        self.fetches += other.fetches;
        self.snapshots += other.snapshots;
        self.messages += other.messages;
        self.activations += other.activations;
        self.apart += other.apart;
        self.scripts += other.scripts;
        self.unbounded += other.unbounded;
        self.quick += other.quick;
        self.ineligible += other.ineligible;
        self.rested += other.rested;
        self.resumed += other.resumed;
        self.store += other.store;
        self.undecided += other.undecided;
    }
}

fn run(seed: u64, mutation: Option<Mutation>) -> Result<Report, String> {
    run_with(seed, Settings::of(seed, mutation))
}

/// A history with clients that use the store.
fn run_store(seed: u64, mutation: Option<Mutation>) -> Result<Report, String> {
    counted(seed, run_with(seed, store_plan::settings(seed, mutation)))
}

/// A history that the checker gave up is counted; it violates nothing that is known.
fn counted(seed: u64, outcome: Result<Report, String>) -> Result<Report, String> {
    match outcome {
        Err(text) if text.starts_with("undecided") => {
            println!("seed {seed}: {}", text.lines().next().unwrap_or_default());
            Ok(Report { undecided: 1, ..Report::default() })
        }
        outcome => outcome,
    }
}

fn run_with(seed: u64, settings: Settings) -> Result<Report, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, settings);
        world.trouble()?;
        world.healing()?;
        let acked = world.oracle.acked_write_durable.count() as u64;
        let Counts { messages, fetches, snapshots } = world.counts;
        let elections = world.oracle.elections;
        let authority = &world.oracle.authority;
        Ok(Report {
            elections,
            acked,
            fetches,
            snapshots,
            messages,
            activations: authority.one_active.activations,
            apart: authority.one_active.apart,
            scripts: authority.script_order.scripts,
            unbounded: authority.paused.unbounded,
            quick: authority.without_vote_lease.quick,
            ineligible: authority.ineligible.told,
            rested: authority.guarded.rested,
            resumed: authority.word.resumed,
            undecided: 0,
            store: world
                .clients
                .as_ref()
                .map(|clients| clients.record.counts())
                .unwrap_or_default(),
        })
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
    let totals = run_all(start, count, "every_seed", |seed| run(seed, mutation));
    let Report { elections, acked, fetches, snapshots, messages, .. } = totals;
    let Report { activations, apart, scripts, unbounded, quick, ineligible, .. } = totals;
    let Report { rested, resumed, .. } = totals;
    println!(
        "{count} seeds from {start}: {elections} elections, {acked} acknowledged writes, \
         {messages} messages, {fetches} fetches, {snapshots} snapshots; {activations} activations \
         ({unbounded} without bound), {scripts} scripts, {quick} elections without a vote lease, \
         {apart} overlaps with a host that was frozen, {ineligible} writes of ineligible nodes; \
         {rested} turns active by a pause, {resumed} resumptions"
    );
    assert!(count < 100 || (elections >= count && acked >= count * 5), "the runs did too little");
    assert!(count < 100 || (fetches > count && snapshots > count / 4), "too little was repaired");
    let tried = activations > count && scripts > count && unbounded > 0 && quick > count / 100;
    let tried = tried && ineligible > count / 10 && rested > count && resumed > count / 50;
    assert!(count < 100 || tried, "authority was tried too little");
}

/// The same for the store: what clients on all nodes were told is linearizable, every write that
/// was acknowledged is there in the end, on every node, and every request was answered.
/// `SIM_STORE_SEEDS=n` runs n seeds. By default there are some more than the 500 that must be
/// decided: a few have so many open operations that the checker gives up.
#[test]
fn every_history_of_the_store_is_linearizable() {
    const COUNT: u64 = 515;
    const DECIDED: u64 = 500;
    let (start, count) = (number("SIM_START", 0), number("SIM_STORE_SEEDS", COUNT));
    let named = std::env::var("SIM_MUTATION").ok();
    let mutation = named.and_then(|name| Mutation::named(&name)).filter(|m| store_plan::plants(*m));
    let totals = run_all(start, count, "every_history", |seed| run_store(seed, mutation));
    let Report { elections, snapshots, messages, store, undecided, .. } = totals;
    let Tally { writes, reads, unknown, nothing, stale } = store;
    println!(
        "{count} histories from {start}: {writes} writes, {reads} reads, {stale} stale reads, \
         {unknown} of unknown outcome, {nothing} of none; {elections} elections, {snapshots} \
         snapshots, {messages} messages; {undecided} not decided"
    );
    assert!(undecided <= count / 50, "too much was not decided");
    assert!(count < COUNT || count - undecided >= DECIDED, "too few were decided");
    let tried = writes > count * 30 && reads > count * 15 && unknown > count / 4 && stale > count;
    let tried = tried && nothing > count && snapshots > count / 20 && elections >= count;
    assert!(count < 100 || tried, "the store was tried too little");
}

/// Runs `count` seeds from `start` on all cores; ends the process at the first violation.
fn run_all(
    start: u64,
    count: u64,
    test: &str,
    run: impl Fn(u64) -> Result<Report, String> + Sync,
) -> Report {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let seeds = match test {
        "every_seed" => "SIM_SEEDS",
        _ => "SIM_STORE_SEEDS",
    };
    let worker = |offset| {
        let mut totals = Report::default();
        for seed in (start + offset..start + count).step_by(threads as usize) {
            let report = run(seed).unwrap_or_else(|violation| {
                eprintln!("seed {seed}: {violation}");
                eprintln!("replay: SIM_START={seed} {seeds}=1 cargo test --test sim {test}");
                std::process::exit(101);
            });
            totals.add(&report);
        }
        totals
    };
    std::thread::scope(|scope| {
        let worker = &worker;
        let workers: Vec<_> =
            (0..threads).map(|offset| scope.spawn(move || worker(offset))).collect();
        let mut totals = Report::default();
        for worker in workers {
            totals.add(&worker.join().expect("workers exit the process on failure"));
        }
        totals
    })
}

/// The planted bug must be found within 400 seeds by the invariant it breaks; `besides` are others
/// that it breaks as well, and nothing else may find it. Prints how many seeds it took.
fn is_caught(mutation: Mutation, intended: &str, besides: &[&str]) {
    is_caught_by(run, mutation, intended, besides);
}

fn is_caught_by(
    run: impl Fn(u64, Option<Mutation>) -> Result<Report, String>,
    mutation: Mutation,
    intended: &str,
    besides: &[&str],
) {
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
    for (seed, violation) in &found {
        // The rest of a history is long.
        println!("  seed {seed}: {}", violation.lines().next().unwrap_or_default());
    }
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

#[test]
fn promoting_without_waiting_is_caught() {
    is_caught(
        Mutation::PromoteWithoutWaiting,
        "one_active_node",
        &["active_within_bound", "liveness"],
    );
}

#[test]
fn a_lease_from_receipt_is_caught() {
    is_caught(Mutation::LeaseFromReceipt, "active_within_bound", &["one_active_node"]);
}

#[test]
fn releasing_before_the_job_ended_is_caught() {
    is_caught(Mutation::ReleaseBeforeStopped, "released_only_after_stopped", &["script_order"]);
}

#[test]
fn ignoring_drift_is_caught() {
    is_caught(Mutation::DriftIgnored, "one_active_node", &[]);
}

#[test]
fn waiting_for_the_own_bound_is_caught() {
    is_caught(Mutation::WaitersOwnBound, "one_active_node", &["paused_never_expires"]);
}

#[test]
fn promoting_after_a_pause_is_caught() {
    is_caught(Mutation::PromoteAfterPause, "one_active_node", &["active_within_bound"]);
}

#[test]
fn an_activation_across_terms_is_caught() {
    is_caught(Mutation::ActivateAcrossTerms, "promote_only_own_term", &["one_active_node"]);
}

/// What planted bugs are given to show is sound without them: in the corner where ignored drift
/// shows everything holds with it, and the watchdog is enough without the dead-man.
#[test]
fn the_settings_of_planted_bugs_are_sound_without_them() {
    let settings = [
        Mutation::PingAfterExpiry,
        Mutation::LeaseFromReceipt,
        Mutation::WaitersOwnBound,
        Mutation::ActivateAcrossTerms,
        Mutation::DriftIgnored,
        Mutation::ResumeWithoutWord,
    ];
    for (mutation, seed) in settings.into_iter().flat_map(|m| (0..30).map(move |s| (m, s))) {
        let kept =
            run_with(seed, Settings { mutation: None, ..Settings::of(seed, Some(mutation)) });
        kept.unwrap_or_else(|e| panic!("settings of {mutation:?}, seed {seed}: {e}"));
    }
}

#[test]
fn a_ping_after_expiry_is_caught() {
    is_caught(Mutation::PingAfterExpiry, "active_within_bound", &["one_active_node"]);
}

/// Releases of earlier runs, which somebody may wait for, are lost by it.
#[test]
fn a_release_by_an_older_invocation_is_caught() {
    is_caught(
        Mutation::ReleaseByOlderInvocation,
        "release_names_dead_invocation",
        &["released_only_after_stopped", "one_active_node", "liveness"],
    );
}

#[test]
fn a_token_from_the_bare_index_is_caught() {
    is_caught(Mutation::TokenFromBareIndex, "tokens_increase", &[]);
}

#[test]
fn an_ineligible_node_that_activates_is_caught() {
    is_caught(Mutation::IneligibleActivates, "ineligible_never_active", &["liveness"]);
}

#[test]
fn a_resumption_without_the_word_of_what_is_active_is_caught() {
    is_caught(Mutation::ResumeWithoutWord, "resume_needs_word", &["one_active_node"]);
}

#[test]
fn relying_on_a_pause_again_is_caught() {
    is_caught(Mutation::PausedAgain, "active_is_guarded", &["liveness"]);
}

#[test]
fn an_activation_that_expires_in_a_pause_is_caught() {
    is_caught(Mutation::ExpiresInPause, "paused_keeps_record", &["liveness"]);
}

#[test]
fn a_stale_read_served_as_linearizable_is_caught() {
    is_caught_by(run_store, Mutation::StaleRead, "linearizable", &[]);
}

#[test]
fn a_retried_write_that_applies_twice_is_caught() {
    is_caught_by(
        run_store,
        Mutation::RetryAppliesTwice,
        "linearizable",
        &["written_once", "read_at_revision"],
    );
}

#[test]
fn an_acknowledgement_of_a_write_before_its_commit_is_caught() {
    is_caught_by(run_store, Mutation::WriteAckedEarly, "linearizable", &[]);
}

/// Also by itself: a row that is missing is older than what others were told.
#[test]
fn a_snapshot_that_misses_the_last_write_is_caught() {
    is_caught_by(
        run_store,
        Mutation::SnapshotMissesRow,
        "linearizable",
        &["read_at_revision", "written_once"],
    );
}

/// What looks into the nodes finds those as well, and sooner.
#[test]
fn rows_that_differ_are_caught() {
    for mutation in [Mutation::RetryAppliesTwice, Mutation::SnapshotMissesRow] {
        let looks = |seed, mutation| {
            let settings = store_plan::settings(seed, mutation);
            let store = settings.store.map(|plan| StorePlan { looks_into_nodes: true, ..plan });
            counted(seed, run_with(seed, Settings { store, ..settings }))
        };
        is_caught_by(looks, mutation, "rows_agree", &[]);
    }
}
