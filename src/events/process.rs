//! One script, from start to end.
//!
//! The script leads a process group of its own. Until it is reaped its process id, and with it the
//! group's id, cannot be given to anybody else; afterwards the kernel keeps the id in use as long
//! as the group has members. A signal is sent only while one of the two holds.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::Instant;

use super::output::Output;
use super::payload::{PATH, Payload};
use super::{Outcome, ScriptError, group};
use crate::limits::{SCRIPT_GROUP_POLL, SCRIPT_INPUT_MAX_BYTES, SCRIPT_KILL_WAIT};

/// The agent stops: everything is over at `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// When the agent began to stop.
    begun: Instant,
    /// When it may wait no longer.
    end: Instant,
}

impl Stop {
    /// A stop that began at `begun` and may take `deadline`.
    pub(super) fn new(begun: Instant, deadline: Duration) -> Stop {
        Stop { begun, end: after(begun, deadline) }
    }

    /// Whether no time is left.
    pub(super) fn is_over(&self) -> bool {
        self.end <= Instant::now()
    }
}

/// When a script is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    terminate: Instant,
    kill: Instant,
    /// The agent's stop is the reason, not the time limit.
    by_stop: bool,
}

/// How long scripts may run.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// Until SIGTERM.
    pub(super) timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub(super) kill_after: Duration,
    /// Changes once, when the agent stops.
    pub(super) stop: watch::Receiver<Option<Stop>>,
}

impl Patience {
    /// The limits of a script started at `started`. When the agent stops, they are brought
    /// forward so that all is over at its end, with a fifth of the time kept for SIGTERM to work;
    /// a script that holds up a demotion gets half of the time.
    fn limits(&self, started: Instant, demotion_waits: bool) -> Limits {
        let terminate = after(started, self.timeout);
        let kill = after(terminate, self.kill_after);
        let normal = Limits { terminate, kill, by_stop: false };
        let Some(stop) = *self.stop.borrow() else { return normal };
        let all = stop.end - stop.begun;
        let given = if demotion_waits { all / 2 } else { all };
        let kill = after(stop.begun, given);
        let terminate = (kill - self.kill_after.min(given / 5)).max(stop.begun);
        if terminate >= normal.terminate && kill >= normal.kill {
            return normal;
        }
        let by_stop = terminate < normal.terminate;
        let terminate = terminate.min(normal.terminate);
        Limits { terminate, kill: kill.min(normal.kill), by_stop }
    }

    /// When a script started at `started` is sent SIGTERM, as far as is known then.
    pub(super) fn deadline(&self, started: Instant) -> Instant {
        self.limits(started, false).terminate
    }
}

/// Far enough for every purpose, near enough for every clock.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

fn after(start: Instant, wait: Duration) -> Instant {
    start + wait.min(FOREVER)
}

/// A started script.
pub(super) struct Process {
    child: Child,
    group: Pid,
    output: Output,
    started: Instant,
}

impl Process {
    /// Starts `script`. Blocks until the kernel has loaded it.
    pub(super) fn start(
        script: &Path,
        arguments: [&str; 3],
        payload: &Payload,
    ) -> Result<Process, ScriptError> {
        let failed = |source| ScriptError::Spawn { path: script.to_owned(), source };
        let mut command = command(script)?;
        let (read_end, write_end) = io::pipe().map_err(failed)?;
        let input = input_pipe(script, &payload.input())?;
        command
            .args(arguments)
            .env_clear()
            .envs(payload.environment())
            .current_dir("/")
            .process_group(0)
            .stdin(input)
            .stderr(write_end.try_clone().map_err(failed)?)
            .stdout(write_end);
        let output = Output::new(read_end.into()).map_err(failed)?;
        let started = Instant::now();
        let spawned = tokio::process::Command::from(command).spawn();
        let child = spawned.map_err(|error| explain(script, error))?;
        let pid = child.id().expect("a child that was not waited for has an id");
        let group = Pid::from_raw(i32::try_from(pid).expect("a process id fits i32"));
        Ok(Process { child, group, output, started })
    }

    /// Process, and process group.
    pub(super) fn pid(&self) -> u32 {
        self.group.as_raw().unsigned_abs()
    }

