//! Lines of text or JSON, written by a thread of their own.
//!
//! Of a kind of event (`tell!`) a line of text has only the sentence, which says it all; JSON has
//! every fact.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::field::{MakeVisitor, VisitFmt, VisitOutput};
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer as _, fmt as layers};

use super::{Lines, Outlet, tell_lost};
use crate::config::LogFormat;
use crate::limits;

pub(super) fn start<S>(lines: Lines, format: LogFormat) -> (Outlet<S>, WorkerGuard)
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let dropped = Arc::new(OnceLock::new());
    let counted = Counted { writer: lines.writer, dropped: Arc::clone(&dropped), told: 0 };
    let (queue, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(limits::LOG_QUEUE_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(counted);
    let _ = dropped.set(queue.error_counter());
    let layer = layers::layer().with_writer(queue).with_target(false).with_ansi(lines.is_colored);
    let layer = match (format, lines.has_time) {
        (LogFormat::Json, _) => layer.json().flatten_event(true).boxed(),
        (LogFormat::Text, true) => layer.fmt_fields(Facts).boxed(),
        (LogFormat::Text, false) => {
            layer.fmt_fields(Facts).with_level(false).without_time().boxed()
        }
    };
    (layer, guard)
}

/// Writes, and tells what the queue had to drop before.
struct Counted {
    writer: Box<dyn Write + Send>,
    /// Set when the queue has been made.
    dropped: Arc<OnceLock<ErrorCounter>>,
    told: usize,
}

impl Write for Counted {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let dropped = self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        // What is told goes to the end of the queue: after what was taken before the loss.
        if let Some(lost) = dropped.checked_sub(self.told).filter(|&lost| lost > 0) {
            self.told = dropped;
            tell_lost(lost as u64);
        }
        self.writer.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Formats the facts of an event as `name=value`.
struct Facts;

impl<'w> MakeVisitor<Writer<'w>> for Facts {
    type Visitor = FactsVisitor<'w>;

    fn make_visitor(&self, writer: Writer<'w>) -> FactsVisitor<'w> {
        FactsVisitor { all: DefaultVisitor::new(writer, true), is_story: false }
    }
}

struct FactsVisitor<'w> {
    all: DefaultVisitor<'w>,
    /// Only the sentence is shown.
    is_story: bool,
}

impl Visit for FactsVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.shows(field) {
            self.all.record_str(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        if self.shows(field) {
            self.all.record_error(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.shows(field) {
            self.all.record_debug(field, value);
        }
    }
}

impl FactsVisitor<'_> {
    /// The kind comes before the other facts.
    fn shows(&mut self, field: &Field) -> bool {
        self.is_story |= field.name() == "message_id";
        !self.is_story || field.name() == "message"
    }
}

impl VisitOutput<fmt::Result> for FactsVisitor<'_> {
    fn finish(self) -> fmt::Result {
        self.all.finish()
    }
}

impl VisitFmt for FactsVisitor<'_> {
    fn writer(&mut self) -> &mut dyn fmt::Write {
        self.all.writer()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::registry;

    use super::*;
    use crate::core::story::{Kind, tell};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, has_time: bool, say: impl Fn()) -> String {
        let page = Page::default();
        let lines = Lines { writer: Box::new(page.clone()), is_colored: false, has_time };
        let (layer, guard) = start(lines, format);
        tracing::subscriber::with_default(registry().with(layer), say);
        drop(guard);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_of_text_is_a_sentence_and_json_has_every_fact() {
        let say = || tell!(LeaderChanged, leader = "n2", term = 7; "n2 leads in term 7.");
        assert_eq!(written(LogFormat::Text, false, say), "n2 leads in term 7.\n");
        assert!(written(LogFormat::Text, true, say).ends_with("Z  INFO n2 leads in term 7.\n"));
        let json: serde_json::Value =
            serde_json::from_str(&written(LogFormat::Json, true, say)).unwrap();
        assert_eq!(json["message"], "n2 leads in term 7.");
        assert_eq!(json["message_id"], Kind::LeaderChanged.id());
        assert_eq!((&json["leader"], &json["term"]), (&"n2".into(), &7.into()));
    }

    #[test]
    fn other_events_show_their_facts_and_no_escape_sequences() {
        let say = || tracing::warn!(bytes = 7, why = "a\u{1b}[2Jb", "odd");
        let line = written(LogFormat::Text, false, say);
        assert_eq!(line, "odd bytes=7 why=\"a\\u{1b}[2Jb\"\n");
    }
}
