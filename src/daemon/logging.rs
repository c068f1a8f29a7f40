//! The log of the agent: where it goes, from what level on, and what a panic leaves in it.

use std::fs::OpenOptions;
use std::panic::PanicHookInfo;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use super::error::SetupError;
use crate::config::{Config, LogLevel, LogTarget};
use crate::core::story::tell;
use crate::log::{self, Lines, Origin};

/// The log of this process; messages are written until it is dropped.
pub(super) struct Logging {
    /// The least important level that is written.
    pub(super) level: Level,
    _log: log::Log,
}

/// The least important level that is written, to be changed while the agent runs.
#[derive(Clone)]
pub(super) struct Level(reload::Handle<LevelFilter, Registry>);

impl Level {
    /// Writes what is at least as important as `level` from now on.
    pub(super) fn set(&self, level: LogLevel) {
        // Fails only if there is no log any more.
        let _ = self.0.reload(filter(level));
    }

    /// The least important level that is written now.
    pub(super) fn get(&self) -> LogLevel {
        let now = self.0.clone_current().unwrap_or(LevelFilter::INFO);
        LogLevel::ALL.into_iter().find(|level| filter(*level) == now).unwrap_or(LogLevel::Info)
    }
}

/// Starts logging: to the journal where that is standard error, else as lines.
pub(super) fn start(config: &Config) -> Result<Logging, SetupError> {
    let (level, handle) = reload::Layer::new(filter(config.log.level));
    let format = config.log.format;
    let (outlet, log) = match &config.log.target {
        LogTarget::Stderr if log::stderr_is_journal() => {
            let (cluster, node) = (config.cluster.name.clone(), config.node.name.to_string());
            log::to_journal(Origin { cluster, node }).map_err(SetupError::System)?
        }
        LogTarget::Stderr => log::to_lines(Lines::stderr(), format),
        LogTarget::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            let file = file.map_err(|source| SetupError::LogFile { path: path.clone(), source })?;
            log::to_lines(Lines::file(file), format)
        }
    };
    // A second call in one process is a programming error of a test; the first log stays.
    tracing_subscriber::registry().with(level).with(outlet).init();
    std::panic::set_hook(Box::new(log_panic));
    tracing::debug!(node = %config.node.name, "log started");
    Ok(Logging { level: Level(handle), _log: log })
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Says why the process aborts, through the queue: a thread that wrote to a full standard error
/// itself would wait for its reader instead of ending the process.
fn log_panic(info: &PanicHookInfo<'_>) {
    let text = info.to_string().replace('\n', " ");
    tell!(Failed, reason = text.as_str(); "The agent is ending at once, this is a bug: {text}");
    // Time for the log's thread; the queue is usually empty.
    std::thread::sleep(LAST_LINE);
}

/// How long a process that ends at once waits for its last line to be written.
pub(super) const LAST_LINE: Duration = Duration::from_millis(50);
