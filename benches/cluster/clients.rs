//! What D-Bus clients get, and what they cost: how long a property takes, how soon a change is
//! seen, and what an agent needs for 50 clients that only watch.
//!
//! When a change happened is what the agent tells its event scripts (`RAFTCTL_TIMESTAMP_USEC`),
//! when it was seen is the arrival of `PropertiesChanged` here; both on the clock of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use crate::measure::{IDLE, PAUSE, pause};
use crate::message_bus::MessageBus;
use crate::nodes::{Cluster, Programs, Surroundings};
use crate::process;
use crate::stats::{Report, Samples};
use crate::watch::{self, Event, News, Watch};

/// How many clients watch.
const CLIENTS: usize = 50;

/// How often a property is read.
const READS: usize = 2_000;

/// How often with a connection of its own.
const FRESH: usize = 100;

/// Longest wait for what a script writes, or for news of all clients.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often a file is looked at.
const POLL: Duration = Duration::from_millis(5);

/// All of it, as lines of the report.
pub async fn measure(programs: &Programs, directory: &Path, trials: usize, report: &mut Report) {
    let directory = directory.join("d");
    let result = private(programs, &directory, trials, report).await;
    if let Err(error) = result {
        report.add("clients of the private socket", "", Err(format!("{error:#}")));
    }
    let result = on_message_bus(programs, &directory.join("m"), report).await;
    if let Err(error) = result {
        report.add("a property over a message bus", "", Err(format!("{error:#}")));
    }
}

async fn private(
    programs: &Programs,
    directory: &Path,
    trials: usize,
    report: &mut Report,
) -> Result<()> {
    let scripts = Scripts::write(directory)?;
    let config = format!("[events]\nleader = \"{}\"\n", scripts.script.display());
    let surroundings = Surroundings { config, ..Surroundings::default() };
    let mut cluster = Cluster::prepare(programs, directory, surroundings)?;
    cluster.start_all().await?;
    reads(&cluster, report).await?;
    let seen = changes(&mut cluster, &scripts, trials).await;
    report.add("active -> seen by a client, ms", "", told(seen));

    pause(PAUSE).await;
    let leader = cluster.settle().await?;
    let pid = cluster.pid(leader)?;
    let before = load(pid).await?;
    let (tell, mut events) = watch::queue();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Watch::open(leader, &cluster.socket(leader), tell.clone()).await?);
    }
    let with = load(pid).await?;
    for (what, with, before) in [
        ("resident memory, MiB", with.rss, before.rss),
        ("proportional memory, MiB", with.pss, before.pss),
        ("idle leader, % of a core", with.cpu, before.cpu),
    ] {
        report.add(&format!("{what}: no further client"), "", Ok(one(before)));
        report.add(&format!("{what}: {CLIENTS} watching"), "", Ok(one(with)));
    }
    while events.try_recv().is_ok() {}
    let all = seen_by_all(&mut cluster, leader, &mut events).await;
    report.add("inactive: first to last of 50 clients, ms", "", told(all));
    drop(clients);
    Ok(())
}

/// Properties, beside the shortest call there is.
async fn reads(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let watch = cluster.watch(0)?;
    let mut ping = Samples::default();
    let (mut property, mut fresh) = (Samples::default(), Samples::default());
    for _ in 0..READS {
        let began = Instant::now();
        watch.ping().await?;
        ping.push_since(began);
        let began = Instant::now();
        watch.property("Leader").await?;
        property.push_since(began);
    }
    for _ in 0..FRESH {
        let began = Instant::now();
        let stream = std::os::unix::net::UnixStream::connect(cluster.socket(0))?;
        let builder = zbus::connection::Builder::unix_stream(stream);
        let connection = builder.p2p().build().await?;
        watch::get(&connection, None, "Leader").await?;
        fresh.push_since(began);
    }
    report.add("floor: Ping, private socket, ms", "", Ok(ping));
    report.add("a property, private socket, ms", "", Ok(property));
    report.add("connect and a property, private socket, ms", "", Ok(fresh));
    Ok(())
}

/// From an activation to its arrival at a client, over as many transfers.
async fn changes(cluster: &mut Cluster, scripts: &Scripts, trials: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..trials {
        pause(PAUSE / 4).await;
        let leader = cluster.settle().await?;
        let known = scripts.times()?.len();
        cluster.transfer(leader).await?;
        let seen = cluster.wait_active(leader).await?;
        let seen = SystemTime::now() - seen.elapsed();
        let happened = scripts.after(known).await?;
        samples.push(seen.duration_since(happened).unwrap_or_default());
    }
    Ok(samples)
}

