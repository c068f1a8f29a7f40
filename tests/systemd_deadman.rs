//! The dead-man, in processes of their own: this test binary, started again.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use raftctl::node::clock;
use raftctl::systemd::deadman::DeadMan;

/// A child that lives longer than this exits by itself.
const LIFE: Duration = Duration::from_millis(600);

/// What a child exits with that was not killed.
const ALIVE: i32 = 7;

const DEADLINE: Duration = Duration::from_secs(20);

/// Not a test of its own: what the children of the other tests do.
#[test]
fn child() {
    let Ok(what) = std::env::var("DEAD_MAN") else { return };
    let now = clock::now();
    let ms = Duration::from_millis;
    let mut dead_man = DeadMan::new().unwrap();
    match what.as_str() {
        "arm" => dead_man.arm(now + ms(200)),
        "past" => {
            println!("armed");
            dead_man.arm(raftctl::core::Instant(0));
        }
        "just past" => {
            println!("armed");
            dead_man.arm(now);
        }
        "disarm" => {
            dead_man.arm(now + ms(200));
            dead_man.disarm();
        }
        "move on" => {
            dead_man.arm(now + ms(100));
            dead_man.arm(now + ms(400));
        }
        "move near" => {
            dead_man.arm(now + ms(10_000));
            dead_man.arm(now + ms(200));
        }
        "again" => {
            dead_man.arm(now + ms(100));
            dead_man.disarm();
            dead_man.arm(now + ms(300));
        }
        "drop" => {
            dead_man.arm(now + ms(200));
            drop(dead_man);
            dead_man = DeadMan::new().unwrap();
        }
        other => panic!("{other}"),
    }
    println!("armed");
    let (_never, end) = mpsc::sync_channel::<()>(0);
    let _ = end.recv_timeout(LIFE);
    drop(dead_man);
    std::process::exit(ALIVE);
}

/// A child that has set its dead-man.
struct Armed {
    child: Option<Child>,
    since: Instant,
}

impl Armed {
    fn new(what: &str) -> Armed {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env("DEAD_MAN", what)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let armed = lines.any(|line| line.unwrap().ends_with("armed"));
        assert!(armed, "{what}");
        Armed { child: Some(child), since: Instant::now() }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid as i32), signal).unwrap();
    }

    /// How it ended, and how long after it was armed.
    fn end(mut self) -> (ExitStatus, Duration) {
        let mut child = self.child.take().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let (tell, end) = mpsc::sync_channel(1);
        let since = self.since;
        std::thread::spawn(move || tell.send((child.wait().unwrap(), since.elapsed())));
        end.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            let _ = kill(pid, Signal::SIGKILL);
            panic!("the child still lives")
        })
    }

    fn dies(self, not_before: Duration) {
        let (status, lived) = self.end();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status:?} after {lived:?}");
        assert!(lived >= not_before, "killed after {lived:?}");
    }

    fn lives(self) {
        let (status, lived) = self.end();
        assert_eq!(status.code(), Some(ALIVE), "{status:?} after {lived:?}");
    }
}

/// What may pass between arming and the line that says so.
const LATE: Duration = Duration::from_millis(80);

#[test]
fn it_kills_at_its_time() {
    Armed::new("arm").dies(Duration::from_millis(200) - LATE);
}

#[test]
fn a_stopped_process_dies_on_time() {
    let armed = Armed::new("arm");
    armed.signal(Signal::SIGSTOP);
    armed.dies(Duration::from_millis(200) - LATE);
}

#[test]
fn a_time_in_the_past_kills_at_once() {
    Armed::new("past").dies(Duration::ZERO);
    Armed::new("just past").dies(Duration::ZERO);
}

#[test]
fn a_disarmed_one_does_nothing() {
    Armed::new("disarm").lives();
    Armed::new("drop").lives();
}

#[test]
fn it_can_be_moved_on_and_near_and_armed_again() {
    Armed::new("move on").dies(Duration::from_millis(400) - LATE);
    Armed::new("move near").dies(Duration::from_millis(200) - LATE);
    Armed::new("again").dies(Duration::from_millis(300) - LATE);
}
