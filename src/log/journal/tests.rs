//! What the journal is shown, and what happens when it does not read.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use tracing::Level;
use tracing::subscriber::with_default;

use super::*;
use crate::core::story::{Kind, tell};

/// How long anything here may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a layer was shown: priority and facts.
type Shown = Arc<Mutex<Vec<(Level, BTreeMap<String, String>)>>>;

struct Spy(Shown);

impl<S: Subscriber> Layer<S> for Spy {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Facts(BTreeMap<String, String>);
        impl Visit for Facts {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.0.insert(field.name().to_owned(), format!("{value:?}"));
            }
            fn record_str(&mut self, field: &Field, value: &str) {
                self.0.insert(field.name().to_owned(), value.to_owned());
            }
        }
        let mut facts = Facts(BTreeMap::new());
        event.record(&mut facts);
        assert_eq!(event.metadata().file(), Some(file!()));
        self.0.lock().unwrap().push((*event.metadata().level(), facts.0));
    }
}

/// A layer and the other end of its queue.
fn pair() -> (JournalLayer, Receiver<Item>, Arc<AtomicU64>, JournalGuard) {
    let (queue, queued) = sync_channel(limits::LOG_QUEUE_LINES);
    let lost = Arc::new(AtomicU64::new(0));
    let guard = JournalGuard { queue: queue.clone() };
    (JournalLayer { queue, lost: Arc::clone(&lost) }, queued, lost, guard)
}

/// What becomes of the events that `say` tells.
fn shown(say: impl Fn()) -> Vec<(Level, BTreeMap<String, String>)> {
    let (layer, queued, lost, guard) = pair();
    with_default(registry().with(layer), say);
    let shown = Shown::default();
    let spy = Dispatch::new(registry().with(Spy(Arc::clone(&shown))));
    drop(guard);
    let mut callsites = Callsites::default();
    run(&queued, &lost, |record| callsites.replay(record, &spy));
    std::mem::take(&mut *shown.lock().unwrap())
}

#[test]
fn a_kind_of_event_has_its_number_its_facts_and_its_priority() {
    let all = shown(|| {
        let leader: Option<&str> = None;
        let (token, term) = (Some(8u64), 7);
        tell!(
            RoleChanged, role = "leader", term = term, token = token, leader = leader;
            "n1 leads in term {term}."
        );
        tell!(FenceFailed, reason = "a\nb"; "Two\nlines");
        tracing::info!(node = "n1", uid = 7, "a detail");
        tracing::trace!("finer");
    });
    let (level, facts) = &all[0];
    // The level stands for the priority "notice".
    assert_eq!(*level, Level::INFO);
    assert_eq!(facts["MESSAGE_ID"], Kind::RoleChanged.id());
    assert_eq!(facts["message"], "n1 leads in term 7.");
    assert_eq!(facts["RAFTCTL_ROLE"], "leader");
    assert_eq!((&facts["RAFTCTL_TERM"][..], &facts["RAFTCTL_TOKEN"][..]), ("7", "8"));
    assert!(!facts.contains_key("RAFTCTL_LEADER"), "{facts:?}");
    assert!(facts["RAFTCTL_TIMESTAMP_USEC"].parse::<u64>().unwrap() > 1 << 50);
    assert_eq!((all[1].0, &all[1].1["message"][..]), (Level::ERROR, "Two\nlines"));
    // "info"; and the log adds the node itself.
    assert_eq!((all[2].0, &all[2].1["RAFTCTL_UID"][..]), (Level::DEBUG, "7"));
    assert!(!all[2].1.contains_key("RAFTCTL_NODE"), "{all:?}");
    assert_eq!(all[3].0, Level::TRACE);
}

#[test]
fn a_callsite_is_described_once() {
    let all = shown(|| (0..100).for_each(|n| tracing::warn!(n, "again")));
    assert_eq!(all.len(), 100);
    let numbers: Vec<_> = all.iter().map(|(_, facts)| facts["RAFTCTL_N"].clone()).collect();
    assert_eq!(numbers, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_is_too_long_is_cut() {
    let long = "ä".repeat(limits::LOG_FIELD_MAX_BYTES);
    let all = shown(|| tracing::warn!(long, "{long}"));
    for name in ["message", "RAFTCTL_LONG"] {
        let text = &all[0].1[name];
        assert!(text.len() <= limits::LOG_FIELD_MAX_BYTES + '…'.len_utf8(), "{}", text.len());
        assert!(text.ends_with("ä…"));
    }
}

#[test]
fn a_journal_that_does_not_read_stops_nobody_and_what_is_lost_is_told() {
    let (layer, queued, lost, guard) = pair();
    let log = Dispatch::new(registry().with(layer));
    let (go, held) = sync_channel::<()>(0);
    let (first, at_work) = sync_channel(1);
    let (said, written) = sync_channel(2 * limits::LOG_QUEUE_LINES);
    let thread_log = log.clone();
    thread::spawn(move || {
        tracing::dispatcher::with_default(&thread_log, || {
            let mut first = Some(first);
            run(&queued, &lost, |record| {
                // The first message waits for the journal, as all after it would.
                if let Some(first) = first.take() {
                    first.send(()).unwrap();
                    let _ = held.recv();
                }
                let texts = ["message", "message_id", "count"].map(|n| record.value(n));
                said.send(texts.map(|text| text.unwrap_or_default().to_owned())).unwrap();
            });
        });
    });
    let most = limits::LOG_QUEUE_LINES;
    let more = 1000;
    let begun = Instant::now();
    tracing::dispatcher::with_default(&log, || {
        tracing::warn!("first");
        at_work.recv_timeout(DEADLINE).unwrap();
        (0..most + more).for_each(|n| tracing::warn!("{n}"));
    });
    // It stands still, and a program that ends does not wait for it for long.
    drop(guard);
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    go.send(()).unwrap();
    let next = || written.recv_timeout(DEADLINE).unwrap();
    assert_eq!(next()[0], "first");
    for n in 0..most {
        assert_eq!(next()[0], n.to_string());
    }
    let [message, id, count] = next();
    assert_eq!(id, Kind::MessagesLost.id());
    assert_eq!(count, more.to_string());
    assert!(message.starts_with("1000 messages were lost here"), "{message}");
}
