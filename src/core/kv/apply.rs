//! Applying one command.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::clients::{Clients, Known};
use super::command::{
    Change, Compare, Condition, DeletePrefix, KvCommand, Operation, Outcome, Refusal, Rows, Step,
    Txn, Written,
};
use super::table::{Row, Table, after_prefix};
use crate::core::{Index, Token};

/// What a command depends on besides the rows.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Index of its entry.
    pub index: Index,
    /// Token of the activation in force.
    pub token: Option<Token>,
}

/// What applying a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer.
    pub outcome: Outcome,
    /// The keys whose rows changed, in order.
    pub changed: Vec<Vec<u8>>,
    /// How many keys there are more than before.
    pub keys: i64,
}

/// Applies `command`: changes rows, the size of all of them, and what is known of clients. An error
/// is one of the table.
pub fn apply<T: Table>(
    table: &mut T,
    size: &mut u64,
    clients: &mut Clients,
    context: Context,
    command: &KvCommand,
) -> Result<Applied, T::Error> {
    let nothing = |outcome| Ok(Applied { outcome, changed: Vec::new(), keys: 0 });
    match clients.look(command) {
        Known::No => {}
        Known::Yes(outcome) => return nothing(outcome),
        Known::Refused(why) => return nothing(Outcome::refused(why)),
    }
    let (index, rows) = (context.index, BTreeMap::new());
    let mut draft = Draft { table: &*table, index, rows, grown: 0, keys: 0 };
    let result = draft.run(context, command)?;
    let grown = draft.grown;
    let result = result.and_then(|written| {
        let full = grown > 0 && size.saturating_add_signed(grown) > command.quota_bytes;
        if full { Err(Refusal::Quota) } else { Ok(written) }
    });
    let (rows, keys) = if result.is_ok() { (draft.rows, draft.keys) } else { (BTreeMap::new(), 0) };
    let outcome = result.map_or_else(Outcome::refused, Outcome::written);
    if !rows.is_empty() {
        *size = size.saturating_add_signed(grown);
    }
    let mut changed = Vec::new();
    for (key, row) in rows {
        table.set(&key, row)?;
        changed.push(key);
    }
    clients.remember(context.index, command, &outcome);
    Ok(Applied { outcome, changed, keys })
}

/// What a command would change.
struct Draft<'a, T> {
    table: &'a T,
    index: Index,
    rows: BTreeMap<Vec<u8>, Option<Row>>,
    /// By how much the store would grow, in bytes.
    grown: i64,
    /// By how many keys.
    keys: i64,
}

/// What a command did or why it does nothing, unless the table fails.
type Drafted<T> = Result<Result<Written, Refusal>, <T as Table>::Error>;

impl<T: Table> Draft<'_, T> {
    fn run(&mut self, context: Context, command: &KvCommand) -> Drafted<T> {
        if command.token.is_some() && command.token != context.token.map(|token| token.0) {
            return Ok(Err(Refusal::Token));
        }
        let mut written = Written { revision: self.index, succeeded: true, ..Written::default() };
        match &command.operation {
            Some(Operation::Put(put)) => self.put(&put.key, &put.value)?,
            Some(Operation::Delete(delete)) => self.delete(&delete.key, &mut written)?,
            Some(Operation::DeletePrefix(delete)) => self.delete_prefix(delete, &mut written)?,
            Some(Operation::Txn(txn)) => return self.transaction(txn, written),
            None => return Ok(Err(Refusal::Malformed)),
        }
        Ok(Ok(written))
    }

    fn transaction(&mut self, txn: &Txn, mut written: Written) -> Drafted<T> {
        for compare in &txn.compare {
            match self.holds(compare)? {
                Some(true) => {}
                Some(false) => written.succeeded = false,
                None => return Ok(Err(Refusal::Malformed)),
            }
        }
        let steps = if written.succeeded { &txn.then } else { &txn.otherwise };
        for step in steps {
            if !self.step(step, &mut written)? {
                return Ok(Err(Refusal::Malformed));
            }
        }
        Ok(Ok(written))
    }

    /// Whether a comparison holds; `None`: it is not one of this version.
    fn holds(&self, compare: &Compare) -> Result<Option<bool>, T::Error> {
        let row = self.look(&compare.key)?;
        Ok(compare.condition.as_ref().map(|condition| match condition {
            Condition::Value(value) => row.is_some_and(|row| row.value == *value),
            Condition::Revision(revision) => row.map_or(0, |row| row.revision) == *revision,
            Condition::Exists(exists) => row.is_some() == *exists,
        }))
    }

    /// Whether it could be done.
    fn step(&mut self, step: &Step, written: &mut Written) -> Result<bool, T::Error> {
        match &step.change {
            Some(Change::Get(get)) => {
                let row = self.look(&get.key)?;
                written.reads.push(rows(&get.key, row));
            }
            Some(Change::Put(put)) => self.put(&put.key, &put.value)?,
            Some(Change::Delete(delete)) => self.delete(&delete.key, written)?,
            Some(Change::DeletePrefix(delete)) => self.delete_prefix(delete, written)?,
            None => return Ok(false),
        }
        Ok(true)
    }

    /// The row as it would be now.
    fn look(&self, key: &[u8]) -> Result<Option<Row>, T::Error> {
        match self.rows.get(key) {
            Some(row) => Ok(row.clone()),
            None => self.table.get(key),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), T::Error> {
        let before = self.look(key)?;
        let created = before.as_ref().map_or(self.index, |row| row.created);
        let row = Row { value: value.to_vec(), revision: self.index, created };
        self.grown += row.size(key) as i64;
        self.keys += i64::from(before.is_none());
        self.grown -= before.map_or(0, |row| row.size(key)) as i64;
        self.rows.insert(key.to_vec(), Some(row));
        Ok(())
    }

    fn delete(&mut self, key: &[u8], written: &mut Written) -> Result<(), T::Error> {
        if let Some(before) = self.look(key)? {
            self.grown -= before.size(key) as i64;
            self.keys -= 1;
            self.rows.insert(key.to_vec(), None);
            written.deleted += 1;
        }
        Ok(())
    }

    /// Rows of the table and those that this command has put, the smallest keys first.
    fn delete_prefix(
        &mut self,
        delete: &DeletePrefix,
        written: &mut Written,
    ) -> Result<(), T::Error> {
        let end = after_prefix(&delete.prefix);
        let most = delete.most as usize;
        let from = Bound::Included(delete.prefix.as_slice());
        let mut found: Vec<Vec<u8>> = Vec::new();
        self.table.scan(from, end.as_deref(), &mut |key, _| {
            // One that this command has removed already is still in the table.
            if self.rows.get(key).is_none_or(Option::is_some) {
                found.push(key.to_vec());
            }
            if found.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let drafted = self.rows.keys().filter(|key| key.starts_with(&delete.prefix));
        found.extend(drafted.cloned());
        found.sort();
        found.dedup();
        found.retain(|key| self.rows.get(key).is_none_or(Option::is_some));
        written.more |= found.len() > most;
        for key in found.iter().take(most) {
            self.delete(key, written)?;
        }
        Ok(())
    }
}

fn rows(key: &[u8], row: Option<Row>) -> Rows {
    let key = key.to_vec();
    match row {
        None => Rows { key, ..Rows::default() },
        Some(Row { value, revision, created }) => {
            Rows { key, exists: true, value, revision, created }
        }
    }
}
