//! The log of the agent: to stderr or a file, through a bounded queue and a thread of its own, so
//! that a reader who does not read cannot stop the driver. At the limit lines are dropped.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write};
use std::panic::PanicHookInfo;
use std::time::Duration;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use super::error::SetupError;
use crate::config::{Log, LogFormat, LogLevel, LogTarget};
use crate::limits;

/// The log of this process; lines are written until it is dropped.
pub(super) struct Logging {
    /// The least important level that is written.
    pub(super) level: Level,
    _guard: WorkerGuard,
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

/// Starts logging.
pub(super) fn start(log: &Log, node: &str) -> Result<Logging, SetupError> {
    let (writer, ansi): (Box<dyn Write + Send>, bool) = match &log.target {
        LogTarget::Stderr => (Box::new(std::io::stderr()), std::io::stderr().is_terminal()),
        LogTarget::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            let file = file.map_err(|source| SetupError::LogFile { path: path.clone(), source })?;
            (Box::new(file), false)
        }
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(limits::LOG_QUEUE_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(writer);
    let ansi = ansi && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let lines = fmt::layer().with_writer(writer).with_target(false).with_ansi(ansi);
    let (level, handle) = reload::Layer::new(filter(log.level));
    let registry = tracing_subscriber::registry().with(level);
    // A second call in one process is a programming error of a test; the first log stays.
    match log.format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    std::panic::set_hook(Box::new(log_panic));
    tracing::debug!(node, "log started");
    Ok(Logging { level: Level(handle), _guard: guard })
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
    tracing::error!("{text}; this is a bug, ending at once");
    // Time for the log's thread; the queue is usually empty.
    std::thread::sleep(LAST_LINE);
}

/// How long a process that ends at once waits for its last line to be written.
pub(super) const LAST_LINE: Duration = Duration::from_millis(50);
