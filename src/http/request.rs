//! What a request says in its path, query and headers, as checked values.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};

use super::error::Refused;
use crate::core::Token;
use crate::limits;
use crate::node::kv::Consistency;

/// What every request of the store may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) within: Duration,
    pub(super) consistency: Consistency,
    pub(super) forward: bool,
    pub(super) token: Option<Token>,
}

impl Options {
    /// Reads the headers.
    pub(super) fn of(headers: &HeaderMap) -> Result<Options, Refused> {
        let mut options = Options {
            within: limits::KV_DEADLINE_DEFAULT,
            consistency: Consistency::Linearizable,
            forward: true,
            token: None,
        };
        if let Some(value) = headers.get(TIMEOUT) {
            options.within = timeout(value.as_bytes())?;
        }
        if let Some(value) = headers.get(IF_TOKEN) {
            let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            let number = number
                .ok_or_else(|| Refused::invalid("If-Raft-Token: expected a token, a number"))?;
            options.token = Some(Token(number));
        }
        Ok(options)
    }

    /// Takes a parameter of the query; false if it is not one of these.
    pub(super) fn take(&mut self, name: &str, value: &[u8]) -> Result<bool, Refused> {
        match name {
            "timeout" => self.within = timeout(value)?,
            "forward" => self.forward = flag("forward", value)?,
            "consistency" => {
                self.consistency = match value {
                    b"linearizable" => Consistency::Linearizable,
                    b"stale" => Consistency::Stale,
                    _ => {
                        let message = "consistency: expected \"linearizable\" or \"stale\"";
                        return Err(Refused::invalid(message));
                    }
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads headers and a query that says nothing else.
    pub(super) fn alone(headers: &HeaderMap, query: Option<&str>) -> Result<Options, Refused> {
        let mut options = Options::of(headers)?;
        for pair in pairs(query) {
            let (name, value) = pair?;
            if !options.take(&name, &value)? {
                return Err(unknown(&name));
            }
        }
        Ok(options)
    }
}

/// A parameter that nobody knows: a misspelt one must not be taken for its default.
pub(super) fn unknown(name: &str) -> Refused {
    Refused::invalid(format!("unknown parameter {name:?} in the query"))
}

/// `true` or `false`.
pub(super) fn flag(name: &str, value: &[u8]) -> Result<bool, Refused> {
    match value {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ => Err(Refused::invalid(format!("{name}: expected true or false"))),
    }
}

/// A number of rows or keys.
pub(super) fn count(name: &str, value: &[u8], most: u32) -> Result<u32, Refused> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| Refused::invalid(format!("{name}: expected a number from 1 to {most}")))
}

fn timeout(value: &[u8]) -> Result<Duration, Refused> {
    let parsed = std::str::from_utf8(value).ok().and_then(|t| humantime::parse_duration(t).ok());
    let range = Duration::from_millis(1)..=limits::KV_DEADLINE_MAX;
    parsed.filter(|within| range.contains(within)).ok_or_else(|| {
        let most = limits::KV_DEADLINE_MAX.as_secs();
        let message = format!("timeout: expected a duration with its unit, 1ms to {most}s");
        Refused::invalid(message)
    })
}

/// A condition on the one key that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It has this revision.
    Revision(u64),
    /// It exists, or does not.
    Exists(bool),
}

/// `If-Match` and `If-None-Match` of a write (RFC 9110, 13.1).
pub(super) fn condition(headers: &HeaderMap) -> Result<Option<Condition>, Refused> {
    let matching = headers.get(header::IF_MATCH);
    let other = headers.get(header::IF_NONE_MATCH);
    match (matching, other) {
        (None, None) => Ok(None),
        (Some(value), None) if value.as_bytes() == b"*" => Ok(Some(Condition::Exists(true))),
        (Some(value), None) => match revision(value.as_bytes()) {
            // No key has revision 0.
            Some(0) => Ok(Some(Condition::Exists(false))),
            Some(revision) => Ok(Some(Condition::Revision(revision))),
            None => Err(Refused::invalid("If-Match: expected \"*\" or one revision")),
        },
        (None, Some(value)) if value.as_bytes() == b"*" => Ok(Some(Condition::Exists(false))),
        (None, Some(_)) => Err(Refused::invalid("If-None-Match of a write: expected \"*\"")),
        (Some(_), Some(_)) => {
            Err(Refused::invalid("If-Match and If-None-Match: expected only one of them"))
        }
    }
}

/// A revision, as an entity tag or bare.
pub(super) fn revision(tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tag).ok()?.trim();
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let digits = !bare.is_empty() && bare.bytes().all(|c| c.is_ascii_digit());
    if digits { bare.parse().ok() } else { None }
}

