//! A release with a secret names a dead invocation (DESIGN 5.1, 5.9): it ends a run for good, so
//! that run is over, and is never active again.

use std::collections::BTreeSet;

use raftctl::core::command::Body;

use crate::sim::recorder::AppliedCommand;

#[derive(Default)]
pub struct ReleaseNamesDeadInvocation {
    dead: BTreeSet<Vec<u8>>,
}

impl ReleaseNamesDeadInvocation {
    /// A release took effect; `process` still runs under the invocation it names.
    pub fn released(
        &mut self,
        command: &AppliedCommand,
        process: Option<u64>,
    ) -> Result<(), String> {
        let Body::Released(release) = &command.body else { return Ok(()) };
        if release.secret.is_empty() {
            return Ok(());
        }
        let new = self.dead.insert(release.invocation.clone());
        let Some(process) = process.filter(|_| new) else { return Ok(()) };
        Err(format!(
            "release_names_dead_invocation: entry {} ends the invocation of node {}, which still \
             runs as process {process:x}",
            command.index, release.node
        ))
    }

    /// A command took effect.
    pub fn applied(&self, command: &AppliedCommand) -> Result<(), String> {
        let Body::Activate(activate) = &command.body else { return Ok(()) };
        if !self.dead.contains(&activate.invocation) {
            return Ok(());
        }
        Err(format!(
            "release_names_dead_invocation: entry {} activates a dead invocation of node {}",
            command.index, activate.node
        ))
    }
}
