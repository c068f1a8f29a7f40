//! `make bench`: how fast a cluster of real processes gets over things, beside bare-steps floors
//! of the same run.
//!
//! Starts the agents of `target/shipped`, watches them over their private D-Bus sockets, breaks
//! them, and takes the time until the next leader's first committed entry: its `Active` property
//! becomes true when its activation, the first command of its term, is committed and applied.
//! Prints a table and writes it to `target/bench-report.md`. Nothing here is ever asserted in a
//! test: numbers belong to a machine.

mod clients;
mod floor;
mod measure;
mod message_bus;
mod network;
mod nodes;
mod process;
mod stats;
mod store;
mod watch;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use nodes::{Cluster, Programs, Surroundings};
use stats::{Report, Samples};

/// The defaults of the agent, which are what is measured; the floors keep to them too.
const HEARTBEAT: Duration = Duration::from_millis(40);
const ELECTION_MIN: Duration = Duration::from_millis(200);

/// The parts of the run, in this order.
const PARTS: [&str; 8] = ["floor", "start", "kill", "cut", "idle", "status", "bus", "store"];

const HELP: &str = "\
make bench BENCH=\"[--trials N] [--seconds N] [--entries N] [PART...]\"

Parts (default: all):
  floor   bare steps: processes, sockets, fdatasync, and `true`
  start   cold start of three nodes
  kill    kill -9 of the leader; transfer of leadership
  cut     the leader is cut off silently (root only: network namespaces)
  idle    processor and memory of an idle cluster, sizes of the programs
  status  wall time of `raftctl status`
  bus     a property, a change and 50 watching clients, on the private socket; a property on a
          message bus
  store   the store beside etcd: loads by wrk of --seconds (3) each, memory, kill -9 of the leader,
          restart, catch-up of --entries (1000000)
";

/// What to run.
struct Options {
    trials: usize,
    seconds: u64,
    entries: usize,
    parts: Vec<String>,
}

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == floor::CHILD_FLAG) {
        return floor::child(&arguments[1..]);
    }
    if arguments.first().is_some_and(|first| first == store::http::CHILD_FLAG) {
        return store::http::serve();
    }
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let options = parse(&arguments)?;
    // State on the disk of the build directory, which is a real one; a temporary directory may be
    // in memory. The name is short because a socket's path has to be.
    let target = target_directory()?;
    let directory = target.join(format!("b{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::default();
    let result = runtime.block_on(run(&options, &directory, &mut report));
    let _ = std::fs::remove_dir_all(&directory);
    if !report.is_empty() {
        let text = format!("{}\n{}", machine(), report.markdown());
        let path = target.join("bench-report.md");
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("\nwritten to {}", path.display());
    }
    result
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options { trials: 20, seconds: 3, entries: 1_000_000, parts: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || -> Result<usize> {
            let number = rest.next().and_then(|number| number.parse().ok());
            number.with_context(|| format!("{argument} needs a number"))
        };
        match argument.as_str() {
            "--bench" => {} // from cargo
            "--trials" => options.trials = number()?,
            "--seconds" => options.seconds = number()? as u64,
            "--entries" => options.entries = number()?,
            part if PARTS.contains(&part) => options.parts.push(part.to_owned()),
            other => {
                bail!("unknown argument {other:?}: expected an option with a number or {PARTS:?}")
            }
        }
    }
    if options.parts.is_empty() {
        options.parts = PARTS.map(str::to_owned).to_vec();
    }
    Ok(options)
}

/// The directory that `release/deps/` with this program lies in.
fn target_directory() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.ancestors().nth(3).context("this program has no folder")?.to_owned())
}

