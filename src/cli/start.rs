//! `raftctl start`: runs the agents of a configuration file in the foreground.
//!
//! One `raftctld` for each node. Their standard error is passed on, each line with the node's name;
//! SIGINT, SIGTERM and SIGHUP are passed to them, a second one kills them; a crashed agent is
//! started again after a pause. They never outlive the manager: the kernel ends them with it.
//!
//! An agent that ended by itself with status 0, or with a status that cannot get better by trying
//! again, stays ended, and its neighbours go on.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::cluster::{LocalCluster, describe_exit, spawn};
use super::exit::Exit;
use super::output::complain;
use crate::core::NodeName;
use crate::limits;

/// Runs the agents of the file `config`, or that of `node`, until all have ended; `agent` is the
/// program, from the variable RAFTCTLD.
/// [`Exit::Ok`] if all exited with 0, else the status of the first that did not.
///
/// To be called on the main thread: it changes its signal mask meanwhile, and the agents end with
/// the thread.
pub fn run(
    config: Option<&Path>,
    node: Option<&NodeName>,
    agent: Option<&Path>,
) -> anyhow::Result<Exit> {
    let Some(config) = config else {
        return Err(Exit::Usage.because("start: expected --config FILE"));
    };
    let cluster = LocalCluster::load(config)?;
    let program = spawn::agent_program(agent)?;
    let nodes = cluster.nodes(node.map(NodeName::as_str))?;
    let names: Vec<String> = nodes.iter().map(|node| node.name().to_owned()).collect();

    let mut old = SigSet::empty();
    let waited_for = SigSet::from_iter(STOPPING.into_iter().chain([Signal::SIGCHLD]));
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&waited_for), Some(&mut old))?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&waited_for, flags)?;
    let result = Manager::new(program, cluster.path.clone(), names).run(&signals);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&old), None)?;
    result
}

struct Manager {
    program: PathBuf,
    config: PathBuf,
    agents: Vec<Agent>,
    /// Width of the longest name.
    width: usize,
    /// Signals to stop, so far.
    stops: usize,
    /// Held by every thread that passes lines on; all gone when the other end closes.
    forwarding: mpsc::SyncSender<()>,
    forwarded: mpsc::Receiver<()>,
}

struct Agent {
    name: String,
    state: State,
    backoff: Duration,
    started: Instant,
}

enum State {
    Running(Child),
    /// Crashed so, to be started again then.
    Crashed(Exit, Instant),
    Ended(Exit),
}

impl Manager {
    fn new(program: PathBuf, config: PathBuf, names: Vec<String>) -> Manager {
        let width = names.iter().map(String::len).max().unwrap_or(0);
        let now = Instant::now();
        let agent = |name| Agent {
            name,
            state: State::Crashed(Exit::Failure, now),
            backoff: limits::MANAGER_BACKOFF_MIN,
            started: now,
        };
        let agents = names.into_iter().map(agent).collect();
        let (forwarding, forwarded) = mpsc::sync_channel(0);
        Manager { program, config, agents, width, stops: 0, forwarding, forwarded }
    }

    fn run(mut self, signals: &SignalFd) -> anyhow::Result<Exit> {
        let mut first = true;
        loop {
            for at in 0..self.agents.len() {
                self.reap(at)?;
                match self.start_if_due(at) {
                    Err(error) if first => return Err(error),
                    Err(error) => self.tell(at, &format!("{error:#}")),
                    Ok(()) => {}
                }
            }
            first = false;
            if self.agents.iter().all(|a| matches!(a.state, State::Ended(_))) {
                break;
            }
            self.wait(signals)?;
        }
        // Scripts of an agent may hold its standard error for longer; they are not waited for.
        drop(self.forwarding);
        let _ = self.forwarded.recv_timeout(LAST_LINES_WAIT);
        let ends = self.agents.iter().map(|agent| match agent.state {
            State::Ended(exit) => exit,
            State::Running(_) | State::Crashed(..) => Exit::Failure,
        });
        Ok(ends.into_iter().find(|exit| *exit != Exit::Ok).unwrap_or(Exit::Ok))
    }

