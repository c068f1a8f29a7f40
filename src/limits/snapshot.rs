//! Limits of snapshots, and of the log that is kept for members that catch up.

use std::time::Duration;

use super::{
    FRAME_PAYLOAD_MAX_BYTES, KV_KEY_MAX_BYTES, KV_VALUE_MAX_BYTES, PEER_QUEUE_BYTES,
    PEER_QUEUE_MESSAGES,
};

/// Largest part of a snapshot that travels inside one message, in bytes: everything but the rows.
/// The replicated state of membership and activation and what is kept of clients are below it.
/// At the limit: building the snapshot is an internal error; from a peer, the connection is closed.
pub const SNAPSHOT_MAX_BYTES: usize = 6 << 20;

/// Bytes of rows that one piece of a snapshot should have. At the limit: the rest goes into the
/// next; one row may be larger.
pub const SNAPSHOT_PIECE_BYTES: usize = 128 << 10;

/// Largest piece of a snapshot that is taken: the largest row, and one that is almost full.
/// At the limit: the connection is closed.
pub const SNAPSHOT_PIECE_MAX_BYTES: usize =
    SNAPSHOT_PIECE_BYTES + KV_KEY_MAX_BYTES + KV_VALUE_MAX_BYTES + 4096;

/// Pieces that have been sent and are not reported yet, to one member; and pieces that wait for the
/// disk of a member. At the limit: the sender waits for a report; the receiver drops what comes
/// nevertheless, and says what it has.
pub const SNAPSHOT_WINDOW_PIECES: usize = 8;

/// How long a sender waits for a report before it asks what the member has.
pub const SNAPSHOT_RETRY: Duration = Duration::from_secs(2);

/// How long a member may make no progress with a snapshot that is sent to it. At the limit: the
/// engine is told that it failed, and begins again. It includes the time in which a member reads
/// back what it has, and installs it.
pub const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(60);

/// How long a leader keeps the view from which it has sent a snapshot, for a member that comes back
/// or another that lags. At the limit: let go; the next one gets a newer snapshot.
pub const SNAPSHOT_KEEP: Duration = Duration::from_secs(30);

/// How often it is published how far snapshots are, and what the log weighs.
pub const STORE_STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Requests that wait for the thread of snapshots. Never reached: each member has at most a window
/// of pieces, a read and a few offers under way.
pub const SNAPSHOT_REQUESTS: usize = 256;

/// Applied entries kept in the log below the durable applied index, for followers that lag.
/// Beyond it: whole segments are recycled and such a follower gets a snapshot.
pub const LOG_KEEP_ENTRIES: u64 = 65_536;

/// Bytes of such entries, about. Beyond it: as for [`LOG_KEEP_ENTRIES`].
pub const LOG_KEEP_BYTES: u64 = 64 << 20;

/// Applied entries that a leader keeps at most while a connected member catches up, or gets the
/// snapshot below them. Beyond it: recycled, and that member gets another snapshot.
pub const LOG_HOLD_ENTRIES: u64 = 4_000_000;

/// Bytes of such entries, about. Beyond it: as for [`LOG_HOLD_ENTRIES`].
pub const LOG_HOLD_BYTES: u64 = 1 << 30;

/// Bytes of entries between two marks of what the log's entries weigh: how exact the bounds in
/// bytes are.
pub const LOG_WEIGHT_MARK_BYTES: u64 = 256 << 10;

const _: () = {
    assert!(SNAPSHOT_MAX_BYTES + 4096 <= FRAME_PAYLOAD_MAX_BYTES);
    assert!(SNAPSHOT_PIECE_MAX_BYTES + 4096 <= FRAME_PAYLOAD_MAX_BYTES);
    assert!(SNAPSHOT_WINDOW_PIECES * SNAPSHOT_PIECE_MAX_BYTES < PEER_QUEUE_BYTES);
    assert!(SNAPSHOT_WINDOW_PIECES < PEER_QUEUE_MESSAGES);
    assert!(LOG_KEEP_ENTRIES < LOG_HOLD_ENTRIES && LOG_KEEP_BYTES < LOG_HOLD_BYTES);
    assert!(SNAPSHOT_RETRY.as_millis() * 4 < SNAPSHOT_PATIENCE.as_millis());
};
