//! `raftctl cluster start`: detached agents, then their sockets, then a leader.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::place::{LocalCluster, LocalNode};
use super::process::{Found, Record};
use super::view::{self, Observed};
use super::{Client, Environment, logs, spawn};
use crate::dbus::describe::Describe;
use crate::exit::Exit;
use crate::limits;

/// An agent that was just started.
struct Started<'c> {
    node: LocalNode<'c>,
    child: Child,
    /// Where its part of the log begins.
    log_offset: u64,
}

/// How long all of it may take.
#[derive(Clone, Copy)]
struct Patience {
    begin: Instant,
    whole: Duration,
}

impl Patience {
    fn is_over(self) -> bool {
        self.begin.elapsed() >= self.whole
    }
}

/// Starts what does not run yet. [`Exit::Failure`] if an agent ended, [`Exit::TimedOut`] if one
/// does not answer or follow, [`Exit::NoLeader`] if there is none although enough nodes run here.
pub(super) fn run(
    cluster: &LocalCluster,
    node: Option<&str>,
    environment: &Environment,
    client: &dyn Client,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let program = spawn::agent_program(environment.agent.as_deref())?;
    let begin = Instant::now();
    let patience = Patience { begin, whole: environment.patience };
    let mut started = Vec::new();
    for node in cluster.nodes(node)? {
        match node.find()? {
            Found::Running(process) => {
                writeln!(out, "{} is already running (process {})", node.name(), process.pid())?;
            }
            Found::Gone(_) if UnixStream::connect(node.socket()).is_ok() => {
                let (name, socket) = (node.name(), node.socket());
                let message = format!(
                    "{name}: another process already answers on {}; stop what started it",
                    socket.display()
                );
                return Err(Exit::Failure.because(message));
            }
            Found::Gone(_) => {
                let one = start_one(node, &program, &cluster.path)
                    .with_context(|| format!("cannot start {}", node.name()))?;
                writeln!(out, "{} started (process {})", node.name(), one.child.id())?;
                started.push(one);
            }
        }
    }
    out.flush()?;
    match wait_for_sockets(&mut started, patience, out)? {
        Exit::Ok => wait_for_leader(cluster, &started, client, patience, out),
        exit => Ok(exit),
    }
}

fn start_one<'c>(
    node: LocalNode<'c>,
    program: &Path,
    config: &Path,
) -> anyhow::Result<Started<'c>> {
    let directory = node.directory();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.with_context(|| directory.display().to_string())?;
    let path = node.log();
    let (log, log_offset) = open_log(&node).with_context(|| format!("log {}", path.display()))?;
    let mut child = spawn::detached(program, config, node.name(), &log)
        .with_context(|| program.display().to_string())?;
    // The child has not been waited for, so its number is its own until here even if it has ended.
    let recorded = Record::of(child.id(), program).and_then(|r| r.write(&node.pid_file()));
    if let Err(error) = recorded {
        // Without a pid file nobody could stop it later.
        child.kill()?;
        child.wait()?;
        return Err(error).with_context(|| node.pid_file().display().to_string());
    }
    Ok(Started { node, child, log_offset })
}

fn open_log(node: &LocalNode) -> io::Result<(File, u64)> {
    let path = node.log();
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > limits::CLUSTER_LOG_MAX_BYTES) {
        fs::rename(&path, node.old_log())?;
    }
    let log = OpenOptions::new().append(true).create(true).mode(0o640).open(&path)?;
    let offset = log.metadata()?.len();
    Ok((log, offset))
}

/// Waits until every started agent takes connections on its private socket.
fn wait_for_sockets(
    started: &mut [Started],
    patience: Patience,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Ok;
    for one in started {
        let name = one.node.name();
        let socket = one.node.socket();
        loop {
            if let Some(status) = one.child.try_wait()? {
                writeln!(out, "{name} has ended: {}", describe_exit(status))?;
                let last = logs::since(&one.node.log(), one.log_offset, LAST_LINES)?;
                last.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
                one.node.remove_pid_file()?;
                exit = Exit::Failure;
                break;
            }
            if UnixStream::connect(&socket).is_ok() {
                break;
            }
            if patience.is_over() {
                let waited = patience.whole.as_secs_f32();
                let socket = socket.display();
                writeln!(out, "{name} does not answer on {socket} after {waited} s")?;
                exit = if exit == Exit::Ok { Exit::TimedOut } else { exit };
                break;
            }
            thread::sleep(PAUSE);
        }
    }
    Ok(exit)
}

/// Waits for a leader whom all follow that were started, if enough members run on this host to
/// elect one.
fn wait_for_leader(
    cluster: &LocalCluster,
    started: &[Started],
    client: &dyn Client,
    patience: Patience,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let nodes = cluster.nodes(None)?;
    let members = nodes[0].config.cluster.members.len();
    let was_started = |name: &str| started.iter().any(|one| one.node.name() == name);
    loop {
        let observed = view::observe(&nodes, client, limits::REMOTE_STATUS_TIMEOUT)?;
        let views = || observed.iter().filter_map(|one| one.view.as_ref().ok());
        let leader = views().filter(|v| view::leads(v)).max_by_key(|v| v.term);
        let lacks = leader.and_then(|leader| {
            let behind = |one: &&Observed| match &one.view {
                Ok(view) => view.leader.as_ref() != Some(&leader.name),
                Err(_) => true,
            };
            let mut awaited = observed.iter().filter(|one| was_started(one.node.name()));
            awaited.find(behind).map(|one| one.node.name())
        });
        if let (Some(Describe { name, term, .. }), None) = (leader, lacks) {
            let waited = patience.begin.elapsed().as_millis();
            writeln!(out, "{name} leads in term {term}, after {waited} ms")?;
            return Ok(Exit::Ok);
        }
        let running = observed.iter().filter(|one| one.process.is_ok()).count();
        if running * 2 <= members {
            match views().find_map(|view| view.leader.as_deref()) {
                Some(leader) => writeln!(out, "{leader} leads")?,
                None => {
                    writeln!(out, "{running} of {members} members run here, too few for a leader")?;
                }
            }
            return Ok(Exit::Ok);
        }
        if patience.is_over() {
            let waited = patience.whole.as_secs_f32();
            let (problem, exit) = match (leader, lacks) {
                (Some(leader), Some(name)) => {
                    (format!("{} leads, but {name} does not follow", leader.name), Exit::TimedOut)
                }
                _ => ("no leader".to_owned(), Exit::NoLeader),
            };
            writeln!(out, "{problem} after {waited} s; see \"raftctl cluster logs\"")?;
            return Ok(exit);
        }
        thread::sleep(PAUSE);
    }
}

/// How an agent ended, in words.
pub(crate) fn describe_exit(status: ExitStatus) -> String {
    match status.code().map(|code| (code, Exit::from_code(code))) {
        Some((code, Some(exit))) => format!("exit status {code} ({})", exit.meaning()),
        _ => status.to_string(),
    }
}

const PAUSE: Duration = Duration::from_millis(10);
/// Lines of an agent that did not come up.
const LAST_LINES: usize = 20;
