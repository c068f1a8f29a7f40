//! Real event scripts, run by the real runner: what they are told, in which order they run, and
//! what they cannot do to the agent.
//!
//! Scripts and test talk through FIFOs that the test keeps open in both directions: a script says
//! where it is by a line in `said`, and waits for a line from `gate`. Nothing sleeps.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use raftctl::events::{
    Backend, EventName, Finished, Occurrence, Outcome, Scripts, ScriptsConfig, start,
};
use raftctl::limits;

use EventName::{Candidate, Change, Follower, Leader, Learner};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The preamble of every script of these tests. `$0` is absolute, and so is the directory.
const PREAMBLE: &str = "#!/bin/sh\ndir=${0%/*}\nsay() { echo \"$*\" >\"$dir/said\"; }\n\
                        wait_gate() { read -r answer <\"$dir/gate\"; }\n";

/// A directory with scripts, and the FIFOs they talk through.
struct Lab {
    dir: tempfile::TempDir,
    scripts: BTreeMap<EventName, PathBuf>,
    timeout: Duration,
    kill_after: Duration,
    demote_timeout: Duration,
    fence_after: Option<Duration>,
    said: Fifo,
    gate: Fifo,
}

impl Lab {
    fn new() -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let (said, gate) = (Fifo::create(dir.path(), "said"), Fifo::create(dir.path(), "gate"));
        let scripts = BTreeMap::new();
        let (timeout, kill_after, demote_timeout) = (PATIENCE, PATIENCE, PATIENCE * 6);
        Lab { dir, scripts, timeout, kill_after, demote_timeout, fence_after: None, said, gate }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&mut self, event: EventName, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self.scripts.insert(event, path);
    }

    /// A shell script for `event`.
    fn script(&mut self, event: EventName, body: &str) {
        self.write(event, event.as_str(), &format!("{PREAMBLE}{body}\n"), 0o755);
    }

    /// Scripts for all events that say event, token and old role, and the one of `gated` waits.
    fn tellers(&mut self, events: &[EventName], gated: EventName) {
        for event in events {
            let wait = if *event == gated { "wait_gate" } else { ":" };
            self.script(
                *event,
                &format!("say $1 t$RAFTCTL_TOKEN from $RAFTCTL_OLD_ROLE\n{wait}\nsay $1 done"),
            );
        }
    }

    fn start(&self) -> Scripts {
        let (scripts, cluster, node) = (self.scripts.clone(), "blue".into(), "n1".into());
        let (timeout, kill_after) = (self.timeout, self.kill_after);
        let Lab { demote_timeout, fence_after, .. } = *self;
        let backend = Backend::Process;
        start(ScriptsConfig {
            scripts,
            timeout,
            kill_after,
            demote_timeout,
            fence_after,
            backend,
            metrics: std::sync::Arc::default(),
            cluster,
            node,
        })
        .unwrap()
    }

    #[track_caller]
    fn hears(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.said.line(), *line);
        }
    }

    fn open_gate(&mut self) {
        self.gate.file.write_all(b"go\n").unwrap();
    }
}

/// A FIFO open for reading and writing, so that neither side waits for the other to open it.
struct Fifo {
    file: File,
    rest: Vec<u8>,
}

impl Fifo {
    fn create(dir: &Path, name: &str) -> Fifo {
        let path = dir.join(name);
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK);
        Fifo { file: options.open(path).unwrap(), rest: Vec::new() }
    }

    /// The next line.
    #[track_caller]
    fn line(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return String::from_utf8(line[..end].to_vec()).unwrap();
            }
            wait_readable(&self.file, deadline);
            let mut chunk = [0; 4096];
            let count = self.file.read(&mut chunk).unwrap();
            self.rest.extend_from_slice(&chunk[..count]);
        }
    }

    /// Whether nothing was said that was not heard.
    fn is_silent(&mut self) -> bool {
        let mut chunk = [0; 1];
        self.rest.is_empty() && self.file.read(&mut chunk).is_err()
    }
}

