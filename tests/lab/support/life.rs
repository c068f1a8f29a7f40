//! One life of a host, from power on to its end: what it tells about itself, and how it ended.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::Child;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use nix::unistd::Pid;

use super::clock::now;
use super::command;

/// What the host has told about itself.
#[derive(Default)]
pub struct Told {
    /// Process 1 of the host, as its number is here.
    pub leader: Option<Pid>,
    pub ready: bool,
}

/// The end of one life: when, and with which exit status.
#[derive(Default)]
pub struct End {
    pub status: Mutex<Option<(i32, Duration)>>,
    pub known: Condvar,
}

/// Takes what the host says until it ends. Somebody has to: its process 1 tells of every job that
/// takes long, again and again, and would wait for a reader for ever. `notify` has a timeout.
pub fn hear(notify: &UnixDatagram, told: &Mutex<Told>, ended: &End) {
    let mut bytes = [0; 4096];
    while ended.known().is_none() {
        let text = match notify.recv(&mut bytes) {
            Ok(length) => String::from_utf8_lossy(&bytes[..length]).into_owned(),
            // A receive with a timeout is not resumed after an interruption (signal(7)).
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                continue;
            }
            Err(error) => panic!("notifications of a host: {error}"),
        };
        let pid = text.lines().find_map(|line| line.strip_prefix("X_NSPAWN_LEADER_PID="));
        let mut told = told.lock().unwrap();
        told.leader = pid.map(|pid| Pid::from_raw(pid.parse().unwrap())).or(told.leader);
        told.ready |= text.lines().any(|line| line == "READY=1");
    }
}

impl End {
    pub fn wait(&self, mut child: Child) {
        let status = child.wait().unwrap();
        *self.status.lock().unwrap() = Some((command::code(status), now()));
        self.known.notify_all();
    }

    pub fn known(&self) -> Option<(i32, Duration)> {
        *self.status.lock().unwrap()
    }
}
