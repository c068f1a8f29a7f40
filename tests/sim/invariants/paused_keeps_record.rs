//! Paused keeps the record: while the cluster is paused an activation ends only by its own release
//! or because an operator says so, and none begins.

use raftctl::core::command::Body;

use crate::sim::recorder::AppliedCommand;

#[derive(Default)]
pub struct PausedKeepsRecord {
    /// Commands that took effect in a pause.
    pub seen: u64,
}

impl PausedKeepsRecord {
    /// A command took effect.
    pub fn applied(&mut self, command: &AppliedCommand) -> Result<(), String> {
        if command.paused.is_none() {
            return Ok(());
        }
        self.seen += 1;
        let same = match (&command.before, &command.after) {
            (Some(before), Some(after)) => {
                (before.token(), before.is_active()) == (after.token(), after.is_active())
            }
            (before, after) => before == after,
        };
        let ends = match &command.body {
            Body::Released(_) => true,
            Body::Expired(expired) => expired.forced,
            _ => false,
        };
        if same || ends {
            return Ok(());
        }
        Err(format!(
            "paused_keeps_record: entry {} changes {:?} to {:?} by {:?}",
            command.index, command.before, command.after, command.body
        ))
    }
}
