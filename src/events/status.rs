//! What the runner says about itself.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::patience::Cause;
use super::{EventName, ScriptError};

/// The state of the runner at one moment.
#[derive(Clone, Debug, Default)]
pub struct ScriptsStatus {
    /// The script that runs.
    pub running: Option<Running>,
    /// The last script that ended or could not be started.
    pub last: Option<Finished>,
    /// Scripts that ended or could not be started, since the agent started.
    pub finished: u64,
    /// Events that newer ones replaced before their scripts started, since the agent started.
    pub coalesced: u64,
}

/// A script that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// The event whose script it is; `change` for the additional one.
    pub event: EventName,
    /// The script.
    pub script: PathBuf,
    /// Number of the event, as the script is told.
    pub sequence: u64,
    /// Process, and process group, if it is a child of the agent.
    pub pid: Option<u32>,
}

/// A script that ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The event whose script it is; `change` for the additional one.
    pub event: EventName,
    /// The script.
    pub script: PathBuf,
    /// Number of the event, as the script was told.
    pub sequence: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// From start to end.
    pub duration: Duration,
    /// What it wrote to standard output and standard error: the first
    /// [`crate::limits::SCRIPT_OUTPUT_MAX_BYTES`] bytes, in the order of writing. Of a unit it is
    /// in the journal instead.
    pub output: Vec<u8>,
    /// Bytes that it wrote beyond that.
    pub discarded_bytes: u64,
}

/// How a script ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// By itself, with this exit status.
    Exited(i32),
    /// By this signal, which the agent did not send.
    Signalled(i32),
    /// The time limit passed and its process group was terminated.
    TimedOut {
        /// SIGTERM was not enough.
        killed: bool,
    },
    /// The agent stopped and its process group was terminated.
    Stopped {
        /// SIGTERM was not enough.
        killed: bool,
    },
    /// A demotion waited for it and its process group was terminated.
    MadeWay {
        /// SIGTERM was not enough.
        killed: bool,
    },
    /// It ended, and this is all that the service manager says.
    Failed(String),
    /// The service manager could not say what became of it; it was stopped.
    Lost(String),
    /// It did not run.
    NotStarted(Arc<ScriptError>),
}

impl Outcome {
    /// Exit status 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Exited(0))
    }

    /// The agent terminated it.
    pub(super) fn ended_by_us(cause: Cause, killed: bool) -> Outcome {
        match cause {
            Cause::Limit => Outcome::TimedOut { killed },
            Cause::Stop => Outcome::Stopped { killed },
            Cause::Demotion => Outcome::MadeWay { killed },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Exited(code) => write!(f, "exit status {code}"),
            Outcome::Signalled(signal) => write!(f, "signal {signal}"),
            Outcome::TimedOut { killed: false } => f.write_str("timed out, terminated"),
            Outcome::TimedOut { killed: true } => f.write_str("timed out, killed"),
            Outcome::Stopped { killed: false } => f.write_str("agent stops, terminated"),
            Outcome::Stopped { killed: true } => f.write_str("agent stops, killed"),
            Outcome::MadeWay { killed: false } => f.write_str("demotion waits, terminated"),
            Outcome::MadeWay { killed: true } => f.write_str("demotion waits, killed"),
            Outcome::Failed(result) => write!(f, "result {result:?}"),
            Outcome::Lost(why) => write!(f, "lost sight of it and stopped it: {why:?}"),
            Outcome::NotStarted(_) => f.write_str("not started"),
        }
    }
}
