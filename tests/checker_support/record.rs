//! A history while it happens: what was called, what it returned, what was seen of rows.
//!
//! Three things are kept apart. The history of linearizable operations goes to the checker. What is
//! known of rows, each with the one revision of its write, must never contradict itself: this also
//! sees a write that was applied twice with nothing between. A stale read may be old, but not newer
//! than what was asked for, not out of thin air, and not older than an earlier one on its node.

use std::collections::BTreeMap;

use super::store::{Call, Key, Keys, Return, Value, check_final, check_store};
use super::{Operation, Violation};

/// A row as somebody saw it, or its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub key: Key,
    pub value: Option<Value>,
    pub revision: u64,
}

/// A read of one run of a node: its name, when it was called and returned, up to which index.
#[derive(Clone, Debug)]
struct ReadAt {
    run: String,
    called: u64,
    returned: u64,
    revision: u64,
    keys: Vec<Key>,
    seen: Vec<Seen>,
    stale: bool,
}

/// What became of an operation.
#[derive(Clone, Debug)]
enum Outcome {
    /// It may take effect at any time, or never.
    Open,
    Returned(Return, u64),
    /// It never takes effect: the checker never sees it.
    Nothing,
}

/// Names an operation of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Called(usize);

impl Called {
    /// Its number.
    pub fn number(self) -> usize {
        self.0
    }
}

/// A history.
#[derive(Clone, Debug, Default)]
pub struct Record {
    operations: Vec<(usize, Call, u64, Outcome)>,
    /// Revisions of values: one each.
    revisions: BTreeMap<Value, u64>,
    /// Writes and removals of each key by their revision.
    changes: BTreeMap<Key, BTreeMap<u64, Option<Value>>>,
    reads: Vec<ReadAt>,
    /// The first value that was seen with two revisions.
    contradiction: Option<String>,
}

impl Record {
    /// `client` asks for this.
    pub fn call(&mut self, client: usize, call: Call, now: u64) -> Called {
        self.operations.push((client, call, now, Outcome::Open));
        Called(self.operations.len() - 1)
    }

    /// The call of this name.
    pub fn called(&self, called: Called) -> &Call {
        &self.operations[called.0].1
    }

    /// Whether the call of this number has returned something.
    pub fn has_returned(&self, at: usize) -> bool {
        matches!(self.operations[at].3, Outcome::Returned(..))
    }

    /// The call of this number, and what became of it.
    pub fn describe(&self, at: usize) -> String {
        format!("{:?}", self.operations[at])
    }

    /// It returned this.
    pub fn returned(&mut self, called: Called, result: Return, now: u64) {
        self.end(called, Outcome::Returned(result, now));
    }

    /// It is said never to take effect; a read found nothing out.
    pub fn nothing(&mut self, called: Called) {
        self.end(called, Outcome::Nothing);
    }

    fn end(&mut self, called: Called, outcome: Outcome) {
        let before = std::mem::replace(&mut self.operations[called.0].3, outcome);
        assert!(matches!(before, Outcome::Open), "{called:?} has ended twice");
    }

    /// An answer told this about rows.
    pub fn saw(&mut self, seen: &[Seen]) {
        for Seen { key, value, revision } in seen.iter().copied() {
            if let Some(value) = value {
                let known = *self.revisions.entry(value).or_insert(revision);
                if known != revision {
                    let text =
                        format!("{value} of key {key} was written at {known} and {revision}");
                    self.contradiction.get_or_insert(format!("written_once: {text}"));
                }
            }
            self.changes.entry(key).or_default().insert(revision, value);
        }
    }

    /// A read on one run of a node, stale or not, found these rows up to `revision`.
    pub fn read(
        &mut self,
        run: &str,
        called: Called,
        (revision, now): (u64, u64),
        seen: Vec<Seen>,
        stale: bool,
    ) {
        let (_, call, at, _) = &self.operations[called.0];
        let (run, keys) = (run.to_owned(), call.keys());
        self.reads.push(ReadAt { run, called: *at, returned: now, revision, keys, seen, stale });
    }

