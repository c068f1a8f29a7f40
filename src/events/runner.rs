//! The loop of the scripts' thread: take an event, run its scripts, say how they ended.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;

use super::payload::{Numbered, Payload};
use super::process::{Patience, Process};
use super::status::{Finished, Outcome, Running, ScriptsStatus};
use super::{EventName, ScriptsConfig, Shared};

/// Runs scripts until the handle says stop and nothing is due any more.
pub(super) async fn run(shared: Arc<Shared>, status: watch::Sender<ScriptsStatus>) {
    let mut runner = Runner { config: shared.config(), shared, status };
    loop {
        let (told, stopping, coalesced) = {
            let mut queue = runner.shared.queue();
            (queue.take(), queue.is_stopping(), queue.coalesced())
        };
        runner
            .status
            .send_if_modified(|s| std::mem::replace(&mut s.coalesced, coalesced) != coalesced);
        match told {
            Some(told) => runner.run_event(&told).await,
            None if stopping => break,
            None => runner.shared.wake.notified().await,
        }
    }
}

struct Runner {
    /// What was configured when the event was taken.
    config: Arc<ScriptsConfig>,
    shared: Arc<Shared>,
    status: watch::Sender<ScriptsStatus>,
}

impl Runner {
    /// Runs the script of the event, AFTER it the `change` script. The two are one unit: `change`
    /// runs even if the event is over by then, so that for this script, too, every leader is
    /// followed by a follower.
    async fn run_event(&mut self, told: &Numbered) {
        self.config = self.shared.config();
        let own = told.occurrence.event;
        if own != EventName::Change {
            self.run_script(own, told).await;
        }
        self.run_script(EventName::Change, told).await;
    }

    async fn run_script(&mut self, event: EventName, told: &Numbered) {
        let Some(script) = self.config.scripts.get(&event).cloned() else { return };
        if self.shared.stop.borrow().is_some_and(|stop| stop.is_over()) {
            let (event, script) = (event.as_str(), script.display());
            tracing::error!(event, %script, "no time left before the agent stops, not running it");
            return;
        }
        let sequence = told.sequence;
        let begun = Instant::now();
        let finished = match self.start(event, &script, told) {
            Err(error) => Finished {
                event,
                script,
                sequence,
                outcome: Outcome::NotStarted(Arc::new(error)),
                duration: begun.elapsed(),
                output: Vec::new(),
                discarded_bytes: 0,
            },
            Ok(process) => {
                let pid = process.pid();
                let running = Running { event, script: script.clone(), sequence, pid };
                self.status.send_modify(|status| status.running = Some(running));
                let demotion_waits = || self.shared.queue().has_demotion();
                let ended = process.finish(self.patience(), demotion_waits).await;
                let (outcome, duration, output) = ended;
                let (output, discarded_bytes) = output.into_parts();
                Finished { event, script, sequence, outcome, duration, output, discarded_bytes }
            }
        };
        log(&finished);
        self.status.send_modify(|status| {
            status.running = None;
            status.finished += 1;
            status.last = Some(finished);
        });
    }

    fn patience(&self) -> Patience {
        let ScriptsConfig { timeout, kill_after, .. } = *self.config;
        Patience { timeout, kill_after, stop: self.shared.stop.subscribe() }
    }

    fn start(
        &self,
        event: EventName,
        script: &Path,
        told: &Numbered,
    ) -> Result<Process, super::ScriptError> {
        let ScriptsConfig { cluster, node, .. } = &*self.config;
        let name = event.as_str();
        let now = Instant::now();
        let rest = self.patience().deadline(now).saturating_duration_since(now);
        let payload = Payload::new(told, name, cluster, node, since_1970() + rest);
        Process::start(script, [name, told.occurrence.role, cluster], &payload)
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn log(finished: &Finished) {
    let event = finished.event.as_str();
    let script = finished.script.display();
    let sequence = finished.sequence;
    if let Outcome::NotStarted(error) = &finished.outcome {
        let cause = std::error::Error::source(error).map(|source| source.to_string());
        tracing::error!(event, %script, sequence, %error, cause, "event script not run, ignoring");
        return;
    }
    let status = finished.outcome.to_string();
    let duration_ms = u64::try_from(finished.duration.as_millis()).unwrap_or(u64::MAX);
    // `?`: a script must not be able to forge lines of the log.
    let output = String::from_utf8_lossy(&finished.output);
    let discarded_bytes = finished.discarded_bytes;
    if finished.outcome.is_success() {
        let message = "event script succeeded";
        tracing::info!(
            event, %script, sequence, status, duration_ms, ?output, discarded_bytes, message
        );
    } else {
        let message = "event script failed, ignoring";
        tracing::warn!(
            event, %script, sequence, status, duration_ms, ?output, discarded_bytes, message
        );
    }
}
