//! The store of a simulated node: rows in memory, durable at the end of a flush.
//!
//! Rows are changed by what the node hands over and by nothing else. The node's own state machine
//! has rows as well (`recorder`): that both agree is an invariant, not an assumption.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use prost::Message as _;
use raftctl::core::kv::{
    Answered, Clients, Context, KvCommand, MemoryTable, Outcome, Page, Query, Range, Row, Work,
    apply, get, page,
};
use raftctl::core::message::Snapshot;
use raftctl::core::{Index, Term, Token};
use raftctl::node::event::Event;
use raftctl::node::snapshot::{Intakes, NoIntakes, RowView, ViewError};
use raftctl::node::store::{Done, Installer, Store, StoreStatus, StoreWorker};
use raftctl::storage::state_store::{Piece, RowSum, SnapshotHeader};

use super::recorder::{digest, rows_of, with_rows};

/// Rows, their size, and who wrote last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    table: MemoryTable,
    size: u64,
    clients: Clients,
}

/// All of it, as bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct Encoded {
    #[prost(message, repeated, tag = "1")]
    rows: Vec<EncodedRow>,
    #[prost(bytes = "vec", tag = "2")]
    clients: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EncodedRow {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
    #[prost(uint64, tag = "3")]
    revision: u64,
    #[prost(uint64, tag = "4")]
    created: u64,
}

impl Rows {
    /// Applies the command at `index`.
    pub fn apply(&mut self, index: Index, token: Option<Token>, command: &KvCommand) -> Outcome {
        let Rows { table, size, clients } = self;
        let Ok(applied) = apply(table, size, clients, Context { index, token }, command);
        applied.outcome
    }

    /// What a query asks for.
    pub fn read(&self, query: &Query) -> Page {
        if query.is_prefix {
            let Ok(page) = page(&self.table, &Range::from(query));
            return page;
        }
        let Ok(row) = get(&self.table, &query.key);
        Page { rows: row.map(|row| (query.key.clone(), row)).into_iter().collect(), more: false }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let row = |(key, row): (&Vec<u8>, &Row)| EncodedRow {
            key: key.clone(),
            value: row.value.clone(),
            revision: row.revision,
            created: row.created,
        };
        let rows = self.table.0.iter().map(row).collect();
        Encoded { rows, clients: self.clients.to_bytes() }.encode_to_vec()
    }

    pub fn from_bytes(bytes: &[u8]) -> Rows {
        let Encoded { rows, clients } = Encoded::decode(bytes).expect("was encoded");
        let clients = Clients::from_bytes(&clients).expect("was encoded");
        let mut read = Rows { clients, ..Rows::default() };
        for EncodedRow { key, value, revision, created } in rows {
            let row = Row { value, revision, created };
            read.size += row.size(&key);
            read.table.0.insert(key, row);
        }
        read
    }

    /// A number that differs where rows differ, or how many clients are known.
    pub fn digest(&self) -> u64 {
        let start = self.size ^ (self.clients.len() as u64) << 32;
        self.table.0.iter().fold(start, |hash, (key, row)| {
            let hash = digest(digest(hash, key), &row.value);
            hash.rotate_left(7) ^ row.revision ^ row.created << 32
        })
    }
}

/// What survives a process: the durable state machine, which is redb in production.
#[derive(Clone, Default)]
pub struct Stored {
    /// The state of the node's machine.
    pub bytes: Vec<u8>,
    /// What a snapshot of it would contain.
    pub snapshot: Vec<u8>,
    /// The rows that the store made of the same entries.
    pub rows: Rows,
    pub applied: (Index, Term),
}

/// A bug that is planted in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgets {
    /// It does not know who has written before: what is sent again is applied again.
    pub clients: bool,
}

/// The state of the node's machine without rows, and what a snapshot of it contains.
pub type Saved = (Vec<u8>, Vec<u8>);

/// The store of one process.
pub struct SimStore {
    durable: Arc<Mutex<Stored>>,
    /// What is applied and not flushed: the node's machine there, without rows.
    kept: Option<(Saved, (Index, Term))>,
    flushing: Option<Stored>,
    applied: Index,
    rows: Rows,
    forgets: Forgets,
    /// The state of the node's machine, without rows, at each applied index that may be kept.
    pub at: BTreeMap<Index, Saved>,
    /// Digests of the rows at the indexes where they changed, since somebody looked last.
    pub fresh: Vec<(Index, u64)>,
}

