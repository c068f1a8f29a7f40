//! `raftctl cluster stop` and `kill`.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::place::LocalCluster;
use super::process::{Found, Process, Reason};
use crate::exit::Exit;

/// How to end a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// SIGTERM: it hands over and exits.
    Politely,
    /// SIGKILL.
    AtOnce,
}

/// Ends what runs. [`Exit::TimedOut`] if something still runs at the deadline.
pub(super) fn run(
    cluster: &LocalCluster,
    node: Option<&str>,
    how: How,
    patience: Duration,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let signal = match how {
        How::Politely => Signal::SIGTERM,
        How::AtOnce => Signal::SIGKILL,
    };
    let mut ending = Vec::new();
    // All are told before any is waited for.
    for node in cluster.nodes(node)? {
        match node.find()? {
            Found::Running(process) => {
                process.signal(signal).map_err(|error| refused(node.name(), &process, &error))?;
                ending.push((node, process));
            }
            Found::Gone(Reason::NoFile) => writeln!(out, "{} is not running", node.name())?,
            Found::Gone(reason) => {
                node.remove_pid_file()?;
                writeln!(out, "{} is not running: {reason}", node.name())?;
            }
        }
    }
    out.flush()?;
    let deadline = Instant::now() + patience;
    let mut exit = Exit::Ok;
    for (node, process) in ending {
        let (name, pid) = (node.name(), process.pid());
        if process.wait(deadline)? {
            node.remove_pid_file()?;
            let done = if how == How::Politely { "stopped" } else { "killed" };
            writeln!(out, "{name} {done} (process {pid})")?;
            continue;
        }
        exit = Exit::TimedOut;
        let waited = patience.as_secs_f32();
        write!(out, "{name} is still running after {waited} s (process {pid})")?;
        match how {
            How::Politely => writeln!(out, "; \"raftctl cluster kill {name}\" ends it at once")?,
            How::AtOnce => writeln!(out, "; it is stuck in the kernel, perhaps on a disk")?,
        }
    }
    Ok(exit)
}

fn refused(name: &str, process: &Process, error: &io::Error) -> anyhow::Error {
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::NotPermitted,
        _ => Exit::Failure,
    };
    exit.because(format!("{name}: cannot signal process {}: {error}", process.pid()))
}
