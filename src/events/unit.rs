//! Scripts run by the service manager, as root: one oneshot unit for each event.
//!
//! The agent writes the event file, has `raftctl-event@NODE:EVENT.service` started and waits for
//! its end. Time limits are the same as for children: at the limit the unit is stopped, which sends
//! SIGTERM to its control group, and later killed. BEFORE a unit is stopped its event file is
//! removed, so that a start job that was still queued runs nothing.
//!
//! Does not: speak D-Bus. Whoever does implements [`UnitStarter`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::patience::{Part, Patience};
use super::payload::Payload;
use super::runner::{Ended, Gone};
use super::{EventName, Outcome, ScriptError, event_file};
use crate::core::NodeName;
use crate::limits::{EVENT_UNIT_RETRY, SCRIPT_KILL_WAIT};

/// A boxed future, so that [`UnitStarter`] can be a trait object.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Has units run. The futures are polled on the scripts' thread and may be dropped at any time.
pub trait UnitStarter: Send + Sync {
    /// Starts the oneshot `unit` (job mode `replace`) and waits until it is over: inactive or
    /// failed, with nothing of its control group left. Waits no longer than `deadline`, and does
    /// not stop it then.
    ///
    /// `Ok` promises that nothing of it runs. `Err` says why nobody knows what became of it: the
    /// connection was lost, the deadline passed. It is stopped then.
    fn run(&self, unit: String, deadline: Duration) -> BoxFuture<Result<UnitOutcome, String>>;

    /// Has `unit` stopped (job mode `replace`, so that a queued start is cancelled) and waits until
    /// it is over, however long that takes. One that does not run, or does not exist, is over.
    ///
    /// `Ok` promises that nothing of it runs. After `Err` it is asked again.
    fn stop(&self, unit: String) -> BoxFuture<Result<(), String>>;

    /// Sends SIGKILL to all processes of `unit`, and waits for nothing.
    fn kill(&self, unit: String) -> BoxFuture<Result<(), String>>;
}

/// How a oneshot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitOutcome {
    /// By itself, with this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Otherwise: the `Result` property, for example `timeout`.
    Failed(String),
    /// The service manager refused to start it, and this is what it said.
    Refused(String),
}

/// The service manager as a runner of scripts.
#[derive(Clone)]
pub struct UnitRunner {
    node: NodeName,
    directory: PathBuf,
    starter: Arc<dyn UnitStarter>,
}

impl fmt::Debug for UnitRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnitRunner { node, directory, .. } = self;
        f.debug_struct("UnitRunner").field("node", node).field("directory", directory).finish()
    }
}

impl UnitRunner {
    /// Runs scripts of `node` through `starter`. `directory` is its runtime directory.
    pub fn new(node: NodeName, directory: PathBuf, starter: Arc<dyn UnitStarter>) -> UnitRunner {
        UnitRunner { node, directory, starter }
    }

    /// The unit of `event`.
    fn unit(&self, event: EventName) -> String {
        format!("raftctl-event@{}:{event}.service", self.node)
    }

    /// Stops the units of the events that `are_ours`, configured or not any more; what did not
    /// confirm its end in time is returned.
    pub(super) async fn clear_away(&self, are_ours: fn(EventName) -> bool) -> Vec<Gone> {
        let mut left = Vec::new();
        let until = Instant::now() + SCRIPT_KILL_WAIT;
        for event in EventName::ALL.into_iter().filter(|event| are_ours(*event)) {
            self.withdraw(event);
            let mut stopped = self.stopped(self.unit(event));
            if timeout_at(until, &mut stopped).await.is_err() {
                left.push(stopped);
            }
        }
        left
    }

