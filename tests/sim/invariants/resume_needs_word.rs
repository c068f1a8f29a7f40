//! A resumption needs the word of what is active: when one takes effect, the run that the record
//! names as active is over, or has itself proposed a resumption of that pause.

use std::collections::BTreeSet;

use raftctl::consensus::RaftRole;
use raftctl::core::Index;
use raftctl::core::command::{Body, Command};
use raftctl::core::message::Entry;

use crate::sim::host::Running;
use crate::sim::recorder::AppliedCommand;

#[derive(Default)]
pub struct ResumeNeedsWord {
    /// Runs that have proposed the end of a pause.
    given: BTreeSet<(u64, Index)>,
    seen: BTreeSet<(u32, Index)>,
    /// Resumptions with an active node.
    pub resumed: u64,
}

impl ResumeNeedsWord {
    /// An agent writes these entries.
    pub fn writes(&mut self, running: &Running, entries: &[Entry]) {
        let position = running.node.replica().position();
        if position.role != RaftRole::Leader {
            return;
        }
        for entry in entries.iter().filter(|entry| entry.term == position.term) {
            let body = Command::from_bytes(&entry.data).ok().and_then(|command| command.body);
            let pause = running.node.machine().truth().paused();
            if let (Some(Body::Resume(_)), Some(pause)) = (body, pause) {
                self.given.insert((running.process, pause));
            }
        }
    }

    /// Whether a run has given its word to end this pause.
    pub fn has_given(&self, process: u64, pause: Index) -> bool {
        self.given.contains(&(process, pause))
    }

    /// A command took effect; the run that the record names, if it is alive.
    pub fn applied(
        &mut self,
        history: u32,
        command: &AppliedCommand,
        alive: Option<u64>,
    ) -> Result<(), String> {
        let active = command.before.as_ref().is_some_and(|record| record.is_active());
        let (Body::Resume(_), Some(pause), true) = (&command.body, command.paused, active) else {
            return Ok(());
        };
        if !self.seen.insert((history, command.index)) {
            return Ok(());
        }
        self.resumed += 1;
        match alive.filter(|process| !self.has_given(*process, pause)) {
            None => Ok(()),
            Some(process) => Err(format!(
                "resume_needs_word: entry {} ends pause {pause}, but {:?} of run {process:x} has \
                 not given its word",
                command.index, command.before
            )),
        }
    }
}