    /// Waits for its end, or brings it about. `demotion_waits` is asked again when the agent stops.
    pub(super) async fn finish(
        mut self,
        mut patience: Patience,
        demotion_waits: impl Fn() -> bool,
    ) -> (Outcome, Duration, Output) {
        let mut limits = patience.limits(self.started, demotion_waits());
        let outcome = loop {
            tokio::select! {
                biased;
                status = self.child.wait() => break ended(status),
                () = tokio::time::sleep_until(limits.terminate) => {
                    let killed = self.terminate(&mut patience, &demotion_waits).await;
                    let by_stop = limits.by_stop;
                    break if by_stop { Outcome::Stopped { killed } }
                        else { Outcome::TimedOut { killed } };
                }
                Ok(()) = patience.stop.changed() => {
                    limits = patience.limits(self.started, demotion_waits());
                }
                () = self.output.read(), if self.output.is_open() => {}
            }
        };
        self.output.drain();
        (outcome, self.started.elapsed(), self.output)
    }

    /// Sends SIGTERM to the group and, if that does not empty it in time, SIGKILL. Returns whether
    /// SIGKILL was needed. BEFORE: the script is not reaped.
    async fn terminate(
        &mut self,
        patience: &mut Patience,
        demotion_waits: &impl Fn() -> bool,
    ) -> bool {
        group::signal(self.group, Signal::SIGTERM);
        let mut kill_at = patience.limits(self.started, demotion_waits()).kill;
        // One future for the whole time: it must not look again at every chunk of output.
        let mut vanished = pin!(vanished(&mut self.child, self.group));
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(kill_at) => break,
                Ok(()) = patience.stop.changed() => {
                    kill_at = patience.limits(self.started, demotion_waits()).kill;
                }
                () = &mut vanished => return false,
                () = self.output.read(), if self.output.is_open() => {}
            }
        }
        group::signal(self.group, Signal::SIGKILL);
        if tokio::time::timeout(SCRIPT_KILL_WAIT, vanished).await.is_err() {
            let pid = self.group.as_raw();
            tracing::error!(pid, "event script hangs in the kernel and cannot be killed, ignoring");
        }
        true
    }
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

/// How `script` is called: `.js` by node, everything else by itself.
fn command(script: &Path) -> Result<Command, ScriptError> {
    let path = || script.to_owned();
    if !script.is_absolute() {
        return Err(ScriptError::Relative { path: path() });
    }
    match fs::metadata(script) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(ScriptError::NotAFile { path: path() }),
        Err(error) => return Err(explain(script, error)),
    }
    if script.extension().is_none_or(|extension| extension != "js") {
        return Ok(Command::new(script));
    }
    let mut searched = PATH.to_owned();
    if let Ok(own) = std::env::var("PATH") {
        // node is often installed for one user only, and a development cluster runs as that user.
        searched = format!("{searched}:{own}");
    }
    let Some(node) = find_program("node", &searched) else {
        return Err(ScriptError::NoNode { path: path(), searched });
    };
    let mut command = Command::new(node);
    command.arg(script);
    Ok(command)
}

fn find_program(name: &str, path: &str) -> Option<PathBuf> {
    let absolute = path.split(':').filter(|directory| directory.starts_with('/'));
    let mut candidates = absolute.map(|directory| Path::new(directory).join(name));
    candidates
        .find(|candidate| nix::unistd::access(candidate, nix::unistd::AccessFlags::X_OK).is_ok())
}

/// Says in words what `execve(2)` said in a number.
fn explain(script: &Path, error: io::Error) -> ScriptError {
    let path = script.to_owned();
    match (error.raw_os_error().map(Errno::from_raw), error.kind()) {
        (Some(Errno::ENOEXEC), _) => ScriptError::NotAProgram { path },
        (_, ErrorKind::NotFound) if script.exists() => ScriptError::NoInterpreter { path },
        (_, ErrorKind::NotFound) => ScriptError::Missing { path },
        (_, ErrorKind::PermissionDenied) => ScriptError::NotExecutable { path },
        _ => ScriptError::Spawn { path, source: error },
    }
}

/// A pipe that holds `input` and then ends. Written whole BEFORE the script starts: a script that
/// does not read it, or closes it, cannot block or fail anybody.
fn input_pipe(script: &Path, input: &[u8]) -> Result<Stdio, ScriptError> {
    let path = || script.to_owned();
    let failed = |source| ScriptError::Spawn { path: path(), source };
    if input.len() > SCRIPT_INPUT_MAX_BYTES {
        let (bytes, most) = (input.len(), SCRIPT_INPUT_MAX_BYTES);
        return Err(ScriptError::InputTooLarge { path: path(), bytes, most });
    }
    let (read_end, write_end) = io::pipe().map_err(failed)?;
    fcntl(&write_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|e| failed(e.into()))?;
    // Up to PIPE_BUF = 4096 bytes are written whole or not at all (pipe(7)).
    nix::unistd::write(&write_end, input).map_err(|e| failed(e.into()))?;
    Ok(read_end.into())
}

#[cfg(test)]
mod tests;
