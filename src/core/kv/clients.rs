//! Who has written lately, and what came of it: so that a write that is sent again applies once.

use std::collections::BTreeMap;

use prost::Message as _;

use super::command::{KvCommand, Outcome, Refusal, Response};
use crate::core::Index;

/// The last command of each of a bounded number of clients.
///
/// When there are more, the one is forgotten whose last command is the oldest. A command of an
/// unknown client is applied only if it cannot have been applied before: everything that has been
/// forgotten was committed already when it was sent for the first time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    known: BTreeMap<Vec<u8>, Client>,
    /// The same clients by the index of their last command.
    ages: BTreeMap<Index, Vec<u8>>,
    /// Where the newest command stood that was forgotten.
    forgotten: Index,
}

/// Bytes of a result that are kept; of a longer one, what its reads found is forgotten. Part of the
/// replicated format: another number would be another state.
const KEPT_OUTCOME_BYTES: usize = 1024;

/// What is known of a command before it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is new.
    No,
    /// It was applied, with this result.
    Yes(Outcome),
    /// It must not be applied, for this reason.
    Refused(Refusal),
}

/// The last command of one client.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Client {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(uint64, tag = "3")]
    index: Index,
    #[prost(message, optional, tag = "4")]
    outcome: Option<Outcome>,
}

/// All of it, as bytes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Encoded {
    #[prost(message, repeated, tag = "1")]
    clients: Vec<Client>,
    #[prost(uint64, tag = "2")]
    forgotten: Index,
}

impl Clients {
    /// Looks a command up.
    pub fn look(&self, command: &KvCommand) -> Known {
        if command.client.is_empty() {
            return Known::No;
        }
        match self.known.get(&command.client) {
            None if command.since < self.forgotten => Known::Refused(Refusal::Forgotten),
            None => Known::No,
            Some(client) if command.sequence > client.sequence => Known::No,
            Some(client) if command.sequence < client.sequence => {
                Known::Refused(Refusal::Superseded)
            }
            Some(client) => Known::Yes(client.outcome.clone().unwrap_or_default()),
        }
    }

    /// Remembers what came of the command at `index`; forgets the oldest beyond
    /// `command.clients_max`.
    pub fn remember(&mut self, index: Index, command: &KvCommand, outcome: &Outcome) {
        if command.client.is_empty() {
            return;
        }
        let outcome = Some(shortened(outcome));
        let (id, sequence) = (command.client.clone(), command.sequence);
        let client = Client { id: id.clone(), sequence, index, outcome };
        if let Some(before) = self.known.insert(id.clone(), client) {
            self.ages.remove(&before.index);
        }
        self.ages.insert(index, id);
        while self.known.len() > command.clients_max.max(1) as usize {
            let Some((index, id)) = self.ages.pop_first() else { break };
            self.known.remove(&id);
            self.forgotten = index;
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// All of it, for a snapshot.
    pub fn to_bytes(&self) -> Vec<u8> {
        let clients = self.ages.values().map(|id| self.known[id].clone()).collect();
        Encoded { clients, forgotten: self.forgotten }.encode_to_vec()
    }

    /// Reads it back.
    pub fn from_bytes(bytes: &[u8]) -> Result<Clients, prost::DecodeError> {
        let Encoded { clients, forgotten } = Encoded::decode(bytes)?;
        let mut read = Clients { forgotten, ..Clients::default() };
        for client in clients {
            if let Some(before) = read.known.insert(client.id.clone(), client.clone()) {
                read.ages.remove(&before.index);
            }
            read.ages.insert(client.index, client.id);
        }
        Ok(read)
    }
}

/// What is kept of a result: what its reads found only if that is short.
fn shortened(outcome: &Outcome) -> Outcome {
    let mut kept = outcome.clone();
    if outcome.encoded_len() > KEPT_OUTCOME_BYTES
        && let Some(Response::Written(written)) = &mut kept.response
    {
        written.reads = Vec::new();
        written.reads_forgotten = true;
    }
    kept
}
