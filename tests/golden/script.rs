//! The verbs of the scripts, and how what nodes tell is written down.
//!
//! Time: `advance MS` writes down what is told meanwhile, `watch MS` also when, `settle MS`
//! nothing. Faults: `kill`, `powercut`, `pause N MS`, `cut A > B C` (one way),
//! `partition A | B C`, `heal`, `lose N PEER` (N finds its connection to PEER broken, and a redial
//! unanswered), `unfit N`, `fit N` (N may not be active, or may again).
//! Requests: `propose N LABEL`, `transfer N [TO]`, `shutdown N`, `pause_cluster N`,
//! `resume_cluster N [force]`.
//! To look: `status`, `log N`, `counts`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use raftctl::core::{Instant, NodeId};
use raftctl::node::event::{Answer, Effect, Event, RequestId};
use raftctl::node::status::Change;

use crate::sim::host::name_of;
use crate::sim::network::Weather;
use crate::sim::plan::{Mutation, Settings};
use crate::sim::recorder::WORKLOAD;
use crate::sim::world::World;

/// One cluster and what it told since the last output.
#[derive(Default)]
pub struct Script {
    world: Option<World>,
    /// How many of the world's tellings are written down.
    told: usize,
    labels: BTreeMap<RequestId, String>,
    output: String,
    violation: Option<String>,
}

/// The words after a verb.
struct Words<'a>(Vec<&'a str>);

impl Script {
    /// Carries out one line.
    pub fn run(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let words = Words(words.collect());
        if verb == "cluster" {
            self.finish()?;
            let (seed, settings) = cluster(&words)?;
            *self = Script { world: Some(World::new(seed, settings)), ..Default::default() };
            return Ok(());
        }
        if self.violation.is_none()
            && let Err(violation) = self.verb(verb, &words)?
        {
            writeln!(self.output, "violation of {violation}").expect("a string takes all");
            self.violation = Some(violation);
        }
        Ok(())
    }

    /// The outer error is the script's, the inner one a violated invariant.
    fn verb(&mut self, verb: &str, words: &Words) -> Result<Result<(), String>, String> {
        let world = self.world.as_mut().ok_or("the first verb must be cluster")?;
        match verb {
            "start" => {
                let ids = if words.0.is_empty() { world.ids() } else { words.nodes(0)? };
                return Ok(ids.into_iter().try_for_each(|id| world.start(id)));
            }
            "settle" => {
                let until = world.now + words.millis(0)?;
                let kept = world.run_until(until);
                self.told = world.told.len();
                return Ok(kept);
            }
            "advance" | "watch" => {
                let (begin, time) = (world.now, words.millis(0)?);
                let kept = world.run_until(begin + time);
                self.write_down((verb == "watch").then_some(begin));
                return Ok(kept);
            }
            "kill" => world.crash(words.node(0)?, false),
            "powercut" => world.crash(words.node(0)?, true),
            "pause" => world.pause(words.node(0)?, words.millis(1)?),
            "unfit" | "fit" => {
                let host = world.place(words.node(0)?);
                world.becomes_fit(host, verb == "fit");
            }
            "lose" => world.evidence(words.node(0)?, words.node(1)?, 0),
            "cut" => self.cut(&words.groups(">")?, false),
            "partition" => self.cut(&words.groups("|")?, true),
            "heal" => world.heal(),
            "propose" => self.propose(words)?,
            "transfer" => self.transfer(words)?,
            "pause_cluster" | "resume_cluster" => {
                let (on, force) = (verb == "pause_cluster", words.0.get(1) == Some(&"force"));
                let ask = |request| Event::Pause { request, on, force };
                let request = world.request(words.node(0)?, ask);
                self.labels.insert(request, if on { "pause" } else { "resume" }.to_owned());
            }
            "shutdown" => {
                world.request(words.node(0)?, |_| Event::Shutdown);
            }
            "status" => {
                let ids = if words.0.is_empty() { world.ids() } else { words.nodes(0)? };
                self.output.extend(ids.into_iter().map(|id| status(world, id)));
            }
            "log" => self.output.push_str(&log(world, words.node(0)?)),
            "counts" => self.counts(),
            _ => return Err(format!("unknown verb {verb:?}")),
        }
        Ok(Ok(()))
    }

    /// Packets no longer come from the first group to the others; `both`: nor between any two.
    fn cut(&mut self, groups: &[Vec<NodeId>], both: bool) {
        let Some(world) = &mut self.world else { return };
        for (at, group) in groups.iter().enumerate() {
            for (other, others) in groups.iter().enumerate() {
                if at == other || (at > 0 && !both) {
                    continue;
                }
                for (a, b) in group.iter().flat_map(|a| others.iter().map(move |b| (*a, *b))) {
                    world.network.cut(a, b);
                }
            }
        }
    }

