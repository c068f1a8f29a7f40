//! Web pages: which of them may use the agent, and which may not although a browser would let them.
//!
//! A listener without a token trusts whoever can connect, and a browser on this host can, on behalf
//! of every page that it shows. So a request from a page (it has `Origin:`) needs an origin that is
//! allowed, or that is this listener itself; and without a token the name under which the agent was
//! reached has to be an address or `localhost`, because any other name may have been made to point
//! here (DNS rebinding).

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::Settings;
use super::body::Reply;
use super::error::Refused;

/// Refuses what a page may not do. `Ok`: the origin that is to be told that it may, if any.
pub(super) fn check(
    headers: &HeaderMap,
    settings: &Settings,
) -> Result<Option<HeaderValue>, Refused> {
    let host = headers.get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
    if settings.token.is_none() && !is_local(host) {
        let message = "Host: expected an address or localhost, since no token is required";
        return Err(Refused::new(StatusCode::FORBIDDEN, "forbidden_host", message));
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
    let bytes = origin.as_bytes();
    if settings.origins.iter().any(|allowed| allowed.as_bytes() == bytes) {
        return Ok(Some(origin.clone()));
    }
    let own = bytes.strip_prefix(b"http://").or_else(|| bytes.strip_prefix(b"https://"));
    if own == Some(host) {
        return Ok(None);
    }
    let message = "Origin: expected one of [http] allow_origins";
    Err(Refused::new(StatusCode::FORBIDDEN, "forbidden_origin", message))
}

/// Whether `Host:` says an address or `localhost`, or nothing (HTTP/1.0).
fn is_local(host: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(host) else { return false };
    let name = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => text.split(':').next().unwrap_or_default(),
    };
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// The answer to a browser that asks whether a page of an allowed origin may ask.
pub(super) fn preflight() -> Response<Reply> {
    let mut response = Response::new(Reply::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in PREFLIGHT {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Tells the browser that a page of `origin` may read the answer.
pub(super) fn allow<B>(response: &mut Response<B>, origin: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let shown = HeaderValue::from_static("ETag, Raft-Revision, Raft-Age-Ms, Retry-After");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, shown);
}

const PREFLIGHT: [(HeaderName, &str); 3] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, PUT, POST, DELETE"),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Authorization, Content-Type, If-Match, If-None-Match, If-Raft-Token, Raft-Timeout",
    ),
    (header::ACCESS_CONTROL_MAX_AGE, "600"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::token::BearerToken;

    #[test]
    fn names_that_could_point_anywhere_are_not_local() {
        for good in ["127.0.0.1:2379", "localhost", "LOCALHOST:1", "[::1]:80", "192.0.2.1", ""] {
            assert!(is_local(good.as_bytes()), "{good}");
        }
        for bad in ["evil.example", "evil.example:2379", "localhost.evil.example", "[evil]:1"] {
            assert!(!is_local(bad.as_bytes()), "{bad}");
        }
        assert!(!is_local(b"\xff"));
    }

    #[test]
    fn only_allowed_pages_pass() {
        let of = |host: &'static str, origin: &'static str, settings: &Settings| {
            let pairs = [(header::HOST, host), (header::ORIGIN, origin)];
            let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
            let headers = pairs.map(|(name, value)| (name, HeaderValue::from_static(value)));
            let checked = check(&headers.collect(), settings);
            checked.map(|told| told.is_some()).map_err(|refused| refused.code)
        };
        let open = Settings::default();
        assert_eq!(of("127.0.0.1:1", "", &open), Ok(false));
        assert_eq!(of("127.0.0.1:1", "http://127.0.0.1:1", &open), Ok(false));
        assert_eq!(of("127.0.0.1:1", "http://127.0.0.1:2", &open), Err("forbidden_origin"));
        assert_eq!(of("127.0.0.1:1", "null", &open), Err("forbidden_origin"));
        assert_eq!(of("a.example", "", &open), Err("forbidden_host"));
        let token = BearerToken::new(b"0123456789abcdef");
        let origins = vec!["https://panel.example".to_owned()];
        let closed = Settings { token, origins, ..Settings::default() };
        assert_eq!(of("a.example", "", &closed), Ok(false));
        assert_eq!(of("a.example", "https://panel.example", &closed), Ok(true));
        assert_eq!(of("a.example", "https://panel.example.evil", &closed), Err("forbidden_origin"));
    }
}