    /// Everything that the checker must explain.
    pub fn operations(&self) -> Vec<Operation<Keys>> {
        let mut all = Vec::new();
        for (client, call, called, outcome) in &self.operations {
            let returned = match outcome {
                Outcome::Returned(result, at) => Some((result.clone(), *at)),
                Outcome::Open if call.is_read() => continue,
                Outcome::Open => None,
                Outcome::Nothing => continue,
            };
            all.push(Operation { client: *client, call: call.clone(), called: *called, returned });
        }
        all
    }

    /// Calls so far.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Calls that did something, or may have.
    pub fn counts(&self) -> Tally {
        let mut tally = Tally::default();
        for (_, call, _, outcome) in &self.operations {
            match outcome {
                Outcome::Open if call.is_read() => tally.nothing += 1,
                Outcome::Open => tally.unknown += 1,
                Outcome::Nothing => tally.nothing += 1,
                Outcome::Returned(..) if call.is_read() => tally.reads += 1,
                Outcome::Returned(..) => tally.writes += 1,
            }
        }
        tally.stale = self.reads.iter().filter(|read| read.stale).count() as u64;
        tally
    }

    /// Whether it is linearizable, and what was seen of rows hangs together.
    pub fn check(&self) -> Result<(), String> {
        check_store(&self.operations()).map_err(linearizable)?;
        self.contradiction.clone().map_or(Ok(()), Err)?;
        self.check_rows()?;
        self.check_order()
    }

    /// Whether `now` is what may be there when all is over.
    pub fn check_final(&self, now: &BTreeMap<Key, Value>, at: u64) -> Result<(), String> {
        check_final(&self.operations(), now, at).map_err(linearizable)
    }

    /// Each read is what the log says up to its revision, as far as that is known.
    fn check_rows(&self) -> Result<(), String> {
        for read in &self.reads {
            for key in &read.keys {
                let row = read.seen.iter().find(|seen| seen.key == *key);
                let row = row.map_or((0, None), |seen| (seen.revision, seen.value));
                let known = self.changes.get(key).and_then(|changes| {
                    changes.range(..=read.revision).next_back().map(|(at, value)| (*at, *value))
                });
                let fits = match known {
                    // A removal that nobody was told of explains that there is nothing.
                    Some((at, Some(_))) => row.1.is_none() || row.0 >= at,
                    Some((at, None)) => row.1.is_none() || row.0 > at,
                    None => true,
                };
                if !fits || row.0 > read.revision {
                    return Err(format!("read_at_revision: {read:?}, but of {key}: {known:?}"));
                }
            }
        }
        Ok(())
    }

    /// One run of a node never goes back.
    fn check_order(&self) -> Result<(), String> {
        let mut runs: BTreeMap<&str, Vec<&ReadAt>> = BTreeMap::new();
        for read in &self.reads {
            runs.entry(&read.run).or_default().push(read);
        }
        for reads in runs.values_mut() {
            reads.sort_by_key(|read| read.returned);
            let mut by_call = reads.clone();
            by_call.sort_by_key(|read| read.called);
            let mut returned = reads.iter().peekable();
            let mut newest: Option<&ReadAt> = None;
            for read in by_call {
                while let Some(before) = returned.next_if(|at| at.returned < read.called) {
                    if newest.is_none_or(|newest| newest.revision < before.revision) {
                        newest = Some(before);
                    }
                }
                if let Some(newest) = newest.filter(|newest| newest.revision > read.revision) {
                    return Err(format!("monotonic_reads: after {newest:?} came {read:?}"));
                }
            }
        }
        Ok(())
    }
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub writes: u64,
    pub reads: u64,
    pub unknown: u64,
    pub nothing: u64,
    /// Of those without a place in the history: reads that were answered as stale.
    pub stale: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.writes += other.writes;
        self.reads += other.reads;
        self.unknown += other.unknown;
        self.nothing += other.nothing;
        self.stale += other.stale;
    }
}

fn linearizable(violation: Violation) -> String {
    let what = if violation.undecided { "undecided" } else { "linearizable" };
    format!("{what}: {}", violation.text)
}
