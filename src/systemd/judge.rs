//! What follows from a look at the units while an order is carried out. Plain functions of what
//! was seen, so that every combination can be tested.

use super::manager::{JobResult, Listed};
use super::target::Target;

/// What is known about the start that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The manager has queued a job.
    Queued,
    /// There was no answer.
    Unknown,
}

/// What to do after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Wait and look again.
    Wait,
    /// The order is carried out.
    Reached,
    /// It left no trace: ask again.
    AskAgain,
    /// It cannot be carried out.
    Failed(String),
}

/// The members that are not down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// Why each one is not down.
    pub up: Vec<String>,
    /// Whether the manager is still at work on one of them.
    pub busy: bool,
}

/// Judges a start. `end` is the announced result of its job; `settled`: an announcement that is
/// still missing is lost.
pub(super) fn start(
    asked: Asked,
    end: Option<&JobResult>,
    target: &Target,
    settled: bool,
) -> Verdict {
    match end {
        Some(JobResult::Done) | None if target.job.is_some() => Verdict::Wait,
        Some(JobResult::Done) if target.is_up() => Verdict::Reached,
        Some(JobResult::Done) if !target.condition => {
            Verdict::Failed("a condition is not met".to_owned())
        }
        Some(JobResult::Done) => Verdict::Failed(format!("the target is {}", target.active)),
        Some(other) => Verdict::Failed(format!("the start job ended with {other}")),
        None if !settled => Verdict::Wait,
        None if target.is_up() => Verdict::Reached,
        None if asked == Asked::Unknown => Verdict::AskAgain,
        None => Verdict::Failed(format!("there is no job, and the target is {}", target.active)),
    }
}

/// Judges a stop. The target has to be `inactive`: after a stop job that timed out it still reads
/// `active`, although no job is left.
pub(super) fn stop(
    end: Option<&JobResult>,
    target: &Target,
    members: &Members,
    gate_closed: bool,
    settled: bool,
) -> Verdict {
    match end {
        Some(JobResult::Done) | None if target.job.is_some() => Verdict::Wait,
        Some(result) if *result != JobResult::Done => {
            Verdict::Failed(format!("the stop job ended with {result}"))
        }
        None if !settled => Verdict::Wait,
        _ if target.active != "inactive" => {
            Verdict::Failed(format!("the target is {}", target.active))
        }
        _ if members.busy || (!members.up.is_empty() && !settled) => Verdict::Wait,
        _ if !members.up.is_empty() => Verdict::Failed(members.up.join(", ")),
        _ if !gate_closed => Verdict::Failed("the gate cannot be closed".to_owned()),
        _ => Verdict::Reached,
    }
}

/// Why a target that was up counts as going down.
pub(super) fn down(target: &Listed) -> Option<String> {
    // Whatever job it is, unless it is known to leave an active unit as it is, ends in a stop.
    let harmless = ["", "start", "verify-active", "nop", "reload", "reload-or-start"];
    if !harmless.contains(&target.job.as_str()) {
        Some(format!("it has a {} job", target.job))
    } else if !matches!(target.active.as_str(), "active" | "reloading") {
        Some(format!("it is {}", target.active))
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
