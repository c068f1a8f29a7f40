//! What the log hands to whoever keeps the rows, and what comes back.

use super::command::{KvCommand, Outcome};
use super::foresee::foreseen;
use crate::core::state::ClusterState;
use crate::core::{Index, Term, Token};

/// One committed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Index of its entry: the revision of what it writes.
    pub index: Index,
    /// Token of the activation in force at that index.
    pub token: Option<Token>,
    /// The write.
    pub command: KvCommand,
    /// What is done with its outcome.
    pub awaited: Awaited,
}

/// Whether anybody here waits for the outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Nobody.
    No,
    /// Somebody.
    Yes,
    /// Somebody did, and has it: it was foreseen ([`super::Room`]).
    Foreseen,
}

impl Awaited {
    /// What is to be said of a write that was applied.
    ///
    /// # Panics
    /// If it was foreseen otherwise: somebody relies on a write that was not done.
    pub fn answer(self, index: Index, command: &KvCommand, outcome: Outcome) -> Option<Answered> {
        let (client, sequence) = match self {
            Awaited::No => return None,
            Awaited::Yes => (command.client.clone(), command.sequence),
            Awaited::Foreseen => {
                let expected = foreseen(index);
                assert!(outcome == expected, "{command:?} at {index} came to {outcome:?}");
                return None;
            }
        };
        Some(Answered { index, client, sequence, outcome })
    }
}

/// Committed entries, in order, for whoever keeps the applied state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// The writes among them.
    pub commands: Vec<Committed>,
    /// Position of the last of the entries, writes or not.
    pub applied: (Index, Term),
    /// The state of the cluster at that position, if it changed.
    pub state: Option<Box<ClusterState>>,
}

/// The outcome of a committed write that somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Index of its entry.
    pub index: Index,
    /// The client that it names.
    pub client: Vec<u8>,
    /// Its sequence number.
    pub sequence: u64,
    /// What became of it; of one that was sent twice, what became of the first.
    pub outcome: Outcome,
}
