//! The table of the loads: one line for each kind of request and number of clients.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use super::load::Outcome;
use super::subject::{Ask, Kind};
use crate::stats::number;
use crate::told;

/// What a load came to: the numbers, or why there are none.
type Told = Result<Outcome, String>;

/// All loads of a run.
#[derive(Default)]
pub struct Loads {
    rows: BTreeMap<(Ask, usize), [Option<Told>; 2]>,
    floors: BTreeMap<usize, Told>,
}

impl Loads {
    /// Notes and shows one.
    pub fn add(&mut self, kind: Kind, ask: Ask, clients: usize, outcome: Result<Outcome>) {
        let outcome = counted(told(outcome));
        println!("{}: {}, {clients} clients: {}", kind.name(), words(ask), text(&outcome));
        self.rows.entry((ask, clients)).or_default()[column(kind)] = Some(outcome);
    }

    /// Notes and shows what the HTTP floor does.
    pub fn add_floor(&mut self, clients: usize, outcome: Result<Outcome>) {
        let outcome = counted(told(outcome));
        println!("floor: HTTP alone, {clients} clients: {}", text(&outcome));
        self.floors.insert(clients, outcome);
    }

    /// The table.
    pub fn markdown(&self) -> String {
        let mut out = String::from(
            "| load | clients | aim | raftctl, per s | p50 | p99 | max | etcd, per s | p50 | p99 \
             | max | HTTP alone, per s |\n|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:\
             |---:|\n",
        );
        for ((ask, clients), outcomes) in &self.rows {
            let [ours, theirs] = outcomes.each_ref().map(cells);
            let floor = self.floors.get(clients).and_then(|floor| floor.as_ref().ok());
            let floor = floor.map(|floor| number(floor.rate)).unwrap_or_default();
            let (what, aim) = (words(*ask), aim(*ask, *clients));
            let _ = writeln!(out, "| {what} | {clients} | {aim} | {ours} | {theirs} | {floor} |");
        }
        out
    }
}

fn column(kind: Kind) -> usize {
    match kind {
        Kind::Raftctl => 0,
        Kind::Etcd => 1,
    }
}

fn words(ask: Ask) -> &'static str {
    match ask {
        Ask::Put => "writes",
        Ask::Read => "linearizable reads",
        Ask::StaleRead => "stale reads",
    }
}

/// What we want.
fn aim(ask: Ask, clients: usize) -> &'static str {
    match (ask, clients) {
        (Ask::Put, 1) => "p50 < 0.7 ms",
        (Ask::Put, 64) => "> 15000",
        (Ask::Put, 256) => "> 25000",
        (Ask::Read, 64) => "> 40000",
        _ => "",
    }
}

/// A load with errors does not count.
fn counted(outcome: Told) -> Told {
    let outcome = outcome?;
    if outcome.refused + outcome.failed > 0 {
        let Outcome { rate, refused, failed, .. } = outcome;
        let rate = number(rate);
        return Err(format!("{refused} refused, {failed} failed: does not count ({rate} per s)"));
    }
    Ok(outcome)
}

fn text(outcome: &Told) -> String {
    match outcome {
        Ok(Outcome { rate, p50, p99, max, .. }) => {
            let [rate, p50, p99, max] = [*rate, *p50, *p99, *max].map(number);
            format!("{rate} per s, p50 {p50}, p99 {p99}, max {max} ms, no errors")
        }
        Err(why) => why.clone(),
    }
}

fn cells(outcome: &Option<Told>) -> String {
    match outcome {
        Some(Ok(Outcome { rate, p50, p99, max, .. })) => {
            [*rate, *p50, *p99, *max].map(number).join(" | ")
        }
        Some(Err(why)) => format!("{why} | | | "),
        None => "not measured | | | ".to_owned(),
    }
}
