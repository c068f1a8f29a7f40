//! The health command: a program that says whether this host is healthy.
//!
//! Runs as a child of the agent, with the agent's rights and in its sandbox, in a process group of
//! its own, one at a time, on a thread of its own: whatever it does, or its disk, heartbeats go on.
//! At its time limit the group is killed. Only the end of its output is kept, for the reason.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::Settings;
use crate::events::payload::PATH;
use crate::limits;

/// What one run of the command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// It exited with 0.
    pub(super) success: bool,
    /// How it ended, and the last line that it wrote.
    pub(super) why: String,
}

/// Starts the thread. It ends when the settings have no owner any more, or nobody takes findings;
/// then what was returned is answered.
pub(super) fn start(
    settings: watch::Receiver<Arc<Settings>>,
    found: mpsc::Sender<Finding>,
) -> io::Result<oneshot::Receiver<()>> {
    let (finish, done) = oneshot::channel();
    std::thread::Builder::new().name("health".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(check(settings, found)),
            Err(error) => tracing::error!("the health command is not run: {error}"),
        }
        let _ = finish.send(());
    })?;
    Ok(done)
}

async fn check(mut settings: watch::Receiver<Arc<Settings>>, found: mpsc::Sender<Finding>) {
    let mut checks = Checks { running: None };
    loop {
        let current = settings.borrow_and_update().clone();
        if current.health.command.is_empty() {
            match settings.changed().await {
                Ok(()) => continue,
                Err(_) => return,
            }
        }
        let next = Instant::now() + current.health.interval;
        tokio::select! {
            finding = checks.once(&current) => if found.send(finding).await.is_err() { return },
            // Whether it is still the same command does not matter: it is soon asked again.
            changed = settings.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = found.closed() => return,
        }
        tokio::select! {
            () = sleep_until(next) => {}
            changed = settings.changed() => if changed.is_err() { return },
            () = found.closed() => return,
        }
    }
}

/// The command, of which at most one process group runs.
pub(super) struct Checks {
    running: Option<Running>,
}

impl Checks {
    /// Runs it to its end. Dropping this kills it at the next run, or with the value.
    async fn once(&mut self, settings: &Settings) -> Finding {
        let failed = |why: String| Finding { success: false, why };
        if let Some(before) = self.running.take()
            && let Some(still) = before.killed().await
        {
            self.running = Some(still);
            return failed("the one before cannot be killed".to_owned());
        }
        let limit = settings.health.timeout;
        let running = match Running::start(settings) {
            Ok(running) => self.running.insert(running),
            Err(error) => {
                let program = &settings.health.command[0];
                return failed(format!("{program} cannot be run: {error}"));
            }
        };
        let status = timeout(limit, running.ended()).await;
        running.tail.drain();
        let said = running.tail.last_line();
        let finding = match status {
            Ok(Ok(status)) => {
                running.is_reaped = true;
                Finding { success: status.success(), why: in_words(status) + &said }
            }
            Ok(Err(error)) => failed(format!("lost sight of it: {error}")),
            Err(_) => {
                let limit = humantime::format_duration(limit);
                failed(format!("no result within {limit}{said}"))
            }
        };
        if let Some(ended) = self.running.take()
            && let Some(still) = ended.killed().await
        {
            self.running = Some(still);
        }
        finding
    }
}

/// One that was started. Killed with its group when the value goes.
struct Running {
    child: Child,
    group: Pid,
    tail: Tail,
    /// Its number, and that of its group, may be somebody else's by now.
    is_reaped: bool,
}

impl Running {
    fn start(settings: &Settings) -> io::Result<Running> {
        let words = &settings.health.command;
        let (read_end, write_end) = io::pipe()?;
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("RAFTCTL_NODE", settings.node.as_str())
            .env("RAFTCTL_CLUSTER", &settings.cluster)
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(write_end.try_clone()?)
            .stdout(write_end)
            .process_group(0);
        let pipe = pipe::Receiver::from_owned_fd(read_end.into())?;
        let child = tokio::process::Command::from(command).spawn()?;
        let pid = child.id().expect("a child that was not waited for has an id");
        let group = Pid::from_raw(i32::try_from(pid).expect("a process id fits i32"));
        let tail = Tail { pipe: Some(pipe), kept: Vec::new() };
        Ok(Running { child, group, tail, is_reaped: false })
    }

    async fn ended(&mut self) -> io::Result<ExitStatus> {
        loop {
            tokio::select! {
                biased;
                status = self.child.wait() => return status,
                () = self.tail.read(), if self.tail.pipe.is_some() => {}
            }
        }
    }

    /// Kills it, if it runs; itself, if it is still there after a while.
    async fn killed(mut self) -> Option<Running> {
        self.kill();
        match self.is_reaped {
            true => None,
            false => match timeout(limits::SCRIPT_KILL_WAIT, self.child.wait()).await {
                Ok(_) => {
                    self.is_reaped = true;
                    None
                }
                Err(_) => {
                    let pid = self.group.as_raw();
                    tracing::error!(pid, "the health command hangs and cannot be killed");
                    Some(self)
                }
            },
        }
    }

    fn kill(&self) {
        if self.is_reaped {
            return;
        }
        match killpg(self.group, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => tracing::warn!(%errno, "cannot kill the health command, ignoring"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of what it writes. The pipe is always read, so that nobody blocks on it.
struct Tail {
    pipe: Option<pipe::Receiver>,
    kept: Vec<u8>,
}

impl Tail {
    /// Waits for some output and takes it. Cancel safe.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        let mut chunk = [0; 4096];
        match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => self.pipe = None,
            Ok(count) => self.keep(&chunk[..count]),
        }
    }

    /// Takes what is there, and waits for nothing; at most what a pipe holds.
    fn drain(&mut self) {
        let mut chunk = [0; 4096];
        for _ in 0..limits::SCRIPT_DRAIN_MAX_BYTES / chunk.len() {
            let Some(pipe) = &self.pipe else { return };
            match nix::unistd::read(pipe, &mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(count) => self.keep(&chunk[..count]),
            }
        }
    }

    fn keep(&mut self, more: &[u8]) {
        self.kept.extend_from_slice(more);
        let beyond = self.kept.len().saturating_sub(limits::HEALTH_OUTPUT_MAX_BYTES);
        self.kept.drain(..beyond);
    }

    /// The last line that says anything, as the end of a sentence.
    fn last_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let Some(line) = text.lines().map(str::trim).rfind(|line| !line.is_empty()) else {
            return String::new();
        };
        let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let shown: String = line.chars().map(plain).take(limits::HEALTH_LINE_MAX_CHARS).collect();
        let is_cut = shown.chars().count() < line.chars().count();
        format!(": {shown}{}", if is_cut { "…" } else { "" })
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
