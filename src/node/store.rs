//! The store beside the node: a thread that applies committed writes to rows and answers reads.
//!
//! [`Store`] is what keeps rows and the state of the cluster, durably and together; the floor of
//! files implements it, and the simulator. [`StoreWorker`] carries out the requests of the node in
//! their order; production runs it on a thread of its own, the simulator in its only thread.
//!
//! An error is never retried: the process ends, and recovery decides what is true.

use std::collections::VecDeque;

use prost::Message as _;

use super::event::Event;
use super::snapshot::{Intakes, Position, RowView, ViewSlot};
use crate::core::Index;
use crate::core::kv::{Answered, Page, Query, Work};
use crate::core::message::Snapshot;

mod recent;
mod state;
mod thread;

pub use state::DatabaseStore;
pub(super) use thread::{StoreThread, start};

/// Keeps rows and the state of the cluster, together.
pub trait Store: Send {
    /// Why it cannot.
    type Error: std::error::Error + Send + 'static;

    /// Applies committed entries; the outcomes that are awaited. Not durable before a flush.
    fn apply(&mut self, work: Work) -> Result<Vec<Answered>, Self::Error>;

    /// The rows that a query asks for.
    fn read(&mut self, query: &Query) -> Result<Page, Self::Error>;

    /// Index up to which everything is applied.
    fn applied(&self) -> Index;

    /// Bytes that it holds, as the quota counts them.
    fn bytes(&self) -> u64;

    /// Whether so much has changed since the last flush that the next must not wait for its time.
    fn is_full(&self) -> bool {
        false
    }

    /// Begins to make durable what is applied, away from this thread; `done` is called at the end
    /// of it, whatever its result. False: nothing is to be done, or a flush goes on.
    fn begin_flush(&mut self, done: Done) -> Result<bool, Self::Error>;

    /// Takes the result of the flush that goes on, and waits for it if need be; returns the index
    /// up to which everything is durable.
    fn end_flush(&mut self) -> Result<Index, Self::Error>;

    /// Replaces everything by a snapshot, durably; a flush that goes on is over before.
    fn install(&mut self, snapshot: &Snapshot) -> Result<(), Self::Error>;

    /// What is durable now, to be read by another thread for a snapshot; `None`: nothing yet.
    fn view(&mut self) -> Result<Option<Box<dyn RowView>>, Self::Error>;

    /// Where snapshots arrive that [`Store::install`] is to install.
    fn intakes(&self) -> Box<dyn Intakes>;

    /// What there is to know about it; the fields about the log are others'.
    fn status(&self) -> StoreStatus;
}

/// Tells the thread of the store that a flush is over.
pub type Done = Box<dyn FnOnce() + Send>;

/// Makes the store install a snapshot, and waits for it: the disk thread's way to the store.
pub trait Installer: Send {
    /// Why it was not installed.
    type Error: std::error::Error + Send + 'static;

    /// Replaces the state by a snapshot, durably.
    fn install(&mut self, snapshot: &Snapshot) -> Result<(), Self::Error>;
}

/// What the node asks of the store, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreRequest {
    /// Apply this; answered by [`Stored::Applied`], and once it is durable by
    /// [`super::event::Event::StateDurable`].
    Apply(Work),
    /// Read, AFTER what was asked to be applied; answered by [`Stored::Read`].
    Read(Vec<(u64, Query)>),
    /// Leave a view of what is durable, for a snapshot; answered by [`Stored::Viewed`].
    View,
}

/// What the store has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Everything up to here is applied to the rows.
    Applied {
        /// Up to where.
        applied: Index,
        /// Bytes that the store holds then, as the quota counts them.
        bytes: u64,
        /// The outcomes that are awaited.
        outcomes: Vec<Answered>,
    },
    /// What reads found, by their numbers, and up to which index the rows were applied.
    Read {
        /// The answers.
        pages: Vec<(u64, Page)>,
        /// Up to where.
        applied: Index,
    },
    /// A view is there, of this; or there is nothing yet.
    Viewed(Option<Viewed>),
}

/// What a view shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewed {
    /// The last entry that it includes.
    pub position: Position,
    /// The state of the cluster, encoded.
    pub state: Vec<u8>,
    /// Everything but the rows, encoded.
    pub header: Vec<u8>,
    /// Rows.
    pub keys: u64,
    /// Their bytes, as the quota counts them.
    pub bytes: u64,
    /// Whether there is more than the state of the cluster.
    pub has_rows: bool,
}

impl Viewed {
    fn of(view: &dyn RowView) -> Viewed {
        let header = view.header();
        Viewed {
            position: (header.index, header.term),
            state: header.state.clone(),
            header: header.encode_to_vec(),
            keys: header.keys,
            bytes: header.bytes,
            has_rows: header.keys > 0 || !header.clients.is_empty(),
        }
    }
}

