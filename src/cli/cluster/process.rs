//! Which process a pid file means, and how to end exactly that one.
//!
//! A pid file outlives its process: numbers are given again, and hosts reboot. So the file also
//! has the start time of the process (proc_pid_stat(5), field 22) and the boot in which it counts,
//! and before anything is sent the process must still match both, and must run our program. With a
//! pidfd taken *before* that check no other process can slip in between.

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pidfd::PidFd;

/// What a pid file says about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Number of the process.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start_time: u64,
    /// The boot in which it runs, from /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// File name of its program.
    pub program: String,
}

/// What became of the process that a pid file means.
#[derive(Debug)]
pub enum Found {
    /// It runs.
    Running(Process),
    /// It does not; the pid file, if there is one, is stale.
    Gone(Reason),
}

/// Why a process is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no pid file.
    NoFile,
    /// The pid file cannot be understood.
    Unreadable,
    /// It is from before the last boot.
    OtherBoot,
    /// No process has that number, or only its remains.
    Ended,
    /// Another process has that number now.
    Stranger,
}

/// A running process of ours.
#[derive(Debug)]
pub struct Process {
    record: Record,
    pidfd: Option<PidFd>,
}

impl Record {
    /// The record of process `pid`, which runs `program` and has not been waited for.
    pub fn of(pid: u32, program: &Path) -> io::Result<Record> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stat = stat(pid)?;
        Ok(Record { pid, start_time: stat.start_time, boot_id: boot_id()?, program })
    }

    /// Writes the pid file, whole or not at all.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("pid.new");
        let mut file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o644)
            .open(&temporary)?;
        file.write_all(self.to_string().as_bytes())?;
        fs::rename(&temporary, path)
    }

    /// Reads a pid file's text.
    pub fn parse(text: &str) -> Option<Record> {
        let mut lines = text.lines();
        let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
        let record = Record {
            pid: value("pid")?.parse().ok().filter(|pid| *pid > 1)?,
            start_time: value("start-time")?.parse().ok()?,
            boot_id: value("boot-id")?.to_owned(),
            program: value("program")?.to_owned(),
        };
        lines.next().is_none().then_some(record)
    }

    fn is_alive(&self) -> Result<(), Reason> {
        let stat = stat(self.pid).map_err(|_| Reason::Ended)?;
        if stat.start_time != self.start_time {
            return Err(Reason::Stranger);
        }
        if matches!(stat.state, 'Z' | 'X') {
            return Err(Reason::Ended);
        }
        if !runs(self.pid, &self.program) {
            return Err(Reason::Stranger);
        }
        Ok(())
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { pid, start_time, boot_id, program } = self;
        writeln!(f, "pid {pid}\nstart-time {start_time}\nboot-id {boot_id}\nprogram {program}")
    }
}

/// Looks for the process that the pid file at `path` means.
pub fn find(path: &Path) -> io::Result<Found> {
    let mut text = String::new();
    match fs::File::open(path) {
        Ok(file) => file.take(PID_FILE_MAX_BYTES).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Found::Gone(Reason::NoFile));
        }
        Err(error) => return Err(error),
    };
    let Some(record) = Record::parse(&text) else { return Ok(Found::Gone(Reason::Unreadable)) };
    if record.boot_id != boot_id()? {
        return Ok(Found::Gone(Reason::OtherBoot));
    }
    // The descriptor BEFORE the check: what is checked is then what is held.
    let pidfd = match PidFd::open(record.pid) {
        Ok(pidfd) => pidfd,
        Err(error) => match error.raw_os_error() {
            Some(nix::libc::ESRCH) => return Ok(Found::Gone(Reason::Ended)),
            // The number of a thread, which is not the number of a process.
            Some(nix::libc::EINVAL | nix::libc::ENOENT) => {
                return Ok(Found::Gone(Reason::Stranger));
            }
            _ => return Err(error),
        },
    };
    Ok(match record.is_alive() {
        Ok(()) => Found::Running(Process { record, pidfd }),
        Err(reason) => Found::Gone(reason),
    })
}

impl Process {
    /// Its number, for people.
    pub fn pid(&self) -> i32 {
        self.record.pid
    }

