//! What the node says about itself: `/health` and `/metrics` of the Rust key-value example,
//! `/livez`, `/readyz`, `/v1/status`.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use super::Served;
use super::body::Reply;
use super::error::JSON;
use super::negotiate::{Form, form};
use super::prometheus::{self, Syntax};
use crate::core::command::MemberKind;
use crate::node::status::{NodeStatus, Role};
use crate::node::store::StoreStatus;

/// The body of `/health`; the order of its fields is that of the example.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    node_id: u64,
    is_leader: bool,
    current_leader: Option<u64>,
    current_term: u64,
    state: &'static str,
}

/// `GET /health`: 503 if this node knows of no leader, and so of no quorum.
pub(super) fn health(status: &NodeStatus) -> Response<Reply> {
    let has_quorum = status.leader.is_some();
    let body = Health {
        status: if has_quorum { "ok" } else { "unavailable" },
        node_id: status.id.0,
        is_leader: status.role == Role::Leader,
        current_leader: status.leader.map(|id| id.0),
        current_term: status.term,
        state: state(status.role),
    };
    small(has_quorum, &body)
}

/// `GET /livez`: whoever gets an answer knows that the agent runs.
pub(super) fn live() -> Response<Reply> {
    small(true, &json!({ "status": "ok" }))
}

/// `GET /readyz`: whether this node can serve reads and writes.
pub(super) fn ready(status: &NodeStatus) -> Response<Reply> {
    match status.leader {
        Some(_) => small(true, &json!({ "status": "ok" })),
        None => small(false, &json!({ "status": "unavailable", "reason": "no leader is known" })),
    }
}

fn small(good: bool, body: &impl Serialize) -> Response<Reply> {
    let body = serde_json::to_vec(body).expect("answers have only string keys");
    let mut response = Response::new(Reply::Full(Bytes::from(body)));
    if !good {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The role in the words of the example.
fn state(role: Role) -> &'static str {
    match role {
        Role::Follower => "Follower",
        Role::Candidate => "Candidate",
        Role::Leader => "Leader",
        Role::Learner => "Learner",
    }
}

/// `GET /metrics`, in the form that the client accepts.
pub(super) fn metrics(served: &Served, headers: &HeaderMap) -> Response<Body> {
    let syntax = match form(headers) {
        Form::Json => {
            let mut response = Response::new(Body::from(legacy(served).to_string()));
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
            return response;
        }
        Form::Text => Syntax::Text,
        Form::OpenMetrics => Syntax::OpenMetrics,
    };
    let (status, store) = (served.handle.status(), served.handle.store());
    let text = prometheus::render(&status, &store, &served.metrics, syntax);
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static(syntax.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn legacy(served: &Served) -> Value {
    let status = served.handle.status();
    let ids = |learners: bool| {
        let kind = |kind| (kind == MemberKind::Learner) == learners;
        let members = status.members.iter().filter(move |member| kind(member.kind));
        members.map(|member| member.id.0).collect::<Vec<_>>()
    };
    let nodes = status.members.iter().map(|member| {
        let node = json!({ "name": member.name.as_str(), "address": member.address.as_str() });
        (member.id.to_string(), node)
    });
    json!({
        "node_id": status.id.0,
        "current_leader": status.leader.map(|id| id.0),
        "current_term": status.term,
        "last_applied": status.applied_index,
        "last_log_index": served.metrics.last_index().max(status.commit_index),
        "state": state(status.role),
        "membership": {
            "voters": ids(false),
            "learners": ids(true),
            "nodes": nodes.collect::<serde_json::Map<_, _>>(),
        },
    })
}

/// `GET /v1/status`: what `Describe()` says on D-Bus, and the store.
pub(super) fn describe(served: &Served) -> Value {
    let handle = &served.handle;
    let text = (served.describe)(&handle.status(), &handle.host());
    let mut value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if let Some(object) = value.as_object_mut() {
        object.entry("store").or_insert_with(|| store(&handle.store()));
    }
    value
}

fn store(store: &StoreStatus) -> Value {
    let snapshots = store.snapshots.iter().map(|snapshot| {
        json!({
            "peer": snapshot.peer,
            "incoming": snapshot.incoming,
            "index": snapshot.index,
            "bytes": snapshot.bytes,
            "total_bytes": snapshot.total_bytes,
        })
    });
    json!({
        "keys": store.keys,
        "bytes": store.bytes,
        "quota_bytes": store.quota_bytes,
        "clients": store.clients,
        "applied": store.applied,
        "durable": store.durable,
        "log_first": store.log_first,
        "log_bytes": store.log_bytes,
        "snapshots": snapshots.collect::<Vec<_>>(),
        "snapshots_installed": store.snapshots_installed,
        "snapshots_sent": store.snapshots_sent,
    })
}