    /// Looks whether agent `at` has ended, and decides what follows.
    fn reap(&mut self, at: usize) -> anyhow::Result<()> {
        let now = Instant::now();
        let stopping = self.stops > 0;
        let agent = &mut self.agents[at];
        let State::Running(child) = &mut agent.state else { return Ok(()) };
        let Some(status) = child.try_wait()? else { return Ok(()) };
        let how = describe_exit(status);
        let exit = exit_of(status);
        if stopping || exit == Exit::Ok || exit.is_permanent() {
            agent.state = State::Ended(exit);
            let why = if exit.is_permanent() { ", not started again" } else { "" };
            self.tell(at, &format!("ended with {how}{why}"));
            return Ok(());
        }
        if now - agent.started > limits::MANAGER_BACKOFF_MAX {
            agent.backoff = limits::MANAGER_BACKOFF_MIN;
        }
        let pause = agent.backoff;
        agent.backoff = (pause * 2).min(limits::MANAGER_BACKOFF_MAX);
        agent.state = State::Crashed(exit, now + pause);
        self.tell(at, &format!("ended with {how}, starting it again in {} ms", pause.as_millis()));
        Ok(())
    }

    fn start_if_due(&mut self, at: usize) -> anyhow::Result<()> {
        let now = Instant::now();
        let agent = &mut self.agents[at];
        match agent.state {
            State::Crashed(_, due) if due <= now => {}
            _ => return Ok(()),
        }
        agent.started = now;
        let mut child = match spawn::attached(&self.program, &self.config, &agent.name) {
            Ok(child) => child,
            Err(error) => {
                agent.state = State::Crashed(Exit::Failure, now + limits::MANAGER_BACKOFF_MAX);
                return Err(error).with_context(|| self.program.display().to_string());
            }
        };
        let stderr = child.stderr.take().expect("standard error is piped");
        let label = format!("{:<width$} | ", agent.name, width = self.width);
        let alive = self.forwarding.clone();
        agent.state = State::Running(child);
        // Not joined: ends with the pipe.
        thread::spawn(move || {
            forward(stderr, &label);
            drop(alive);
        });
        Ok(())
    }

    /// Waits for a signal, or until an agent is to be started again.
    fn wait(&mut self, signals: &SignalFd) -> anyhow::Result<()> {
        let due = self.agents.iter().filter_map(|agent| match agent.state {
            State::Crashed(_, due) => Some(due),
            State::Running(_) | State::Ended(_) => None,
        });
        let left = due.min().map(|due| {
            let left = due.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, left.unwrap_or(PollTimeout::NONE)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(info) = signals.read_signal()? {
            let number = i32::try_from(info.ssi_signo).unwrap_or_default();
            match Signal::try_from(number) {
                Ok(signal) if STOPPING.contains(&signal) => self.stop(signal),
                // SIGCHLD: the caller looks at all agents anyway.
                _ => {}
            }
        }
        Ok(())
    }

    /// Passes `signal` on, or SIGKILL if this is not the first one.
    fn stop(&mut self, signal: Signal) {
        self.stops += 1;
        let (signal, what) = match self.stops {
            1 => (signal, format!("{signal}: stopping; a second signal kills")),
            _ => (Signal::SIGKILL, format!("{signal}: killing")),
        };
        complain(&what);
        for agent in &mut self.agents {
            match &agent.state {
                State::Crashed(exit, _) => agent.state = State::Ended(*exit),
                State::Running(child) => {
                    // Not waited for yet, so the number is still its own, and a signal that comes
                    // too late is none.
                    let pid = i32::try_from(child.id()).expect("a process number fits");
                    let _ = kill(Pid::from_raw(pid), signal);
                }
                State::Ended(_) => {}
            }
        }
    }

    fn tell(&self, at: usize, what: &str) {
        complain(&format!("{}: {what}", self.agents[at].name));
    }
}

/// The status of ours that `status` is; a signal is a failure.
fn exit_of(status: ExitStatus) -> Exit {
    status.code().and_then(Exit::from_code).unwrap_or(Exit::Failure)
}

/// Passes lines on until the end of the pipe, also when nobody reads them: an agent that writes to
/// a full pipe would lose its lines, one that writes to a broken one would be killed.
fn forward(from: impl Read, label: &str) {
    let limit = limits::MANAGER_LINE_MAX_BYTES as u64;
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        line.extend_from_slice(label.as_bytes());
        match from.by_ref().take(limit).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        // One write for each line, so that those of several agents do not mix.
        let _ = io::stderr().lock().write_all(&line);
    }
}

/// What stops the manager.
const STOPPING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
/// How long the last lines of ended agents are waited for.
const LAST_LINES_WAIT: Duration = Duration::from_millis(500);
