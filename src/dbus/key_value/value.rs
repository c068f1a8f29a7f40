//! Keys, values, rows and transactions as the bus carries them.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use tokio::sync::OwnedSemaphorePermit;
use zbus::{Signature, Type};

use crate::core::Index;
use crate::core::kv::{
    Change, Compare, Condition, Delete, DeletePrefix, Get, Put, Row, Rows, Step, Txn,
};
use crate::dbus::error::Error;
use crate::limits;

/// Bytes, `ay` on the bus: copied at once, not one by one as a vector of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Type for Bytes {
    const SIGNATURE: &'static Signature = <Vec<u8>>::SIGNATURE;
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }
}

/// Part of an answer that keeps a place until it has been written: the answer lives that long.
#[derive(Debug, Default)]
pub struct Held<T> {
    value: T,
    place: Option<OwnedSemaphorePermit>,
}

impl<T> Held<T> {
    /// `value`, which keeps `place`.
    pub(super) fn new(value: T, place: Option<OwnedSemaphorePermit>) -> Held<T> {
        Held { value, place }
    }

    /// Another value in the same place.
    pub(super) fn map<U>(self, with: impl FnOnce(T) -> U) -> Held<U> {
        Held { value: with(self.value), place: self.place }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Type> Type for Held<T> {
    const SIGNATURE: &'static Signature = T::SIGNATURE;
}

impl<T: Serialize> Serialize for Held<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// A row: key, value, revision of its last write, revision of the write that made it.
pub type RowTuple = (Bytes, Bytes, Index, Index);

/// What a step of a transaction has read: key, whether it exists, value, both revisions.
pub type ReadTuple = (Bytes, bool, Bytes, Index, Index);

/// A comparison: key; `value`, `revision`, `exists` or `absent`; the value; the revision.
pub type CompareTuple = (Bytes, String, Bytes, u64);

/// A step: `get`, `put`, `delete` or `delete-prefix`; key or prefix; the value.
pub type StepTuple = (String, Bytes, Bytes);

pub(super) fn row((key, row): (Vec<u8>, Row)) -> RowTuple {
    (Bytes(key), Bytes(row.value), row.revision, row.created)
}

pub(super) fn read(rows: Rows) -> ReadTuple {
    let Rows { key, exists, value, revision, created } = rows;
    (Bytes(key), exists, Bytes(value), revision, created)
}

/// The transaction of the arguments of `Txn`.
pub(super) fn txn(
    compare: Vec<CompareTuple>,
    then: Vec<StepTuple>,
    otherwise: Vec<StepTuple>,
) -> Result<Txn, Error> {
    // BEFORE anything else: a message may have very many short ones.
    let found = compare.len() + then.len() + otherwise.len();
    if found > limits::KV_TXN_STEPS_MAX {
        let most = limits::KV_TXN_STEPS_MAX;
        let text = format!("transaction of {found} steps and comparisons, expected at most {most}");
        return Err(Error::InvalidArgument(text));
    }
    let steps = |list: Vec<StepTuple>| list.into_iter().map(step).collect::<Result<Vec<_>, _>>();
    let compare = compare.into_iter().map(comparison).collect::<Result<Vec<_>, _>>()?;
    Ok(Txn { compare, then: steps(then)?, otherwise: steps(otherwise)? })
}

/// Whether a transaction tells what the store holds, and whether it may change it.
pub(super) fn rights(txn: &Txn) -> (bool, bool) {
    let reads = !txn.compare.is_empty() || gets(txn);
    let writes = txn.then.iter().chain(&txn.otherwise).any(|step| !is_get(step));
    // One that does nothing is an entry of the log all the same.
    (reads, writes || !reads)
}

/// Whether its answer has values.
pub(super) fn gets(txn: &Txn) -> bool {
    txn.then.iter().chain(&txn.otherwise).any(is_get)
}

fn is_get(step: &Step) -> bool {
    matches!(step.change, Some(Change::Get(_)))
}

fn comparison((key, what, value, revision): CompareTuple) -> Result<Compare, Error> {
    let condition = match what.as_str() {
        "value" => Condition::Value(value.0),
        "revision" => Condition::Revision(revision),
        "exists" => Condition::Exists(true),
        "absent" => Condition::Exists(false),
        _ => return Err(unknown("comparison", &what, "value, revision, exists or absent")),
    };
    Ok(Compare { key: key.0, condition: Some(condition) })
}

fn step((what, key, value): StepTuple) -> Result<Step, Error> {
    let (key, value) = (key.0, value.0);
    if what != "put" && !value.is_empty() {
        let text = format!("step {what:?} with a value, expected one for \"put\" only");
        return Err(Error::InvalidArgument(text));
    }
    let change = match what.as_str() {
        "get" => Change::Get(Get { key }),
        "put" => Change::Put(Put { key, value }),
        "delete" => Change::Delete(Delete { key }),
        "delete-prefix" => {
            Change::DeletePrefix(DeletePrefix { prefix: key, most: limits::KV_DELETE_MAX })
        }
        _ => return Err(unknown("step", &what, "get, put, delete or delete-prefix")),
    };
    Ok(Step { change: Some(change) })
}

fn unknown(what: &str, found: &str, expected: &str) -> Error {
    let found: String = found.chars().take(limits::LOG_WORD_MAX_CHARS).collect();
    Error::InvalidArgument(format!("unknown {what} {found:?}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes(text.as_bytes().to_vec())
    }

    fn step_of(what: &str, value: &str) -> StepTuple {
        (what.to_owned(), bytes("k"), bytes(value))
    }

    #[test]
    fn a_transaction_needs_the_rights_of_what_it_does() {
        let compare = || vec![(bytes("k"), "absent".to_owned(), bytes(""), 0)];
        let rights = |compare, then| rights(&txn(compare, then, vec![]).unwrap());
        assert_eq!(rights(compare(), vec![step_of("put", "v")]), (true, true));
        assert_eq!(rights(compare(), vec![step_of("get", "")]), (true, false));
        assert_eq!(rights(vec![], vec![step_of("get", "")]), (true, false));
        assert_eq!(rights(vec![], vec![step_of("delete", "")]), (false, true));
        assert_eq!(rights(vec![], vec![]), (false, true));
        let hidden = txn(vec![], vec![], vec![step_of("get", "")]).unwrap();
        assert_eq!(super::rights(&hidden), (true, false));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let wrong = |compare, then| match txn(compare, then, vec![]) {
            Err(Error::InvalidArgument(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(wrong(vec![], vec![step_of("increment", "")]).contains("\"increment\""));
        assert!(wrong(vec![], vec![step_of("get", "v")]).contains("with a value"));
        let compare = vec![(bytes("k"), "newer".to_owned(), bytes(""), 0)];
        assert!(wrong(compare, vec![]).contains("\"newer\""));
        let many = vec![step_of("get", ""); limits::KV_TXN_STEPS_MAX + 1];
        assert!(wrong(vec![], many).contains("129 steps"));
    }
}
