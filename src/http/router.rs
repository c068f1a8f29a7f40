//! What is large or rare, on axum's router: ranges, transactions, the status, metrics.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};
use axum::routing::{get, post};
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::body::read;
use super::error::{JSON, Refused};
use super::kv::{describe_read, read_rows, write_now};
use super::request::{Options, count, encoded, flag, is_json, pairs, unknown};
use super::txn::{TxnAnswer, parse};
use super::{Api, OPENAPI, status};
use crate::core::kv::{DeletePrefix, Operation, Query};
use crate::limits;
use crate::node::kv::KvPage;

type Shared = Extension<Arc<Api>>;

/// The resources.
pub(super) fn router() -> Router {
    Router::new()
        .route("/v1/kv", get(range).delete(delete_prefix))
        .route("/v1/txn", post(txn))
        .route("/v1/status", get(describe))
        .route("/openapi.json", get(openapi))
        .route("/metrics", get(metrics))
}

/// A page of a range.
#[derive(Serialize)]
struct PageAnswer {
    revision: u64,
    rows: Vec<RowAnswer>,
    more: bool,
    /// Where the rest is.
    next: Option<String>,
}

#[derive(Serialize)]
struct RowAnswer {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    revision: u64,
    created: u64,
}

async fn range(Extension(api): Shared, parts: Parts) -> Result<Response<Body>, Refused> {
    let mut options = Options::of(&parts.headers)?;
    let mut query = Query { is_prefix: true, ..Query::default() };
    for pair in pairs(parts.uri.query()) {
        let (name, value) = pair?;
        match &*name {
            "prefix" => query.key = value.into_owned(),
            "after" => query.after = Some(value.into_owned()),
            "limit" => query.most = count("limit", &value, limits::KV_PAGE_ROWS_MAX as u32)?,
            "keys_only" => query.keys_only = flag("keys_only", &value)?,
            name if options.take(name, &value)? => {}
            name => return Err(unknown(name)),
        }
    }
    let (prefix, most, keys_only) = (query.key.clone(), query.most, query.keys_only);
    let page = read_rows(&api, query, &options).await?;
    let next = page.page.rows.last().filter(|_| page.page.more).map(|(last, _)| {
        let mut next = format!("/v1/kv?prefix={}&after={}", encoded(&prefix), encoded(last));
        if most > 0 {
            next += &format!("&limit={most}");
        }
        if keys_only {
            next += "&keys_only=true";
        }
        next
    });
    let mut response = json(&page_answer(&page, keys_only, next));
    describe_read(&mut response, &page, &options);
    Ok(response)
}

fn page_answer(page: &KvPage, keys_only: bool, next: Option<String>) -> PageAnswer {
    let row = |(key, row): &(Vec<u8>, crate::core::kv::Row)| RowAnswer {
        key: STANDARD.encode(key),
        value: (!keys_only).then(|| STANDARD.encode(&row.value)),
        revision: row.revision,
        created: row.created,
    };
    let rows = page.page.rows.iter().map(row).collect();
    PageAnswer { revision: page.revision, rows, more: page.page.more, next }
}

/// What a removal by prefix did.
#[derive(Serialize)]
struct Deleted {
    revision: u64,
    deleted: u64,
    more: bool,
}

async fn delete_prefix(Extension(api): Shared, parts: Parts) -> Result<Response<Body>, Refused> {
    let mut options = Options::of(&parts.headers)?;
    let (mut prefix, mut most) = (None, limits::KV_DELETE_MAX);
    for pair in pairs(parts.uri.query()) {
        let (name, value) = pair?;
        match &*name {
            "prefix" => prefix = Some(value.into_owned()),
            "limit" => most = count("limit", &value, limits::KV_DELETE_MAX)?,
            name if options.take(name, &value)? => {}
            name => return Err(unknown(name)),
        }
    }
    // All keys are removed only by those who say so.
    let prefix = prefix.ok_or_else(|| Refused::invalid("expected a parameter: prefix"))?;
    let operation = Operation::DeletePrefix(DeletePrefix { prefix, most });
    let written = write_now(&api, operation, &options).await?;
    let (revision, deleted, more) = (written.revision, written.deleted, written.more);
    Ok(json(&Deleted { revision, deleted, more }))
}

async fn txn(Extension(api): Shared, parts: Parts, body: Body) -> Result<Response<Body>, Refused> {
    if !is_json(&parts.headers) {
        return Err(Refused::not_json());
    }
    let options = Options::alone(&parts.headers, parts.uri.query())?;
    let (bytes, _reserved) = read(body, limits::HTTP_JSON_MAX_BYTES, &api.bodies).await?;
    let txn = parse(&bytes)?;
    let written = write_now(&api, Operation::Txn(txn), &options).await?;
    Ok(json(&TxnAnswer::from(&written)))
}

async fn describe(Extension(api): Shared) -> Response<Body> {
    json(&status::describe(&api.served))
}

async fn openapi() -> Response<Body> {
    let mut response = Response::new(Body::from(OPENAPI));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

async fn metrics(Extension(api): Shared, parts: Parts) -> Response<Body> {
    status::metrics(&api.served, &parts.headers)
}

fn json(value: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(value).expect("answers have only string keys");
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
