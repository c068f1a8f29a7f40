//! Operations of the checker in the words of the store, and its answers in those of the checker.

use raftctl::core::kv::{
    Change, Compare, Condition, Delete, DeletePrefix, Get, Operation, Page, Put, Query, Step, Txn,
    Written,
};

use super::record::Seen;
use super::store::{Call, Key, Return, Value};
use super::workload::{GROUP, name, prefix, value, value_of};

/// A read that is not a transaction; `None` for a write.
pub fn query(call: &Call) -> Option<Query> {
    match call {
        Call::Get(key) => Some(Query { key: name(*key), ..Query::default() }),
        Call::GetAll(keys) => {
            Some(Query { key: prefix(keys[0]), is_prefix: true, ..Query::default() })
        }
        _ => None,
    }
}

/// A command; reads are transactions that change nothing.
pub fn operation(call: &Call) -> Operation {
    match call {
        Call::Put(key, new) => Operation::Put(put(*key, *new)),
        Call::Delete(key) => Operation::Delete(Delete { key: name(*key) }),
        Call::DeleteAll(keys) => {
            Operation::DeletePrefix(DeletePrefix { prefix: prefix(keys[0]), most: GROUP })
        }
        Call::Get(_) | Call::GetAll(_) => {
            let gets = call.keys().into_iter().map(|key| Change::Get(Get { key: name(key) }));
            transaction(Vec::new(), gets.collect())
        }
        Call::PutAll(new) => transaction(Vec::new(), puts(new)),
        Call::Swap(key, old, new) => transaction(vec![compare(*key, *old)], puts(&[(*key, *new)])),
        Call::SwapAll(old, new) => {
            transaction(old.iter().map(|(key, old)| compare(*key, *old)).collect(), puts(new))
        }
    }
}

/// What a command returned, and what it says about rows.
pub fn written(call: &Call, written: &Written) -> (Return, Vec<Seen>) {
    let revision = written.revision;
    let wrote = |writes: Vec<(Key, Value)>| {
        let seen = |(key, value)| Seen { key, value: Some(value), revision };
        writes.into_iter().map(seen).collect()
    };
    match call {
        Call::Put(..) | Call::PutAll(_) => (Return::Done, wrote(call.writes())),
        Call::Delete(_) | Call::DeleteAll(_) => {
            let removed = |key| Seen { key, value: None, revision };
            (Return::Deleted(written.deleted), call.keys().into_iter().map(removed).collect())
        }
        Call::Swap(..) | Call::SwapAll(..) if written.succeeded => {
            (Return::Swapped(true), wrote(call.writes()))
        }
        Call::Swap(..) | Call::SwapAll(..) => (Return::Swapped(false), Vec::new()),
        Call::Get(_) | Call::GetAll(_) => {
            let read = |row: &raftctl::core::kv::Rows| {
                row.exists.then(|| value_of(&row.value).expect("a value of this workload"))
            };
            let found: Vec<Option<Value>> = written.reads.iter().map(read).collect();
            (Return::Found(found), Vec::new())
        }
    }
}

/// What a read returned, and what it says about rows.
pub fn page(call: &Call, page: &Page) -> (Return, Vec<Seen>) {
    let row = |key: Key| page.rows.iter().find(|(at, _)| *at == name(key)).map(|(_, row)| row);
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for key in call.keys() {
        let value = row(key).map(|row| value_of(&row.value).expect("a value of this workload"));
        found.push(value);
        seen.extend(row(key).map(|row| Seen { key, value, revision: row.revision }));
    }
    (Return::Found(found), seen)
}

fn put(key: Key, new: Value) -> Put {
    Put { key: name(key), value: value(new) }
}

fn puts(new: &[(Key, Value)]) -> Vec<Change> {
    new.iter().map(|(key, new)| Change::Put(put(*key, *new))).collect()
}

fn compare(key: Key, old: Option<Value>) -> Compare {
    let condition = old.map_or(Condition::Exists(false), |old| Condition::Value(value(old)));
    Compare { key: name(key), condition: Some(condition) }
}

fn transaction(compare: Vec<Compare>, then: Vec<Change>) -> Operation {
    let then = then.into_iter().map(|change| Step { change: Some(change) }).collect();
    Operation::Txn(Txn { compare, then, otherwise: Vec::new() })
}
