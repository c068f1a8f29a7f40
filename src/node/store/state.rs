//! The database of the applied state as a [`Store`].

use super::{Done, Store, StoreStatus};
use crate::core::Index;
use crate::core::kv::{Answered, Page, Query, Work};
use crate::core::message::Snapshot;
use crate::node::snapshot::{DatabaseIntakes, Intakes, RowView};
use crate::storage::state_store::{Counts, StateStore, StateStoreError};

/// The database, and what is said of it.
pub struct DatabaseStore {
    database: StateStore,
    quota_bytes: u64,
}

impl DatabaseStore {
    /// A store over an opened database, on a node with this quota.
    pub fn new(database: StateStore, quota_bytes: u64) -> Self {
        DatabaseStore { database, quota_bytes }
    }
}

impl Store for DatabaseStore {
    type Error = StateStoreError;

    fn apply(&mut self, work: Work) -> Result<Vec<Answered>, StateStoreError> {
        self.database.apply(work)
    }

    fn read(&mut self, query: &Query) -> Result<Page, StateStoreError> {
        self.database.read(query)
    }

    fn applied(&self) -> Index {
        self.database.applied().0
    }

    fn bytes(&self) -> u64 {
        self.database.counts().bytes
    }

    fn is_full(&self) -> bool {
        self.database.is_full()
    }

    fn begin_flush(&mut self, done: Done) -> Result<bool, StateStoreError> {
        Ok(self.database.begin_flush(done))
    }

    fn end_flush(&mut self) -> Result<Index, StateStoreError> {
        self.database.end_flush()
    }

    fn install(&mut self, snapshot: &Snapshot) -> Result<(), StateStoreError> {
        self.database.install(snapshot).map(drop)
    }

    fn view(&mut self) -> Result<Option<Box<dyn RowView>>, StateStoreError> {
        if self.database.durable_index() == 0 {
            return Ok(None);
        }
        let view: Box<dyn RowView> = Box::new(self.database.view()?);
        Ok(Some(view))
    }

    fn intakes(&self) -> Box<dyn Intakes> {
        Box::new(DatabaseIntakes(self.database.path().to_owned()))
    }

    fn status(&self) -> StoreStatus {
        let Counts { keys, bytes, clients } = self.database.counts();
        StoreStatus {
            keys,
            bytes,
            quota_bytes: self.quota_bytes,
            clients,
            applied: self.database.applied().0,
            durable: self.database.durable_index(),
            ..StoreStatus::default()
        }
    }
}
