//! The measurements: each breaks a cluster in one way, many times.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::network::Network;
use crate::nodes::{Cluster, Programs, Surroundings};
use crate::process;
use crate::stats::Samples;

/// Pause between two faults, plus up to a quarter more by chance, so that trials do not fall into
/// step with heartbeats. Longer than the two seconds in which a node stands only once without
/// waiting for silence.
pub const PAUSE: Duration = Duration::from_millis(2_200);

/// How long an idle cluster is watched.
pub const IDLE: Duration = Duration::from_secs(10);

pub async fn pause(shortest: Duration) {
    tokio::time::sleep(shortest.mul_f64(1.0 + fastrand::f64() / 4.0)).await;
}

/// Cold starts in fresh directories: from before the first fork until all nodes name the leader,
/// and until a node is active.
pub async fn cold_start(
    programs: &Programs,
    directory: &Path,
    trials: usize,
) -> Result<(Samples, Samples)> {
    let (mut known, mut active) = (Samples::default(), Samples::default());
    for trial in 0..trials {
        let folder = directory.join(format!("s{trial}"));
        let mut cluster = Cluster::prepare(programs, &folder, Surroundings::default())?;
        let began = Instant::now();
        for at in 0..3 {
            cluster.start(at)?;
        }
        for at in 0..3 {
            cluster.connect(at).await?;
        }
        let (mut known_at, mut active_at) = (None, None);
        while known_at.is_none() || active_at.is_none() {
            let at = cluster.wait("leader", |_, _, _| true).await?;
            known_at = known_at.or(cluster.agrees().then_some(at));
            active_at = active_at.or(cluster.has_active().then_some(at));
        }
        known.push(known_at.context("set above")? - began);
        active.push(active_at.context("set above")? - began);
        drop(cluster);
        std::fs::remove_dir_all(&folder)?;
    }
    Ok((known, active))
}

/// `kill -9` of the leader, until the next leader's first entry is committed.
pub async fn kill(cluster: &mut Cluster, trials: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..trials {
        pause(PAUSE).await;
        let leader = cluster.settle().await?;
        let began = cluster.kill(leader)?;
        samples.push(cluster.wait_active(leader).await? - began);
        cluster.bury(leader)?;
        cluster.start(leader)?;
        cluster.connect(leader).await?;
    }
    Ok(samples)
}

/// The leader is handed over, until the next leader's first entry is committed.
pub async fn transfer(cluster: &mut Cluster, trials: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..trials {
        pause(PAUSE / 4).await;
        let leader = cluster.settle().await?;
        let began = Instant::now();
        cluster.transfer(leader).await?;
        samples.push(cluster.wait_active(leader).await? - began);
    }
    Ok(samples)
}

/// The leader is cut off and nobody is told, until the next leader's first entry is committed.
pub async fn cut_off(programs: &Programs, directory: &Path, trials: usize) -> Result<Samples> {
    let surroundings = Surroundings { network: Some(Network::lay(3)?), ..Surroundings::default() };
    let mut cluster = Cluster::prepare(programs, &directory.join("cut"), surroundings)?;
    cluster.start_all().await?;
    let mut samples = Samples::default();
    for _ in 0..trials {
        pause(PAUSE).await;
        let leader = cluster.settle().await?;
        let began = Instant::now();
        cluster.network.as_mut().context("laid above")?.cut(leader)?;
        let result = cluster.wait_active(leader).await;
        cluster.network.as_mut().context("laid above")?.heal(leader)?;
        samples.push(result? - began);
    }
    Ok(samples)
}

/// What an idle cluster costs.
pub struct Idle {
    /// Share of a core, in percent.
    pub leader_cpu: Samples,
    /// The same of the followers.
    pub follower_cpu: Samples,
    /// Resident memory of each node, in MiB.
    pub rss: Samples,
    /// The same, shared pages divided among those who share them.
    pub pss: Samples,
}

/// Watches an idle cluster. The watching connections stay open; nothing is sent over them.
pub async fn idle(cluster: &mut Cluster) -> Result<Idle> {
    pause(PAUSE).await;
    let leader = cluster.settle().await?;
    let times = |cluster: &Cluster| -> Result<Vec<Duration>> {
        (0..3).map(|at| process::cpu_time(cluster.pid(at)?)).collect()
    };
    let (began, before) = (Instant::now(), times(cluster)?);
    tokio::time::sleep(IDLE).await;
    let (took, after) = (began.elapsed(), times(cluster)?);
    let mut idle = Idle {
        leader_cpu: Samples::default(),
        follower_cpu: Samples::default(),
        rss: Samples::default(),
        pss: Samples::default(),
    };
    for at in 0..3 {
        let share = (after[at] - before[at]).as_secs_f64() / took.as_secs_f64() * 100.0;
        let of = if at == leader { &mut idle.leader_cpu } else { &mut idle.follower_cpu };
        of.push_value(share);
        idle.rss.push_value(process::memory_mib(cluster.pid(at)?, "Rss")?);
        idle.pss.push_value(process::memory_mib(cluster.pid(at)?, "Pss")?);
    }
    Ok(idle)
}
