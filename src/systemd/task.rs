//! Carries out orders one after the other against the service manager, and watches the leader
//! target while it is up.
//!
//! Whatever is going on is dropped when a newer order comes. A call that is under way then may
//! still take effect, which the closed gate and the modes of the jobs make harmless.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::gate::Gate;
use super::manager::SystemdManager;
use super::names;
use super::steps::{Held, Host};
use crate::core::authority::Report;
use crate::core::story::tell;
use crate::core::{NodeName, Token};
use crate::limits;

/// The orders that need the service manager's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Start { number: u64, token: Token },
    Stop { number: u64 },
}

/// The task that owns the target.
pub(super) struct HostTask {
    host: Host,
    reports: mpsc::Sender<Report>,
    held: Option<Held>,
    follower: Option<JoinHandle<()>>,
}

impl HostTask {
    pub(super) fn new(
        node: &NodeName,
        gate: Arc<Gate>,
        manager: SystemdManager,
        cgroup_root: PathBuf,
        reports: mpsc::Sender<Report>,
    ) -> HostTask {
        let (leader, follower) = (names::leader_target(node), names::follower_target(node));
        let host = Host { node: node.clone(), leader, follower, gate, manager, cgroup_root };
        HostTask { host, reports, held: None, follower: None }
    }

    /// Runs until nobody can give orders any more.
    pub(super) async fn run(mut self, mut orders: watch::Receiver<Option<Order>>) {
        loop {
            let order = *orders.borrow_and_update();
            tokio::select! {
                biased;
                changed = orders.changed() => if changed.is_err() { return },
                () = self.carry_out(order) => {
                    if orders.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Ends when there is nothing to do or to watch. May be dropped at any time.
    async fn carry_out(&mut self, order: Option<Order>) {
        match order {
            // A node that starts runs the follower target, unless something is still active.
            None if self.host.is_down().await => self.start_follower(),
            None => {}
            Some(Order::Start { number, token }) => {
                self.start(number, token).await;
                self.watch().await;
            }
            Some(Order::Stop { number }) => self.stop(number).await,
        }
    }

    async fn start(&mut self, number: u64, token: Token) {
        self.held = None;
        // Its call must not overtake ours: it would stop what we start.
        if let Some(follower) = &mut self.follower {
            let _ = follower.await;
            self.follower = None;
        }
        let host = &self.host;
        let started = async {
            // A fence of the activation before would kill what is started now.
            host.manager.until_over(&names::fence_service(&host.node)).await;
            host.start(number, token).await
        };
        let started = timeout(limits::HOST_JOB_TIMEOUT, started).await;
        match started.unwrap_or_else(|_| Err("the start job takes too long".to_owned())) {
            Ok(held) => {
                self.held = Some(held);
                self.report(Report::Started { number }).await;
            }
            Err(problem) => {
                let unit = host.leader.as_str();
                tell!(
                    TargetNotStarted, token = token.0, unit = unit, reason = problem.as_str();
                    "{unit} could not be started, giving the activation back: {problem}."
                );
                host.close_gate(number);
                self.report(Report::StartFailed { number }).await;
            }
        }
    }

    async fn stop(&mut self, number: u64) {
        self.held = None;
        let stopped = timeout(limits::HOST_JOB_TIMEOUT, self.bring_down(number)).await;
        match stopped.unwrap_or_else(|_| Err("the stop job takes too long".to_owned())) {
            Ok(()) => {
                self.report(Report::Stopped { number }).await;
                self.start_follower();
            }
            Err(problem) => {
                let unit = self.host.leader.as_str();
                tell!(
                    TargetNotStopped, unit = unit, reason = problem.as_str();
                    "{unit} is not known to have stopped: {problem}."
                );
                self.report(Report::StopFailed { number }).await;
            }
        }
    }

    async fn bring_down(&self, number: u64) -> Result<(), String> {
        let mut changes = self.host.manager.changes();
        let job = self.host.ask_to_stop(number, &mut changes).await;
        self.report(Report::StopQueued { number }).await;
        self.host.await_stop(job.as_ref(), &mut changes).await
    }

    /// In a task of its own: a call that is dropped half-way would leave its fate open.
    fn start_follower(&mut self) {
        self.follower = Some(tokio::spawn(self.host.clone().start_follower()));
    }

    async fn watch(&mut self) {
        let Some(held) = &mut self.held else { return };
        let why = self.host.watch(held).await;
        let (unit, why) = (self.host.leader.as_str(), why.to_string());
        tell!(
            TargetDown, unit = unit, reason = why.as_str();
            "{unit} goes down, although nobody asked the agent for that: {why}."
        );
        self.host.close_gate(held.number);
        self.held = None;
        self.report(Report::Down).await;
    }

    async fn report(&self, report: Report) {
        // Without a driver there is nobody to tell; the run loop ends with the orders.
        let _ = self.reports.send(report).await;
    }
}
