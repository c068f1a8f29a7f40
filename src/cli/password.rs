//! Has whoever sits at the terminal asked for a password, where polkit wants one and no desktop
//! asks: `pkttyagent`, as systemctl(1) does it. Without it, or without a terminal, nobody is asked
//! and the agent refuses.

use std::io::{self, IsTerminal as _, PipeReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::dbus::client::{Client, Target};
use crate::limits;

/// Where polkit installs it.
const PROGRAM: &str = "/usr/bin/pkttyagent";

/// Asks until it is dropped.
#[derive(Debug)]
pub struct PasswordAgent(Option<Child>);

impl PasswordAgent {
    /// Starts one if `client` may need it.
    pub fn start(client: &Client) -> PasswordAgent {
        let asks = matches!(client.target(), Target::Bus { interactive: true, .. });
        match asks && io::stdin().is_terminal() && !nix::unistd::geteuid().is_root() {
            true => PasswordAgent::run(PROGRAM, limits::CLIENT_CALL_TIMEOUT),
            false => PasswordAgent(None),
        }
    }

    /// Starts `program`, and waits until it says that it is ready or for `wait`.
    fn run(program: &str, wait: Duration) -> PasswordAgent {
        let Ok((reader, writer)) = io::pipe() else { return PasswordAgent(None) };
        let mut command = Command::new(program);
        // It reads from the terminal itself; its standard input is closed when it is ready.
        command.args(["--notify-fd", "0", "--fallback"]).stdin(Stdio::from(writer));
        let started = command.stdout(Stdio::null()).spawn();
        drop(command);
        if started.is_ok() {
            until_closed(reader, wait);
        }
        PasswordAgent(started.ok())
    }
}

fn until_closed(mut reader: PipeReader, wait: Duration) {
    let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
    let mut polled = [PollFd::new(std::os::fd::AsFd::as_fd(&reader), PollFlags::POLLIN)];
    if poll(&mut polled, wait).is_ok_and(|ready| ready > 0) {
        // At its end, or with something that nobody has to understand.
        let _ = reader.read(&mut [0; 64]);
    }
}

impl Drop for PasswordAgent {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_is_waited_for_until_it_is_ready_and_ended_afterwards() {
        let long = Duration::from_secs(60);
        let begun = Instant::now();
        // Ends at once: an agent that is not needed.
        drop(PasswordAgent::run("/bin/true", long));
        assert!(PasswordAgent::run("/nowhere/pkttyagent", long).0.is_none());
        assert!(begun.elapsed() < long);
        // One that never says that it is ready.
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("agent");
        std::fs::write(&script, "#!/bin/sh\nexec sleep infinity\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        let agent = PasswordAgent::run(script.to_str().unwrap(), Duration::from_millis(10));
        let id = agent.0.as_ref().unwrap().id().cast_signed();
        drop(agent);
        let gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), None);
        assert_eq!(gone, Err(nix::errno::Errno::ESRCH));
    }
}
