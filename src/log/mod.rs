//! Floor 4: where the log of a process goes: natively to the journal, or as lines to standard error
//! or a file.
//!
//! Guarantees: whoever logs never waits, whatever becomes of the reader. A bounded queue and a
//! thread of its own are between the two; at the limit messages are dropped and counted, and the
//! log says how many as soon as it can. Does not decide what is logged.

mod journal;
mod replay;
mod text;

use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;

use nix::sys::stat::fstat;
use tracing::Subscriber;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;
use crate::core::story::tell;
use journal::JournalGuard;

/// Under which every message of ours is found: `journalctl -t raftctld`. What runs beside the agent
/// as its helper has the same, because it tells the same story.
pub const IDENTIFIER: &str = "raftctld";

/// Whose log this is: two facts of every message.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The cluster.
    pub cluster: String,
    /// The node.
    pub node: String,
}

/// A log that is being written. When this is dropped, what waits is written if that goes quickly.
pub enum Log {
    /// To the journal.
    Journal(JournalGuard),
    /// As lines.
    Text(WorkerGuard),
}

/// What hands events on to the thread that writes them.
pub type Outlet<S> = Box<dyn Layer<S> + Send + Sync>;

/// Natively to the journal of this host.
///
/// # Errors
/// If no thread can be started.
pub fn to_journal<S>(origin: Origin) -> io::Result<(Outlet<S>, Log)>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let (layer, guard) = journal::start(origin)?;
    Ok((Box::new(layer), Log::Journal(guard)))
}

/// As lines to `writer`.
pub fn to_lines<S>(writer: Lines, format: LogFormat) -> (Outlet<S>, Log)
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let (layer, guard) = text::start(writer, format);
    (layer, Log::Text(guard))
}

/// Where lines go.
pub struct Lines {
    writer: Box<dyn Write + Send>,
    is_colored: bool,
    has_time: bool,
}

impl Lines {
    /// Appended to a file that is open.
    pub fn file(file: std::fs::File) -> Lines {
        Lines { writer: Box::new(file), is_colored: false, has_time: true }
    }

    /// Standard error, in colours if somebody looks at it.
    pub fn stderr() -> Lines {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_colored = io::stderr().is_terminal() && !no_color;
        Lines { writer: Box::new(io::stderr()), is_colored, has_time: true }
    }

    /// Without time and level, for whoever adds them.
    pub fn plain(self) -> Lines {
        Lines { is_colored: false, has_time: false, ..self }
    }
}

/// Whether standard error of this process is the journal (systemd.exec(5), `$JOURNAL_STREAM`). The
/// variable alone says nothing: a child may have another standard error.
pub fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr().as_fd()).is_ok_and(|found| is_stream(&stream, found.st_dev, found.st_ino))
}

/// What makes a line on standard error an error for the journal, where that reads it
/// (sd-daemon(3)).
pub fn error_prefix() -> &'static str {
    if stderr_is_journal() { "<3>" } else { "" }
}

/// `DEVICE:INODE`, in decimal.
fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    let Some((dev, ino)) = stream.split_once(':') else { return false };
    dev.parse() == Ok(device) && ino.parse() == Ok(inode)
}

/// Says what did not get into the log.
fn tell_lost(count: u64) {
    let what = if count == 1 { "message was" } else { "messages were" };
    tell!(
        MessagesLost, count = count;
        "{count} {what} lost here, because the log did not take them in time."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_by_device_and_inode() {
        assert!(is_stream("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", ":", "8:1234:5", "a:b", "-8:1234"] {
            assert!(!is_stream(other, 8, 1234), "{other:?}");
        }
    }
}
