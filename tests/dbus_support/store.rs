//! A store in memory, as a node would answer from it.

use raftctl::core::Token;
use raftctl::core::kv::{
    self, Clients, Context, KvCommand, MemoryTable, Page, Query, Range, Refusal,
};
use raftctl::limits;
use raftctl::node::kv::{Consistency, KvError, KvPage, KvRead, KvRequest, KvWrite};

/// Rows in memory, and what a test wants to happen.
pub struct FakeStore {
    pub table: MemoryTable,
    pub token: Option<Token>,
    pub quota_bytes: u64,
    /// What every request is answered with instead.
    pub refuses: Option<KvError>,
    /// What was asked, in words.
    pub asked: Vec<String>,
    size: u64,
    clients: Clients,
    index: u64,
}

impl Default for FakeStore {
    fn default() -> FakeStore {
        FakeStore {
            table: MemoryTable::default(),
            token: Some(Token(42)),
            quota_bytes: 8 << 20,
            refuses: None,
            asked: Vec::new(),
            size: 0,
            clients: Clients::default(),
            index: 100,
        }
    }
}

impl FakeStore {
    /// Answers one request.
    pub fn answer(&mut self, request: KvRequest) {
        match request {
            KvRequest::Write { write, reply } => {
                self.asked.push(format!("{write:?}"));
                let _ = reply.send(self.write(write));
            }
            KvRequest::Read { read, reply } => {
                self.asked.push(format!("{read:?}"));
                let _ = reply.send(self.read(read));
            }
        }
    }

    fn write(&mut self, write: KvWrite) -> Result<kv::Written, KvError> {
        if let Some(error) = &self.refuses {
            return Err(error.clone());
        }
        let command = KvCommand {
            quota_bytes: self.quota_bytes,
            clients_max: 1,
            token: write.token.map(|token| token.0),
            operation: Some(write.operation),
            ..KvCommand::default()
        };
        kv::check(&command)?;
        self.index += 1;
        let context = Context { index: self.index, token: self.token };
        let FakeStore { table, size, clients, .. } = self;
        let applied = kv::apply(table, size, clients, context, &command).unwrap();
        applied.outcome.result().cloned().map_err(|refusal| match refusal {
            Refusal::Token => KvError::Token { given: command.token.unwrap() },
            Refusal::Quota => KvError::Quota { quota_bytes: self.quota_bytes },
            other => panic!("{other:?}"),
        })
    }

    fn read(&mut self, KvRead { query, consistency, .. }: KvRead) -> Result<KvPage, KvError> {
        if let Some(error) = &self.refuses {
            return Err(error.clone());
        }
        kv::check_query(&query)?;
        let age = match consistency {
            Consistency::Linearizable => Some(std::time::Duration::ZERO),
            Consistency::Stale => Some(std::time::Duration::from_millis(250)),
        };
        Ok(KvPage { page: self.page(&query), revision: self.index, age })
    }

    fn page(&self, query: &Query) -> Page {
        if query.is_prefix {
            return kv::page(&self.table, &Range::from(query)).unwrap();
        }
        let row = kv::get(&self.table, &query.key).unwrap();
        Page { rows: row.map(|row| (query.key.clone(), row)).into_iter().collect(), more: false }
    }
}

/// More than a page, with keys in order.
pub fn keys(count: usize) -> Vec<Vec<u8>> {
    assert!(count <= 10 * limits::KV_PAGE_ROWS_MAX);
    (0..count).map(|at| format!("many/{at:05}").into_bytes()).collect()
}
