//! The store as the checker sees it: a few keys with values and the revisions of their writes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Model, Operation, Violation, check};

/// Keys and values are short names here; each write writes a value of its own.
pub type Key = u32;
pub type Value = u64;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Get(Key),
    Put(Key, Value),
    Delete(Key),
    /// Writes if the key has this value.
    Swap(Key, Option<Value>, Value),
    /// Reads all of these at once.
    GetAll(Vec<Key>),
    /// Writes all of these at once.
    PutAll(Vec<(Key, Value)>),
    /// Writes all of these at once, if all of those have these values.
    SwapAll(Vec<(Key, Option<Value>)>, Vec<(Key, Value)>),
    /// Removes all of these at once.
    DeleteAll(Vec<Key>),
}

impl Call {
    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        matches!(self, Call::Get(_) | Call::GetAll(_))
    }

    /// The keys that it is about.
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Call::Get(key) | Call::Put(key, _) | Call::Delete(key) | Call::Swap(key, ..) => {
                vec![*key]
            }
            Call::GetAll(keys) | Call::DeleteAll(keys) => keys.clone(),
            Call::PutAll(puts) => puts.iter().map(|(key, _)| *key).collect(),
            Call::SwapAll(old, new) => {
                let old = old.iter().map(|(key, _)| *key);
                old.chain(new.iter().map(|(key, _)| *key)).collect()
            }
        }
    }

    /// What it writes, if it does.
    pub fn writes(&self) -> Vec<(Key, Value)> {
        match self {
            Call::Put(key, value) | Call::Swap(key, _, value) => vec![(*key, *value)],
            Call::PutAll(new) | Call::SwapAll(_, new) => new.clone(),
            _ => Vec::new(),
        }
    }
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Return {
    /// Of reads: in the order in which they were asked for.
    Found(Vec<Option<Value>>),
    Done,
    /// Of a swap: whether it took place.
    Swapped(bool),
    /// Of a removal: how many were there.
    Deleted(u64),
}

/// Any number of keys.
#[derive(Clone, Debug)]
pub struct Keys;

impl Model for Keys {
    type State = BTreeMap<Key, Value>;
    type Call = Call;
    type Return = Return;

    fn step(state: &Self::State, call: &Call, result: Option<&Return>) -> Option<Self::State> {
        let mut next = state.clone();
        let is = match call {
            Call::Get(key) => Return::Found(vec![state.get(key).copied()]),
            Call::GetAll(keys) => {
                Return::Found(keys.iter().map(|key| state.get(key).copied()).collect())
            }
            Call::Put(key, value) => {
                next.insert(*key, *value);
                Return::Done
            }
            Call::PutAll(puts) => {
                next.extend(puts.iter().copied());
                Return::Done
            }
            Call::Delete(key) => Return::Deleted(next.remove(key).map_or(0, |_| 1)),
            Call::DeleteAll(keys) => {
                let there = keys.iter().filter(|key| next.remove(key).is_some());
                Return::Deleted(there.count() as u64)
            }
            Call::Swap(key, old, new) => {
                let swaps = state.get(key) == old.as_ref();
                if swaps {
                    next.insert(*key, *new);
                }
                Return::Swapped(swaps)
            }
            Call::SwapAll(old, new) => {
                let swaps = old.iter().all(|(key, old)| state.get(key) == old.as_ref());
                if swaps {
                    next.extend(new.iter().copied());
                }
                Return::Swapped(swaps)
            }
        };
        result.is_none_or(|result| *result == is).then_some(next)
    }

    /// Each value is written once.
    fn shows(call: &Call, result: &Return) -> bool {
        let Return::Found(found) = result else { return false };
        call.writes().iter().any(|(_, value)| found.contains(&Some(*value)))
    }
}

/// Checks a history: keys that no operation is about at once one after the other (linearizability
/// is local).
pub fn check_store(history: &[Operation<Keys>]) -> Result<(), Violation> {
    let mut parts: Vec<(BTreeSet<Key>, Vec<usize>)> = Vec::new();
    for (at, operation) in history.iter().enumerate() {
        let mut part = (BTreeSet::from_iter(operation.call.keys()), vec![at]);
        let (with, others) = parts.into_iter().partition(|(keys, _)| !keys.is_disjoint(&part.0));
        parts = others;
        for (keys, operations) in with {
            part.0.extend(keys);
            part.1.extend(operations);
        }
        parts.push(part);
    }
    parts.into_iter().try_for_each(|(_, mut operations)| {
        operations.sort_unstable();
        let part: Vec<_> = operations.into_iter().map(|at| history[at].clone()).collect();
        check(&part)
    })
}

/// Whether everything that was acknowledged is in `now`, what is there when all is over: the value
/// of each key is that of a write that no acknowledged write must have followed.
pub fn check_final(
    history: &[Operation<Keys>],
    now: &BTreeMap<Key, Value>,
    at: u64,
) -> Result<(), Violation> {
    let keys: BTreeSet<Key> = history.iter().flat_map(|operation| operation.call.keys()).collect();
    let mut all = history.to_vec();
    for key in keys {
        let found = Return::Found(vec![now.get(&key).copied()]);
        let returned = Some((found, at + 1));
        all.push(Operation { client: usize::MAX, call: Call::Get(key), called: at, returned });
    }
    check_store(&all)
}
