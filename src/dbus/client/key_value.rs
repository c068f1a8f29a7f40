//! The store, for the command line and for tests: one call for each method of
//! `org.raftctl.Agent1.KeyValue`.

use std::time::Duration;

use zbus::Message;

use super::{Client, ClientError, read};
use crate::core::Index;
use crate::dbus::key_value::{
    Bytes, CompareTuple, ReadDetails, ReadOptions, ReadTuple, RowTuple, StepTuple, TxnDetails,
    WriteOptions,
};
use crate::dbus::{KEY_VALUE_INTERFACE, ROOT_PATH};
use crate::limits;

/// A row of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvRow {
    /// Key.
    pub key: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
    /// Revision of its last write.
    pub revision: Index,
    /// Revision of the write that made it.
    pub created: Index,
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvTxn {
    /// Whether its comparisons held.
    pub succeeded: bool,
    /// What it read, in order: the row, or the key that does not exist.
    pub reads: Vec<Result<KvRow, Vec<u8>>>,
    /// Its revision.
    pub revision: Index,
    /// What else it did.
    pub details: TxnDetails,
}

/// The arguments of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvTxnArguments {
    /// What has to hold.
    pub compare: Vec<CompareTuple>,
    /// What is done then.
    pub then: Vec<StepTuple>,
    /// What is done else.
    pub otherwise: Vec<StepTuple>,
}

impl Client {
    /// The row of `key`, if it exists.
    pub async fn kv_get(
        &self,
        key: &[u8],
        options: &ReadOptions,
    ) -> Result<(Option<KvRow>, ReadDetails), ClientError> {
        let body = (bytes(key), options);
        let reply = self.kv("Get", &body, options.timeout_usec).await?;
        let answer: (bool, Bytes, Index, ReadDetails) = read("Get", &reply)?;
        let (found, Bytes(value), revision, details) = answer;
        let created = details.created.unwrap_or(0);
        let row = KvRow { key: key.to_vec(), value, revision, created };
        Ok((found.then_some(row), details))
    }

    /// The next rows whose keys begin with `prefix`, and whether there are more.
    pub async fn kv_range(
        &self,
        prefix: &[u8],
        options: &ReadOptions,
    ) -> Result<(Vec<KvRow>, bool, ReadDetails), ClientError> {
        let body = (bytes(prefix), options);
        let reply = self.kv("Range", &body, options.timeout_usec).await?;
        let (rows, more, details): (Vec<RowTuple>, bool, _) = read("Range", &reply)?;
        let row = |(key, value, revision, created): RowTuple| KvRow {
            key: key.0,
            value: value.0,
            revision,
            created,
        };
        Ok((rows.into_iter().map(row).collect(), more, details))
    }

    /// Writes `value` under `key`; returns the revision.
    pub async fn kv_put(
        &self,
        key: &[u8],
        value: &[u8],
        options: &WriteOptions,
    ) -> Result<Index, ClientError> {
        let body = (bytes(key), bytes(value), options);
        read("Put", &self.kv("Put", &body, options.timeout_usec).await?)
    }

    /// Removes `key`; whether it was there, and the revision.
    pub async fn kv_delete(
        &self,
        key: &[u8],
        options: &WriteOptions,
    ) -> Result<(bool, Index), ClientError> {
        let body = (bytes(key), options);
        read("Delete", &self.kv("Delete", &body, options.timeout_usec).await?)
    }

    /// Removes keys that begin with `prefix`; how many, whether there are more, and the revision.
    pub async fn kv_delete_prefix(
        &self,
        prefix: &[u8],
        options: &WriteOptions,
    ) -> Result<(u64, bool, Index), ClientError> {
        let body = (bytes(prefix), options);
        read("DeletePrefix", &self.kv("DeletePrefix", &body, options.timeout_usec).await?)
    }

    /// Carries out a transaction.
    pub async fn kv_txn(
        &self,
        txn: &KvTxnArguments,
        options: &WriteOptions,
    ) -> Result<KvTxn, ClientError> {
        let KvTxnArguments { compare, then, otherwise } = txn;
        let body = (compare, then, otherwise, options);
        let reply = self.kv("Txn", &body, options.timeout_usec).await?;
        let (succeeded, reads, revision, details): (bool, Vec<ReadTuple>, Index, _) =
            read("Txn", &reply)?;
        let row = |(key, exists, value, revision, created): ReadTuple| match exists {
            true => Ok(KvRow { key: key.0, value: value.0, revision, created }),
            false => Err(key.0),
        };
        let reads = reads.into_iter().map(row).collect();
        Ok(KvTxn { succeeded, reads, revision, details })
    }

    async fn kv<B>(
        &self,
        method: &'static str,
        body: &B,
        timeout_usec: Option<u64>,
    ) -> Result<Message, ClientError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let message = self.message(ROOT_PATH, KEY_VALUE_INTERFACE, method, true, body)?;
        let within = timeout_usec.map_or(limits::KV_DEADLINE_DEFAULT, Duration::from_micros);
        // The agent keeps the deadline of the request; this one is for an agent that hangs.
        let timeout = within.saturating_add(limits::CLIENT_CALL_TIMEOUT);
        self.send(method, message, self.patience(timeout)).await
    }
}

fn bytes(bytes: &[u8]) -> Bytes {
    Bytes(bytes.to_vec())
}
