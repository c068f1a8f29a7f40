//! `/v1/txn`: a transaction as JSON, its keys and values in base64.

use std::fmt::Formatter;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::error::Refused;
use crate::core::kv::{
    Change, Compare, Condition, Delete, DeletePrefix, Get, Put, Rows, Step, Txn, Written,
};
use crate::limits;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    compare: Vec<Object<CompareBody>>,
    #[serde(default)]
    then: Vec<StepBody>,
    #[serde(default, rename = "else")]
    otherwise: Vec<StepBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompareBody {
    key: Bytes,
    value: Option<Bytes>,
    revision: Option<u64>,
    exists: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StepBody {
    Get(Object<KeyBody>),
    Put(Object<PutBody>),
    Delete(Object<KeyBody>),
    DeletePrefix(Object<PrefixBody>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    key: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutBody {
    key: Bytes,
    value: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrefixBody {
    prefix: Bytes,
    limit: Option<u32>,
}

/// A structure as a JSON object; serde by itself also reads one from an array, without its names.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// Bytes, written in base64.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes());
        bytes.map(Bytes).map_err(|error| serde::de::Error::custom(format!("base64: {error}")))
    }
}

/// Reads the body of a request.
pub(super) fn parse(bytes: &[u8]) -> Result<Txn, Refused> {
    let body: Object<Body> =
        serde_json::from_slice(bytes).map_err(|error| Refused::invalid(error.to_string()))?;
    let Object(body) = body;
    let compare = body.compare.into_iter().map(comparison).collect::<Result<_, _>>()?;
    let steps = |list: Vec<StepBody>| list.into_iter().map(step).collect::<Result<Vec<_>, _>>();
    Ok(Txn { compare, then: steps(body.then)?, otherwise: steps(body.otherwise)? })
}

fn comparison(Object(body): Object<CompareBody>) -> Result<Compare, Refused> {
    let condition = match (body.value, body.revision, body.exists) {
        (Some(value), None, None) => Condition::Value(value.0),
        (None, Some(revision), None) => Condition::Revision(revision),
        (None, None, Some(exists)) => Condition::Exists(exists),
        _ => {
            let message = "compare: expected one of \"value\", \"revision\" and \"exists\"";
            return Err(Refused::invalid(message));
        }
    };
    Ok(Compare { key: body.key.0, condition: Some(condition) })
}

fn step(body: StepBody) -> Result<Step, Refused> {
    let change = match body {
        StepBody::Get(Object(KeyBody { key })) => Change::Get(Get { key: key.0 }),
        StepBody::Put(Object(PutBody { key, value })) => {
            Change::Put(Put { key: key.0, value: value.0 })
        }
        StepBody::Delete(Object(KeyBody { key })) => Change::Delete(Delete { key: key.0 }),
        StepBody::DeletePrefix(Object(PrefixBody { prefix, limit })) => {
            let most = limit.unwrap_or(limits::KV_DELETE_MAX);
            if !(1..=limits::KV_DELETE_MAX).contains(&most) {
                let message =
                    format!("limit: expected a number from 1 to {}", limits::KV_DELETE_MAX);
                return Err(Refused::invalid(message));
            }
            Change::DeletePrefix(DeletePrefix { prefix: prefix.0, most })
        }
    };
    Ok(Step { change: Some(change) })
}

/// What a transaction did.
#[derive(Serialize)]
pub(super) struct TxnAnswer {
    revision: u64,
    succeeded: bool,
    deleted: u64,
    more: bool,
    reads: Vec<ReadAnswer>,
    reads_forgotten: bool,
}

#[derive(Serialize)]
struct ReadAnswer {
    key: String,
    exists: bool,
    value: Option<String>,
    revision: u64,
    created: u64,
}

impl From<&Written> for TxnAnswer {
    fn from(written: &Written) -> TxnAnswer {
        TxnAnswer {
            revision: written.revision,
            succeeded: written.succeeded,
            deleted: written.deleted,
            more: written.more,
            reads: written.reads.iter().map(ReadAnswer::from).collect(),
            reads_forgotten: written.reads_forgotten,
        }
    }
}

impl From<&Rows> for ReadAnswer {
    fn from(rows: &Rows) -> ReadAnswer {
        let Rows { key, exists, value, revision, created } = rows;
        ReadAnswer {
            key: STANDARD.encode(key),
            exists: *exists,
            value: exists.then(|| STANDARD.encode(value)),
            revision: *revision,
            created: *created,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_read_whole() {
        let text = r#"{
            "compare": [{"key":"aw==","revision":7},{"key":"aw==","exists":false},
                        {"key":"aw==","value":""}],
            "then": [{"get":{"key":"aw=="}},{"put":{"key":"aw==","value":"AP8="}}],
            "else": [{"delete":{"key":"aw=="}},{"delete_prefix":{"prefix":""}}]
        }"#;
        let txn = parse(text.as_bytes()).unwrap();
        assert_eq!((txn.compare.len(), txn.then.len(), txn.otherwise.len()), (3, 2, 2));
        let put = Change::Put(Put { key: b"k".to_vec(), value: vec![0, 255] });
        assert_eq!(txn.then[1].change, Some(put));
        assert_eq!(parse(b"{}").unwrap(), Txn::default());
    }

    #[test]
    fn what_is_not_one_is_refused() {
        let bad = [
            "",
            "[]",
            "{\"then\":[{}]}",
            "{\"them\":[]}",
            r#"{"then":[{"get":{"key":"a"}}]}"#,
            r#"{"then":[{"get":{"key":1}}]}"#,
            r#"{"then":[{"get":["aw=="]}]}"#,
            r#"{"then":["get"]}"#,
            r#"{"compare":[["aw==",null,null,true]]}"#,
            r#"{"then":[{"get":{"key":"aw=="},"delete":{"key":"aw=="}}]}"#,
            r#"{"compare":[{"key":"aw=="}]}"#,
            r#"{"compare":[{"key":"aw==","exists":true,"revision":1}]}"#,
            r#"{"then":[{"delete_prefix":{"prefix":"","limit":0}}]}"#,
        ];
        for text in bad {
            assert_eq!(parse(text.as_bytes()).unwrap_err().status, 400, "{text}");
        }
        // Deeply nested text is refused by serde_json before the stack ends.
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