async fn run(options: &Options, directory: &Path, report: &mut Report) -> Result<()> {
    let wants = |part: &str| options.parts.iter().any(|wanted| wanted == part);
    if wants("floor") {
        floors(options.trials, directory, report)?;
    }
    if options.parts.iter().all(|part| part == "floor") {
        return Ok(());
    }
    let programs = Programs::find()?;
    if wants("start") {
        let result = measure::cold_start(&programs, directory, options.trials).await;
        let (known, active) = split(result);
        report.add("cold start -> all know the leader, ms", "< 500", known);
        report.add("cold start -> first active, ms", "", active);
    }
    if wants("kill") || wants("idle") || wants("status") {
        let mut cluster =
            Cluster::prepare(&programs, &directory.join("k"), Surroundings::default())?;
        cluster.start_all().await?;
        if wants("idle") {
            idle(&mut cluster, &programs, report).await;
        }
        if wants("status") {
            status(&cluster, &programs, report);
        }
        if wants("kill") {
            let result = measure::transfer(&mut cluster, options.trials).await;
            report.add("transfer -> next commit, ms", "", told(result));
            let result = measure::kill(&mut cluster, options.trials).await;
            report.add("kill -9 of leader -> next commit, ms", "< 10, p99 < 30", told(result));
        }
    }
    if wants("cut") {
        let result = measure::cut_off(&programs, directory, options.trials).await;
        report.add("leader cut off -> next commit, ms", "< 400", told(result));
    }
    if wants("bus") {
        clients::measure(&programs, directory, options.trials, report).await;
    }
    if wants("store") {
        let Options { trials, seconds, entries, .. } = *options;
        let extent = store::Extent { trials, seconds, entries };
        store::measure(&programs, directory, extent, report).await;
    }
    Ok(())
}

fn floors(trials: usize, directory: &Path, report: &mut Report) -> Result<()> {
    let floors = floor::measure(trials, directory)?;
    report.add("floor: start -> first commit, ms", "", Ok(floors.start));
    report.add("floor: durable replicated write, ms", "", Ok(floors.write));
    report.add("floor: transfer -> next commit, ms", "", Ok(floors.transfer));
    report.add("floor: kill -9 of leader -> next commit, ms", "", Ok(floors.kill));
    report.add("floor: silent leader -> next commit, ms", "", Ok(floors.silence));
    let spawned = process::run_times(Path::new("true"), &[], 50);
    report.add("floor: spawn and wait for `true`, ms", "", told(spawned));
    Ok(())
}

async fn idle(cluster: &mut Cluster, programs: &Programs, report: &mut Report) {
    match measure::idle(cluster).await {
        Ok(idle) => {
            report.add("idle leader, % of a core", "< 0.2", Ok(idle.leader_cpu));
            report.add("idle follower, % of a core", "< 0.2", Ok(idle.follower_cpu));
            report.add("resident memory of a node, MiB", "< 10", Ok(idle.rss));
            report.add("proportional memory of a node, MiB", "", Ok(idle.pss));
        }
        Err(error) => report.add("idle", "", Err(format!("{error:#}"))),
    }
    for (what, path) in [("raftctl", &programs.raftctl), ("raftctld", &programs.raftctld)] {
        let mut size = Samples::default();
        let result = process::size_mib(path).map(|mib| {
            size.push_value(mib);
            size
        });
        report.add(&format!("size of {what}, MiB"), "", told(result));
    }
}

fn status(cluster: &Cluster, programs: &Programs, report: &mut Report) {
    let runtime = cluster.runtime_directory(0);
    let arguments = ["--runtime-directory", runtime.to_str().unwrap_or_default(), "status"];
    let result = process::run_times(&programs.raftctl, &arguments, 50);
    report.add("raftctl status, wall time, ms", "< 15", told(result));
}

/// A failed measurement is a line of the report, not the end of the run.
fn told<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{error:#}").replace('\n', " "))
}

type Outcome = Result<Samples, String>;

fn split(result: Result<(Samples, Samples)>) -> (Outcome, Outcome) {
    match told(result) {
        Ok((first, second)) => (Ok(first), Ok(second)),
        Err(why) => (Err(why.clone()), Err(why)),
    }
}

/// What the numbers belong to.
fn machine() -> String {
    let run = |program: &str, arguments: &[&str]| -> String {
        let output = Command::new(program).args(arguments).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "Revision {}, {cores} cores ({}), Linux {}, state on {}.\nDefaults: heartbeat {} ms, \
         election_min {} ms. Times in ms from the fault to what is named, seen by one process \
         that watches all nodes; min, median, p99 (nearest rank) and max.\n",
        run("git", &["describe", "--always", "--dirty"]),
        model.unwrap_or("unknown"),
        read("/proc/sys/kernel/osrelease").trim(),
        run("stat", &["-f", "-c", "%T", "."]),
        HEARTBEAT.as_millis(),
        ELECTION_MIN.as_millis(),
    )
}