    fn propose(&mut self, words: &Words) -> Result<(), String> {
        let Some(world) = &mut self.world else { return Ok(()) };
        let (to, label) = (words.node(0)?, words.word(1)?);
        let count = words.option("count", 1)?;
        for number in 0..count {
            let mut data = vec![WORKLOAD];
            data.extend(label.bytes());
            data.extend(number.to_be_bytes());
            data.extend(vec![7; words.option("bytes", 0)? as usize]);
            let request = world.propose_to(to, data);
            // Of many, only the last is told.
            if number + 1 == count {
                self.labels.insert(request, format!("write {label}"));
            }
        }
        Ok(())
    }

    fn transfer(&mut self, words: &Words) -> Result<(), String> {
        let Some(world) = &mut self.world else { return Ok(()) };
        let to = match words.0.get(1) {
            Some(&"nobody") => Some("nobody".parse().map_err(|e| format!("{e}"))?),
            Some(_) => Some(name_of(words.node(1)?)),
            None => None,
        };
        let request = world.request(words.node(0)?, |request| Event::Transfer { request, to });
        self.labels.insert(request, "transfer".to_owned());
        Ok(())
    }

    fn counts(&mut self) {
        let Some(world) = &mut self.world else { return };
        let counts = std::mem::take(&mut world.counts);
        let (elections, acked) = (world.oracle.elections, world.oracle.acked_write_durable.count());
        writeln!(
            self.output,
            "elections {elections}, acknowledged writes {acked}; since the last count: \
             messages {}, fetches {}, snapshots {}",
            counts.messages, counts.fetches, counts.snapshots
        )
        .expect("a string takes all");
    }

    /// Writes down what was told since the last time; with offsets from `begin`, if given.
    fn write_down(&mut self, begin: Option<Instant>) {
        let Some(world) = &self.world else { return };
        for (at, id, effect) in &world.told[self.told..] {
            let Some(line) = self.line(*id, effect) else { continue };
            if let Some(begin) = begin {
                let micros = (*at - begin).as_micros();
                write!(self.output, "{:>4}.{} ms  ", micros / 1000, micros / 100 % 10)
                    .expect("a string takes all");
            }
            self.output.push_str(&line);
            self.output.push('\n');
        }
        self.told = world.told.len();
    }

    fn line(&self, id: NodeId, effect: &Effect) -> Option<String> {
        let line = match effect {
            Effect::Changed(Change::Role { old, new, active, term, token, reason }) => {
                let (old, new) = (old.as_str(), new.as_str());
                match token.filter(|_| *active) {
                    Some(token) => format!("{old} ⇨ {new}@{term} active, token {token}"),
                    None => format!("{old} ⇨ {new}@{term}, {reason}"),
                }
            }
            Effect::Changed(Change::Leader { new: Some(new), .. }) if *new == id => return None,
            Effect::Changed(Change::Leader { new: Some(new), term, .. }) => {
                format!("follows n{new}@{term}")
            }
            Effect::Changed(Change::Leader { new: None, term, .. }) => format!("no leader@{term}"),
            Effect::Changed(Change::Paused { paused, term }) => {
                format!("cluster {}@{term}", if *paused { "paused" } else { "resumed" })
            }
            Effect::Answer { request, answer } => {
                let label = self.labels.get(request)?;
                format!("answers {label}: {}", answer_text(answer))
            }
            Effect::Warn(text) => format!("warns: {text}"),
            Effect::Stopped => "stops".to_owned(),
            _ => return None,
        };
        Some(format!("n{id} {line}"))
    }

    /// What was told since the last output.
    pub fn take_output(&mut self) -> String {
        let output = std::mem::take(&mut self.output);
        if output.is_empty() { "(nothing is told)\n".to_owned() } else { output }
    }

    /// After the last block: everything is healed, and all promises must be kept.
    pub fn end(mut self) -> Result<(), String> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), String> {
        match (&mut self.world, &self.violation) {
            (Some(world), None) => world.healing().map_err(|e| format!("after the end: {e}")),
            _ => Ok(()),
        }
    }
}

