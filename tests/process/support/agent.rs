//! One running `raftctld`, killed when the value goes.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Gid, Pid, Uid, setgid, setgroups, setuid};

use super::{DEADLINE, Lines};

/// How to start an agent.
pub struct AgentCommand {
    pub command: Command,
    stderr: Option<Stdio>,
}

impl AgentCommand {
    /// `raftctld --config CONFIG`.
    pub fn new(config: &Path) -> AgentCommand {
        let mut command = AgentCommand::bare(Path::new(env!("CARGO_BIN_EXE_raftctld")));
        command.command.arg("--config").arg(config);
        command
    }

    /// `program` without arguments.
    pub fn bare(program: &Path) -> AgentCommand {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: prctl(2) may be called between fork and exec. Should the test be killed, its
        // agents go with it.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        AgentCommand { command, stderr: None }
    }

    /// Sends the log elsewhere than to [`Agent::log`].
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> AgentCommand {
        self.stderr = Some(stderr.into());
        self
    }

    /// Limits `resource`, softly and hard.
    pub fn limit(mut self, resource: Resource, to: u64) -> AgentCommand {
        // SAFETY: setrlimit(2) may be called between fork and exec.
        unsafe {
            self.command.pre_exec(move || Ok(setrlimit(resource, to, to)?));
        }
        self
    }

    /// Runs as another user than root. The caller is root.
    pub fn user(mut self, id: u32) -> AgentCommand {
        // SAFETY: the three calls may be made between fork and exec. std's own `uid` would keep
        // the death signal from being set afterwards.
        unsafe {
            self.command.pre_exec(move || {
                setgroups(&[])?;
                setgid(Gid::from_raw(id))?;
                setuid(Uid::from_raw(id))?;
                Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)
            });
        }
        self
    }

    /// Passes descriptors as systemd does (sd_listen_fds(3)), under `names`.
    pub fn pass(mut self, passed: Vec<OwnedFd>, names: &str) -> AgentCommand {
        self.command.env("LISTEN_FDS", passed.len().to_string()).env("LISTEN_FDNAMES", names);
        // SAFETY: fcntl(2) and dup2(2) may be called between fork and exec.
        unsafe {
            self.command.pre_exec(move || {
                // First out of the way, because one of them may have a number that another gets.
                for (at, fd) in passed.iter().enumerate() {
                    let away = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, 500);
                    if away < 0 || libc::dup2(away, 200 + at as i32) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                for at in 0..passed.len() as i32 {
                    if libc::dup2(200 + at, 3 + at) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
        self
    }

    /// Starts it; says nothing about how far it comes.
    pub fn spawn(mut self) -> Agent {
        let piped = self.stderr.is_none();
        self.command.stderr(self.stderr.unwrap_or_else(Stdio::piped));
        let mut child = self.command.spawn().unwrap();
        let log = if piped { Lines::read(child.stderr.take().unwrap()) } else { Lines::none() };
        Agent { child, log, reaped: None }
    }

    /// Starts it and expects it to end by itself: its exit status, and what it said.
    pub fn refused(self) -> (i32, Vec<String>) {
        let mut agent = self.spawn();
        let status = agent.ended();
        let said = agent.log.to_end();
        let code = status.code().unwrap_or_else(|| panic!("{status}, {said:#?}"));
        (code, said)
    }
}

/// A process. Killed, if it still runs, when this is dropped.
pub struct Agent {
    child: Child,
    /// What it writes to standard error.
    pub log: Lines,
    reaped: Option<ExitStatus>,
}

impl Agent {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Sends `signal`; not to a stranger, because the process is reaped only by [`Agent::ended`].
    pub fn signal(&self, signal: Signal) {
        assert!(self.reaped.is_none(), "it has ended: {:?}", self.reaped);
        kill(self.pid(), signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.ended();
    }

    /// SIGTERM; its exit status, and how long that took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.signal(Signal::SIGTERM);
        (self.ended(), begun.elapsed())
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        if let Some(status) = self.reaped {
            return status;
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let pid = self.pid();
        std::thread::spawn(move || {
            // Not reaped here, so the number stays ours while somebody may signal it.
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            let _ = sender.send(waitid(Id::Pid(pid), flags));
        });
        let ended = receiver.recv_timeout(DEADLINE);
        assert!(ended.is_ok(), "{pid} has not ended; it said {:#?}", self.log.all());
        let status = self.child.wait().unwrap();
        self.reaped = Some(status);
        status
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        let state = waitid(Id::Pid(self.pid()), flags);
        self.reaped.is_none() && state == Ok(nix::sys::wait::WaitStatus::StillAlive)
    }

    /// Resident memory, in KiB (proc_pid_status(5)).
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.reaped.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The exit status of a process that was not killed.
pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| panic!("{status}"))
}