    /// Sends `signal`; that the process has ended meanwhile is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let sent = match &self.pidfd {
            Some(pidfd) => pidfd.send(signal),
            None if self.record.is_alive().is_err() => return Ok(()),
            None => kill(Pid::from_raw(self.record.pid), signal).map_err(io::Error::from),
        };
        match sent {
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
            sent => sent,
        }
    }

    /// Waits until it has ended, at most until `deadline`; whether it has.
    pub fn wait(&self, deadline: Instant) -> io::Result<bool> {
        if let Some(pidfd) = &self.pidfd {
            return pidfd.wait(deadline);
        }
        while self.record.is_alive().is_ok() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            thread::sleep(POLL_WITHOUT_PIDFD);
        }
        Ok(true)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NoFile => "not started",
            Reason::Unreadable => "its pid file is unreadable",
            Reason::OtherBoot => "the host was rebooted since",
            Reason::Ended => "it has ended",
            Reason::Stranger => "its process number belongs to another process now",
        })
    }
}

struct Stat {
    state: char,
    start_time: u64,
}

fn stat(pid: i32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat: {text:?}")))
}

/// The state and the start time of proc_pid_stat(5). The second field, the program's name, is in
/// parentheses and may contain spaces and parentheses itself.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, after) = text.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_time = fields.nth(START_TIME_FIELD - STATE_FIELD - 1)?.parse().ok()?;
    Some(Stat { state, start_time })
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Whether process `pid` runs `program`: as its executable, or as its first or second argument,
/// where a script has its own name.
fn runs(pid: i32, program: &str) -> bool {
    let is_program = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The kernel adds this when the file was replaced, as every upgrade does.
        name.strip_suffix(" (deleted)").unwrap_or(&name) == program
    };
    if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| is_program(&exe)) {
        return true;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).take(2);
    words.into_iter().any(|word| is_program(&PathBuf::from(&*String::from_utf8_lossy(word))))
}

const STATE_FIELD: usize = 3;
const START_TIME_FIELD: usize = 22;
const PID_FILE_MAX_BYTES: u64 = 4096;
const POLL_WITHOUT_PIDFD: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse_stat() {
        let text = "7 (a) R (b)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 99 1\n";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.state, stat.start_time), ('S', 4242));
        assert!(parse_stat("7 (a) S 1 2 3").is_none());
        assert!(parse_stat("").is_none());
    }

    #[test]
    fn records_round_trip_and_nothing_else_is_read() {
        let record = Record {
            pid: 4711,
            start_time: 99,
            boot_id: "b-1".to_owned(),
            program: "raftctld".to_owned(),
        };
        let text = record.to_string();
        assert_eq!(Record::parse(&text), Some(record));
        let damaged = [
            text.replace("4711", "-1"),
            text.replace("4711", "1"),
            text.replace("4711", "0"),
            text.replace("start-time", "time"),
            text.lines().take(3).collect(),
            format!("{text}more\n"),
            String::new(),
        ];
        for text in damaged {
            assert_eq!(Record::parse(&text), None, "{text:?}");
        }
    }

    #[test]
    fn this_process_is_told_from_everything_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.pid");
        let found = |record: &Record| {
            record.write(&path).unwrap();
            find(&path).unwrap()
        };
        let exe = std::env::current_exe().unwrap();
        let me = Record::of(std::process::id(), &exe).unwrap();
        assert!(matches!(find(&path).unwrap(), Found::Gone(Reason::NoFile)));
        assert!(matches!(found(&me), Found::Running(_)));
        let other = Record { start_time: me.start_time + 1, ..me.clone() };
        assert!(matches!(found(&other), Found::Gone(Reason::Stranger)));
        let other = Record { program: "raftctld".into(), ..me.clone() };
        assert!(matches!(found(&other), Found::Gone(Reason::Stranger)));
        let other = Record { boot_id: "other".into(), ..me.clone() };
        assert!(matches!(found(&other), Found::Gone(Reason::OtherBoot)));
        let other = Record { pid: i32::MAX, ..me.clone() };
        assert!(matches!(found(&other), Found::Gone(Reason::Ended)));
        fs::write(&path, "12345\n").unwrap();
        assert!(matches!(find(&path).unwrap(), Found::Gone(Reason::Unreadable)));
    }

    #[test]
    fn without_a_pidfd_the_same_process_is_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let record = Record::of(child.id(), Path::new("sleep")).unwrap();
        let other = Record { start_time: record.start_time + 1, ..record.clone() };
        let stranger = Process { record: other, pidfd: None };
        stranger.signal(Signal::SIGKILL).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "a stranger was hit");
        let process = Process { record, pidfd: None };
        assert!(!process.wait(Instant::now()).unwrap());
        process.signal(Signal::SIGKILL).unwrap();
        // Ended, though nobody has waited for it yet.
        assert!(process.wait(Instant::now() + Duration::from_secs(20)).unwrap());
        process.signal(Signal::SIGKILL).unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