impl SimStore {
    /// A store over what the process before has left.
    pub fn new(durable: Arc<Mutex<Stored>>, forgets: Forgets) -> SimStore {
        let Stored { rows, applied, .. } = durable.lock().expect("one thread").clone();
        SimStore {
            durable,
            kept: None,
            flushing: None,
            applied: applied.0,
            rows,
            forgets,
            at: BTreeMap::new(),
            fresh: Vec::new(),
        }
    }

    fn durable(&self) -> MutexGuard<'_, Stored> {
        self.durable.lock().expect("one thread")
    }
}

impl Store for SimStore {
    type Error = Infallible;

    fn apply(&mut self, work: Work) -> Result<Vec<Answered>, Infallible> {
        let mut answers = Vec::new();
        for committed in work.commands {
            let (index, mut command) = (committed.index, committed.command);
            let asked = command.clone();
            if self.forgets.clients {
                command.client.clear();
            }
            let outcome = self.rows.apply(index, committed.token, &command);
            self.fresh.push((index, self.rows.digest()));
            answers.extend(committed.awaited.answer(index, &asked, outcome));
        }
        let applied = work.applied;
        self.at = self.at.split_off(&applied.0);
        let bytes = self.at.remove(&applied.0).expect("set before");
        self.kept = Some((bytes, applied));
        self.applied = applied.0;
        Ok(answers)
    }

    fn read(&mut self, query: &Query) -> Result<Page, Infallible> {
        Ok(self.rows.read(query))
    }

    fn applied(&self) -> Index {
        self.applied
    }

    fn bytes(&self) -> u64 {
        self.rows.size
    }

    fn begin_flush(&mut self, done: Done) -> Result<bool, Infallible> {
        self.flushing = self.kept.take().map(|((bytes, snapshot), applied)| {
            let rows = self.rows.clone();
            Stored { bytes: with_rows(&bytes, &rows), snapshot, rows, applied }
        });
        done();
        Ok(self.flushing.is_some())
    }

    fn end_flush(&mut self) -> Result<Index, Infallible> {
        if let Some(flushed) = self.flushing.take()
            && flushed.applied.0 > self.durable().applied.0
        {
            *self.durable() = flushed;
        }
        Ok(self.durable().applied.0)
    }

    fn install(&mut self, snapshot: &Snapshot) -> Result<(), Infallible> {
        self.kept = None;
        let (bytes, applied) = (snapshot.data.clone(), (snapshot.index, snapshot.term));
        self.applied = applied.0;
        self.rows = rows_of(&bytes);
        self.fresh.push((applied.0, self.rows.digest()));
        let snapshot = bytes.clone();
        *self.durable() = Stored { bytes, snapshot, rows: self.rows.clone(), applied };
        Ok(())
    }

    fn view(&mut self) -> Result<Option<Box<dyn RowView>>, Infallible> {
        let Stored { snapshot, applied: (index, term), .. } = self.durable().clone();
        let header = SnapshotHeader { index, term, state: snapshot, ..SnapshotHeader::default() };
        Ok((index > 0).then(|| Box::new(SimView(header)) as Box<dyn RowView>))
    }

    fn intakes(&self) -> Box<dyn Intakes> {
        Box::new(NoIntakes)
    }

    fn status(&self) -> StoreStatus {
        StoreStatus::default()
    }
}

/// A view whose rows are in the state of the node's machine: they travel in one message.
struct SimView(SnapshotHeader);

impl RowView for SimView {
    fn header(&self) -> &SnapshotHeader {
        &self.0
    }

    fn rows_after(&self, _: Option<&[u8]>, _: usize, _: &mut RowSum) -> Result<Piece, ViewError> {
        Ok(Piece { rows: Vec::new(), last: None })
    }

    fn sum_through(&self, _: Option<&[u8]>) -> Result<RowSum, ViewError> {
        Ok(RowSum::default())
    }
}

/// The thread of the store, which the disk thread asks to install a snapshot.
#[derive(Clone)]
pub struct StoreSide(Arc<Mutex<(StoreWorker<SimStore>, Vec<Event>)>>);

impl StoreSide {
    pub fn new(store: SimStore) -> Self {
        StoreSide(Arc::new(Mutex::new((StoreWorker::new(store), Vec::new()))))
    }

    pub fn lock(&self) -> MutexGuard<'_, (StoreWorker<SimStore>, Vec<Event>)> {
        self.0.lock().expect("one thread")
    }
}

impl Installer for StoreSide {
    type Error = Infallible;

    fn install(&mut self, snapshot: &Snapshot) -> Result<(), Infallible> {
        let (worker, told) = &mut *self.lock();
        told.extend(worker.install(snapshot)?);
        Ok(())
    }
}