#[track_caller]
fn wait_readable(file: &File, deadline: Instant) {
    let rest = deadline.saturating_duration_since(Instant::now());
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut fds, PollTimeout::try_from(rest).unwrap()).unwrap();
    assert_ne!(ready, 0, "nothing was said within {PATIENCE:?}");
}

fn occurrence(event: EventName, token: u64) -> Occurrence {
    Occurrence {
        planned: false,
        number: 0,
        event,
        role: event.as_str(),
        old_role: "starting",
        leader: Some("n2".into()),
        leader_address: Some("192.0.2.2:7400".into()),
        term: 5,
        token: Some(token),
        reason: "a test",
        timestamp_usec: 1_700_000_000_000_000,
    }
}

fn submit(scripts: &Scripts, events: &[(EventName, u64)]) {
    for (event, token) in events {
        scripts.submit(Occurrence { number: next_number(), ..occurrence(*event, *token) });
    }
}

/// Consequences have rising numbers; gaps do not matter.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Submits consequences, numbered from `first`.
fn submit_numbered(scripts: &Scripts, first: u64, events: &[EventName]) {
    for (number, event) in (first..).zip(events) {
        scripts.submit(Occurrence { number, ..occurrence(*event, 1) });
    }
}

/// Up to which number consequences are over, once that is at least `number`.
#[track_caller]
fn over(scripts: &Scripts, number: u64) -> u64 {
    let mut over = scripts.over();
    block_on(async { *over.wait_for(|over| *over >= number).await.unwrap() })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 2, future).await }).unwrap()
}

/// Waits until `count` scripts have ended; the last one.
#[track_caller]
fn finished(scripts: &Scripts, count: u64) -> Finished {
    let mut status = scripts.status();
    block_on(async {
        let status = status.wait_for(|status| status.finished >= count).await.unwrap();
        status.last.clone().unwrap()
    })
}

#[track_caller]
fn assert_exited(finished: &Finished, code: i32) {
    let outcome = &finished.outcome;
    let text = String::from_utf8_lossy(&finished.output);
    assert!(matches!(outcome, Outcome::Exited(c) if *c == code), "{outcome:?}: {text}");
}

/// Runs the one script of `lab` for a `leader` event, to its end.
fn run_one(lab: &Lab) -> Finished {
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 7)]);
    finished(&scripts, 1)
}

// What a script is told.

#[test]
fn a_script_gets_exactly_the_documented_environment() {
    let mut lab = Lab::new();
    // The block as execve(2) passed it, before the shell adds its own.
    lab.script(Leader, "cat /proc/$$/environ >\"$dir/environ\"; cat >\"$dir/input\"");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "the parent has something to leak");
    let before = since_1970_usec();
    assert_exited(&run_one(&lab), 0);
    let after = since_1970_usec();

    let environ = fs::read_to_string(lab.path("environ")).unwrap();
    let entries = environ.split_terminator('\0');
    let mut environ: BTreeMap<_, _> = entries.map(|e| e.split_once('=').unwrap()).collect();
    let deadline: u128 = environ.remove("RAFTCTL_DEADLINE_USEC").unwrap().parse().unwrap();
    let limit = lab.timeout.as_micros();
    assert!((before + limit..=after + limit).contains(&deadline), "{before} {deadline} {after}");
    let expected = [
        ("LANG", "C.UTF-8"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("RAFTCTL_CLUSTER", "blue"),
        ("RAFTCTL_EVENT", "leader"),
        ("RAFTCTL_LEADER", "n2"),
        ("RAFTCTL_LEADER_ADDRESS", "192.0.2.2:7400"),
        ("RAFTCTL_NODE", "n1"),
        ("RAFTCTL_OLD_ROLE", "starting"),
        ("RAFTCTL_REASON", "a test"),
        ("RAFTCTL_ROLE", "leader"),
        ("RAFTCTL_SEQUENCE", "1"),
        ("RAFTCTL_TERM", "5"),
        ("RAFTCTL_TIMESTAMP_USEC", "1700000000000000"),
        ("RAFTCTL_TOKEN", "7"),
    ];
    assert_eq!(environ, BTreeMap::from(expected));

    let input = fs::read_to_string(lab.path("input")).unwrap();
    assert!(input.ends_with("}\n") && input.lines().count() == 1, "{input:?}");
    let input: BTreeMap<String, String> = serde_json::from_str(&input).unwrap();
    let deadline = deadline.to_string();
    environ.insert("RAFTCTL_DEADLINE_USEC", &deadline);
    let told = environ.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("RAFTCTL_")?;
        Some((name.to_lowercase(), (*value).to_owned()))
    });
    assert_eq!(input, told.collect());
}

