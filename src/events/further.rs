//! Further events: what an operator wants to hear of beside the roles. Their scripts run one at a
//! time too, on a thread of their own.
//!
//! Guarantees: no script of a role ever waits for one of these, and neither does the agent's end
//! for longer than [`limits::FURTHER_STOP`]; a script of a further event starts only when no script
//! of a role runs or waits. One that still runs when the role changes goes on beside the script of
//! the role. At most one event of each [`Kind`] waits: the newest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::patience::{Orders, Part, Patience, Stop};
use super::payload::Numbered;
use super::runner::{self, Ended};
use super::{
    Backend, EventName, NOT_POISONED, Occurrence, Outcome, Runner, ScriptsConfig, StartError,
};
use crate::limits;

/// Events of which only the newest matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// `active`, `released`.
    Activation,
    /// `quorum-lost`, `quorum-regained`.
    Quorum,
    /// `fenced`.
    Fence,
    /// `maintenance`.
    Maintenance,
}

/// What tells two events of a kind apart: with the same one nothing is new.
type Mark = (EventName, Option<u64>, &'static str);

fn kind_of(occurrence: &Occurrence) -> Option<(Kind, Option<Mark>)> {
    let Occurrence { event, token, reason, .. } = *occurrence;
    match event {
        EventName::Active | EventName::Released => {
            Some((Kind::Activation, Some((event, token, ""))))
        }
        EventName::QuorumLost | EventName::QuorumRegained => {
            Some((Kind::Quorum, Some((event, None, ""))))
        }
        EventName::Fenced => Some((Kind::Fence, None)),
        EventName::Maintenance => Some((Kind::Maintenance, Some((event, None, reason)))),
        _ => None,
    }
}

/// The events that wait, in order; at most one of each kind.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Kind, Option<Mark>, Numbered)>,
    /// What was taken last.
    taken: BTreeMap<Kind, Mark>,
    sequence: u64,
    stopping: bool,
}

impl Queue {
    fn submit(&mut self, occurrence: Occurrence) {
        let Some((kind, mark)) = kind_of(&occurrence) else {
            unreachable!("{} is an event of a role", occurrence.event)
        };
        self.sequence += 1;
        self.waiting.retain(|(other, ..)| *other != kind);
        let returns = mark.is_some() && self.taken.get(&kind) == mark.as_ref();
        if !returns && !self.stopping {
            let told = Numbered { sequence: self.sequence, stands_for: 0, occurrence };
            self.waiting.push_back((kind, mark, told));
        }
    }

    fn take(&mut self) -> Option<Numbered> {
        let (kind, mark, told) = self.waiting.pop_front()?;
        if let Some(mark) = mark {
            self.taken.insert(kind, mark);
        }
        Some(told)
    }
}

/// The lane of the further events.
#[derive(Debug)]
pub(super) struct Further {
    shared: Arc<Shared>,
    /// No script of a role runs or waits.
    roles_idle: watch::Receiver<bool>,
    runner: Option<Runner>,
}

#[derive(Debug)]
struct Shared {
    config: Arc<Mutex<Arc<ScriptsConfig>>>,
    queue: Mutex<Queue>,
    wake: Notify,
    orders: watch::Sender<Orders>,
}

impl Further {
    /// Nothing runs yet.
    pub(super) fn new(
        config: Arc<Mutex<Arc<ScriptsConfig>>>,
        roles_idle: watch::Receiver<bool>,
    ) -> Further {
        let shared = Shared {
            config,
            queue: Mutex::default(),
            wake: Notify::new(),
            orders: watch::Sender::new(Orders::default()),
        };
        Further { shared: Arc::new(shared), roles_idle, runner: None }
    }

    /// Starts the thread, if there is a script and none yet.
    pub(super) fn start_if_needed(&mut self) -> Result<(), StartError> {
        let config = Arc::clone(&self.shared.config.lock().expect(NOT_POISONED));
        let is_needed = config.scripts.keys().any(|event| !event.is_of_role());
        if self.runner.is_none() && is_needed {
            let (shared, idle) = (Arc::clone(&self.shared), self.roles_idle.clone());
            self.runner = Some(super::spawn("further-events", run(shared, idle))?);
        }
        Ok(())
    }

