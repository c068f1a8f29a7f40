//! Paused never expires (DESIGN 5): an activation without a bound ends by its release, or because
//! an operator says so; never because time has passed.

use raftctl::core::command::Body;

use crate::sim::recorder::AppliedCommand;

#[derive(Default)]
pub struct PausedNeverExpires {
    /// Activations without a bound that were seen.
    pub unbounded: u64,
}

impl PausedNeverExpires {
    /// A command took effect.
    pub fn applied(&mut self, command: &AppliedCommand) -> Result<(), String> {
        match &command.body {
            Body::Activate(activate) => self.unbounded += u64::from(activate.bound_ms.is_none()),
            Body::Expired(expired) if !expired.forced => {
                let bound = command.before.as_ref().and_then(|a| a.bound());
                if bound.is_none() {
                    return Err(format!(
                        "paused_never_expires: entry {} expires {:?}",
                        command.index, command.before
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
