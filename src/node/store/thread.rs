//! The thread of the store: runs a [`StoreWorker`] away from the driver and from the log's disk
//! thread, so that neither a vote nor an append waits for rows.
//!
//! Requests come through a bounded channel in order; events go back the same way. A failed store
//! ends the process through `fatal`, which does not return.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::recent::Recent;
use super::{Done, Installer, Store, StoreRequest, StoreStatus, StoreWorker, Stored};
use crate::core::Index;
use crate::core::kv::Query;
use crate::core::message::Snapshot;
use crate::limits;
use crate::node::disk_thread::Fatal;
use crate::node::event::Event;

/// What comes to the thread.
enum Inbox {
    /// Boxed, for the channel holds the room of all that it may ever hold; so is a snapshot.
    Request(Box<StoreRequest>),
    /// The flush that went on is over.
    Flushed,
    /// Install this; answered when it is durable.
    Install(Box<Snapshot>, SyncSender<()>),
    /// Make everything durable and end.
    End,
}

/// The driver's ends of the channels.
pub(in crate::node) struct StoreThread {
    requests: SyncSender<Inbox>,
    pub(in crate::node) events: mpsc::Receiver<Event>,
    pub(in crate::node) status: watch::Receiver<Arc<StoreStatus>>,
    recent: Arc<Recent>,
    /// Up to where it was asked to apply.
    asked: Index,
    thread: std::thread::JoinHandle<()>,
}

impl StoreThread {
    /// Hands a request over; never waits. A read of rows that were read lately is answered here.
    pub(in crate::node) fn ask(&mut self, request: StoreRequest) -> Option<Event> {
        match &request {
            StoreRequest::Apply(work) => self.asked = work.applied.0,
            StoreRequest::Read(queries) => {
                if let Some(stored) = self.recent.read(queries, self.asked) {
                    return Some(Event::Stored(stored));
                }
            }
            StoreRequest::View => {}
        }
        // The node bounds what waits, and a turn adds only a few requests.
        let sent = self.requests.try_send(Inbox::Request(Box::new(request)));
        assert!(sent.is_ok(), "more store requests than the node allows, or its thread is gone");
        None
    }

    /// The disk thread's way to it.
    pub(in crate::node) fn link(&self) -> Link {
        Link(self.requests.clone())
    }

    /// Waits until everything is durable.
    pub(in crate::node) fn join(self) {
        let StoreThread { requests, events, thread, .. } = self;
        let _ = requests.send(Inbox::End);
        drop(events);
        let _ = thread.join();
    }
}

/// Asks the thread to install a snapshot.
pub struct Link(SyncSender<Inbox>);

/// The thread of the store has ended; so does the process.
#[derive(Debug, thiserror::Error)]
#[error("the store has failed")]
pub struct StoreGone;

impl Installer for Link {
    type Error = StoreGone;

    fn install(&mut self, snapshot: &Snapshot) -> Result<(), StoreGone> {
        let (reply, answer) = sync_channel(1);
        self.0.send(Inbox::Install(Box::new(snapshot.clone()), reply)).map_err(|_| StoreGone)?;
        answer.recv().map_err(|_| StoreGone)
    }
}

/// Starts the thread. It ends, with everything durable, when the request channel is closed.
pub(in crate::node) fn start<S: Store + 'static>(
    worker: StoreWorker<S>,
    fatal: Fatal,
) -> std::io::Result<StoreThread> {
    let (requests, inbox) = sync_channel(limits::STORE_CHANNEL_REQUESTS);
    let (outbox, events) = mpsc::channel(limits::STORE_CHANNEL_REQUESTS);
    let (publish, status) = watch::channel(Arc::new(worker.store().status()));
    let flushed = requests.clone();
    let (recent, asked) = (Arc::new(Recent::default()), worker.store().applied());
    recent.applied(asked);
    let shared = Arc::clone(&recent);
    let mut run = Run { worker, outbox, publish, flushed, flush_at: None, recent: shared };
    let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || {
        if let Err(error) = run.run(&inbox) {
            fatal(&error);
        }
    })?;
    Ok(StoreThread { requests, events, status, recent, asked, thread })
}

struct Run<S> {
    worker: StoreWorker<S>,
    outbox: mpsc::Sender<Event>,
    publish: watch::Sender<Arc<StoreStatus>>,
    flushed: SyncSender<Inbox>,
    flush_at: Option<Instant>,
    recent: Arc<Recent>,
}

impl<S: Store> Run<S> {
    fn run(&mut self, inbox: &Receiver<Inbox>) -> Result<(), S::Error> {
        loop {
            let next = match self.flush_at {
                Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(Inbox::End) | Err(RecvTimeoutError::Disconnected) => {
                    return self.worker.finish();
                }
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.flush_if_due()?;
        }
    }

    fn take(&mut self, message: Inbox) -> Result<(), S::Error> {
        match message {
            Inbox::Request(request) => {
                let queries = self.begin(&request);
                self.worker.push(*request);
                while self.worker.has_work() {
                    let event = self.worker.step()?;
                    self.share(&queries, &event);
                    self.tell(event);
                }
            }
            Inbox::Flushed => {
                let event = self.worker.end_flush()?;
                self.tell(event);
                self.publish();
            }
            Inbox::Install(snapshot, reply) => {
                for event in self.worker.install(&snapshot)? {
                    self.tell(Some(event));
                }
                self.flush_at = None;
                self.recent.clear(self.worker.store().applied());
                self.publish();
                let _ = reply.send(());
            }
            Inbox::End => {}
        }
        Ok(())
    }

    /// Before a request; what it asks to read.
    fn begin(&self, request: &StoreRequest) -> Vec<(u64, Query)> {
        match request {
            StoreRequest::Apply(work) => self.recent.begin(work),
            StoreRequest::Read(queries) => return queries.clone(),
            StoreRequest::View => {}
        }
        Vec::new()
    }

    /// BEFORE the driver is told.
    fn share(&self, queries: &[(u64, Query)], event: &Option<Event>) {
        match event {
            Some(Event::Stored(Stored::Applied { applied, .. })) => self.recent.applied(*applied),
            Some(Event::Stored(Stored::Read { pages, .. })) => self.recent.keep(queries, pages),
            _ => {}
        }
    }

    fn flush_if_due(&mut self) -> Result<(), S::Error> {
        if !self.worker.wants_flush() {
            self.flush_at = None;
            return Ok(());
        }
        let now = Instant::now();
        let at = *self.flush_at.get_or_insert(now + limits::STATE_FLUSH_INTERVAL);
        if now < at && !self.worker.is_full() {
            return Ok(());
        }
        self.flush_at = None;
        let flushed = self.flushed.clone();
        let done: Done = Box::new(move || drop(flushed.send(Inbox::Flushed)));
        self.worker.begin_flush(done)
    }

    fn publish(&self) {
        self.publish.send_replace(Arc::new(self.worker.store().status()));
    }

    fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            // The driver is gone only when the process ends.
            let _ = self.outbox.blocking_send(event);
        }
    }
}