    /// Adds an event; returns at once. Without a script of any further event it is forgotten.
    pub(super) fn submit(&self, occurrence: Occurrence) {
        if self.runner.is_some() {
            self.shared.queue.lock().expect(NOT_POISONED).submit(occurrence);
            self.shared.wake.notify_one();
        }
    }

    /// Nothing new begins, and what runs is soon ended.
    pub(super) fn begin_stop(&self, deadline: Duration) {
        let mut queue = self.shared.queue.lock().expect(NOT_POISONED);
        queue.stopping = true;
        queue.waiting.clear();
        drop(queue);
        let stop = Some(Stop::new(Instant::now(), deadline));
        self.shared.orders.send_modify(|orders| orders.stop = stop);
        self.shared.wake.notify_one();
    }

    /// What there is to wait for AFTER [`Further::begin_stop`].
    pub(super) fn take_runner(&mut self) -> Option<Runner> {
        self.runner.take()
    }
}

async fn run(shared: Arc<Shared>, mut roles_idle: watch::Receiver<bool>) {
    let mut is_cleared = false;
    loop {
        // BEFORE one is taken: whatever happens meanwhile replaces it. Without anybody who could
        // submit the event of a role there is none.
        let _ = tokio::select! {
            idle = roles_idle.wait_for(|idle| *idle) => idle.is_ok(),
            () = shared.wake.notified() => false,
        };
        let (told, stopping) = {
            let mut queue = shared.queue.lock().expect(NOT_POISONED);
            let is_idle = *roles_idle.borrow();
            (if is_idle { queue.take() } else { None }, queue.stopping)
        };
        match told {
            _ if stopping => return,
            Some(told) => {
                let config = Arc::clone(&shared.config.lock().expect(NOT_POISONED));
                if !std::mem::replace(&mut is_cleared, true) {
                    clear_away(&config).await;
                }
                run_script(&shared, &config, &told).await;
            }
            None if *roles_idle.borrow() => shared.wake.notified().await,
            None => {}
        }
    }
}

/// BEFORE the first script: ends what an earlier run of the agent may have left.
async fn clear_away(config: &ScriptsConfig) {
    if let Backend::Unit(units) = &config.backend {
        // One that does not end is no reason not to go on: it is another event's, or is stopped
        // again before its own is started.
        drop(units.clear_away(|event| !event.is_of_role()).await);
    }
}

async fn run_script(shared: &Shared, config: &ScriptsConfig, told: &Numbered) {
    let event = told.occurrence.event;
    let Some(script) = config.scripts.get(&event) else { return };
    let patience = Patience {
        timeout: config.timeout,
        kill_after: config.kill_after,
        demote_timeout: config.demote_timeout,
        fence_after: config.fence_after,
        orders: shared.orders.subscribe(),
    };
    let begun = Instant::now();
    let run = runner::run_to_end(config, patience, event, script, told, Part::Obstacle, |_| {});
    let ended = match run.await {
        Ok(ended) => ended,
        Err(error) => Ended::plain(Outcome::NotStarted(Arc::new(error)), begun.elapsed()),
    };
    let count = &config.metrics.scripts;
    let left = runner::finish(event, script.clone(), told.sequence, ended, count).1;
    if let Some(gone) = left {
        // Two scripts of further events never run beside each other.
        gone.await;
    }
}

/// Waits for the end of a thread that was asked to stop.
pub(super) async fn joined(runner: Runner) {
    let most = limits::FURTHER_STOP + limits::SCRIPT_KILL_WAIT;
    let Runner { thread, done } = runner;
    match tokio::time::timeout(most, done).await {
        Ok(_) => _ = thread.join(),
        Err(_) => tracing::error!("a killed event script does not vanish, leaving it behind"),
    }
}

#[cfg(test)]
mod tests;
