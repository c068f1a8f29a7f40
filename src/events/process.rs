//! One script as a child of the agent, from start to end.
//!
//! The script leads a process group of its own. Until it is reaped its process id, and with it the
//! group's id, cannot be given to anybody else; afterwards the kernel keeps the id in use as long
//! as the group has members. A signal is sent only while one of the two holds.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::pin::pin;
use std::process::ExitStatus;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::Instant;

use super::output::Output;
use super::patience::{Limits, Part, Patience};
use super::payload::{PATH, Payload};
use super::runner::Ended;
use super::{Outcome, ScriptError, group, program};
use crate::limits::{SCRIPT_GROUP_POLL, SCRIPT_KILL_WAIT};

/// A started script.
pub(super) struct Process {
    child: Child,
    group: Pid,
    output: Output,
    started: Instant,
}

impl Process {
    /// Starts `script`. Blocks until the kernel has loaded it.
    pub(super) fn start(script: &Path, payload: &Payload) -> Result<Process, ScriptError> {
        let failed = |source| ScriptError::Spawn { path: script.to_owned(), source };
        let searched = match std::env::var("PATH") {
            // node is often installed for one user only, and a development cluster runs as that
            // user.
            Ok(own) => format!("{PATH}:{own}"),
            Err(_) => PATH.to_owned(),
        };
        let interpreter = program::interpreter(script, &searched)?;
        let mut command = program::command(script, interpreter.as_deref(), payload)?;
        let (read_end, write_end) = io::pipe().map_err(failed)?;
        command.process_group(0).stderr(write_end.try_clone().map_err(failed)?).stdout(write_end);
        let output = Output::new(read_end.into()).map_err(failed)?;
        let started = Instant::now();
        let spawned = tokio::process::Command::from(command).spawn();
        let child = spawned.map_err(|error| program::explain(script, error))?;
        let pid = child.id().expect("a child that was not waited for has an id");
        let group = Pid::from_raw(i32::try_from(pid).expect("a process id fits i32"));
        Ok(Process { child, group, output, started })
    }

    /// Process, and process group.
    pub(super) fn pid(&self) -> u32 {
        self.group.as_raw().unsigned_abs()
    }

    /// Waits for its end, or brings it about.
    pub(super) async fn finish(mut self, mut patience: Patience, part: Part) -> Ended {
        let mut limits = patience.limits(self.started, part);
        let (outcome, is_gone) = loop {
            tokio::select! {
                biased;
                status = self.child.wait() => break (ended(status), true),
                () = tokio::time::sleep_until(limits.terminate) => {
                    let end = self.terminate(&mut patience, part).await;
                    let Limits { cause, .. } = limits;
                    break (Outcome::ended_by_us(cause, end.killed), end.is_gone);
                }
                Ok(()) = patience.orders.changed() => {
                    limits = patience.limits(self.started, part);
                }
                () = self.output.read(), if self.output.is_open() => {}
            }
        };
        self.output.drain();
        let Process { mut child, group, output, started } = self;
        let duration = started.elapsed();
        let (output, discarded_bytes) = output.into_parts();
        let mut ended = Ended { outcome, duration, output, discarded_bytes, left: None };
        if !is_gone {
            ended.left = Some(Box::pin(async move { vanished(&mut child, group).await }));
        }
        ended
    }

    /// Sends SIGTERM to the group and, if that does not empty it in time, SIGKILL. BEFORE: the
    /// script is not reaped.
    async fn terminate(&mut self, patience: &mut Patience, part: Part) -> End {
        group::signal(self.group, Signal::SIGTERM);
        let mut kill_at = patience.limits(self.started, part).kill;
        // One future for the whole time: it must not look again at every chunk of output.
        let mut vanished = pin!(vanished(&mut self.child, self.group));
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(kill_at) => break,
                Ok(()) = patience.orders.changed() => {
                    kill_at = patience.limits(self.started, part).kill;
                }
                () = &mut vanished => return End { killed: false, is_gone: true },
                () = self.output.read(), if self.output.is_open() => {}
            }
        }
        group::signal(self.group, Signal::SIGKILL);
        let is_gone = tokio::time::timeout(SCRIPT_KILL_WAIT, vanished).await.is_ok();
        if !is_gone {
            let pid = self.group.as_raw();
            tracing::error!(pid, "event script hangs in the kernel and cannot be killed, ignoring");
        }
        End { killed: true, is_gone }
    }
}

/// What terminating came to.
struct End {
    /// SIGTERM was not enough.
    killed: bool,
    /// Nothing of it runs any more.
    is_gone: bool,
}

/// Waits until the script has been reaped and nothing in its group runs.
async fn vanished(child: &mut Child, group: Pid) {
    // Once reaped, this is answered from memory.
    let _ = child.wait().await;
    // The script's own end is an event; that of its descendants is not, so it is looked for.
    while !group::is_empty(group) {
        tokio::time::sleep(SCRIPT_GROUP_POLL).await;
    }
}

fn ended(status: io::Result<ExitStatus>) -> Outcome {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Outcome::Exited(code),
            (None, signal) => Outcome::Signalled(signal.unwrap_or_default()),
        },
        // Only if somebody else reaped our child: what it returned is lost, and it has ended.
        Err(_) => Outcome::Signalled(0),
    }
}
