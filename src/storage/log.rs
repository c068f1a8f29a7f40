//! What a Raft log is to those who use it: the [`LogStore`] trait, its values and its errors.
//!
//! A log keeps entries and hard state. It does not decide when to sync, what to compact, or what
//! an error means for the node: after an error that is not [`LogError::is_retryable`] the caller
//! must abort the process. [`super::SegmentedLog`] is the one that keeps them on disk.

use std::io;

use crate::core::message::{Entry, HardState, TermRuns};
use crate::core::{Index, Term};
use crate::limits;

/// What goes into the log in one write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// Consecutive entries; the first may supersede a suffix of the log.
    pub entries: &'a [Entry],
    /// The new hard state, if it changed. Survives whenever an entry of the batch does.
    pub hard_state: Option<HardState>,
}

/// A Raft log.
pub trait LogStore: Send {
    /// Appends a batch with one write, and with one sync if `sync`; otherwise it becomes durable
    /// with the next synced batch. An empty batch with `sync` syncs what is not yet durable.
    ///
    /// # Panics
    /// If the entries are not consecutive, leave a gap, or supersede compacted ones.
    fn append(&mut self, batch: &Batch<'_>, sync: bool) -> Result<(), LogError>;

    /// Entries from `low` on, below `high`, up to `max_bytes` (encoded), but at least one.
    fn read(&mut self, low: Index, high: Index, max_bytes: u64) -> Result<Vec<Entry>, LogError>;

    /// Entries up to `index`, whose entry has `term`, are not needed any more. Nothing happens if
    /// they are gone already.
    ///
    /// # Panics
    /// If the log does not reach `index`.
    fn compact(&mut self, index: Index, term: Term) -> Result<(), LogError>;

    /// The log is replaced by a snapshot at `index`, durably; no entry is left.
    ///
    /// # Panics
    /// If `index` lies below what was compacted.
    fn install(&mut self, index: Index, term: Term, hs: HardState) -> Result<(), LogError>;

    /// Index of the first entry, or one above the compacted position if there is none.
    fn first_index(&self) -> Index;

    /// Index of the last entry, or the compacted position if there is none.
    fn last_index(&self) -> Index;

    /// Does a piece, of a few milliseconds at most, of what would make a later append slow; returns
    /// whether there is more to do. To be called while nothing waits for the log. A retryable
    /// error may be ignored: the append that needs it tries again.
    fn prepare(&mut self) -> Result<bool, LogError> {
        Ok(false)
    }
}

/// What a log held when it was opened.
#[derive(Clone, Debug)]
pub struct RecoveredLog {
    /// The last hard state. Its commit index lies within the log.
    pub hard_state: HardState,
    /// Compacted position: the entry before the first one, and its term.
    pub truncated: (Index, Term),
    /// Index of the last entry, or the compacted position if there is none.
    pub last_index: Index,
    /// Terms from the compacted position to the last index.
    pub terms: TermRuns,
}

/// How a log is laid out.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Bytes of a new segment file, below 4 GiB; existing ones keep their size.
    pub segment_bytes: u64,
    /// Not to be guessed by whoever chooses the entries' contents: it keeps them from posing as
    /// records when a torn tail is searched. Need not be the same the next time.
    pub secret: u64,
}

impl LogOptions {
    /// Segments of [`limits::LOG_SEGMENT_BYTES`].
    pub fn with_secret(secret: u64) -> LogOptions {
        LogOptions { segment_bytes: limits::LOG_SEGMENT_BYTES, secret }
    }
}

/// Why the log cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused an operation.
    #[error("log file {file:?}: {operation} failed")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or directory.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A sync failed: nobody knows what is durable. The process must abort, never retry.
    #[error("log file {file:?}: sync failed, nothing is known to be durable")]
    Sync {
        /// The file or directory.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No space for another segment. Nothing was written.
    #[error("no space for a log segment of {bytes} bytes in {directory:?}; free some")]
    NoSpace {
        /// Where.
        directory: String,
        /// Size of a segment.
        bytes: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Synced data is damaged.
    #[error(
        "log file {file:?} is damaged at offset {offset}: {why}; nothing was changed; give the \
         node an empty state directory, or restore this one"
    )]
    Corrupt {
        /// The damaged file.
        file: String,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// What does not fit.
        why: String,
    },
    /// A newer version wrote it.
    #[error("log file {file:?} has format {found}, this version reads up to {supported}; upgrade")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest known format.
        supported: u32,
    },
    /// The entry does not fit into a segment. Nothing was written.
    #[error("entry {index} takes {bytes} bytes in the log, at most {max} fit")]
    EntryTooLarge {
        /// Its index.
        index: Index,
        /// Bytes it would take.
        bytes: u64,
        /// Bytes there are.
        max: u64,
    },
    /// The entries asked for are not (or no longer) in the log.
    #[error("entries {low} to {high} (exclusive) asked for, the log has {first} to {last}")]
    OutOfRange {
        /// First wanted.
        low: Index,
        /// End of the wanted range, exclusive.
        high: Index,
        /// First index there is.
        first: Index,
        /// Last index there is.
        last: Index,
    },
    /// An earlier write or sync failed; the log refuses everything.
    #[error("the log is closed since an earlier write or sync failed")]
    Poisoned,
}

impl LogError {
    /// Whether the log is as it was before the call, so that the caller may go on.
    pub fn is_retryable(&self) -> bool {
        use LogError::{EntryTooLarge, NoSpace, OutOfRange};
        matches!(self, NoSpace { .. } | EntryTooLarge { .. } | OutOfRange { .. })
    }
}