fn since_1970_usec() -> u128 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros()
}

#[test]
fn what_is_not_known_is_empty() {
    let mut lab = Lab::new();
    lab.script(
        Follower,
        "say \"${RAFTCTL_LEADER-unset} ${RAFTCTL_LEADER_ADDRESS-unset} ${RAFTCTL_TOKEN-unset}.\"",
    );
    let scripts = lab.start();
    let (leader, leader_address, token) = (None, None, None);
    scripts.submit(Occurrence { leader, leader_address, token, ..occurrence(Follower, 1) });
    lab.hears(&["  ."]);
}

#[test]
fn arguments_directory_and_process_group() {
    let mut lab = Lab::new();
    lab.script(Leader, "say $# $1 $2 $3; say \"$(pwd)\"; say \"$(ps_group)\"");
    let group = "ps_group() { cut -d' ' -f5 /proc/$$/stat; }\n";
    let body = fs::read_to_string(lab.path("leader")).unwrap();
    let body = body.replace("say $#", &format!("{group}say $$; say $#"));
    fs::write(lab.path("leader"), body).unwrap();
    assert_exited(&run_one(&lab), 0);
    let pid = lab.said.line();
    lab.hears(&["3 leader leader blue", "/", &pid]);
}

#[test]
fn a_script_need_not_read_its_input() {
    let mut lab = Lab::new();
    lab.script(Leader, "exec <&-; say closed");
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["closed"]);
    assert_exited(&finished(&scripts, 1), 0);
}

#[test]
fn javascript_runs_with_node() {
    let found = std::env::var("PATH").unwrap_or_default();
    let has_node = found.split(':').any(|dir| Path::new(dir).join("node").exists());
    assert!(has_node, "this test needs node (apt-get install nodejs)");
    let mut lab = Lab::new();
    let script = "const told = JSON.parse(require('fs').readFileSync(0, 'utf8'));\n\
                  console.log(process.argv.slice(2).join(' '), process.env.RAFTCTL_TOKEN);\n\
                  console.error(told.token, BigInt(told.token) + 1n);\n\
                  process.exitCode = 3;\n";
    // Not executable: node reads it.
    lab.write(Leader, "leader.js", script, 0o644);
    let scripts = lab.start();
    submit(&scripts, &[(Leader, u64::MAX)]);
    let ended = finished(&scripts, 1);
    assert_exited(&ended, 3);
    let output = String::from_utf8(ended.output).unwrap();
    let max = u64::MAX;
    let expected = format!("leader leader blue {max}\n{max} 18446744073709551616n\n");
    assert_eq!(output, expected);
}

// Order.

const ALL: &[EventName] = &[Leader, Follower, Candidate, Learner];

#[test]
fn scripts_run_one_at_a_time_and_only_the_newest_waits() {
    let mut lab = Lab::new();
    lab.tellers(ALL, Follower);
    let scripts = lab.start();
    submit(&scripts, &[(Follower, 1)]);
    lab.hears(&["follower t1 from starting"]);
    submit(&scripts, &[(Candidate, 1), (Follower, 1), (Learner, 2), (Candidate, 3)]);
    assert!(lab.said.is_silent(), "something ran beside the first script");
    lab.open_gate();
    lab.hears(&["follower done", "candidate t3 from follower", "candidate done"]);
    assert_eq!(finished(&scripts, 2).sequence, 5);
    assert!(lab.said.is_silent());
    assert_eq!(scripts.status().borrow().coalesced, 3);
}

