//! What clients do to the store: few keys, many writers, every value written once.
//!
//! Keys come in groups, whose names begin alike. Says nothing about who asks whom, and when.

use std::collections::BTreeMap;

use raftctl::core::rng::Rng;

use super::store::{Call, Key, Return, Value};

/// Keys of one group.
pub const GROUP: Key = 4;

/// The keys of a group, in the order of their names.
pub fn group(group: u32) -> Vec<Key> {
    (0..GROUP).map(|member| group * GROUP + member).collect()
}

/// The name of a key.
pub fn name(key: Key) -> Vec<u8> {
    let mut name = prefix(key);
    name.extend((key % GROUP).to_string().into_bytes());
    name
}

/// How the names of all keys in the group of this one begin.
pub fn prefix(key: Key) -> Vec<u8> {
    format!("{}/", key / GROUP).into_bytes()
}

/// The key of that name.
pub fn key(name: &[u8]) -> Option<Key> {
    let (group, member) = std::str::from_utf8(name).ok()?.split_once('/')?;
    let (group, member): (Key, Key) = (group.parse().ok()?, member.parse().ok()?);
    (member < GROUP).then(|| group * GROUP + member)
}

/// A value as it is stored.
pub fn value(value: Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// What a stored value is.
pub fn value_of(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// What some clients do.
pub struct Workload {
    rng: Rng,
    /// The next value and the distance to the one after it, so that several workloads share none.
    next: Value,
    step: Value,
    /// What was found last, so that swaps have a chance.
    found: BTreeMap<Key, Option<Value>>,
}

impl Workload {
    /// Number `at` of `among` workloads that write different values.
    pub fn new(seed: u64, at: u64, among: u64) -> Workload {
        let (next, step) = (at + 1, among);
        Workload { rng: Rng::new(seed), next, step, found: BTreeMap::new() }
    }

    /// The next operation, on keys of this group: on one key, or on several at once.
    pub fn call(&mut self, group: u32, several: bool) -> Call {
        match several {
            false => self.on_one(group),
            true => self.on_several(group),
        }
    }

    fn on_one(&mut self, group: u32) -> Call {
        let key = self.key(group);
        match self.rng.below(10) {
            0..=3 => Call::Get(key),
            4..=6 => Call::Put(key, self.value()),
            7 => Call::Delete(key),
            _ => Call::Swap(key, self.expected(key), self.value()),
        }
    }

    fn on_several(&mut self, group: u32) -> Call {
        let (one, other) = (self.key(group), self.key(group));
        match self.rng.below(10) {
            0 => Call::Get(one),
            1 | 2 => Call::Put(one, self.value()),
            3..=5 => Call::GetAll(self::group(group)),
            6 | 7 => {
                let (first, second) = (self.value(), self.value());
                let mut puts = vec![(one, first)];
                puts.extend((other != one).then_some((other, second)));
                Call::PutAll(puts)
            }
            8 => {
                let old = vec![(one, self.expected(one))];
                Call::SwapAll(old, vec![(other, self.value())])
            }
            _ => Call::DeleteAll(self::group(group)),
        }
    }

    /// Learns what the store holds.
    pub fn saw(&mut self, call: &Call, result: &Return) {
        if let Return::Found(found) = result {
            self.found.extend(call.keys().into_iter().zip(found.iter().copied()));
        }
        if matches!(result, Return::Done | Return::Swapped(true)) {
            let writes = call.writes().into_iter();
            self.found.extend(writes.map(|(key, value)| (key, Some(value))));
        }
    }

    /// A number below `end`, for whoever decides the rest.
    pub fn below(&mut self, end: u64) -> u64 {
        self.rng.below(end)
    }

    fn key(&mut self, group: u32) -> Key {
        group * GROUP + self.rng.below(GROUP.into()) as Key
    }

    fn value(&mut self) -> Value {
        let value = self.next;
        self.next += self.step;
        value
    }

    /// What a swap compares with: mostly what was seen last.
    fn expected(&mut self, key: Key) -> Option<Value> {
        let seen = self.found.get(&key).copied().flatten();
        if self.rng.below(4) == 0 { None } else { seen }
    }
}
