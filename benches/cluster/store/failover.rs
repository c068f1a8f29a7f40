//! `kill -9` of the leader, as clients of the survivors see it.
//!
//! Probes are writes, each on a connection of its own, that go to both survivors from the moment
//! of the kill on and do not wait for each other: a write that a survivor has lost cannot hide
//! that it serves again. They are 2 ms apart, later 2 % of the time that has passed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use super::http::{Connection, Request};
use super::subject::{Ask, Subject};
use crate::measure::{PAUSE, pause};
use crate::stats::Samples;

/// Shortest time between two probes of one survivor.
const PROBE_INTERVAL: Duration = Duration::from_millis(2);

/// How many connections to each survivor are made before the fault.
const READY: usize = 32;

/// Longest wait for the first write that is accepted, and for the answers to the first probes.
const DEADLINE: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Default)]
pub struct Failover {
    /// From before kill(2) to the first answer that a write was accepted.
    pub accepted: Samples,
    /// From before kill(2) to the answer to the first probe of each survivor, sent at once; or how
    /// long was waited for it.
    pub first: Samples,
    /// How many of those were refused or not answered.
    pub first_lost: usize,
}

/// Kills the leader `trials` times; the answers to the first probes are awaited in `patient` of
/// them.
pub async fn measure(subject: &mut Subject, trials: usize, patient: usize) -> Result<Failover> {
    let mut failover = Failover::default();
    for trial in 0..trials {
        let leader = subject.settle().await?;
        pause(PAUSE).await;
        let survivors: Vec<SocketAddr> =
            (0..3).filter(|at| *at != leader).map(|at| subject.address(at)).collect();
        let mut probes = Probes::prepare(subject.kind.request(Ask::Put, trial), &survivors).await?;
        let began = subject.kill(leader)?;
        let watched = probes.watch(began, trial < patient, &mut failover).await;
        subject.bury(leader)?;
        subject.run(leader)?;
        watched?;
    }
    subject.settle().await?;
    Ok(failover)
}

/// A probe that has ended.
struct Ended {
    at: Instant,
    accepted: bool,
    first: bool,
}

struct Probes {
    request: Request,
    /// For each survivor, with connections that were made before.
    survivors: Vec<(SocketAddr, Vec<Connection>)>,
    under_way: JoinSet<Ended>,
}

impl Probes {
    async fn prepare(request: Request, survivors: &[SocketAddr]) -> Result<Probes> {
        let mut ready = Vec::new();
        for address in survivors {
            let mut connections = Vec::new();
            for _ in 0..READY {
                connections.push(Connection::open(*address).await?);
            }
            ready.push((*address, connections));
        }
        Ok(Probes { request, survivors: ready, under_way: JoinSet::new() })
    }

    fn send(&mut self, first: bool) {
        for (address, ready) in &mut self.survivors {
            let (address, ready, request) = (*address, ready.pop(), self.request.clone());
            self.under_way.spawn(async move {
                let asked = async {
                    let mut connection = match ready {
                        Some(connection) => connection,
                        None => Connection::open(address).await?,
                    };
                    connection.ask(&request).await
                };
                let accepted = asked.await.is_ok_and(|answer| answer.is_good());
                Ended { at: Instant::now(), accepted, first }
            });
        }
    }

    /// Sends probes until one is accepted and, if `patient`, until the first are answered.
    async fn watch(&mut self, began: Instant, patient: bool, seen: &mut Failover) -> Result<()> {
        self.send(true);
        let mut firsts = if patient { self.survivors.len() } else { 0 };
        let mut accepted = false;
        let mut next = began + PROBE_INTERVAL;
        while !accepted || firsts > 0 {
            if began.elapsed() > DEADLINE && !accepted {
                bail!("no write was accepted within {DEADLINE:?}");
            }
            if began.elapsed() > DEADLINE {
                (0..firsts).for_each(|_| seen.first.push_since(began));
                seen.first_lost += firsts;
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {
                    if !accepted {
                        self.send(false);
                    }
                    next = Instant::now() + PROBE_INTERVAL.max(began.elapsed() / 50);
                }
                Some(ended) = self.under_way.join_next() => {
                    let ended = ended?;
                    if ended.accepted && !accepted {
                        accepted = true;
                        seen.accepted.push(ended.at - began);
                    }
                    if ended.first && firsts > 0 {
                        firsts -= 1;
                        seen.first.push(ended.at - began);
                        seen.first_lost += usize::from(!ended.accepted);
                    }
                }
            }
        }
        Ok(())
    }
}