/// The pairs of a query, decoded; names have to be text.
pub(super) fn pairs(
    query: Option<&str>,
) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, [u8]>), Refused>> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let name = match decoded(name, true)? {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        };
        Ok((name, decoded(value, true)?))
    })
}

/// Percent-decoded bytes; in a query `+` is a space.
pub(super) fn decoded(text: &str, in_query: bool) -> Result<Cow<'_, [u8]>, Refused> {
    let bytes = text.as_bytes();
    let special = |c: &u8| *c == b'%' || (in_query && *c == b'+');
    let Some(first) = bytes.iter().position(special) else { return Ok(Cow::Borrowed(bytes)) };
    let mut out = bytes[..first].to_vec();
    let mut rest = &bytes[first..];
    while let [byte, more @ ..] = rest {
        rest = more;
        match byte {
            b'%' => {
                let digits = rest.first_chunk::<2>();
                let value = digits.and_then(|[a, b]| Some(digit(*a)? << 4 | digit(*b)?));
                let value = value.ok_or_else(|| {
                    Refused::invalid("expected two hexadecimal digits behind each '%'")
                })?;
                out.push(value);
                rest = &rest[2..];
            }
            b'+' if in_query => out.push(b' '),
            byte => out.push(*byte),
        }
    }
    Ok(Cow::Owned(out))
}

fn digit(c: u8) -> Option<u8> {
    (c as char).to_digit(16).map(|value| value as u8)
}

/// Percent-encodes everything but letters, digits and `-._~` (RFC 3986, 2.3).
pub(super) fn encoded(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(*byte as char);
            }
            byte => write!(out, "%{byte:02X}").expect("text can be written to"),
        }
    }
    out
}

/// Whether the body is said to be JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let kind = value.split(|c| *c == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/json")
}

pub(super) const TIMEOUT: HeaderName = HeaderName::from_static("raft-timeout");
pub(super) const IF_TOKEN: HeaderName = HeaderName::from_static("if-raft-token");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_their_encoding() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(&*decoded(&encoded(&all), false).unwrap(), all);
        assert_eq!(&*decoded(&encoded(&all), true).unwrap(), all);
        assert_eq!(&*decoded("a+b/c", true).unwrap(), b"a b/c");
        assert_eq!(&*decoded("a+b/c", false).unwrap(), b"a+b/c");
        for bad in ["%", "%1", "%zz", "a%f", "%+1", "%-1"] {
            assert!(decoded(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_query_says_each_thing_in_one_way() {
        let headers = HeaderMap::new();
        let alone = |query| Options::alone(&headers, Some(query));
        let options = alone("timeout=2s&consistency=stale&forward=false").unwrap();
        assert_eq!(options.within, Duration::from_secs(2));
        assert_eq!((options.consistency, options.forward), (Consistency::Stale, false));
        assert_eq!(alone("").unwrap(), alone("&&").unwrap());
        for bad in ["timeout=2", "timeout=61s", "timeout=0s", "forward=1", "consistency=", "a=b"] {
            assert_eq!(alone(bad).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn revisions_are_entity_tags() {
        let cases: &[(&str, Option<u64>)] = &[
            ("\"7\"", Some(7)),
            ("7", Some(7)),
            (" \"7\" ", Some(7)),
            ("W/\"7\"", None),
            ("\"7", None),
            ("+7", None),
            ("", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(revision(text.as_bytes()), *expected, "{text}");
        }
    }

    #[test]
    fn a_write_has_one_condition() {
        let of = |pairs: &[(HeaderName, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
            condition(&headers.collect()).map_err(|refused| refused.status.as_u16())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[(header::IF_MATCH, "*")]), Ok(Some(Condition::Exists(true))));
        assert_eq!(of(&[(header::IF_MATCH, "\"9\"")]), Ok(Some(Condition::Revision(9))));
        assert_eq!(of(&[(header::IF_NONE_MATCH, "*")]), Ok(Some(Condition::Exists(false))));
        assert_eq!(of(&[(header::IF_NONE_MATCH, "\"9\"")]), Err(400));
        assert_eq!(of(&[(header::IF_MATCH, "\"1\", \"2\"")]), Err(400));
        assert_eq!(of(&[(header::IF_MATCH, "*"), (header::IF_NONE_MATCH, "*")]), Err(400));
    }
}
