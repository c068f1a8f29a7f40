//! The loop of the scripts' thread: take an event, run its scripts, say how they ended.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;

use super::patience::{Cause, Part, Patience};
use super::payload::{Numbered, Payload};
use super::process::Process;
use super::status::{Finished, Outcome, Running, ScriptsStatus};
use super::{Backend, EventName, ScriptError, ScriptsConfig, Shared};
use crate::core::story::tell;
use crate::node::metrics::ScriptMetrics;

/// Runs scripts until the handle says stop and nothing is due any more.
pub(super) async fn run(shared: Arc<Shared>, status: watch::Sender<ScriptsStatus>) {
    let config = shared.config();
    let patience = patience_of(&config, &shared);
    let mut runner = Runner { config, shared, status, patience, begun: false };
    loop {
        let (told, stopping, coalesced) =
            runner.shared.change(|queue| (queue.take(), queue.is_stopping(), queue.coalesced()));
        runner.config.metrics.scripts.coalesced.set(coalesced);
        runner
            .status
            .send_if_modified(|s| std::mem::replace(&mut s.coalesced, coalesced) != coalesced);
        match told {
            Some(told) => {
                let left = runner.run_event(&told).await;
                runner.settle(left);
            }
            None if stopping => break,
            None => runner.shared.wake.notified().await,
        }
    }
}

/// Resolves when what could not be killed is gone.
pub(super) type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How one script ended.
pub(super) struct Ended {
    /// The outcome.
    pub(super) outcome: Outcome,
    /// From start to end.
    pub(super) duration: Duration,
    /// The beginning of what it wrote.
    pub(super) output: Vec<u8>,
    /// Bytes that it wrote beyond that.
    pub(super) discarded_bytes: u64,
    /// What is still there of it.
    pub(super) left: Option<Gone>,
}

impl Ended {
    /// One without output, and nothing is left of it.
    pub(super) fn plain(outcome: Outcome, duration: Duration) -> Ended {
        Ended { outcome, duration, output: Vec::new(), discarded_bytes: 0, left: None }
    }
}

struct Runner {
    config: Arc<ScriptsConfig>,
    shared: Arc<Shared>,
    status: watch::Sender<ScriptsStatus>,
    patience: Patience,
    /// A script was run, or tried to.
    begun: bool,
}

impl Runner {
    /// Runs the script of the event, AFTER it the `change` script. The two are one unit: `change`
    /// runs even if the event is over by then, so that for this script, too, every leader is
    /// followed by a follower. Returns what could not be killed.
    async fn run_event(&mut self, told: &Numbered) -> Vec<Gone> {
        self.config = self.shared.config();
        self.patience = patience_of(&self.config, &self.shared);
        let own = told.occurrence.event;
        // Also when no script is due: a demotion is not over while an earlier run's script runs.
        let mut left = self.clear_away().await;
        if own != EventName::Change {
            left.extend(self.run_script(own, told).await);
        }
        left.extend(self.run_script(EventName::Change, told).await);
        left
    }

    /// The event is over, or it is when what was left behind is gone.
    fn settle(&self, left: Vec<Gone>) {
        if left.is_empty() {
            self.shared.change(|queue| queue.finish());
            return;
        }
        let Some(number) = self.shared.change(|queue| queue.leave()) else {
            tracing::error!("too many event scripts hang, their events will never count as over");
            return;
        };
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            for gone in left {
                gone.await;
            }
            shared.change(|queue| queue.vanish(number));
        });
    }

    async fn run_script(&mut self, event: EventName, told: &Numbered) -> Vec<Gone> {
        let Some(script) = self.config.scripts.get(&event).cloned() else { return Vec::new() };
        let part = Part::of(told.occurrence.event, told.occurrence.planned);
        let mut left = Vec::new();
        if let Some(cause) = self.patience.exhausted(part) {
            let (event, script) = (event.as_str(), script.display());
            let what = match cause {
                Cause::Demotion => "a demotion is due",
                Cause::Stop | Cause::Limit => "the agent stops",
            };
            let (script, reason) = (script.to_string(), format!("no time is left since {what}"));
            tell!(
                ScriptNotRun, event = event, script = script.as_str(), reason = reason.as_str();
                "Event script {script} was not run for {event}: {reason}."
            );
            return left;
        }
        let sequence = told.sequence;
        let begun = Instant::now();
        let ended = match self.run_to_end(event, &script, told, part).await {
            Ok(ended) => ended,
            Err(error) => Ended::plain(Outcome::NotStarted(Arc::new(error)), begun.elapsed()),
        };
        let count = &self.config.metrics.scripts;
        let (finished, behind) = finish(event, script, sequence, ended, count);
        left.extend(behind);
        self.status.send_modify(|status| {
            status.running = None;
            status.finished += 1;
            status.last = Some(finished);
        });
        left
    }

    async fn run_to_end(
        &self,
        event: EventName,
        script: &Path,
        told: &Numbered,
        part: Part,
    ) -> Result<Ended, ScriptError> {
        let sequence = told.sequence;
        let show = |pid| {
            let running = Running { event, script: script.to_owned(), sequence, pid };
            self.status.send_modify(|status| status.running = Some(running));
        };
        let patience = self.patience.clone();
        run_to_end(&self.config, patience, event, script, told, part, show).await
    }

    /// BEFORE the first script: ends what an earlier run of the agent may have left to the service
    /// manager, so that no two scripts run beside each other.
    async fn clear_away(&mut self) -> Vec<Gone> {
        let Backend::Unit(units) = &self.config.backend else { return Vec::new() };
        if std::mem::replace(&mut self.begun, true) {
            return Vec::new();
        }
        units.clear_away(EventName::is_of_role).await
    }
}

