//! The log of the agent: to stderr or a file, through a bounded queue and a thread of its own, so
//! that a reader who does not read cannot stop the driver. At the limit lines are dropped.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;

use super::setup::SetupError;
use crate::config::{Log, LogFormat, LogLevel, LogTarget};
use crate::limits;

/// Starts logging; lines are written until the guard is dropped.
pub(super) fn start(log: &Log, node: &str) -> Result<WorkerGuard, SetupError> {
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
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let ansi = ansi && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer)
        .with_target(false)
        .with_ansi(ansi);
    // A second call in one process is a programming error of a test; the first log stays.
    match log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    tracing::debug!(node, "log started");
    Ok(guard)
}