#[test]
fn a_running_leader_script_is_followed_by_its_demotion_before_the_next_leader() {
    let mut lab = Lab::new();
    lab.tellers(ALL, Leader);
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["leader t1 from starting"]);
    submit(&scripts, &[(Follower, 1), (Candidate, 1), (Leader, 2)]);
    lab.open_gate();
    lab.hears(&["leader done", "follower t1 from leader", "follower done"]);
    lab.hears(&["leader t2 from follower"]);
    lab.open_gate();
    lab.hears(&["leader done"]);
}

#[test]
fn roles_that_the_scripts_see_form_a_chain() {
    let mut lab = Lab::new();
    lab.tellers(ALL, Candidate);
    let scripts = lab.start();
    submit(&scripts, &[(Candidate, 0)]);
    lab.hears(&["candidate t0 from starting"]);
    lab.open_gate();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["candidate done", "leader t1 from candidate", "leader done"]);
    submit(&scripts, &[(Follower, 1), (Candidate, 1)]);
    lab.hears(&["follower t1 from leader", "follower done", "candidate t1 from follower"]);
    // Elected and deposed while the candidate script runs: the leader script never starts.
    submit(&scripts, &[(Leader, 2), (Follower, 2)]);
    lab.open_gate();
    lab.hears(&["candidate done", "follower t2 from candidate", "follower done"]);
}

#[test]
fn a_leader_event_that_waits_is_dropped_when_the_node_is_deposed() {
    let mut lab = Lab::new();
    lab.tellers(ALL, Follower);
    let scripts = lab.start();
    submit(&scripts, &[(Follower, 0)]);
    lab.hears(&["follower t0 from starting"]);
    submit(&scripts, &[(Candidate, 0), (Leader, 1), (Follower, 1)]);
    lab.open_gate();
    lab.hears(&["follower done"]);
    // The state that the scripts know is the newest: nothing is left to run.
    submit(&scripts, &[(Learner, 1)]);
    lab.hears(&["learner t1 from follower", "learner done"]);
}

#[test]
fn change_runs_after_the_script_of_every_event() {
    let mut lab = Lab::new();
    lab.tellers(&[Leader, Follower], Leader);
    lab.script(Change, "say $1 $2 $RAFTCTL_EVENT $RAFTCTL_SEQUENCE");
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["leader t1 from starting"]);
    // The two scripts of one event are a unit, even if the event is over by then.
    submit(&scripts, &[(Follower, 1), (Candidate, 1)]);
    lab.open_gate();
    lab.hears(&["leader done", "change leader change 1"]);
    lab.hears(&["follower t1 from leader", "follower done", "change follower change 2"]);
    lab.hears(&["change candidate change 3"]);
}

// What a script cannot do to the agent.

#[test]
fn a_failed_script_is_reported_and_the_next_one_runs() {
    let mut lab = Lab::new();
    lab.script(Leader, "echo out; echo err >&2; echo again; exit 41");
    lab.script(Follower, "kill -USR1 $$");
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    let ended = finished(&scripts, 1);
    assert_exited(&ended, 41);
    assert_eq!(String::from_utf8(ended.output).unwrap(), "out\nerr\nagain\n");
    submit(&scripts, &[(Follower, 1)]);
    let ended = finished(&scripts, 2);
    assert!(matches!(ended.outcome, Outcome::Signalled(10)), "{:?}", ended.outcome);
}

