//! Why a request is refused, as a status and a body: the one place where errors become HTTP.
//!
//! `/v1` has one shape, `{"error":{"code":...,"message":...}}`; the legacy endpoints have
//! `{"error":"message"}`. Codes are stable, messages are for people.

use axum::body::Bytes;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::body::Reply;
use crate::core::kv::Invalid;
use crate::node::kv::KvError;
use crate::node::status::NodeStatus;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Of a failed precondition: the revision that the key has, 0 if it does not exist.
    pub(super) revision: Option<u64>,
    /// After how many seconds to try again.
    pub(super) retry_after: Option<u32>,
    /// Methods that would do, for `Allow:`.
    pub(super) allow: Option<&'static str>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let (revision, retry_after, allow) = (None, None, None);
        Refused { status, code, message: message.into(), revision, retry_after, allow }
    }

    /// The request makes no sense.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Refused::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// Too much is under way.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        let busy = Refused::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        Refused { retry_after: Some(1), ..busy }
    }

    pub(super) fn not_json() -> Self {
        let message = "expected a body with Content-Type: application/json";
        Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let message = format!("no resource {path:?}; /openapi.json lists them");
        Refused::new(StatusCode::NOT_FOUND, "no_such_resource", message)
    }

    pub(super) fn method(allow: &'static str) -> Self {
        let message = format!("method not allowed here, expected one of {allow}");
        let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        Refused { allow: Some(allow), ..refused }
    }

    /// The comparison with the key's revision failed.
    pub(super) fn precondition(revision: u64) -> Self {
        let message = match revision {
            0 => "the key does not exist".to_owned(),
            revision => format!("the key has revision {revision}"),
        };
        let refused = Refused::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", message);
        Refused { revision: Some(revision), ..refused }
    }

    /// The answer; in the shape of the legacy endpoints if `legacy`.
    pub(super) fn response(&self, legacy: bool) -> Response<Reply> {
        let body = if legacy {
            json!({ "error": self.message })
        } else {
            let mut error = json!({ "code": self.code, "message": self.message });
            if let Some(revision) = self.revision {
                error["revision"] = json!(revision);
            }
            json!({ "error": error })
        };
        let mut response = Response::new(Reply::Full(Bytes::from(body.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"raftctl\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<axum::body::Body> {
        self.response(false).map(axum::body::Body::new)
    }
}

/// A refusal of the store. `status` tells the number of a leader that is known by name.
pub(super) fn of_store(error: &KvError, status: &NodeStatus) -> Refused {
    let message = error.to_string();
    let again = |refused: Refused| Refused { retry_after: Some(1), ..refused };
    match error {
        KvError::Invalid(Invalid::TooLong {
            what: "value" | "values of a transaction", ..
        }) => Refused::too_large(message),
        KvError::Invalid(_) => Refused::invalid(message),
        KvError::Token { .. } => {
            Refused::new(StatusCode::PRECONDITION_FAILED, "token_mismatch", message)
        }
        KvError::Quota { .. } => {
            Refused::new(StatusCode::INSUFFICIENT_STORAGE, "quota_exceeded", message)
        }
        KvError::Busy { .. } => Refused::busy(message),
        KvError::NotLeader { leader } => not_leader(leader.as_deref(), status),
        KvError::Unavailable { .. } => {
            again(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
        }
        KvError::Unknown { .. } => {
            Refused::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", message)
        }
        KvError::Stopping => {
            again(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message))
        }
    }
}

/// In the words of the Rust key-value example, which tells leaders by their numbers.
fn not_leader(name: Option<&str>, status: &NodeStatus) -> Refused {
    let by_name = status.members.iter().find(|member| Some(member.name.as_str()) == name);
    let id = by_name.map_or_else(|| "unknown".to_owned(), |member| member.id.to_string());
    let message = format!("This node is not the leader. Current leader: {id}");
    Refused::new(StatusCode::MISDIRECTED_REQUEST, "not_leader", message)
}

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
