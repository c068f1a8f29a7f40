//! `/v1/kv/{key}`: one key, its bytes as body, its revision as entity tag.

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;

use super::Api;
use super::body::{Reply, read};
use super::error::{JSON, Refused, of_store};
use super::request::{Condition, Options, condition, decoded, revision};
use super::routes::Route;
use crate::core::kv::{self, Change, Compare, Delete, Get, Operation, Put, Query, Row, Step, Txn};
use crate::limits;
use crate::node::kv::{Consistency, KvPage, KvRead, KvWrite};

/// Carries out a request for the key that the path ends with.
pub(super) async fn answer(
    api: &Api,
    key: &str,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Reply>, Refused> {
    let options = Options::alone(&parts.headers, parts.uri.query())?;
    let key = decoded(key, false)?.into_owned();
    match parts.method {
        Method::GET | Method::HEAD => get(api, key, &options, parts).await,
        Method::PUT => {
            let (value, reserved) = read(body, limits::KV_VALUE_MAX_BYTES, &api.bodies).await?;
            let put = Change::Put(Put { key, value });
            let answer = write(api, put, &options, parts).await;
            drop(reserved);
            answer
        }
        Method::DELETE => write(api, Change::Delete(Delete { key }), &options, parts).await,
        _ => Err(Refused::method(Route::Key.allow())),
    }
}

async fn get(
    api: &Api,
    key: Vec<u8>,
    options: &Options,
    parts: &Parts,
) -> Result<Response<Reply>, Refused> {
    let query = Query { key, ..Query::default() };
    let mut found = read_rows(api, query, options).await?;
    let Some((_, row)) = found.page.rows.pop() else {
        let mut response =
            Refused::new(StatusCode::NOT_FOUND, "not_found", "no such key").response(false);
        describe_read(&mut response, &found, options);
        return Ok(response);
    };
    let Row { value, revision: is, .. } = row;
    let known = parts.headers.get(header::IF_NONE_MATCH);
    let same = known.is_some_and(|v| v.as_bytes() == b"*" || revision(v.as_bytes()) == Some(is));
    let mut response = Response::new(match same {
        true => Reply::Empty,
        false => Reply::Full(Bytes::from(value)),
    });
    if same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        response.headers_mut().insert(header::CONTENT_TYPE, OCTETS);
    }
    response.headers_mut().insert(header::ETAG, tag(is));
    describe_read(&mut response, &found, options);
    Ok(response)
}

/// Reads rows as the options say.
pub(super) async fn read_rows(
    api: &Api,
    query: Query,
    options: &Options,
) -> Result<KvPage, Refused> {
    let Options { consistency, within, .. } = *options;
    let read = KvRead { query, consistency, within };
    let handle = &api.served.handle;
    handle.kv_read(read).await.map_err(|error| of_store(&error, &handle.status()))
}

/// Says how new an answer is.
pub(super) fn describe_read<B>(response: &mut Response<B>, page: &KvPage, options: &Options) {
    let headers = response.headers_mut();
    headers.insert(REVISION, HeaderValue::from(page.revision));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if options.consistency == Consistency::Stale {
        headers.insert(
            AGE_MS,
            match page.age {
                Some(age) => HeaderValue::from(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
                None => HeaderValue::from_static("unknown"),
            },
        );
    }
}

async fn write(
    api: &Api,
    change: Change,
    options: &Options,
    parts: &Parts,
) -> Result<Response<Reply>, Refused> {
    let condition = condition(&parts.headers)?;
    let is_delete = matches!(change, Change::Delete(_));
    let operation = match condition {
        Some(condition) => conditional(change, condition),
        None => match change {
            Change::Delete(delete) => Operation::Delete(delete),
            Change::Put(put) => Operation::Put(put),
            change => unreachable!("neither put nor delete: {change:?}"),
        },
    };
    let written = write_now(api, operation, options).await?;
    if condition.is_some() && !written.succeeded {
        let found = written.reads.first().filter(|row| row.exists);
        return Err(Refused::precondition(found.map_or(0, |row| row.revision)));
    }
    let revision = written.revision;
    let body = match is_delete {
        true => format!("{{\"revision\":{revision},\"deleted\":{}}}", written.deleted),
        false => format!("{{\"revision\":{revision}}}"),
    };
    let mut response = Response::new(Reply::Full(Bytes::from(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    if !is_delete {
        response.headers_mut().insert(header::ETAG, tag(revision));
    }
    Ok(response)
}

/// Writes as the options say.
pub(super) async fn write_now(
    api: &Api,
    operation: Operation,
    options: &Options,
) -> Result<kv::Written, Refused> {
    let Options { token, within, forward, .. } = *options;
    let write = KvWrite { operation, token, within, forward };
    let handle = &api.served.handle;
    handle.kv_write(write).await.map_err(|error| of_store(&error, &handle.status()))
}

/// The change if the condition holds; otherwise what the key is, for the answer.
fn conditional(change: Change, condition: Condition) -> Operation {
    let key = match &change {
        Change::Put(put) => put.key.clone(),
        Change::Delete(delete) => delete.key.clone(),
        change => unreachable!("neither put nor delete: {change:?}"),
    };
    let condition = Some(match condition {
        Condition::Revision(revision) => kv::Condition::Revision(revision),
        Condition::Exists(exists) => kv::Condition::Exists(exists),
    });
    let read = Step { change: Some(Change::Get(Get { key: key.clone() })) };
    Operation::Txn(Txn {
        compare: vec![Compare { key, condition }],
        then: vec![Step { change: Some(change) }],
        otherwise: vec![read],
    })
}

/// The entity tag of a revision.
fn tag(revision: u64) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(format!("\"{revision}\"")))
        .expect("digits and quotes are a header")
}

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
pub(super) const REVISION: HeaderName = HeaderName::from_static("raft-revision");
pub(super) const AGE_MS: HeaderName = HeaderName::from_static("raft-age-ms");