#[test]
fn scripts_that_cannot_be_run_are_reported_by_what_is_wrong() {
    let mut lab = Lab::new();
    lab.scripts.insert(Leader, lab.path("nothing"));
    lab.write(Follower, "plain", "#!/bin/sh\n", 0o644);
    lab.write(Candidate, "lost", "#!/nonexistent/interpreter\n", 0o755);
    lab.write(Learner, "text", "just text\n", 0o755);
    lab.scripts.insert(Change, lab.dir.path().to_owned());
    let expected = [
        (Leader, "nothing\" does not exist"),
        (Follower, "plain\" is not executable"),
        (Candidate, "lost\" names an interpreter"),
        (Learner, "text\" is no program"),
        (Change, "is not a regular file"),
    ];
    for (event, words) in expected {
        // One script at a time: with `change` configured, every event would have two results.
        let only = BTreeMap::from([(event, lab.scripts[&event].clone())]);
        let scripts = Lab { scripts: only, ..Lab::new() }.start();
        submit(&scripts, &[(event, 1)]);
        let ended = finished(&scripts, 1);
        let Outcome::NotStarted(error) = ended.outcome else { panic!("{:?}", ended.outcome) };
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_relative_path_and_a_missing_javascript_are_refused() {
    for (path, words) in [("leader", "is relative"), ("/nonexistent/leader.js", "does not exist")] {
        let mut lab = Lab::new();
        lab.scripts.insert(Leader, path.into());
        let ended = run_one(&lab);
        let Outcome::NotStarted(error) = ended.outcome else { panic!("{:?}", ended.outcome) };
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// The read end of a FIFO whose end of file says that all its writers are dead.
struct LastBreath(File);

impl LastBreath {
    /// Whether all writers are dead. BEFORE: there was one.
    fn is_drawn(&mut self) -> bool {
        let mut chunk = [0; 64];
        self.0.read(&mut chunk).is_ok_and(|count| count == 0)
    }

    fn create(lab: &Lab) -> LastBreath {
        let path = lab.path("alive");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(nix::libc::O_NONBLOCK);
        LastBreath(options.open(path).unwrap())
    }

    #[track_caller]
    fn wait(mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // poll(2) reports the end of a FIFO as POLLHUP, which need not be asked for.
            wait_readable(&self.0, deadline);
            let mut chunk = [0; 64];
            if self.0.read(&mut chunk).is_ok_and(|count| count == 0) {
                return;
            }
        }
    }
}

#[test]
fn the_time_limit_kills_the_whole_group_even_what_ignores_sigterm() {
    let mut lab = Lab::new();
    let mut alive = LastBreath::create(&lab);
    // The child ignores SIGTERM and outlives its parent, which does not.
    lab.script(
        Leader,
        "(trap '' TERM; exec >/dev/null 2>&1; while :; do read -r x <\"$dir/gate\"; done) \
         9>\"$dir/alive\" &\nexec 8>\"$dir/alive\"; say started; wait",
    );
    lab.script(Follower, "say follower");
    (lab.timeout, lab.kill_after) = (Duration::from_millis(500), Duration::from_millis(300));
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["started"]);
    submit(&scripts, &[(Follower, 1)]);
    lab.hears(&["follower"]);
    assert!(alive.is_drawn(), "the next script began while the killed group lived");
}

#[test]
fn outcomes_of_the_time_limit() {
    let quick = Duration::from_millis(300);
    for (body, kill_after, expect_kill) in [
        ("trap 'say term; exit 0' TERM; say started; while :; do wait_gate; done", PATIENCE, false),
        ("trap '' TERM; say started; while :; do wait_gate; done", quick, true),
    ] {
        let mut lab = Lab::new();
        lab.script(Leader, body);
        (lab.timeout, lab.kill_after) = (quick, kill_after);
        let ended = run_one(&lab);
        lab.hears(&["started"]);
        let outcome = &ended.outcome;
        assert!(matches!(outcome, Outcome::TimedOut { killed } if *killed == expect_kill));
        assert!(ended.duration >= quick, "{:?}", ended.duration);
        if expect_kill {
            assert!(ended.duration >= 2 * quick, "{:?}", ended.duration);
        } else {
            lab.hears(&["term"]);
        }
    }
}

#[test]
fn a_member_of_the_group_may_clean_up_after_the_script_itself_died_of_sigterm() {
    let mut lab = Lab::new();
    lab.script(
        Leader,
        "(trap 'say cleaning; wait_gate; say clean; exit' TERM; exec >/dev/null 2>&1; \
         say ready; while :; do read -r x <\"$dir/never\"; done) &\nwait",
    );
    let _never = Fifo::create(lab.dir.path(), "never");
    (lab.timeout, lab.kill_after) = (Duration::from_millis(500), PATIENCE);
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["ready", "cleaning"]);
    lab.open_gate();
    lab.hears(&["clean"]);
    let ended = finished(&scripts, 1);
    assert!(matches!(ended.outcome, Outcome::TimedOut { killed: false }), "{:?}", ended.outcome);
}

#[test]
fn a_daemon_that_keeps_the_output_open_holds_up_nobody() {
    let mut lab = Lab::new();
    let alive = LastBreath::create(&lab);
    lab.script(
        Leader,
        "setsid sh -c 'read -r x <\"$1\"' sh \"$dir/gate\" 9>\"$dir/alive\" &\n\
         exec 8>\"$dir/alive\"; echo begun",
    );
    lab.script(Follower, "say follower");
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    let ended = finished(&scripts, 1);
    assert_exited(&ended, 0);
    assert_eq!(ended.output, b"begun\n");
    submit(&scripts, &[(Follower, 1)]);
    lab.hears(&["follower"]);
    assert_exited(&finished(&scripts, 2), 0);
    // It is still there, and its own business.
    lab.open_gate();
    alive.wait();
}

#[test]
fn a_hundred_megabytes_of_output_are_read_and_forgotten() {
    const TOTAL: u64 = 100 << 20;
    let mut lab = Lab::new();
    lab.script(Leader, "head -c 104857600 /dev/zero; say through");
    let before = resident_kib();
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["through"]);
    let ended = finished(&scripts, 1);
    assert_exited(&ended, 0);
    assert_eq!(ended.output.len(), limits::SCRIPT_OUTPUT_MAX_BYTES);
    assert_eq!(ended.output.len() as u64 + ended.discarded_bytes, TOTAL);
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "resident memory grew by {grown} KiB");
}

