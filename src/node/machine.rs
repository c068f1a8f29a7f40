//! The state machine that the log drives, as the node sees it.
//!
//! Production uses [`ClusterMachine`]; the simulator wraps it to record what is applied where.

use crate::core::command::{Body, Command, UnreadableCommand};
use crate::core::kv::KvCommand;
use crate::core::state::ClusterState;
use crate::core::{Index, Term};

/// A deterministic fold over committed entries.
pub trait StateMachine {
    /// Applies the payload of the entry at `index`; never called for a leader's empty entry.
    /// Returns a write of the store, which is applied elsewhere. An error is deterministic and
    /// fatal: this version cannot go on with this log.
    fn apply(
        &mut self,
        index: Index,
        term: Term,
        data: &[u8],
    ) -> Result<Option<KvCommand>, UnreadableCommand>;

    /// The membership and activation part of the state.
    fn cluster(&self) -> &ClusterState;

    /// Replaces the state by a snapshot's payload.
    fn restore(&mut self, index: Index, data: &[u8]) -> Result<(), UnreadableCommand>;
}

/// Membership and activation.
#[derive(Clone, Debug, Default)]
pub struct ClusterMachine(pub ClusterState);

impl StateMachine for ClusterMachine {
    fn apply(
        &mut self,
        index: Index,
        term: Term,
        data: &[u8],
    ) -> Result<Option<KvCommand>, UnreadableCommand> {
        let command = Command::from_bytes(data)?;
        if let Some(Body::Kv(command)) = command.body {
            return Ok(Some(command));
        }
        // A void command is not an error: it changed nothing, everywhere.
        let _ = self.0.apply(index, term, &command);
        Ok(None)
    }

    fn cluster(&self) -> &ClusterState {
        &self.0
    }

    fn restore(&mut self, _index: Index, data: &[u8]) -> Result<(), UnreadableCommand> {
        self.0 = ClusterState::from_bytes(data).map_err(UnreadableCommand::Malformed)?;
        Ok(())
    }
}
