//! The state machine's database, one redb file: membership, activation, the rows of the store, who
//! has written lately, and the index that all of it stands at.
//!
//! [`StateStore::apply`] costs no sync and no write: what changes stays in memory, over the
//! database, until a flush hands it to a thread that writes it in one transaction together with
//! the index. A crash goes back to the last one that was whole. The log must keep everything above
//! the index that [`StateStore::end_flush`] returned, and the node applies it again. Memory follows
//! the rate of writes, not the size of the store.
//!
//! A flush saves the allocator state with the commit (quick repair), so that opening after a crash
//! takes milliseconds whatever the size. Quick repair implies two-phase commit: two syncs for each
//! flush instead of one, once in `limits::STATE_FLUSH_INTERVAL`.
//!
//! It does not know what the state of the cluster means, and it is not the place for what Raft must
//! remember: that is the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::Database;

use self::database::{Decoded, Head, ROWS, beside};
use self::error::{corrupt, io_error};
use self::flusher::{Flush, Flusher};
use self::layers::{Changes, Layers, StoredRows};
use crate::core::kv::{self, Answered, Clients, Committed, Context, Page, Query, Range, Work};
use crate::core::message::Snapshot;
use crate::core::snapshot::has_rows;
use crate::core::state::ClusterState;
use crate::core::{Index, Term};
use crate::limits;

mod database;
mod error;
mod examine;
mod flusher;
mod incoming;
mod layers;
mod row;
mod view;

pub use error::StateStoreError;
pub use incoming::{Incoming, IncomingError};
pub use row::RowSum;
pub use view::{Piece, SnapshotHeader, View};

/// The database of the applied state.
pub struct StateStore {
    path: PathBuf,
    cache_bytes: usize,
    /// BEFORE the database: it ends before that is closed.
    flusher: Flusher,
    rows: StoredRows,
    database: Arc<Database>,
    /// What has changed since the last flush.
    changes: Changes,
    /// What is being written, and up to which index.
    flushing: Option<(Arc<Changes>, Index)>,
    /// As of what is applied; its clients are not encoded.
    head: Head,
    clients: Clients,
    durable: Index,
}

/// What the database held when it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredState {
    /// The state.
    pub state: ClusterState,
    /// The last entry it includes, and its term; (0, 0) for none.
    pub applied: (Index, Term),
}

/// What is known of the store at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows.
    pub keys: u64,
    /// Their bytes, as the quota counts them.
    pub bytes: u64,
    /// Clients whose last write is remembered.
    pub clients: u64,
}

impl StateStore {
    /// Opens the database at `path`, or makes one, with a page cache of `cache_bytes`.
    pub fn open(
        path: impl Into<PathBuf>,
        cache_bytes: usize,
    ) -> Result<(StateStore, StoredState), StateStoreError> {
        let path = path.into();
        // What an interrupted install or first start left is in nobody's way.
        database::remove(&beside(&path, UNFINISHED))?;
        if !path.try_exists().map_err(|e| io_error(&path, "open", e))? {
            write_database(&path, cache_bytes, &Head::default())?;
        }
        examine::examine(&path)?;
        let database = Arc::new(database::open(&path, cache_bytes)?);
        let Decoded { head, state, clients } = database::read(&path, &database)?;
        let rows = StoredRows::open(&path, &database)?;
        let flusher = Flusher::start(path.clone()).map_err(|e| io_error(&path, "start", e))?;
        let (applied, durable) = (head.applied, head.applied.0);
        let (changes, flushing) = (Changes::default(), None);
        let store = StateStore {
            path,
            cache_bytes,
            flusher,
            rows,
            database,
            changes,
            flushing,
            head,
            clients,
            durable,
        };
        Ok((store, StoredState { state, applied }))
    }

    /// Applies committed entries; the outcomes that are awaited. Durable with the next flush.
    ///
    /// # Panics
    /// If `applied` goes back.
    pub fn apply(&mut self, work: Work) -> Result<Vec<Answered>, StateStoreError> {
        let (before, applied) = (self.head.applied, work.applied);
        assert!(applied >= before, "applied {applied:?} after {before:?}");
        let mut answered = Vec::new();
        for Committed { index, token, command, awaited } in work.commands {
            let mut layers = Layers {
                active: &mut self.changes,
                flushing: self.flushing.as_ref().map(|(changes, _)| changes.as_ref()),
                stored: &self.rows,
            };
            let (size, clients) = (&mut self.head.bytes, &mut self.clients);
            let done = kv::apply(&mut layers, size, clients, Context { index, token }, &command)?;
            self.head.keys = self.head.keys.saturating_add_signed(done.keys);
            answered.extend(awaited.answer(index, &command, done.outcome));
        }
        if let Some(state) = &work.state {
            self.head.state = state.to_bytes();
        }
        self.head.applied = applied;
        if self.changes.bytes > limits::STATE_CHANGES_MAX_BYTES {
            self.flush_here()?;
        }
        Ok(answered)
    }

    /// The rows that a query asks for, as of what is applied.
    pub fn read(&mut self, query: &Query) -> Result<Page, StateStoreError> {
        let layers = Layers {
            active: &mut self.changes,
            flushing: self.flushing.as_ref().map(|(changes, _)| changes.as_ref()),
            stored: &self.rows,
        };
        if query.is_prefix {
            return kv::page(&layers, &Range::from(query));
        }
        let row = kv::get(&layers, &query.key)?;
        let rows = row.map(|row| (query.key.clone(), row)).into_iter().collect();
        Ok(Page { rows, more: false })
    }