/// The most memory that this process ever had, in KiB.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn endless_output_does_not_outrun_the_time_limit() {
    let mut lab = Lab::new();
    lab.script(Leader, "exec cat /dev/zero");
    (lab.timeout, lab.kill_after) = (Duration::from_millis(300), PATIENCE);
    let ended = run_one(&lab);
    assert!(matches!(ended.outcome, Outcome::TimedOut { killed: false }), "{:?}", ended.outcome);
    assert!(ended.discarded_bytes > 0);
}

#[test]
fn the_last_words_of_a_script_are_not_lost() {
    let mut lab = Lab::new();
    // Exits at once after writing: the end may be seen before the output.
    lab.script(Candidate, "exec echo last words");
    lab.script(Learner, "exec echo last words");
    let scripts = lab.start();
    for count in 1..=50 {
        submit(&scripts, &[(if count % 2 == 0 { Candidate } else { Learner }, 1)]);
        assert_eq!(finished(&scripts, count).output, b"last words\n");
    }
}

#[test]
fn the_example_scripts_run() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scripts");
    for (script, leads, follows) in [
        ("leader.sh", "leading cluster blue as n1, token 7\n", "following n2 (a test)\n"),
        ("leader.js", "n1 leads blue in term 5 with token 7\n", "n1 follows n2 (a test)\n"),
    ] {
        let mut lab = Lab::new();
        lab.scripts.insert(Change, examples.join(script));
        if script == "leader.sh" {
            let own = lab.scripts.remove(&Change).unwrap();
            lab.scripts.extend([(Leader, own.clone()), (Follower, own)]);
        }
        let scripts = lab.start();
        for (count, (event, expected)) in (1..).zip([(Leader, leads), (Follower, follows)]) {
            submit(&scripts, &[(event, 7)]);
            let ended = finished(&scripts, count);
            assert_exited(&ended, 0);
            assert_eq!(String::from_utf8(ended.output).unwrap(), expected);
        }
    }
}

#[test]
fn without_scripts_everything_is_a_no_op() {
    let lab = Lab::new();
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1), (Follower, 1)]);
    assert!(scripts.status().borrow().last.is_none());
    block_on(scripts.stop(PATIENCE));
}

// What is over.

#[test]
fn without_scripts_a_consequence_is_over_at_once() {
    let scripts = Lab::new().start();
    let told = scripts.over();
    assert_eq!(*told.borrow(), 0);
    submit_numbered(&scripts, 1, &[Leader, Follower]);
    assert_eq!(*told.borrow(), 2);
}

