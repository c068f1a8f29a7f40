//! The interface `org.raftctl.Agent1.KeyValue` of the root object: the replicated store.
//!
//! Translates calls into requests of the handle and answers into what the bus carries; whether a
//! write is done, and when its outcome is not known, the node says. Who may read and who may write
//! is decided by [`super::access`]: what the store holds is not open to everybody. Answers that may
//! be large are bounded in number, for all connections together, until they are written.

mod options;
mod reads;
mod value;

use std::time::Duration;

use zbus::message::Header;

pub use options::{ReadDetails, ReadOptions, TxnDetails, WriteOptions};
pub use reads::Reads;
pub use value::{Bytes, CompareTuple, Held, ReadTuple, RowTuple, StepTuple};

use super::access::{Access, Action};
use super::error::{Error, Failure};
use crate::core::kv::{
    Change, Compare, Condition, Delete, DeletePrefix, Operation, Put, Query, Step, Txn, Written,
};
use crate::core::{Index, Token};
use crate::limits;
use crate::node::handle::NodeHandle;
use crate::node::kv::{Consistency, KvPage, KvRead, KvWrite};

/// The store as one connection sees it.
pub(super) struct KeyValue {
    handle: NodeHandle,
    access: Access,
    reads: Reads,
}

impl KeyValue {
    /// The store for callers as `access` lets them in.
    pub(super) fn new(handle: NodeHandle, access: Access, reads: Reads) -> KeyValue {
        KeyValue { handle, access, reads }
    }

    async fn read(&self, query: Query, options: &ReadOptions) -> Result<Held<KvPage>, Failure> {
        let (consistency, within) = (options.consistency()?, options.within()?);
        let (place, within) = self.reads.enter(consistency, within).await?;
        let page = self.handle.kv_read(KvRead { query, consistency, within }).await?;
        Ok(Held::new(page, Some(place)))
    }

    async fn write(
        &self,
        operation: Operation,
        options: &WriteOptions,
        within: Duration,
    ) -> Result<Written, Error> {
        let (token, forward) = (options.token.map(Token), options.forward.unwrap_or(true));
        Ok(self.handle.kv_write(KvWrite { operation, token, within, forward }).await?)
    }

    /// Does `change` to `key`, if it is as the options want it.
    async fn change(
        &self,
        key: Vec<u8>,
        change: Change,
        options: &WriteOptions,
    ) -> Result<Written, Error> {
        let Some(revision) = options.if_revision else {
            let operation = match change {
                Change::Put(put) => Operation::Put(put),
                Change::Delete(delete) => Operation::Delete(delete),
                Change::Get(_) | Change::DeletePrefix(_) => unreachable!("changes of one key"),
            };
            return self.write(operation, options, options.within()?).await;
        };
        let compare = vec![Compare { key, condition: Some(Condition::Revision(revision)) }];
        let then = vec![Step { change: Some(change) }];
        let txn = Txn { compare, then, otherwise: Vec::new() };
        let written = self.write(Operation::Txn(txn), options, options.within()?).await?;
        if written.succeeded {
            return Ok(written);
        }
        Err(Error::PreconditionFailed(match revision {
            0 => "the key exists, expected that it does not".to_owned(),
            _ => format!("the key was not last written at revision {revision}"),
        }))
    }
}

