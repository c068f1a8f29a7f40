//! Ineligible, never active (DESIGN 5.11): no activation is begun by a process whose host has told
//! it that it may not be active: neither an activation in the log nor a start of the target. What
//! runs already is handed over, which takes its time.

use raftctl::core::Token;
use raftctl::core::command::{Body, Command};
use raftctl::core::message::Entry;

use crate::sim::host::{Host, Running};

#[derive(Default)]
pub struct IneligibleNeverActive {
    /// Turns of processes that were told so.
    pub told: u64,
}

impl IneligibleNeverActive {
    /// The agent has the target started.
    pub fn starts(&mut self, host: usize, running: &Running, token: Token) -> Result<(), String> {
        if !running.told_unfit {
            return Ok(());
        }
        Err(format!(
            "ineligible_never_active: host {host} starts the target by {token}, but may not be \
             active"
        ))
    }

    /// The agent writes these entries.
    pub fn writes(
        &mut self,
        host: usize,
        running: &Running,
        entries: &[Entry],
    ) -> Result<(), String> {
        if !running.told_unfit {
            return Ok(());
        }
        self.told += 1;
        let position = running.node.replica().position();
        let leads = position.role == raftctl::consensus::RaftRole::Leader;
        let own = |entry: &&Entry| {
            let body = Command::from_bytes(&entry.data).ok().and_then(|command| command.body);
            let Some(Body::Activate(activate)) = body else { return false };
            activate.invocation == Host::invocation(running.process) && entry.term == position.term
        };
        match entries.iter().find(own).filter(|_| leads) {
            None => Ok(()),
            Some(entry) => Err(format!(
                "ineligible_never_active: host {host} proposes its activation at {}, but may not \
                 be active",
                entry.index
            )),
        }
    }
}
