//! The event file: how the unprivileged agent tells a program that runs as root what happened.
//!
//! One JSON object in one line, exactly what the script gets on its standard input. The agent
//! writes it before it has the unit started and removes it when the script has ended or is to be
//! ended, so that a start that comes late, or by hand, runs nothing.
//!
//! [`parse`] is the root side. It takes the bytes for hostile: whoever can write them can choose
//! values within their grammars, and nothing else.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::EventName;
use super::payload::{FACTS, Payload, REASON_SIGNS, is_of_reason};
use crate::core::{Address, NodeName};
use crate::limits::{EVENT_REASON_MAX_CHARS, SCRIPT_INPUT_MAX_BYTES};

/// Name of the file of `event`, in the runtime directory of the node.
pub fn name(event: EventName) -> String {
    format!("event-{event}.json")
}

/// Writes the file of `event` in `directory`: whole, or not at all.
///
/// # Errors
/// What the system says.
pub fn write(directory: &Path, event: EventName, payload: &Payload) -> io::Result<()> {
    let path = directory.join(name(event));
    let new = directory.join(format!("{}.new", name(event)));
    ignore_missing(fs::remove_file(&new))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&new)?;
    file.write_all(&payload.input())?;
    fs::rename(new, path)
}

/// Removes the file of `event` in `directory`, if there is one.
///
/// # Errors
/// What the system says.
pub fn remove(directory: &Path, event: EventName) -> io::Result<()> {
    ignore_missing(fs::remove_file(directory.join(name(event))))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whose event a file has to speak of, which root knows by itself.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'e> {
    /// The event.
    pub event: EventName,
    /// The node.
    pub node: &'e NodeName,
    /// The cluster.
    pub cluster: &'e str,
}

/// The fields, as text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    event: String,
    role: String,
    old_role: String,
    cluster: String,
    node: String,
    leader: String,
    leader_address: String,
    term: String,
    token: String,
    sequence: String,
    reason: String,
    timestamp_usec: String,
    deadline_usec: String,
}

/// Reads an event file of unknown content. The caller may stop reading after
/// [`SCRIPT_INPUT_MAX_BYTES`]` + 1` bytes.
///
/// # Errors
/// If it is not exactly what the agent would write.
pub fn parse(bytes: &[u8], expected: Expected) -> Result<Payload, EventFileError> {
    if bytes.len() > SCRIPT_INPUT_MAX_BYTES {
        return Err(EventFileError::TooLarge { most: SCRIPT_INPUT_MAX_BYTES });
    }
    let told: Told = serde_json::from_slice(bytes).map_err(|e| {
        let why: String = e.to_string().chars().take(SHOWN_CHARS).collect();
        EventFileError::Form { why: why.escape_debug().to_string() }
    })?;
    let event = expected.event.as_str();
    let is_role = |text: &str| {
        text.parse().is_ok_and(|name: EventName| name.is_of_role() && name != EventName::Change)
    };
    // A `change` script runs for the events of all roles, another one of a role for that of its
    // name; the further events happen in any role, also before the first.
    let role_fits = |text: &str| match expected.event {
        EventName::Change => is_role(text),
        of_role if of_role.is_of_role() => text == event,
        _ => text == "starting" || is_role(text),
    };
    let is_same = |field, value, wanted: &str| {
        check(field, value, |value| value == wanted, || format!("{wanted:?}"))
    };
    let number = |field, value| check(field, value, is_number, || NUMBER.to_owned());
    let token = |value: &str| value.is_empty() || is_number(value);
    let leader = |value: &str| value.is_empty() || value.parse::<NodeName>().is_ok();
    let facts: [(&'static str, String); FACTS] = [
        is_same("EVENT", told.event, event)?,
        check("ROLE", told.role, role_fits, || "the role of the event".to_owned())?,
        check(
            "OLD_ROLE",
            told.old_role,
            |value| value == "starting" || is_role(value),
            || "a role, or starting".to_owned(),
        )?,
        is_same("CLUSTER", told.cluster, expected.cluster)?,
        is_same("NODE", told.node, expected.node.as_str())?,
        check("LEADER", told.leader, leader, || "a node name, or nothing".to_owned())?,
        check("LEADER_ADDRESS", told.leader_address, is_address, || {
            "host:port, or nothing".to_owned()
        })?,
        number("TERM", told.term)?,
        check("TOKEN", told.token, token, || format!("{NUMBER}, or nothing"))?,
        number("SEQUENCE", told.sequence)?,
        check("REASON", told.reason, is_reason, || {
            format!(
                "letters, digits, spaces and {REASON_SIGNS:?}, at most {EVENT_REASON_MAX_CHARS}"
            )
        })?,
        number("TIMESTAMP_USEC", told.timestamp_usec)?,
        number("DEADLINE_USEC", told.deadline_usec)?,
    ];
    Ok(Payload { facts })
}

fn check(
    field: &'static str,
    value: String,
    is_valid: impl FnOnce(&str) -> bool,
    expected: impl FnOnce() -> String,
) -> Result<(&'static str, String), EventFileError> {
    if is_valid(&value) {
        return Ok((field, value));
    }
    let value = value.chars().take(SHOWN_CHARS).collect();
    Err(EventFileError::Field { field, value, expected: expected() })
}

const NUMBER: &str = "a decimal number of 64 bits";

/// Characters of a refused value that an error shows.
const SHOWN_CHARS: usize = 64;

/// The one spelling of each number.
fn is_number(text: &str) -> bool {
    text.parse::<u64>().is_ok_and(|number| number.to_string() == text)
}

/// As an argument of a program it must not look like an option.
fn is_address(text: &str) -> bool {
    text.is_empty() || (!text.starts_with('-') && text.parse::<Address>().is_ok())
}

fn is_reason(text: &str) -> bool {
    // Counted in bytes, which are characters here.
    let is_short = text.len() <= EVENT_REASON_MAX_CHARS;
    is_short && !text.starts_with('-') && text.chars().all(is_of_reason)
}

/// An event file that the agent would not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventFileError {
    /// Too large.
    #[error("it has more than {most} bytes")]
    TooLarge {
        /// The limit, in bytes.
        most: usize,
    },
    /// Not the JSON object with exactly the known fields.
    #[error("it is not an object with exactly the known fields, each a string: {why}")]
    Form {
        /// What the parser said, escaped and shortened.
        why: String,
    },
    /// A value that does not follow its grammar.
    #[error("field {field} is {value:?}, expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// The value, shortened.
        value: String,
        /// What it should be.
        expected: String,
    },
}

/// Where the file of `event` is, for messages.
pub fn path(directory: &Path, event: EventName) -> PathBuf {
    directory.join(name(event))
}

#[cfg(test)]
mod tests;