/// From the first to the last client of the leader to see that it is not active any more.
async fn seen_by_all(
    cluster: &mut Cluster,
    leader: usize,
    events: &mut mpsc::Receiver<Event>,
) -> Result<Samples> {
    cluster.transfer(leader).await?;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let mut seen = Vec::new();
    while seen.len() < CLIENTS {
        let next = tokio::time::timeout_at(deadline, events.recv()).await;
        let Ok(Some(event)) = next else { bail!("{} of {CLIENTS} clients know", seen.len()) };
        if matches!(event.what, News::Active(false)) {
            seen.push(event.at);
        }
    }
    let (first, last) = (seen.iter().min(), seen.iter().max());
    let took = *last.context("some")? - *first.context("some")?;
    let mut samples = Samples::default();
    samples.push(took);
    Ok(samples)
}

/// What a process needs.
struct Load {
    rss: f64,
    pss: f64,
    /// In percent of a core, over [`IDLE`].
    cpu: f64,
}

async fn load(pid: u32) -> Result<Load> {
    let (began, before) = (Instant::now(), process::cpu_time(pid)?);
    tokio::time::sleep(IDLE).await;
    let used = process::cpu_time(pid)? - before;
    let cpu = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    let memory = |field| process::memory_mib(pid, field);
    Ok(Load { rss: memory("Rss")?, pss: memory("Pss")?, cpu })
}

/// The `leader` script: it leaves the moment of each activation in a file.
struct Scripts {
    script: PathBuf,
    times: PathBuf,
}

impl Scripts {
    fn write(directory: &Path) -> Result<Scripts> {
        fs::create_dir_all(directory)?;
        let (script, times) = (directory.join("leader.sh"), directory.join("times"));
        let text =
            format!("#!/bin/sh\necho \"$RAFTCTL_TIMESTAMP_USEC\" >>\"{}\"\n", times.display());
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        fs::write(&times, "")?;
        Ok(Scripts { script, times })
    }

    fn times(&self) -> Result<Vec<SystemTime>> {
        let text = fs::read_to_string(&self.times)?;
        let time = |line: &str| Some(UNIX_EPOCH + Duration::from_micros(line.parse().ok()?));
        Ok(text.lines().filter_map(time).collect())
    }

    /// The time that follows `known` others.
    async fn after(&self, known: usize) -> Result<SystemTime> {
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            if let Some(time) = self.times()?.get(known) {
                return Ok(*time);
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("no leader script ran within {DEADLINE:?}")
    }
}

/// A property over a message bus of its own, beside the shortest call to the bus itself.
async fn on_message_bus(programs: &Programs, directory: &Path, report: &mut Report) -> Result<()> {
    let bus = MessageBus::start(directory)?;
    // There is no systemd on that bus.
    let config = "[authority]
enforcement = \"none\"
"
    .to_owned();
    let surroundings = Surroundings { config, bus: Some(bus.address.clone()), network: None };
    let mut cluster = Cluster::prepare(programs, directory, surroundings)?;
    cluster.start_all().await?;
    let client = bus.connect().await?;
    let name = "org.raftctl.Agent1.n1";
    let began = Instant::now();
    while !client.has_owner(name).await? {
        if began.elapsed() > DEADLINE {
            bail!("no agent on the bus within {DEADLINE:?}");
        }
        tokio::time::sleep(POLL).await;
    }
    let (mut floor, mut property) = (Samples::default(), Samples::default());
    for _ in 0..READS {
        let began = Instant::now();
        client.has_owner(name).await?;
        floor.push_since(began);
        let began = Instant::now();
        watch::get(&client.connection, Some(name), "Leader").await?;
        property.push_since(began);
    }
    report.add("floor: a call to the message bus, ms", "", Ok(floor));
    report.add("a property over the message bus, ms", "", Ok(property));
    Ok(())
}

fn one(value: f64) -> Samples {
    let mut samples = Samples::default();
    samples.push_value(value);
    samples
}

fn told(result: Result<Samples>) -> Result<Samples, String> {
    result.map_err(|error| format!("{error:#}"))
}
