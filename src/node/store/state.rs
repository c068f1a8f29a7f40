//! The database of the applied state as a [`Store`].
//!
//! Its rows are still in memory only and gone after a restart: the database has none yet.

use super::{Done, Store, StoreStatus};
use crate::core::Index;
use crate::core::kv::{Answered, Clients, Context, MemoryTable, Page, Query, Range, Work};
use crate::core::kv::{apply, get, page};
use crate::core::message::Snapshot;
use crate::core::state::ClusterState;
use crate::limits;
use crate::node::snapshot::{DatabaseIntakes, Intakes, RowView};
use crate::storage::state_store::{StateStore, StateStoreError};

/// The database, and the rows.
pub struct DatabaseStore {
    database: StateStore,
    state: ClusterState,
    table: MemoryTable,
    size: u64,
    clients: Clients,
}

impl DatabaseStore {
    /// A store over an opened database, which holds `state`.
    pub fn new(database: StateStore, state: ClusterState) -> Self {
        let (table, clients) = (MemoryTable::default(), Clients::default());
        DatabaseStore { database, state, table, size: 0, clients }
    }
}

impl Store for DatabaseStore {
    type Error = StateStoreError;

    fn apply(&mut self, work: Work) -> Result<Vec<Answered>, StateStoreError> {
        let mut answers = Vec::new();
        for committed in work.commands {
            let context = Context { index: committed.index, token: committed.token };
            let (table, clients) = (&mut self.table, &mut self.clients);
            let applied = apply(table, &mut self.size, clients, context, &committed.command);
            let Ok(applied) = applied;
            if committed.wanted {
                let (client, sequence) = (committed.command.client, committed.command.sequence);
                let (index, outcome) = (committed.index, applied.outcome);
                answers.push(Answered { index, client, sequence, outcome });
            }
        }
        if let Some(state) = work.state {
            self.state = state;
        }
        self.database.apply(&self.state, work.applied)?;
        Ok(answers)
    }

    fn read(&mut self, query: &Query) -> Result<Page, StateStoreError> {
        if query.is_prefix {
            let Ok(page) = page(&self.table, &Range::from(query));
            return Ok(page);
        }
        let Ok(row) = get(&self.table, &query.key);
        let rows = row.map(|row| (query.key.clone(), row)).into_iter().collect();
        Ok(Page { rows, more: false })
    }

    fn applied(&self) -> Index {
        self.database.applied().0
    }

    fn begin_flush(&mut self, done: Done) -> Result<bool, StateStoreError> {
        self.database.flush()?;
        done();
        Ok(true)
    }

    fn end_flush(&mut self) -> Result<Index, StateStoreError> {
        Ok(self.database.durable_index())
    }

    fn install(&mut self, snapshot: &Snapshot) -> Result<(), StateStoreError> {
        self.state = self.database.install(snapshot)?.state;
        Ok(())
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
        StoreStatus {
            keys: self.table.0.len() as u64,
            bytes: self.size,
            quota_bytes: limits::KV_QUOTA_BYTES,
            clients: self.clients.len() as u64,
            applied: self.database.applied().0,
            durable: self.database.durable_index(),
            ..StoreStatus::default()
        }
    }
}
