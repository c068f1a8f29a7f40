//! Shows copied events to a layer as if they happened now, under the names of the journal.
//!
//! The layer of `tracing_journald` takes names and priority from the static description of a
//! callsite. So each callsite gets a second one: `term` is `RAFTCTL_TERM` there, and its level is
//! the one that stands for its priority. They are made once, live as long as the process, and there
//! are as many as places in the program that log.

use std::collections::HashMap;

use tracing::callsite::Identifier;
use tracing::field::{FieldSet, Value};
use tracing::metadata::Kind as CallsiteKind;
use tracing::{Dispatch, Event, Level, Metadata};

use super::journal::Record;
use crate::core::story::{Kind, Priority};

/// What a message that is no kind of event has: the journal knows seven levels, tracing five, of
/// which "info" and below are details here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JournalPriority {
    Err = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl JournalPriority {
    /// The level that `PriorityMappings::new()` turns into this.
    fn level(self) -> Level {
        match self {
            JournalPriority::Err => Level::ERROR,
            JournalPriority::Warning => Level::WARN,
            JournalPriority::Notice => Level::INFO,
            JournalPriority::Info => Level::DEBUG,
            JournalPriority::Debug => Level::TRACE,
        }
    }
}

/// The priority of a message.
pub(super) fn priority_of(record: &Record) -> JournalPriority {
    let kind = record.value("message_id").and_then(Kind::from_id);
    match kind.map(Kind::priority) {
        Some(Priority::Err) => JournalPriority::Err,
        Some(Priority::Warning) => JournalPriority::Warning,
        Some(Priority::Notice) => JournalPriority::Notice,
        Some(Priority::Info) => JournalPriority::Info,
        None => match *record.metadata.level() {
            Level::ERROR => JournalPriority::Err,
            Level::WARN => JournalPriority::Warning,
            Level::INFO => JournalPriority::Info,
            _ => JournalPriority::Debug,
        },
    }
}

/// The second descriptions of callsites.
#[derive(Default)]
pub(super) struct Callsites(HashMap<Identifier, &'static Metadata<'static>>);

impl Callsites {
    /// Shows `record` to `to`.
    pub(super) fn replay(&mut self, record: &Record, to: &Dispatch) {
        let callsite = record.metadata.callsite();
        let metadata = *self.0.entry(callsite).or_insert_with(|| described(record));
        let fields = metadata.fields();
        let mut texts: Vec<Option<&str>> = vec![None; fields.len()];
        for (at, text) in &record.values {
            texts[*at] = Some(text);
        }
        texts[fields.len() - 1] = Some(&record.timestamp_usec);
        let values: Vec<Option<&dyn Value>> =
            texts.iter().map(|text| text.as_ref().map(|text| text as &dyn Value)).collect();
        // Not part of tracing's documented interface, but what its macros expand to.
        let values = fields.value_set_all(&values);
        to.event(&Event::new(metadata, &values));
    }
}

/// A description that lives as long as the process.
fn described(record: &Record) -> &'static Metadata<'static> {
    let original = record.metadata;
    let names = original.fields().iter().map(|field| journal_name(field.name()));
    let names = names.chain(["RAFTCTL_TIMESTAMP_USEC"]);
    let names: &'static [&'static str] = names.collect::<Vec<_>>().leak();
    Box::leak(Box::new(Metadata::new(
        original.name(),
        original.target(),
        priority_of(record).level(),
        original.file(),
        original.line(),
        original.module_path(),
        FieldSet::new(names, original.callsite()),
        CallsiteKind::EVENT,
    )))
}

/// What the journal calls a fact: everything that is not its own has our prefix.
fn journal_name(name: &'static str) -> &'static str {
    match name {
        "message" => "message",
        "message_id" => "MESSAGE_ID",
        other => format!("RAFTCTL_{}", other.to_ascii_uppercase()).leak(),
    }
}
