//! A release with a secret names a dead invocation (DESIGN 5.1, 5.9): it ends a run for good, so
//! that run is over, and is never active again.

use std::collections::BTreeMap;

use raftctl::core::Index;
use raftctl::core::command::Body;

use crate::sim::recorder::AppliedCommand;

#[derive(Default)]
pub struct ReleaseNamesDeadInvocation {
    /// Where in the log each died: history and index.
    dead: BTreeMap<Vec<u8>, (u32, Index)>,
}

impl ReleaseNamesDeadInvocation {
    /// A release took effect; `process` still runs under the invocation it names.
    pub fn released(
        &mut self,
        history: u32,
        command: &AppliedCommand,
        process: Option<u64>,
    ) -> Result<(), String> {
        let Body::Released(release) = &command.body else { return Ok(()) };
        if release.secret.is_empty() {
            return Ok(());
        }
        let new = !self.dead.contains_key(&release.invocation);
        self.dead.entry(release.invocation.clone()).or_insert((history, command.index));
        let Some(process) = process.filter(|_| new) else { return Ok(()) };
        Err(format!(
            "release_names_dead_invocation: entry {} ends the invocation of node {}, which still \
             runs as process {process:x}",
            command.index, release.node
        ))
    }

    /// A command took effect.
    pub fn applied(&self, history: u32, command: &AppliedCommand) -> Result<(), String> {
        let Body::Activate(activate) = &command.body else { return Ok(()) };
        let died = self.dead.get(&activate.invocation);
        if died.is_none_or(|died| *died > (history, command.index)) {
            return Ok(());
        }
        Err(format!(
            "release_names_dead_invocation: entry {} activates a dead invocation of node {}",
            command.index, activate.node
        ))
    }
}