    /// Runs the script of `event`, known to the log as `script`, to its end.
    pub(super) async fn run(
        &self,
        event: EventName,
        script: &Path,
        payload: &Payload,
        mut patience: Patience,
        part: Part,
    ) -> Result<Ended, ScriptError> {
        let path = || script.to_owned();
        event_file::write(&self.directory, event, payload).map_err(|source| {
            let file = event_file::path(&self.directory, event);
            ScriptError::EventFile { path: path(), file, source }
        })?;
        let unit = self.unit(event);
        let started = Instant::now();
        let mut limits = patience.limits(started, part);
        let longest = patience.timeout.saturating_add(patience.kill_after);
        let mut over = self.starter.run(unit.clone(), longest.saturating_add(SCRIPT_KILL_WAIT));
        let why = loop {
            tokio::select! {
                biased;
                result = &mut over => break result,
                () = sleep_until(limits.terminate) => {
                    drop(over);
                    let outcome = |killed| Outcome::ended_by_us(limits.cause, killed);
                    return Ok(self.end(event, started, patience, part, outcome).await);
                }
                Ok(()) = patience.orders.changed() => limits = patience.limits(started, part),
            }
        };
        let outcome = match why {
            Ok(UnitOutcome::Exited(status)) => Outcome::Exited(status),
            Ok(UnitOutcome::Signalled(signal)) => Outcome::Signalled(signal),
            Ok(UnitOutcome::Failed(result)) => Outcome::Failed(result),
            Ok(UnitOutcome::Refused(why)) => {
                self.withdraw(event);
                return Err(ScriptError::Refused { path: path(), unit, why });
            }
            Err(why) => {
                let outcome = |_| Outcome::Lost(why);
                return Ok(self.end(event, started, patience, part, outcome).await);
            }
        };
        self.withdraw(event);
        Ok(Ended::plain(outcome, started.elapsed()))
    }

    /// Has the unit of `event` stopped, and killed if that takes too long.
    async fn end(
        &self,
        event: EventName,
        started: Instant,
        mut patience: Patience,
        part: Part,
        outcome: impl FnOnce(bool) -> Outcome,
    ) -> Ended {
        self.withdraw(event);
        let unit = self.unit(event);
        let asked = Instant::now();
        let mut stopped = self.stopped(unit.clone());
        let kill_at = |patience: &Patience| {
            let limits = patience.limits(started, part);
            // Of one that was lost sight of, the limits are not reached yet.
            let own =
                if limits.terminate > asked { asked + patience.kill_after } else { limits.kill };
            own.min(limits.kill)
        };
        let mut kill = kill_at(&patience);
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => return Ended::plain(outcome(false), started.elapsed()),
                () = sleep_until(kill) => break,
                Ok(()) = patience.orders.changed() => kill = kill_at(&patience),
            }
        }
        let until = Instant::now() + SCRIPT_KILL_WAIT;
        let killed = timeout_at(until, self.starter.kill(unit.clone())).await;
        if let Ok(Err(error)) = killed {
            tracing::warn!(unit, "cannot kill an event script: {error}, ignoring");
        }
        let left = match timeout_at(until, &mut stopped).await {
            Ok(()) => None,
            Err(_) => {
                tracing::error!(unit, "event script is not known to have ended, ignoring");
                Some(stopped)
            }
        };
        Ended { left, ..Ended::plain(outcome(true), started.elapsed()) }
    }

    /// Whoever starts the unit from now on runs nothing.
    fn withdraw(&self, event: EventName) {
        if let Err(error) = event_file::remove(&self.directory, event) {
            let file = event_file::path(&self.directory, event);
            tracing::error!(?file, "cannot remove an event file: {error}, ignoring");
        }
    }

    /// Asks for the stop of `unit` until it is stopped.
    fn stopped(&self, unit: String) -> Gone {
        let starter = Arc::clone(&self.starter);
        Box::pin(async move {
            let mut complained = false;
            while let Err(error) = starter.stop(unit.clone()).await {
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(unit, "cannot stop an event script: {error}, trying again");
                }
                sleep(EVENT_UNIT_RETRY).await;
            }
        })
    }
}
