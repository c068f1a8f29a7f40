//! What must run on exactly one host: a small service, bound to the leader target of its host.

use std::time::Duration;

use super::Lab;

/// A service that does nothing, and that ends in one of several ways.
#[derive(Clone, Debug)]
pub struct Member {
    /// Without `.service`.
    pub name: String,
    pub stop: Stop,
    /// `TimeoutStopSec=`; that of systemd (90 s) if there is none.
    pub stop_timeout: Option<Duration>,
}

/// How a member takes being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is gone at once.
    AtOnce,
    /// It needs its time (`ExecStop=`), and runs until then.
    Takes(Duration),
    /// It does not react to SIGTERM.
    Never,
}

impl Member {
    /// A member that stops at once.
    pub fn new(name: &str) -> Member {
        Member { name: name.to_owned(), stop: Stop::AtOnce, stop_timeout: None }
    }

    /// The name of its unit.
    pub fn unit(&self) -> String {
        format!("{}.service", self.name)
    }

    /// Installs and enables it on every host; those that run learn of it.
    pub fn install(&self, lab: &Lab) {
        for host in lab.hosts() {
            let target = format!("raftctl-leader@{}.target", host.name);
            host.write_file(&format!("{UNITS}/{}", self.unit()), &self.text(&target));
            let wants = host.path(&format!("{UNITS}/{target}.wants"));
            std::fs::create_dir_all(&wants).unwrap();
            // What `systemctl enable` does.
            let link = std::os::unix::fs::symlink(
                format!("{UNITS}/{}", self.unit()),
                wants.join(self.unit()),
            );
            link.unwrap_or_else(|error| panic!("{}: {error}", self.unit()));
            if host.is_running() {
                host.systemctl(&["daemon-reload"]);
            }
        }
    }

    fn text(&self, target: &str) -> String {
        let start = match self.stop {
            // An ignored signal stays ignored by the next program.
            Stop::Never => "/bin/sh -c 'trap \"\" TERM; exec sleep infinity'",
            _ => "/bin/sleep infinity",
        };
        let mut text = format!(
            "[Unit]\nStartLimitIntervalSec=0\nBindsTo={target}\nAfter={target}\n\
             [Service]\nExecStart={start}\n"
        );
        if let Stop::Takes(time) = self.stop {
            text += &format!("ExecStop=/bin/sleep {}\n", time.as_secs_f64());
        }
        if let Some(timeout) = self.stop_timeout {
            text += &format!("TimeoutStopSec={}ms\n", timeout.as_millis());
        }
        text + &format!("[Install]\nWantedBy={target}\n")
    }
}

const UNITS: &str = "/etc/systemd/system";
