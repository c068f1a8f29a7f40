//! The native protocol of the journal, spoken by a thread of its own.
//!
//! `tracing_journald` sends from the thread that logs, and waits there for a journal that does not
//! read. So the events are copied, and shown to it again on a thread that may wait (`replay`). The
//! copies are bounded in size and number.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_journald::PriorityMappings;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, registry};

use super::replay::{Callsites, priority_of};
use super::{IDENTIFIER, Origin, tell_lost};
use crate::core::story::Kind;
use crate::limits;

/// Starts the thread.
pub(super) fn start(origin: Origin) -> io::Result<(JournalLayer, JournalGuard)> {
    let (queue, queued) = sync_channel(limits::LOG_QUEUE_LINES);
    let lost = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lost);
    let mut sink = Sink { origin, journal: None, callsites: Callsites::default() };
    let write = move |record: &Record| sink.write(record);
    let thread = std::thread::Builder::new().name("log".to_owned());
    thread.spawn(move || run(&queued, &counted, write))?;
    Ok((JournalLayer { queue: queue.clone(), lost }, JournalGuard { queue }))
}

/// Copies events into the queue.
pub(super) struct JournalLayer {
    queue: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

/// What the thread is to do.
enum Item {
    Write(Record),
    /// Say when everything before is written.
    Flush(SyncSender<()>),
}

/// A copy of an event.
pub(super) struct Record {
    pub(super) metadata: &'static Metadata<'static>,
    /// Facts, with their places among those of `metadata`.
    pub(super) values: Vec<(usize, String)>,
    /// When it happened, in microseconds since 1970: it may wait for the journal.
    pub(super) timestamp_usec: String,
}

impl Record {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let fields = self.metadata.fields();
        let at = fields.field(name)?.index();
        self.values.iter().find(|(field, _)| *field == at).map(|(_, value)| value.as_str())
    }

    /// How many messages are lost with it: one that tells of others takes them along.
    fn stands_for(&self) -> u64 {
        let of_others = self.value("message_id") == Some(Kind::MessagesLost.id());
        let count = self.value("count").filter(|_| of_others);
        count.and_then(|count| count.parse().ok()).unwrap_or(1)
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut copy = Copy(Vec::with_capacity(8));
        event.record(&mut copy);
        let record = Record {
            metadata: event.metadata(),
            values: copy.0,
            timestamp_usec: since_epoch.as_micros().to_string(),
        };
        if let Err(TrySendError::Full(Item::Write(record))) =
            self.queue.try_send(Item::Write(record))
        {
            self.lost.fetch_add(record.stands_for(), Ordering::Relaxed);
        }
    }
}

/// Copies the facts of an event as text, which is what the journal has.
struct Copy(Vec<(usize, String)>);

impl Copy {
    fn add(&mut self, field: &Field, mut text: String) {
        // The log adds them to every message.
        if matches!(field.name(), "cluster" | "node") {
            return;
        }
        if text.len() > limits::LOG_FIELD_MAX_BYTES {
            text.truncate(text.floor_char_boundary(limits::LOG_FIELD_MAX_BYTES));
            text.push('…');
        }
        self.0.push((field.index(), text));
    }
}

impl Visit for Copy {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

/// Writes until the process ends.
fn run(queue: &Receiver<Item>, lost: &AtomicU64, mut write: impl FnMut(&Record)) {
    for item in queue {
        // There is room now; what is told goes to the end, where the lost ones would be.
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            tell_lost(count);
        }
        match item {
            Item::Write(record) => write(&record),
            Item::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// The journal, or standard error as long as there is none.
struct Sink {
    origin: Origin,
    journal: Option<Dispatch>,
    callsites: Callsites,
}

impl Sink {
    fn write(&mut self, record: &Record) {
        if self.journal.is_none() {
            self.journal = connect(&self.origin).ok();
        }
        match &self.journal {
            Some(journal) => self.callsites.replay(record, journal),
            None => {
                let message = record.value("message").unwrap_or_default();
                let _ = writeln!(io::stderr(), "<{}>{message}", priority_of(record) as u8);
            }
        }
    }
}

/// May wait for the journal.
fn connect(origin: &Origin) -> io::Result<Dispatch> {
    let Origin { cluster, node } = origin;
    let journal = tracing_journald::layer()?
        .with_field_prefix(None)
        .with_priority_mappings(PriorityMappings::new())
        .with_syslog_identifier(IDENTIFIER.to_owned())
        .with_custom_fields([("RAFTCTL_CLUSTER", cluster), ("RAFTCTL_NODE", node)]);
    Ok(Dispatch::new(registry().with(journal)))
}

/// Writes what waits when it is dropped, if the journal takes it within
/// [`limits::LOG_FLUSH`].
pub struct JournalGuard {
    queue: SyncSender<Item>,
}

impl Drop for JournalGuard {
    fn drop(&mut self) {
        let deadline = Instant::now() + limits::LOG_FLUSH;
        let (done, flushed) = sync_channel(1);
        let mut item = Item::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(item) {
            if Instant::now() >= deadline {
                return;
            }
            item = back;
            std::thread::sleep(limits::LOG_FLUSH / 50);
        }
        let _ = flushed.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests;
