//! Bounds of the state machine's database, in memory and on disk.

use std::time::Duration;

/// Memory for cached pages of the state machine's database, in bytes.
/// At the limit: the least recently used pages are dropped and read again.
pub const STATE_CACHE_BYTES: usize = 1 << 20;

/// Memory for what has changed in the store since its last flush, in bytes. Beyond it: flushed
/// before its time, if no flush goes on.
pub const STATE_CHANGES_BYTES: usize = 8 << 20;

/// The same while a flush goes on. At the limit: applying waits for that flush and for one more.
pub const STATE_CHANGES_MAX_BYTES: usize = 16 << 20;

/// How long after the last flush memory that the changes took is given back to the system: it takes
/// milliseconds, in which nobody else can allocate.
pub const STATE_TRIM_AFTER: Duration = Duration::from_secs(4);

/// Memory for cached pages of a snapshot that arrives, in bytes.
/// At the limit: pages are written before they are committed, and read again.
pub const SNAPSHOT_CACHE_BYTES: usize = 2 << 20;

/// Bytes of a snapshot's rows that a restart may lose: then they are made durable.
pub const SNAPSHOT_COMMIT_BYTES: usize = 8 << 20;

/// Largest database of the state machine that is examined before it is opened, in bytes.
/// Beyond it: opened unexamined; damage is then found by whoever reads the damaged page.
pub const STATE_EXAMINED_MAX_BYTES: u64 = 512 << 20;

/// Entries kept by the state machine between durable commits: time bound.
pub const STATE_FLUSH_INTERVAL: Duration = Duration::from_millis(1500);
