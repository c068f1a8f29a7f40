//! Commands that end or are ended: each has a deadline, because a frozen host answers nothing.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// What programs find on every host; nothing of the caller's environment is passed on.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit status; 128 and the number of the signal that ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Standard output without white space around it, of a command that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout.trim().to_owned()
    }
}

/// Runs `command` to its end, `None` if that is not reached within `deadline`: then it is killed,
/// with everything that it started.
pub fn run(command: &mut Command, deadline: Duration) -> Option<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let group = Pid::from_raw(child.id() as i32);
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(deadline) else {
        let _ = killpg(group, Signal::SIGKILL);
        return None;
    };
    let output = output.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Some(Output { code: code(output.status), stdout, stderr })
}

/// The exit status as a shell has it.
pub fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Runs a program of the lab itself, which must succeed; its output.
#[track_caller]
pub fn tool(line: &[&str]) -> String {
    let mut command = Command::new(line[0]);
    let output = run(command.args(&line[1..]), super::DEADLINE);
    let output = output.unwrap_or_else(|| panic!("{line:?} has not ended"));
    assert_eq!(output.code, 0, "{line:?}: {}{}", output.stdout, output.stderr);
    output.stdout
}
