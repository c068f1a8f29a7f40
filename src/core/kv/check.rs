//! What is refused before it is proposed: too long, empty, or nothing at all.
//!
//! Applying a command does not look at this again, so that versions with other limits agree.

use super::command::{
    Change, Condition, DeletePrefix, KvCommand, Operation, Put, Query, Step, Txn,
};
use crate::limits;

/// Why a command or query is not taken. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Every key has a first byte.
    #[error("empty key, expected 1 to {} bytes", limits::KV_KEY_MAX_BYTES)]
    EmptyKey,
    /// Too long.
    #[error("{what} of {length} bytes, expected at most {most}")]
    TooLong {
        /// What.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        most: usize,
    },
    /// Too many steps and comparisons.
    #[error("transaction of {found} steps and comparisons, expected at most {most}")]
    TooManySteps {
        /// How many.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// Too many values to read.
    #[error("transaction that reads {found} values, expected at most {most}")]
    TooManyGets {
        /// How many.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// A command, step or comparison that says nothing, or nothing that this version knows.
    #[error("{what} that this version does not know")]
    Unknown {
        /// What.
        what: &'static str,
    },
}

/// Checks a command.
pub fn check(command: &KvCommand) -> Result<(), Invalid> {
    within("client name", command.client.len(), limits::KV_CLIENT_MAX_BYTES)?;
    match &command.operation {
        Some(operation) => check_operation(operation),
        None => Err(Invalid::Unknown { what: "command" }),
    }
}

/// Checks what a command is to do.
pub fn check_operation(operation: &Operation) -> Result<(), Invalid> {
    match operation {
        Operation::Put(put) => check_put(put),
        Operation::Delete(delete) => check_key(&delete.key),
        Operation::DeletePrefix(delete) => check_prefix(delete),
        Operation::Txn(txn) => check_txn(txn),
    }
}

/// Checks a query.
pub fn check_query(query: &Query) -> Result<(), Invalid> {
    if !query.is_prefix {
        check_key(&query.key)?;
    }
    within("prefix", query.key.len(), limits::KV_KEY_MAX_BYTES)?;
    within("key", query.after.as_ref().map_or(0, Vec::len), limits::KV_KEY_MAX_BYTES)
}

fn check_txn(txn: &Txn) -> Result<(), Invalid> {
    let found = txn.compare.len() + txn.then.len() + txn.otherwise.len();
    let most = limits::KV_TXN_STEPS_MAX;
    if found > most {
        return Err(Invalid::TooManySteps { found, most });
    }
    let mut bytes = 0;
    for compare in &txn.compare {
        check_key(&compare.key)?;
        match &compare.condition {
            Some(Condition::Value(value)) => bytes += value.len(),
            Some(_) => {}
            None => return Err(Invalid::Unknown { what: "comparison" }),
        }
    }
    for branch in [&txn.then, &txn.otherwise] {
        let mut found = 0;
        for step in branch {
            check_step(step)?;
            match &step.change {
                Some(Change::Get(_)) => found += 1,
                Some(Change::Put(put)) => bytes += put.value.len(),
                _ => {}
            }
        }
        let most = limits::KV_TXN_GETS_MAX;
        if found > most {
            return Err(Invalid::TooManyGets { found, most });
        }
    }
    within("values of a transaction", bytes, limits::KV_VALUE_MAX_BYTES)
}

fn check_step(step: &Step) -> Result<(), Invalid> {
    match &step.change {
        Some(Change::Get(get)) => check_key(&get.key),
        Some(Change::Put(put)) => check_put(put),
        Some(Change::Delete(delete)) => check_key(&delete.key),
        Some(Change::DeletePrefix(delete)) => check_prefix(delete),
        None => Err(Invalid::Unknown { what: "step" }),
    }
}

fn check_put(put: &Put) -> Result<(), Invalid> {
    check_key(&put.key)?;
    within("value", put.value.len(), limits::KV_VALUE_MAX_BYTES)
}

fn check_prefix(delete: &DeletePrefix) -> Result<(), Invalid> {
    within("prefix", delete.prefix.len(), limits::KV_KEY_MAX_BYTES)
}

fn check_key(key: &[u8]) -> Result<(), Invalid> {
    if key.is_empty() {
        return Err(Invalid::EmptyKey);
    }
    within("key", key.len(), limits::KV_KEY_MAX_BYTES)
}

fn within(what: &'static str, length: usize, most: usize) -> Result<(), Invalid> {
    if length > most { Err(Invalid::TooLong { what, length, most }) } else { Ok(()) }
}
