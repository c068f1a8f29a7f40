//! Starting `raftctld`: where it is, and what a child process must not inherit.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{getpid, getppid, setsid};

use crate::exit::Exit;

/// File name of the agent.
pub const AGENT: &str = "raftctld";

/// The agent's program: `wanted` (the environment variable RAFTCTLD), else beside this program,
/// else in `$PATH`.
pub fn agent_program(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = wanted {
        let absolute = std::path::absolute(path)?;
        if is_executable(&absolute) {
            return Ok(absolute);
        }
        let message = format!("RAFTCTLD={}: expected an executable file", path.display());
        return Err(Exit::Usage.because(message));
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(AGENT)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|directory| directory.join(AGENT));
    let found = beside.clone().into_iter().chain(in_path).find(|path| is_executable(path));
    found.ok_or_else(|| {
        let beside = beside.unwrap_or_default();
        let message = format!(
            "no {AGENT}: expected it as {} or in PATH, or RAFTCTLD to name it",
            beside.display()
        );
        Exit::Failure.because(message)
    })
}

/// Starts the agent for `node` in a session of its own, so that it outlives this program and its
/// terminal; what it writes goes to `log`.
pub fn detached(program: &Path, config: &Path, node: &str, log: &File) -> io::Result<Child> {
    let mut command = command(program, config, node);
    command.stdout(log.try_clone()?).stderr(log.try_clone()?).current_dir("/");
    // SAFETY: between fork and exec only async-signal-safe system calls are made.
    unsafe {
        command.pre_exec(|| {
            unblock_signals()?;
            setsid()?;
            Ok(())
        });
    }
    command.spawn()
}

/// Starts the agent for `node` as a child that dies when this thread ends, with its standard error
/// piped. The calling thread must live as long as the child shall (prctl(2), PR_SET_PDEATHSIG).
pub fn attached(program: &Path, config: &Path, node: &str) -> io::Result<Child> {
    let mut command = command(program, config, node);
    // A group of its own: an interrupt from the terminal reaches the manager, which forwards it.
    command.stderr(Stdio::piped()).process_group(0);
    let manager = getpid();
    // SAFETY: between fork and exec only async-signal-safe system calls are made.
    unsafe {
        command.pre_exec(move || {
            unblock_signals()?;
            set_pdeathsig(Signal::SIGTERM)?;
            // The manager may have died before the line above took effect.
            if getppid() != manager {
                return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
            }
            Ok(())
        });
    }
    command.spawn()
}

fn command(program: &Path, config: &Path, node: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("--config").arg(config).arg("--node").arg(node).stdin(Stdio::null());
    command
}

/// std leaves the signal mask as it is, and the manager blocks what it waits for.
fn unblock_signals() -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
