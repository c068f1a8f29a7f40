//! The store, side by side with Debian's `etcd-server`: the same load, one after the other, in one
//! run, beside what disk, network and HTTP alone take.
//!
//! Three nodes each, every process on this machine, with the settings they ship with and fsync on.
//! Clients ask the leader. A load in which anything was refused or failed has no numbers.

pub mod http;

mod failover;
mod load;
mod side_by_side;
mod steps;
mod subject;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::measure::pause;
use crate::nodes::Programs;
use crate::stats::{Report, Samples};
use crate::told;
use load::Load;
use side_by_side::Loads;
use subject::{Ask, Kind, Subject};

/// How many clients, at once.
const CLIENTS: [usize; 4] = [1, 16, 64, 256];

/// How many keys there are while the loads run, and at a restart.
const KEYS: usize = 100_000;

/// How often a member is restarted.
const RESTARTS: usize = 5;

/// Longest time for writing [`KEYS`], and for what a member misses. At the limit: there are fewer,
/// and the report says so.
const FILL_MAX: Duration = Duration::from_secs(60);

/// Longest wait for a member that comes back.
const CATCH_UP_MAX: Duration = Duration::from_secs(120);

/// How many clients write while a member catches up.
const CATCH_UP_CLIENTS: usize = 16;

/// How long the store part takes.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Kills of the leader.
    pub trials: usize,
    /// For each load.
    pub seconds: u64,
    /// Entries that a member misses.
    pub entries: usize,
}

/// All of it, as lines and as a table of its own of the report.
pub async fn measure(programs: &Programs, directory: &Path, extent: Extent, report: &mut Report) {
    let directory = directory.join("v");
    let mut loads = Loads::default();
    if let Err(error) = floors(&directory, extent, &mut loads, report) {
        report.add("floor of the store", "", Err(format!("{error:#}")));
    }
    for kind in [Kind::Etcd, Kind::Raftctl] {
        let mut part = Part { kind, directory: &directory, extent, loads: &mut loads, report };
        if let Err(error) = part.measure(programs).await {
            part.add("not all measured", "", Err(error));
        }
    }
    report.append(loads.markdown());
}

fn floors(dir: &Path, extent: Extent, loads: &mut Loads, report: &mut Report) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    report.add("floor: fdatasync of 512 bytes, ms", "", told(steps::syncs(dir)));
    report.add("floor: round trip of 64 bytes, ms", "", told(steps::round_trips()));
    let floor = steps::HttpFloor::start()?;
    let load = Load::prepare(Kind::Raftctl, Ask::Read, KEYS, floor.address, dir)?;
    for clients in CLIENTS {
        loads.add_floor(clients, load.run(clients, extent.seconds.min(2)));
    }
    Ok(())
}

/// One of the two, measured.
struct Part<'a> {
    kind: Kind,
    directory: &'a Path,
    extent: Extent,
    loads: &'a mut Loads,
    report: &'a mut Report,
}

impl Part<'_> {
    async fn measure(&mut self, programs: &Programs) -> Result<()> {
        let mut subject = Subject::start(self.kind, programs, self.directory).await?;
        pause(Duration::from_secs(1)).await;
        self.add("resident memory, 0 keys, MiB", "< 10", subject.resident());
        let leader = subject.settle().await?;
        let began = Instant::now();
        let written = load::fill(self.kind, subject.address(leader), KEYS, KEYS, FILL_MAX).await?;
        self.add("writing them, 256 clients, s", "", Ok(one(began.elapsed().as_secs_f64())));
        pause(Duration::from_secs(3)).await;
        self.add(&format!("resident memory, {written} keys, MiB"), "", subject.resident());
        let restarts = restarts(&mut subject).await;
        self.add(&format!("restart with {written} keys -> serves, ms"), "", restarts);
        self.loads(&mut subject, written).await?;
        pause(Duration::from_secs(1)).await;
        self.add("resident memory after the load, MiB", "< 60", subject.resident());
        self.failover(&mut subject).await;
        self.catch_up(&mut subject).await
    }

    async fn loads(&mut self, subject: &mut Subject, keys: usize) -> Result<()> {
        for ask in [Ask::Put, Ask::Read, Ask::StaleRead] {
            for clients in CLIENTS {
                let leader = subject.settle().await?;
                let address = subject.address(leader);
                let load = Load::prepare(self.kind, ask, keys, address, self.directory)?;
                let outcome = load.run(clients, self.extent.seconds);
                self.loads.add(self.kind, ask, clients, outcome);
            }
        }
        Ok(())
    }

    async fn failover(&mut self, subject: &mut Subject) {
        // A write that etcd forwarded to the dead leader takes seven seconds.
        let (trials, patient) = match self.kind {
            Kind::Raftctl => (self.extent.trials, self.extent.trials),
            Kind::Etcd => (self.extent.trials.div_ceil(2), 2),
        };
        match failover::measure(subject, trials, patient).await {
            Ok(seen) => {
                self.add("kill -9 -> first write accepted, ms", "< 10", Ok(seen.accepted));
                let (lost, of) = (seen.first_lost, seen.first.len());
                let what = format!("writes sent at the kill -> answered ({lost} of {of} not), ms");
                self.add(&what, "", Ok(seen.first));
            }
            Err(error) => self.add("kill -9 -> first write accepted, ms", "< 10", Err(error)),
        }
    }

    /// A member is away while entries are written, and comes back under load.
    async fn catch_up(&mut self, subject: &mut Subject) -> Result<()> {
        let leader = subject.settle().await?;
        let away = (leader + 1) % 3;
        subject.kill(away)?;
        subject.bury(away)?;
        let address = subject.address(leader);
        let began = Instant::now();
        let missed = load::fill(self.kind, address, self.extent.entries, KEYS, FILL_MAX).await?;
        let rate = missed as f64 / began.elapsed().as_secs_f64();
        self.add(&format!("writing {missed} entries, one away, entries/s"), "", Ok(one(rate)));
        let load = Load::prepare(self.kind, Ask::Put, KEYS, address, self.directory)?;
        let under = load.start(CATCH_UP_CLIENTS, CATCH_UP_MAX.as_secs())?;
        let began = Instant::now();
        subject.run(away)?;
        let caught_up = subject.serves(away, CATCH_UP_MAX).await;
        drop(under);
        let took = caught_up.map(|at| one((at - began).as_secs_f64()));
        self.add(&format!("catch-up of {missed} entries under load, s"), "", took);
        Ok(())
    }

    fn add(&mut self, what: &str, aim: &'static str, result: Result<Samples>) {
        let aim = if self.kind == Kind::Raftctl { aim } else { "" };
        self.report.add(&format!("{}: {what}", self.kind.name()), aim, told(result));
    }
}

/// A follower is killed and started again, until it answers a linearizable read.
async fn restarts(subject: &mut Subject) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..RESTARTS {
        let leader = subject.settle().await?;
        let at = (leader + 1) % 3;
        subject.kill(at)?;
        subject.bury(at)?;
        let began = Instant::now();
        subject.run(at)?;
        samples.push(subject.serves(at, CATCH_UP_MAX).await? - began);
    }
    Ok(samples)
}

fn one(value: f64) -> Samples {
    let mut samples = Samples::default();
    samples.push_value(value);
    samples
}
