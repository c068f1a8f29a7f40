//! The endpoints of the Rust key-value example, with exactly its fields: `/get`, `/set`, `/delete`
//! here, `/health` and `/metrics` in `status.rs`.
//!
//! Keys and values are text there. A value that is not UTF-8 is not shown as something else: it is
//! answered 406, and can be read with `GET /v1/kv/{key}`.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode, header};
use hyper::body::Incoming;
use serde::Deserialize;

use super::Api;
use super::body::{Reply, read};
use super::error::{JSON, Refused};
use super::kv::{read_rows, write_now};
use super::request::{Options, is_json, pairs};
use crate::core::kv::{Delete, Operation, Put, Query};
use crate::limits;

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Remove<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
}

/// `GET /get?key=k`.
pub(super) async fn get(api: &Api, parts: &Parts) -> Result<Response<Reply>, Refused> {
    let mut options = Options::of(&parts.headers)?;
    let mut wanted = None;
    for pair in pairs(parts.uri.query()) {
        let (name, value) = pair?;
        if name == "key" {
            wanted = Some(value.into_owned());
        } else {
            options.take(&name, &value)?;
        }
    }
    let key = wanted.ok_or_else(|| Refused::invalid("expected a parameter: /get?key=NAME"))?;
    let Ok(name) = String::from_utf8(key.clone()) else {
        return Err(Refused::invalid("key: expected UTF-8 text; see /v1/kv for other keys"));
    };
    let query = Query { key, ..Query::default() };
    let found = read_rows(api, query, &options).await?;
    let row = found.page.rows.into_iter().next().map(|(_, row)| row);
    let value = row.map(|row| String::from_utf8(row.value)).transpose().map_err(|_| {
        let message = "The value is not UTF-8 text; GET /v1/kv/KEY returns its bytes";
        Refused::new(StatusCode::NOT_ACCEPTABLE, "not_text", message)
    })?;
    let mut body = Vec::with_capacity(name.len() + value.as_ref().map_or(4, String::len) + 24);
    body.extend_from_slice(b"{\"key\":");
    text(&mut body, &name);
    body.extend_from_slice(b",\"value\":");
    match &value {
        Some(value) => text(&mut body, value),
        None => body.extend_from_slice(b"null"),
    }
    body.push(b'}');
    Ok(json(body))
}

/// `POST /set`.
pub(super) async fn set(
    api: &Api,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Reply>, Refused> {
    let options = options(parts)?;
    let (bytes, _reserved) = read(body, limits::HTTP_JSON_MAX_BYTES, &api.bodies).await?;
    let Set { key, value } = parsed(&bytes, "{\"key\":\"k\",\"value\":\"v\"}")?;
    let put = Put { key: key.as_bytes().to_vec(), value: value.into_owned().into_bytes() };
    write_now(api, Operation::Put(put), &options).await?;
    Ok(done(&key, "set"))
}

/// `POST /delete`.
pub(super) async fn delete(
    api: &Api,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Reply>, Refused> {
    let options = options(parts)?;
    let (bytes, _reserved) = read(body, limits::HTTP_JSON_MAX_BYTES, &api.bodies).await?;
    let Remove { key } = parsed(&bytes, "{\"key\":\"k\"}")?;
    let delete = Delete { key: key.as_bytes().to_vec() };
    write_now(api, Operation::Delete(delete), &options).await?;
    Ok(done(&key, "deleted"))
}

/// What a write says beside its body.
fn options(parts: &Parts) -> Result<Options, Refused> {
    if !is_json(&parts.headers) {
        return Err(Refused::not_json());
    }
    let mut options = Options::of(&parts.headers)?;
    for pair in pairs(parts.uri.query()) {
        let (name, value) = pair?;
        options.take(&name, &value)?;
    }
    Ok(options)
}

fn parsed<'a, T: Deserialize<'a>>(bytes: &'a [u8], expected: &str) -> Result<T, Refused> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refused::invalid(format!("{error}; expected {expected}")))
}

fn done(key: &str, what: &str) -> Response<Reply> {
    let mut body = Vec::with_capacity(key.len() + 64);
    body.extend_from_slice(b"{\"success\":true,\"message\":");
    text(&mut body, &format!("Key '{key}' {what} successfully"));
    body.push(b'}');
    json(body)
}

fn text(body: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(body, text).expect("text can be written to memory");
}

fn json(body: Vec<u8>) -> Response<Reply> {
    let mut response = Response::new(Reply::Full(Bytes::from(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
