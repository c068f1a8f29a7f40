//! Event scripts as units: the service manager's side of [`crate::events`], in words of D-Bus.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::events::unit::{BoxFuture, UnitOutcome, UnitStarter};
use crate::systemd::manager::{Finished, JobResult, ManagerError, Mode, SystemdManager};

/// Runs units through the service manager.
pub(super) struct SystemdUnits(pub(super) SystemdManager);

impl UnitStarter for SystemdUnits {
    fn run(&self, unit: String, deadline: Duration) -> BoxFuture<Result<UnitOutcome, String>> {
        let manager = self.0.clone();
        Box::pin(async move {
            let end = Instant::now() + deadline;
            let finished = match manager.run_oneshot(&unit, end).await {
                Ok(finished) => finished,
                Err(ManagerError::NotStarted { source, .. }) if source.is_refusal() => {
                    return Ok(UnitOutcome::Refused(source.to_string()));
                }
                Err(error) => return Err(chain(&error)),
            };
            let left = end.saturating_duration_since(Instant::now());
            let over = timeout(left, manager.until_over(&unit)).await;
            over.map_err(|_| format!("{unit} has not ended within {} ms", deadline.as_millis()))?;
            Ok(outcome(finished))
        })
    }

    fn stop(&self, unit: String) -> BoxFuture<Result<(), String>> {
        let manager = self.0.clone();
        Box::pin(async move {
            match manager.stop_unit(&unit, Mode::Replace).await {
                Ok(_) => {}
                Err(error) if error.is(NO_SUCH_UNIT) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
            manager.until_over(&unit).await;
            Ok(())
        })
    }

    fn kill(&self, unit: String) -> BoxFuture<Result<(), String>> {
        let manager = self.0.clone();
        Box::pin(async move { manager.kill_unit(&unit).await.map_err(|e| e.to_string()) })
    }
}

fn outcome(finished: Finished) -> UnitOutcome {
    match (finished.job, finished.result.as_str()) {
        (JobResult::Done, _) => UnitOutcome::Exited(0),
        (_, "exit-code") => UnitOutcome::Exited(finished.status),
        (_, "signal" | "core-dump") => UnitOutcome::Signalled(finished.status),
        (job, "" | "success") => UnitOutcome::Failed(job.to_string()),
        (_, result) => UnitOutcome::Failed(result.to_owned()),
    }
}

/// An error with its causes.
fn chain(error: &ManagerError) -> String {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// The error of a stop of a unit that is not loaded.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