fn cluster(words: &Words) -> Result<(u64, Settings), String> {
    let mutation = match words.text("mutation") {
        Some(name) => Some(Mutation::named(name).ok_or(format!("no mutation {name:?}"))?),
        None => None,
    };
    let delay = words.option("delay_us", 100)?;
    let settings = Settings {
        authority: None,
        store: None,
        nodes: words.option("nodes", 3)?,
        election_min: Duration::from_millis(200),
        vote_lease: words.option("vote_lease", 1)? == 1,
        segment_bytes: 32 << 10,
        cache_max_bytes: words.option("cache_bytes", 1 << 20)? as usize,
        log_keep_entries: words.option("keep_entries", 1000)?,
        weather: Weather {
            loss_ppm: 0,
            duplicate_ppm: words.option("duplicate_percent", 0)? * 10_000,
            delay_min_us: delay,
            delay_max_us: words.option("delay_max_us", delay)?,
            straggler_ppm: 0,
        },
        jitter: false,
        disk_max_us: words.option("disk_us", 200)?,
        faults_for: Duration::ZERO,
        fault_every: Duration::ZERO,
        down_max: Duration::ZERO,
        crash_after_vote_ppm: 0,
        propose_every: Duration::ZERO,
        mutation,
    };
    Ok((words.option("seed", 1)?, settings))
}

impl<'a> Words<'a> {
    fn word(&self, at: usize) -> Result<&'a str, String> {
        self.0.get(at).copied().ok_or_else(|| format!("word {} is missing", at + 1))
    }

    fn node(&self, at: usize) -> Result<NodeId, String> {
        let word = self.word(at)?;
        word.parse().map(NodeId).map_err(|_| format!("{word:?} is not a node"))
    }

    fn nodes(&self, from: usize) -> Result<Vec<NodeId>, String> {
        (from..self.0.len()).map(|at| self.node(at)).collect()
    }

    fn millis(&self, at: usize) -> Result<Duration, String> {
        let word = self.word(at)?;
        word.parse().map(Duration::from_millis).map_err(|_| format!("{word:?} is not a time"))
    }

    fn groups(&self, separator: &str) -> Result<Vec<Vec<NodeId>>, String> {
        let groups: Result<Vec<_>, _> =
            self.0.split(|w| *w == separator).map(|g| Words(g.to_vec()).nodes(0)).collect();
        groups.and_then(|g| if g.len() > 1 { Ok(g) } else { Err("two groups wanted".to_owned()) })
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
    }

    fn option(&self, key: &str, default: u64) -> Result<u64, String> {
        let Some(text) = self.text(key) else { return Ok(default) };
        text.parse().map_err(|_| format!("{key}={text:?}: a number was expected"))
    }
}

fn answer_text(answer: &Answer) -> String {
    match answer {
        Answer::Applied { index } => format!("applied at {index}"),
        Answer::Refused { reason } => format!("refused, {reason}"),
        Answer::Unknown => "unknown".to_owned(),
        Answer::Transferred(Ok(name)) => format!("{name} leads"),
        Answer::Transferred(Err(error)) => error.to_string(),
        Answer::Release(outcome) => format!("{outcome:?}"),
        Answer::TakenOver(result) => format!("{result:?}"),
        Answer::Paused(Ok(())) => "done".to_owned(),
        Answer::Paused(Err(error)) => error.to_string(),
        Answer::Written(result) => format!("{result:?}"),
        Answer::Read(result) => format!("{result:?}"),
    }
}

fn status(world: &mut World, id: NodeId) -> String {
    let Some(running) = &world.host(id).running else { return format!("n{id} down\n") };
    let position = running.node.replica().position();
    let status = running.node.status();
    let leader = position.leader.map_or("none".to_owned(), |leader| format!("n{leader}"));
    let active = if status.active { " active" } else { "" };
    format!(
        "n{id} {}@{}{active}, leader {leader}, last {}, commit {}, applied {}\n",
        status.role.as_str(),
        position.term,
        position.last,
        position.commit,
        running.node.applied().0
    )
}

/// The terms of a node's log as `first-last@term`.
fn log(world: &mut World, id: NodeId) -> String {
    let Some(running) = &world.host(id).running else { return format!("n{id} down\n") };
    let replica = running.node.replica();
    let mut runs: Vec<(u64, u64, u64)> = Vec::new();
    for index in replica.first_index()..=replica.position().last {
        let term = replica.term_of(index).unwrap_or_default();
        match runs.last_mut() {
            Some((_, last, known)) if *known == term => *last = index,
            _ => runs.push((index, index, term)),
        }
    }
    if runs.is_empty() {
        return format!("n{id} log empty after {}\n", replica.first_index() - 1);
    }
    let runs: Vec<_> = runs.iter().map(|(a, b, term)| format!("{a}-{b}@{term}")).collect();
    format!("n{id} log {}\n", runs.join(" "))
}