#[zbus::interface(name = "org.raftctl.Agent1.KeyValue", introspection_docs = false)]
impl KeyValue {
    /// The value of `key`, and the revision of its last write.
    #[zbus(out_args("found", "value", "revision", "details"))]
    async fn get(
        &self,
        key: Bytes,
        options: ReadOptions,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(bool, Held<Bytes>, Index, ReadDetails), Failure> {
        let _caller = self.access.to_change(Action::ReadData, &header).await?;
        options.expect_one_key()?;
        let query = Query { key: key.0, ..Query::default() };
        let mut page = self.read(query, &options).await?;
        let details = ReadDetails::new(&page);
        let Some((_, row)) = page.page.rows.pop() else {
            return Ok((false, Held::default(), 0, details));
        };
        let details = ReadDetails { created: Some(row.created), ..details };
        Ok((true, page.map(|_| Bytes(row.value)), row.revision, details))
    }

    /// The keys that begin with `prefix`, in order, with their values.
    #[zbus(out_args("rows", "more", "details"))]
    async fn range(
        &self,
        prefix: Bytes,
        options: ReadOptions,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(Held<Vec<RowTuple>>, bool, ReadDetails), Failure> {
        let _caller = self.access.to_change(Action::ReadData, &header).await?;
        let query = Query {
            key: prefix.0,
            is_prefix: true,
            after: options.after.clone().map(|after| after.0),
            most: options.limit.unwrap_or(0),
            keys_only: options.keys_only.unwrap_or(false),
        };
        let page = self.read(query, &options).await?;
        let (more, details) = (page.page.more, ReadDetails::new(&page));
        let rows = page.map(|page| page.page.rows.into_iter().map(value::row).collect());
        Ok((rows, more, details))
    }

    /// Writes `value` under `key`; returns the revision.
    #[zbus(out_args("revision"))]
    async fn put(
        &self,
        key: Bytes,
        value: Bytes,
        options: WriteOptions,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Index, Failure> {
        let _caller = self.access.to_change(Action::WriteData, &header).await?;
        let put = Put { key: key.0.clone(), value: value.0 };
        Ok(self.change(key.0, Change::Put(put), &options).await?.revision)
    }

    /// Removes `key`; says whether it was there.
    #[zbus(out_args("deleted", "revision"))]
    async fn delete(
        &self,
        key: Bytes,
        options: WriteOptions,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(bool, Index), Failure> {
        let _caller = self.access.to_change(Action::WriteData, &header).await?;
        let delete = Delete { key: key.0.clone() };
        let written = self.change(key.0, Change::Delete(delete), &options).await?;
        Ok((written.deleted > 0, written.revision))
    }

    /// Removes the keys that begin with `prefix`, the smallest first, as many as one entry of the
    /// log may; says how many, and whether there are more.
    #[zbus(out_args("deleted", "more", "revision"))]
    async fn delete_prefix(
        &self,
        prefix: Bytes,
        options: WriteOptions,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(u64, bool, Index), Failure> {
        let _caller = self.access.to_change(Action::WriteData, &header).await?;
        options.expect_no_revision()?;
        let delete = DeletePrefix { prefix: prefix.0, most: limits::KV_DELETE_MAX };
        let written =
            self.write(Operation::DeletePrefix(delete), &options, options.within()?).await?;
        Ok((written.deleted, written.more, written.revision))
    }

    /// Does `then` if every comparison holds, else `otherwise`, at once.
    #[zbus(out_args("succeeded", "reads", "revision", "details"))]
    async fn txn(
        &self,
        compare: Vec<CompareTuple>,
        then: Vec<StepTuple>,
        otherwise: Vec<StepTuple>,
        options: WriteOptions,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(bool, Held<Vec<ReadTuple>>, Index, TxnDetails), Failure> {
        let txn = value::txn(compare, then, otherwise)?;
        let (reads, writes) = value::rights(&txn);
        // Both at once, when it needs both: they are held until it is done.
        let _writer = match writes {
            true => Some(self.access.to_change(Action::WriteData, &header).await?),
            false => None,
        };
        let _reader = match reads {
            true => Some(self.access.to_change(Action::ReadData, &header).await?),
            false => None,
        };
        options.expect_no_revision()?;
        let (mut place, mut within) = (None, options.within()?);
        if value::gets(&txn) {
            let entered = self.reads.enter(Consistency::Linearizable, within).await?;
            (place, within) = (Some(entered.0), entered.1);
        }
        let written = self.write(Operation::Txn(txn), &options, within).await?;
        let details = TxnDetails::new(&written);
        let (succeeded, revision) = (written.succeeded, written.revision);
        let rows = written.reads.into_iter().map(value::read).collect();
        Ok((succeeded, Held::new(rows, place), revision, details))
    }

    /// How many keys there are.
    #[zbus(property(emits_changed_signal = "false"))]
    fn keys(&self) -> u64 {
        self.handle.store().keys
    }

    /// What they and their values count towards the quota.
    #[zbus(property(emits_changed_signal = "false"))]
    fn bytes(&self) -> u64 {
        self.handle.store().bytes
    }

    /// The quota of this node.
    #[zbus(property(emits_changed_signal = "false"))]
    fn quota_bytes(&self) -> u64 {
        self.handle.store().quota_bytes
    }
}