#[test]
fn a_demotion_is_over_when_the_leader_script_and_its_own_have_ended() {
    let mut lab = Lab::new();
    lab.script(Leader, "say up; wait_gate");
    lab.script(Follower, "say down; wait_gate");
    let scripts = lab.start();
    let told = scripts.over();
    submit_numbered(&scripts, 1, &[Leader]);
    lab.hears(&["up"]);
    submit_numbered(&scripts, 2, &[Follower, Candidate]);
    assert_eq!(*told.borrow(), 0, "the leader script runs, the follower script waits");
    lab.open_gate();
    lab.hears(&["down"]);
    assert_eq!(*told.borrow(), 1, "the follower script runs");
    lab.open_gate();
    // For a candidate there is no script.
    assert_eq!(over(&scripts, 3), 3);
}

#[test]
fn what_is_coalesced_or_cannot_be_started_is_over() {
    let mut lab = Lab::new();
    lab.script(Candidate, "say $1; wait_gate");
    lab.scripts.insert(Follower, "/nonexistent/script".into());
    let scripts = lab.start();
    submit_numbered(&scripts, 1, &[Candidate]);
    lab.hears(&["candidate"]);
    submit_numbered(&scripts, 2, &[Learner, Leader, Follower]);
    assert_eq!(*scripts.over().borrow(), 0);
    lab.open_gate();
    assert_eq!(over(&scripts, 4), 4);
    assert!(matches!(finished(&scripts, 2).outcome, Outcome::NotStarted(_)));
}

// A demotion does not wait for ever.

#[test]
fn a_script_in_the_way_of_a_demotion_gets_a_third_of_its_time() {
    let third = Duration::from_millis(400);
    for (body, expect_kill) in [
        ("trap 'exit 0' TERM; say up; while :; do wait_gate; done", false),
        ("trap '' TERM; say up; while :; do wait_gate; done", true),
    ] {
        let mut lab = Lab::new();
        lab.demote_timeout = 3 * third;
        lab.script(Leader, body);
        lab.script(Follower, "say down");
        let scripts = lab.start();
        submit_numbered(&scripts, 1, &[Leader]);
        lab.hears(&["up"]);
        let begun = Instant::now();
        submit_numbered(&scripts, 2, &[Follower]);
        let ended = finished(&scripts, 1);
        let took = begun.elapsed();
        let outcome = &ended.outcome;
        assert!(matches!(outcome, Outcome::MadeWay { killed } if *killed == expect_kill));
        assert!(took >= third * if expect_kill { 2 } else { 1 }, "{took:?}");
        lab.hears(&["down"]);
        assert_eq!(over(&scripts, 2), 2);
    }
}

#[test]
fn a_demotion_that_is_over_hurries_nobody() {
    let mut lab = Lab::new();
    lab.demote_timeout = Duration::from_millis(30);
    lab.script(Leader, "say up; sleep 0.2; say done");
    lab.script(Follower, "say down");
    let scripts = lab.start();
    for number in [1, 3] {
        submit_numbered(&scripts, number, &[Leader]);
        lab.hears(&["up", "done"]);
        submit_numbered(&scripts, number + 1, &[Follower]);
        lab.hears(&["down"]);
        assert_eq!(over(&scripts, number + 1), number + 1);
    }
}

#[test]
fn the_script_of_a_demotion_is_told_and_ends_before_the_fence() {
    let mut lab = Lab::new();
    lab.demote_timeout = Duration::from_millis(1500);
    lab.fence_after = Some(Duration::from_millis(1200));
    lab.script(Leader, "say up");
    lab.script(Follower, "trap '' TERM; say $RAFTCTL_DEADLINE_USEC; while :; do wait_gate; done");
    let scripts = lab.start();
    submit_numbered(&scripts, 1, &[Leader]);
    lab.hears(&["up"]);
    finished(&scripts, 1);
    let begun = since_1970_usec();
    submit_numbered(&scripts, 2, &[Follower]);
    let told: u128 = lab.said.line().parse().unwrap();
    // A fifth before the fence, so that SIGTERM can work.
    assert!(told >= begun && told - begun <= 1_200_000, "{begun} {told}");
    let ended = finished(&scripts, 2);
    assert!(matches!(ended.outcome, Outcome::TimedOut { killed: true }), "{:?}", ended.outcome);
    assert!(ended.duration >= Duration::from_millis(900), "{:?}", ended.duration);
    assert!(ended.duration < PATIENCE, "the configured limit is far away");
    assert_eq!(over(&scripts, 2), 2);
}

