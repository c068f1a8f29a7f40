//! The options of the methods, and the details of their answers: dictionaries on the bus.
//!
//! An option that is not known is an error, because it may be a condition that has to hold.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zbus::as_variant::optional;

use super::value::Bytes;
use crate::core::Index;
use crate::core::kv::Written;
use crate::dbus::error::Error;
use crate::limits;
use crate::node::kv::{Consistency, KvPage};

/// Options of what reads.
#[derive(Clone, Debug, Default, Serialize, Deserialize, zbus::Type)]
#[zbus(signature = "dict")]
#[serde(deny_unknown_fields, default)]
pub struct ReadOptions {
    /// `linearizable`, or `stale`.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// How long to wait.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub timeout_usec: Option<u64>,
    /// Of a range: go on after this key.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub after: Option<Bytes>,
    /// Of a range: at most so many rows.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Of a range: without values.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub keys_only: Option<bool>,
}

/// Options of what writes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, zbus::Type)]
#[zbus(signature = "dict")]
#[serde(deny_unknown_fields, default)]
pub struct WriteOptions {
    /// Only if this is the token of the activation in force.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// How long to wait.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub timeout_usec: Option<u64>,
    /// Only if the key was last written at this revision; 0: if it does not exist.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
    /// Whether a node that does not lead sends it to the leader.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub forward: Option<bool>,
}

/// What else is known of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, zbus::Type)]
#[zbus(signature = "dict")]
#[serde(default)]
pub struct ReadDetails {
    /// Of one key that exists: the revision of the write that made it.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub created: Option<Index>,
    /// Up to where this node had applied the log.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub applied: Option<Index>,
    /// How old it may be; absent if that is not known.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub age_usec: Option<u64>,
}

/// What else is known of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, zbus::Type)]
#[zbus(signature = "dict")]
#[serde(default)]
pub struct TxnDetails {
    /// Keys that were removed.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub deleted: Option<u64>,
    /// Whether a removal stopped at its limit.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub more: Option<bool>,
    /// What was read is not known any more: it was done earlier than it was answered.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub reads_forgotten: Option<bool>,
}

impl ReadOptions {
    pub(super) fn consistency(&self) -> Result<Consistency, Error> {
        match self.consistency.as_deref() {
            None | Some("linearizable") => Ok(Consistency::Linearizable),
            Some("stale") => Ok(Consistency::Stale),
            Some(other) => {
                let other: String = other.chars().take(limits::LOG_WORD_MAX_CHARS).collect();
                let expected = "expected \"linearizable\" or \"stale\"";
                let text = format!("option \"consistency\": {other:?}, {expected}");
                Err(Error::InvalidArgument(text))
            }
        }
    }

    pub(super) fn within(&self) -> Result<Duration, Error> {
        within(self.timeout_usec)
    }

    /// That no option is there which only a range has.
    pub(super) fn expect_one_key(&self) -> Result<(), Error> {
        if self.after.is_none() && self.limit.is_none() && self.keys_only.is_none() {
            return Ok(());
        }
        let text = "options \"after\", \"limit\" and \"keys_only\" are for Range";
        Err(Error::InvalidArgument(text.to_owned()))
    }
}

impl WriteOptions {
    pub(super) fn within(&self) -> Result<Duration, Error> {
        within(self.timeout_usec)
    }

    /// That no option is there which only a write of one key has.
    pub(super) fn expect_no_revision(&self) -> Result<(), Error> {
        match self.if_revision {
            None => Ok(()),
            Some(_) => {
                let text = "option \"if_revision\" is for Put and Delete";
                Err(Error::InvalidArgument(text.to_owned()))
            }
        }
    }
}

fn within(timeout_usec: Option<u64>) -> Result<Duration, Error> {
    let within = timeout_usec.map_or(limits::KV_DEADLINE_DEFAULT, Duration::from_micros);
    if within > limits::KV_DEADLINE_MAX {
        let most = limits::KV_DEADLINE_MAX.as_micros();
        let text =
            format!("option \"timeout_usec\": {}, expected at most {most}", within.as_micros());
        return Err(Error::InvalidArgument(text));
    }
    Ok(within)
}

impl ReadDetails {
    pub(super) fn new(page: &KvPage) -> ReadDetails {
        ReadDetails {
            created: None,
            applied: Some(page.revision),
            age_usec: page.age.map(|age| age.as_micros() as u64),
        }
    }
}

impl TxnDetails {
    pub(super) fn new(written: &Written) -> TxnDetails {
        TxnDetails {
            deleted: Some(written.deleted),
            more: Some(written.more),
            reads_forgotten: Some(written.reads_forgotten),
        }
    }
}
