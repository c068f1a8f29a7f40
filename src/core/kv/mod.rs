//! The replicated store: keys and values that services share, as a fold over commands.
//!
//! A key has a value and the *revision* of its last write, which is the index of the entry that
//! wrote it. [`apply`] is deterministic: what it does depends on the table, the list of clients and
//! the command alone. Limits that may differ between nodes or versions travel inside the command.
//!
//! A write that is sent again applies once: a command names its client and a sequence number, and
//! [`Clients`] keeps the last result of each. Where that is no longer known nothing is applied and
//! the answer says so, because a guess could apply twice.
//!
//! Knows no disk, no network and no clock; the rows are behind [`Table`].

mod apply;
mod check;
mod clients;
mod command;
mod foresee;
mod frame;
mod read;
mod table;
mod work;

pub use apply::{Applied, Context, apply};
pub use check::{Invalid, check, check_operation, check_query};
pub use clients::{Clients, Known};
pub use command::{
    Change, Compare, Condition, Delete, DeletePrefix, Get, KvCommand, Operation, Outcome, Put,
    Query, Refusal, Response, Rows, Step, Txn, Written,
};
pub use foresee::Room;
pub use frame::{IndexAnswer, IndexQuestion, KvFrame};
pub use read::{Page, Range, get, page};
pub use table::{MemoryTable, ROW_OVERHEAD_BYTES, Row, Table, TableError, is_empty};
pub use work::{Answered, Awaited, Committed, Work};

#[cfg(test)]
mod tests;