/// What is known of the store, for whoever looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Rows.
    pub keys: u64,
    /// Bytes that count towards the quota.
    pub bytes: u64,
    /// The quota of this node.
    pub quota_bytes: u64,
    /// Clients whose last write is remembered.
    pub clients: u64,
    /// Index up to which rows are applied.
    pub applied: Index,
    /// Index up to which they are durable.
    pub durable: Index,
    /// First index that the log still has.
    pub log_first: Index,
    /// Bytes of the log's entries, about; those from before the start are left out.
    pub log_bytes: u64,
    /// A snapshot on its way to this node, or from it.
    pub snapshots: Vec<SnapshotProgress>,
    /// Snapshots that this node has installed since its start.
    pub snapshots_installed: u64,
    /// Snapshots that this node has sent since its start.
    pub snapshots_sent: u64,
}

/// What the driver knows of the log and of snapshots, for [`StoreStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TravelStatus {
    /// See [`StoreStatus`].
    pub log_first: Index,
    /// See [`StoreStatus`].
    pub log_bytes: u64,
    /// See [`StoreStatus`].
    pub snapshots: Vec<SnapshotProgress>,
    /// See [`StoreStatus`].
    pub snapshots_installed: u64,
    /// See [`StoreStatus`].
    pub snapshots_sent: u64,
}

impl StoreStatus {
    /// The same, with what the driver knows.
    pub fn with(self, travels: &TravelStatus) -> StoreStatus {
        let TravelStatus { log_first, log_bytes, snapshots, .. } = travels.clone();
        StoreStatus {
            log_first,
            log_bytes,
            snapshots,
            snapshots_installed: travels.snapshots_installed,
            snapshots_sent: travels.snapshots_sent,
            ..self
        }
    }
}

/// A snapshot that travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Name of the other node.
    pub peer: String,
    /// Whether it comes from there.
    pub incoming: bool,
    /// Position that it contains.
    pub index: Index,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes in all, about.
    pub total_bytes: u64,
}

/// A store, and the requests that wait for it.
pub struct StoreWorker<S> {
    store: S,
    queue: VecDeque<StoreRequest>,
    /// Something is applied that no flush has taken.
    dirty: bool,
    flushes: bool,
    views: ViewSlot,
}

impl<S: Store> StoreWorker<S> {
    /// A worker with nothing to do.
    pub fn new(store: S) -> Self {
        let views = ViewSlot::default();
        StoreWorker { store, queue: VecDeque::new(), dirty: false, flushes: false, views }
    }

    /// Adds a request. How many wait is bounded by the node (`limits::STORE_WAITING_ENTRIES`).
    pub fn push(&mut self, request: StoreRequest) {
        self.queue.push_back(request);
    }

    /// Whether requests wait.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether something is applied that no flush has taken, and none goes on.
    pub fn wants_flush(&self) -> bool {
        self.dirty && !self.flushes
    }

    /// Whether the next flush must not wait for its time.
    pub fn is_full(&self) -> bool {
        self.store.is_full()
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, to change it.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Where it leaves views.
    pub fn views(&self) -> ViewSlot {
        self.views.clone()
    }

    /// Carries out the oldest request.
    pub fn step(&mut self) -> Result<Option<Event>, S::Error> {
        let stored = match self.queue.pop_front() {
            None => return Ok(None),
            Some(StoreRequest::Apply(work)) => {
                let applied = work.applied.0;
                self.dirty = true;
                let outcomes = self.store.apply(work)?;
                Stored::Applied { applied, bytes: self.store.bytes(), outcomes }
            }
            Some(StoreRequest::Read(queries)) => {
                let applied = self.store.applied();
                let read = |(number, query): (u64, Query)| Ok((number, self.store.read(&query)?));
                let pages = queries.into_iter().map(read).collect::<Result<_, _>>()?;
                Stored::Read { pages, applied }
            }
            Some(StoreRequest::View) => {
                let view = self.store.view()?;
                let viewed = view.as_deref().map(Viewed::of);
                view.into_iter().for_each(|view| self.views.put(view));
                Stored::Viewed(viewed)
            }
        };
        Ok(Some(Event::Stored(stored)))
    }

    /// Begins to make durable what is applied, unless that goes on already.
    pub fn begin_flush(&mut self, done: Done) -> Result<(), S::Error> {
        if self.wants_flush() {
            self.flushes = self.store.begin_flush(done)?;
            self.dirty = false;
        }
        Ok(())
    }

    /// The flush that went on is over.
    pub fn end_flush(&mut self) -> Result<Option<Event>, S::Error> {
        if !self.flushes {
            return Ok(None);
        }
        self.flushes = false;
        let index = self.store.end_flush()?;
        Ok(Some(Event::StateDurable { index }))
    }

    /// Carries out everything that waits, then replaces it by a snapshot.
    pub fn install(&mut self, snapshot: &Snapshot) -> Result<Vec<Event>, S::Error> {
        let mut events = Vec::new();
        while self.has_work() {
            events.extend(self.step()?);
        }
        events.extend(self.end_flush()?);
        self.store.install(snapshot)?;
        self.dirty = false;
        Ok(events)
    }

    /// The end: everything that waits is carried out and durable.
    pub fn finish(&mut self) -> Result<(), S::Error> {
        while self.has_work() {
            self.step()?;
        }
        self.end_flush()?;
        self.begin_flush(Box::new(|| {}))?;
        self.end_flush().map(drop)
    }
}