// Stop.

/// Stops, and does something when the stop has begun.
fn stop_then(scripts: Scripts, deadline: Duration, then: impl FnOnce()) {
    // Polled in this order: the stop begins at its first poll.
    block_on(async { tokio::join!(biased; scripts.stop(deadline), async { then() }) });
}

#[test]
fn stop_lets_the_running_script_and_the_demotion_finish() {
    let mut lab = Lab::new();
    lab.tellers(ALL, Leader);
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["leader t1 from starting"]);
    submit(&scripts, &[(Follower, 1), (Candidate, 1)]);
    let status = scripts.status();
    stop_then(scripts, PATIENCE, || lab.open_gate());
    lab.hears(&["leader done", "follower t1 from leader", "follower done"]);
    assert!(lab.said.is_silent(), "the candidate script ran after the stop");
    assert_exited(status.borrow().last.as_ref().unwrap(), 0);
    assert_eq!(status.borrow().finished, 2);
}

#[test]
fn stop_ends_a_hanging_leader_script_early_enough_for_the_demotion() {
    let mut lab = Lab::new();
    let alive = LastBreath::create(&lab);
    lab.script(Leader, "exec 9>\"$dir/alive\"; trap '' TERM; say up; while :; do wait_gate; done");
    lab.script(Follower, "say demoted");
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["up"]);
    submit(&scripts, &[(Follower, 1)]);
    let status = scripts.status();
    block_on(scripts.stop(Duration::from_secs(4)));
    lab.hears(&["demoted"]);
    alive.wait();
    assert_exited(status.borrow().last.as_ref().unwrap(), 0);
}

#[test]
fn stop_kills_what_runs_at_the_deadline() {
    let mut lab = Lab::new();
    let alive = LastBreath::create(&lab);
    lab.script(Leader, "exec 9>\"$dir/alive\"; trap '' TERM; say up; while :; do wait_gate; done");
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["up"]);
    let status = scripts.status();
    let deadline = Duration::from_millis(500);
    let begun = Instant::now();
    block_on(scripts.stop(deadline));
    assert!(begun.elapsed() >= deadline);
    alive.wait();
    let last = status.borrow().last.clone().unwrap();
    assert!(matches!(last.outcome, Outcome::Stopped { killed: true }), "{:?}", last.outcome);
}

#[test]
fn dropping_the_handle_kills_what_runs() {
    let mut lab = Lab::new();
    let alive = LastBreath::create(&lab);
    lab.script(Leader, "exec 9>\"$dir/alive\"; trap '' TERM; say up; while :; do wait_gate; done");
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["up"]);
    drop(scripts);
    alive.wait();
}

#[test]
fn a_script_is_told_the_stop_as_its_deadline() {
    let mut lab = Lab::new();
    lab.tellers(&[Leader], Leader);
    lab.script(Follower, "say $RAFTCTL_DEADLINE_USEC");
    let scripts = lab.start();
    submit(&scripts, &[(Leader, 1)]);
    lab.hears(&["leader t1 from starting"]);
    submit(&scripts, &[(Follower, 1)]);
    let before = since_1970_usec();
    let deadline = lab.timeout / 3;
    stop_then(scripts, deadline, || lab.open_gate());
    lab.hears(&["leader done"]);
    let told: u128 = lab.said.line().parse().unwrap();
    let most = since_1970_usec() + deadline.as_micros();
    let limit = before + lab.timeout.as_micros();
    assert!(told <= most && told < limit, "{told} {most} {limit}");
}