/// Runs `script` as the configuration says, and says so to `show` when it has begun.
pub(super) async fn run_to_end(
    config: &ScriptsConfig,
    patience: Patience,
    event: EventName,
    script: &Path,
    told: &Numbered,
    part: Part,
    show: impl FnOnce(Option<u32>),
) -> Result<Ended, ScriptError> {
    let now = Instant::now();
    let rest = patience.deadline(now, part).saturating_duration_since(now);
    let (cluster, node) = (&config.cluster, &config.node);
    let payload = Payload::new(told, event.as_str(), cluster, node, since_1970() + rest);
    match &config.backend {
        Backend::Process => {
            let process = Process::start(script, &payload)?;
            show(Some(process.pid()));
            Ok(process.finish(patience, part).await)
        }
        Backend::Unit(units) => {
            show(None);
            units.run(event, script, &payload, patience, part).await
        }
    }
}

/// Logs and counts how a script ended; that, and what is left of it.
pub(super) fn finish(
    event: EventName,
    script: PathBuf,
    sequence: u64,
    ended: Ended,
    count: &ScriptMetrics,
) -> (Finished, Option<Gone>) {
    let Ended { outcome, duration, output, discarded_bytes, left } = ended;
    let finished = Finished { event, script, sequence, outcome, duration, output, discarded_bytes };
    log(&finished);
    count.run.record(finished.duration);
    count.failed.add(u64::from(!finished.outcome.is_success()));
    (finished, left)
}

fn patience_of(config: &ScriptsConfig, shared: &Shared) -> Patience {
    Patience {
        timeout: config.timeout,
        kill_after: config.kill_after,
        demote_timeout: config.demote_timeout,
        fence_after: config.fence_after,
        orders: shared.orders.subscribe(),
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn log(finished: &Finished) {
    let event = finished.event.as_str();
    let script = finished.script.display().to_string();
    let script = script.as_str();
    if let Outcome::NotStarted(error) = &finished.outcome {
        let causes = std::iter::successors(std::error::Error::source(error), |e| e.source());
        let reason = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        return tell!(
            ScriptNotRun, event = event, script = script, reason = reason.as_str();
            "No script ran for {event}, ignoring: {reason}."
        );
    }
    let status = finished.outcome.to_string();
    let duration = format!("{}ms", finished.duration.as_millis());
    if finished.outcome.is_success() {
        let sequence = finished.sequence;
        let text = format!("Event script {script} for {event} succeeded after {duration}.");
        tracing::info!(event, script, duration, sequence, "{text}");
    } else if let Outcome::TimedOut { .. } = &finished.outcome {
        tell!(
            ScriptTimedOut, event = event, script = script, status = status.as_str(),
            duration = duration.as_str();
            "Event script {script} for {event} took too long, ignoring: {status} after {duration}."
        );
    } else {
        tell!(
            ScriptFailed, event = event, script = script, status = status.as_str(),
            duration = duration.as_str();
            "Event script {script} for {event} failed, ignoring: {status} after {duration}."
        );
    }
    log_output(finished);
}

/// What it printed; of a unit that is in the journal already.
fn log_output(finished: &Finished) {
    if finished.output.is_empty() {
        return;
    }
    // `?`: a script must not be able to forge lines of the log.
    let output = String::from_utf8_lossy(&finished.output);
    let (event, sequence) = (finished.event.as_str(), finished.sequence);
    let discarded_bytes = finished.discarded_bytes;
    tracing::info!(event, sequence, ?output, discarded_bytes, "event script printed");
}
