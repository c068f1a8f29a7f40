//! Random commands with flushes, kills and restarts at random moments: at every index that was
//! durable, the database has what the same commands make of a plain map.

use std::collections::BTreeMap;

use super::*;
use crate::core::Token;
use crate::core::kv::{
    Awaited, Change, Compare, Condition, Delete, DeletePrefix, Get, MemoryTable, Step, Txn,
};
use crate::core::rng::Rng;

/// What the database must have at one index.
#[derive(Clone, Default)]
struct Model {
    table: MemoryTable,
    size: u64,
    clients: Clients,
}

impl Model {
    fn apply(&mut self, committed: &Committed) -> Outcome {
        let context = Context { index: committed.index, token: committed.token };
        let (size, clients) = (&mut self.size, &mut self.clients);
        let Ok(applied) = kv::apply(&mut self.table, size, clients, context, &committed.command);
        applied.outcome
    }
}

struct Run {
    rng: Rng,
    path: PathBuf,
    store: Option<StateStore>,
    /// By the index of the last entry of each batch.
    history: BTreeMap<Index, Model>,
    log: Vec<Committed>,
    kills: u32,
}

impl Run {
    fn store(&mut self) -> &mut StateStore {
        self.store.as_mut().unwrap()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    fn key(&mut self) -> Vec<u8> {
        let directory = ["a", "b/", "c/\u{ff}"][self.below(3) as usize];
        format!("{directory}{}", self.below(6)).into_bytes()
    }

    fn change(&mut self, deep: bool) -> Change {
        match self.below(if deep { 6 } else { 5 }) {
            0 => Change::Delete(Delete { key: self.key() }),
            1 => Change::DeletePrefix(DeletePrefix {
                prefix: self.key()[..1].to_vec(),
                most: self.below(4) as u32,
            }),
            5 => Change::Get(Get { key: self.key() }),
            _ => {
                let value = vec![b'v'; self.below(40) as usize];
                Change::Put(Put { key: self.key(), value })
            }
        }
    }

    fn command(&mut self, index: Index) -> Committed {
        let operation = match self.change(false) {
            _ if self.below(4) == 0 => {
                let steps = |run: &mut Run| {
                    (0..run.below(3)).map(|_| Step { change: Some(run.change(true)) }).collect()
                };
                let condition = Condition::Exists(self.below(2) == 0);
                let compare = vec![Compare { key: self.key(), condition: Some(condition) }];
                Operation::Txn(Txn { compare, then: steps(self), otherwise: steps(self) })
            }
            Change::Put(put) => Operation::Put(put),
            Change::Delete(delete) => Operation::Delete(delete),
            Change::DeletePrefix(delete) => Operation::DeletePrefix(delete),
            Change::Get(_) => unreachable!("not at the top"),
        };
        let command = KvCommand {
            client: vec![b'x'; self.below(5) as usize],
            sequence: self.below(4) + index / 20,
            since: index.saturating_sub(self.below(30)),
            token: (self.below(5) == 0).then(|| 1 + self.below(2)),
            quota_bytes: 800,
            clients_max: 2,
            operation: Some(operation),
        };
        let awaited = if self.below(2) == 0 { Awaited::Yes } else { Awaited::No };
        Committed { index, token: Some(Token(1)), command, awaited }
    }

    /// Applies some new entries, some of which are no writes.
    fn apply(&mut self) {
        let mut index = self.store().applied().0;
        assert_eq!(index, *self.history.last_key_value().unwrap().0);
        let mut model = self.history[&index].clone();
        let (mut commands, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..1 + self.below(8) {
            index += 1 + self.below(2);
            let committed = self.command(index);
            let outcome = model.apply(&committed);
            if committed.awaited == Awaited::Yes {
                expected.push(outcome);
            }
            self.log.push(committed.clone());
            commands.push(committed);
        }
        let work = Work { commands, applied: (index, 2), state: None };
        let answered = self.store().apply(work).unwrap();
        assert!(answered.into_iter().map(|answered| answered.outcome).eq(expected));
        self.history.insert(index, model);
        self.compare();
    }

    /// What the store has now is what the model had at its index.
    fn compare(&mut self) {
        let store = self.store.as_mut().unwrap();
        let model = &self.history[&store.applied().0];
        assert!(rows(store).into_iter().eq(model.table.0.clone()));
        let keys = model.table.0.len() as u64;
        let (bytes, clients) = (model.size, model.clients.len() as u64);
        assert_eq!(store.counts(), Counts { keys, bytes, clients });
        assert_eq!(store.clients, model.clients);
    }

    /// The process dies; the log gives back what was not durable.
    fn kill(&mut self) {
        let durable = self.store().durable_index();
        let path = self.path.with_file_name(format!("after-{}.redb", self.kills));
        fs::copy(&self.path, &path).unwrap();
        self.kills += 1;
        self.store = None;
        let (store, stored) = StateStore::open(&path, CACHE).unwrap();
        let found = stored.applied.0;
        assert!(found >= durable, "{found} after {durable} was durable");
        (self.path, self.store) = (path, Some(store));
        self.compare();
        // Up to where it was, in one go: what follows a restart.
        let last = *self.history.last_key_value().unwrap().0;
        let commands = self.log.iter().filter(|committed| committed.index > found);
        let commands = commands.cloned().collect();
        self.store().apply(Work { commands, applied: (last, 2), state: None }).unwrap();
        self.compare();
    }

    fn step(&mut self) {
        match self.below(12) {
            0 => drop(self.store().begin_flush(Box::new(|| {}))),
            1 | 2 => drop(self.store().end_flush().unwrap()),
            3 => drop(self.store().flush().unwrap()),
            4 => self.kill(),
            _ => self.apply(),
        }
    }
}

#[test]
fn random_commands_with_kills_agree_with_a_model() {
    let (mut kills, mut during) = (0, 0);
    for seed in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.redb");
        let store = Some(StateStore::open(&path, CACHE).unwrap().0);
        let history = BTreeMap::from([(0, Model::default())]);
        let rng = Rng::new(seed);
        let mut run = Run { rng, path, store, history, log: Vec::new(), kills: 0 };
        for _ in 0..100 {
            during += u32::from(run.store().flushing.is_some());
            run.step();
        }
        kills += run.kills;
    }
    assert!(kills > 30 && during > 60, "{kills} kills, {during} steps during a flush");
}