    /// Whether a flush should not wait for its time.
    pub fn is_full(&self) -> bool {
        self.changes.bytes > limits::STATE_CHANGES_BYTES
    }

    /// Hands what has changed over to be written by a thread, which calls `done` at the end of it.
    /// False, and no call: nothing has changed, or a flush goes on.
    pub fn begin_flush(&mut self, done: Box<dyn FnOnce() + Send>) -> bool {
        if self.flushing.is_some() || self.durable == self.head.applied.0 {
            return false;
        }
        let changes = Arc::new(std::mem::take(&mut self.changes));
        let head = Head { clients: self.clients.to_bytes(), ..self.head.clone() };
        self.flushing = Some((Arc::clone(&changes), head.applied.0));
        let database = Arc::clone(&self.database);
        self.flusher.begin(Flush { database, head, changes, done });
        true
    }

    /// Takes the result of the flush that was begun, and waits for it if need be; returns the index
    /// up to which everything is durable.
    pub fn end_flush(&mut self) -> Result<Index, StateStoreError> {
        if let Some((changes, index)) = self.flushing.take() {
            self.flusher.wait()?;
            self.rows = StoredRows::open(&self.path, &self.database)?;
            self.durable = index;
            self.flusher.free(changes);
        }
        Ok(self.durable)
    }

    /// Makes everything applied so far durable, now; returns the applied index that now is.
    pub fn flush(&mut self) -> Result<Index, StateStoreError> {
        self.end_flush()?;
        if self.begin_flush(Box::new(|| {})) {
            self.end_flush()?;
        }
        Ok(self.durable)
    }

    /// As [`StateStore::flush`], without the thread: that may wait for this one to take its word.
    fn flush_here(&mut self) -> Result<(), StateStoreError> {
        self.end_flush()?;
        let changes = std::mem::take(&mut self.changes);
        let head = Head { clients: self.clients.to_bytes(), ..self.head.clone() };
        database::write(&self.path, &self.database, &head, &changes)?;
        self.rows = StoredRows::open(&self.path, &self.database)?;
        self.durable = head.applied.0;
        Ok(())
    }

    /// The last applied entry and its term.
    pub fn applied(&self) -> (Index, Term) {
        self.head.applied
    }

    /// The applied index that survives a crash.
    pub fn durable_index(&self) -> Index {
        self.durable
    }

    /// What is applied, in numbers.
    pub fn counts(&self) -> Counts {
        let clients = self.clients.len() as u64;
        Counts { keys: self.head.keys, bytes: self.head.bytes, clients }
    }

    /// Where the database is: [`Incoming`] puts a snapshot beside it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is durable now, for a snapshot to be sent.
    pub fn view(&self) -> Result<View, StateStoreError> {
        View::open(&self.path, &self.database)
    }

    /// Replaces everything by a snapshot, durably: by the one that [`Incoming::finish`] left, if it
    /// is this one; else by what the snapshot itself contains, which has no rows. A crash leaves
    /// the old database or the new one. The log must be told afterwards
    /// ([`super::LogStore::install`]).
    pub fn install(&mut self, snapshot: &Snapshot) -> Result<StoredState, StateStoreError> {
        self.end_flush()?;
        let applied = (snapshot.index, snapshot.term);
        let received = beside(&self.path, RECEIVED);
        let exists = received.try_exists().map_err(|e| io_error(&received, "open", e))?;
        if exists && self.holds(&received, applied)? {
            database::rename(&received, &self.path)?;
        } else if has_rows(&snapshot.data) {
            return Err(corrupt(&received, format!("no rows for index {}", snapshot.index)));
        } else {
            let state = ClusterState::from_bytes(&snapshot.data)
                .map_err(|source| StateStoreError::Snapshot { index: snapshot.index, source })?;
            let head = Head { applied, state: state.to_bytes(), ..Head::default() };
            write_database(&self.path, self.cache_bytes, &head)?;
        }
        self.reopen()
    }

    /// Whether the database at `path` is whole and stands at `applied`.
    fn holds(&self, path: &Path, applied: (Index, Term)) -> Result<bool, StateStoreError> {
        let database = database::open(path, self.cache_bytes)?;
        Ok(database::read(path, &database)?.head.applied == applied)
    }

    /// Takes what now has the name of the database. The old one goes with its file, which has no
    /// name any more.
    fn reopen(&mut self) -> Result<StoredState, StateStoreError> {
        let database = Arc::new(database::open(&self.path, self.cache_bytes)?);
        let Decoded { head, state, clients } = database::read(&self.path, &database)?;
        self.rows = StoredRows::open(&self.path, &database)?;
        self.database = database;
        self.changes = Changes::default();
        (self.head, self.clients) = (head, clients);
        self.durable = self.head.applied.0;
        Ok(StoredState { state, applied: self.head.applied })
    }
}

/// Writes a whole new database without rows and gives it its name when it is durable.
fn write_database(path: &Path, cache_bytes: usize, head: &Head) -> Result<(), StateStoreError> {
    let unfinished = beside(path, UNFINISHED);
    drop(database::create(&unfinished, cache_bytes, head)?);
    database::rename(&unfinished, path)
}

/// A new database that is being written.
const UNFINISHED: &str = "new";

/// A snapshot that has arrived and was not installed yet.
const RECEIVED: &str = "received";

#[cfg(test)]
mod tests;
