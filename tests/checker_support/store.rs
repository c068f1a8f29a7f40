//! The store as the checker sees it: a few keys with values and the revisions of their writes.

use std::collections::BTreeMap;

use super::{Model, Operation, Violation, check};

/// Keys and values are short names here; each write writes a value of its own.
pub type Key = u8;
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
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Return {
    /// Of reads: in the order in which they were asked for.
    Found(Vec<Option<Value>>),
    Done,
    /// Of a swap: whether it took place.
    Swapped(bool),
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
            Call::Delete(key) => {
                next.remove(key);
                Return::Done
            }
            Call::Swap(key, old, new) => {
                let swaps = state.get(key) == old.as_ref();
                if swaps {
                    next.insert(*key, *new);
                }
                Return::Swapped(swaps)
            }
        };
        result.is_none_or(|result| *result == is).then_some(next)
    }
}

/// Checks a history: key by key where it asks for one at a time (linearizability is local), else as
/// a whole.
pub fn check_store(history: &[Operation<Keys>]) -> Result<(), Violation> {
    let mut keys: BTreeMap<Key, Vec<Operation<Keys>>> = BTreeMap::new();
    for operation in history {
        let key = match &operation.call {
            Call::Get(key) | Call::Put(key, _) | Call::Delete(key) | Call::Swap(key, ..) => *key,
            Call::GetAll(_) | Call::PutAll(_) => return check(history),
        };
        keys.entry(key).or_default().push(operation.clone());
    }
    keys.values().try_for_each(|history| check(history))
}

/// Whether everything that was acknowledged is in `now`, what is there when all is over: the value
/// of each key is that of a write that no acknowledged write must have followed.
pub fn check_final(
    history: &[Operation<Keys>],
    now: &BTreeMap<Key, Value>,
    at: u64,
) -> Result<(), Violation> {
    let keys: std::collections::BTreeSet<Key> = history.iter().flat_map(keys_of).collect();
    let keys: Vec<Key> = keys.into_iter().collect();
    let mut all = history.to_vec();
    for key in keys {
        let found = Return::Found(vec![now.get(&key).copied()]);
        let returned = Some((found, at + 1));
        all.push(Operation { client: usize::MAX, call: Call::Get(key), called: at, returned });
    }
    check_store(&all)
}

fn keys_of(operation: &Operation<Keys>) -> Vec<Key> {
    match &operation.call {
        Call::Get(key) | Call::Put(key, _) | Call::Delete(key) | Call::Swap(key, ..) => vec![*key],
        Call::GetAll(keys) => keys.clone(),
        Call::PutAll(puts) => puts.iter().map(|(key, _)| *key).collect(),
    }
}
