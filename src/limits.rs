//! Every limit of the agent, with its unit and its policy: what happens when it is reached.
//!
//! Nothing in the tree grows without one of these constants. Relations between limits that the
//! code relies on are asserted at compile time at the end of this file.

use std::time::Duration;

/// Largest frame payload accepted from or sent to a peer, in bytes.
/// At the limit: the frame is refused before anything is allocated and the connection is closed.
pub const FRAME_PAYLOAD_MAX_BYTES: usize = 8 << 20;

/// Largest payload of a frame before the handshake is complete, in bytes.
/// At the limit: the connection is closed.
pub const HANDSHAKE_PAYLOAD_MAX_BYTES: usize = 4 << 10;

/// Time a new connection may take to complete its handshake. At the limit: closed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// Inbound connections that have not completed the handshake.
/// At the limit: the oldest waiting one is closed.
pub const HANDSHAKING_CONNECTIONS_MAX: usize = 64;

/// Messages waiting for one connection of one peer.
/// At the limit: the new message is dropped (Raft retries) and counted.
pub const PEER_QUEUE_MESSAGES: usize = 1024;

/// Bytes waiting for one connection of one peer.
/// At the limit: the new message is dropped (Raft retries) and counted.
pub const PEER_QUEUE_BYTES: usize = 32 << 20;

/// How long a redial of a lost leader may take before its silence counts as evidence.
pub const REDIAL_ANSWER: Duration = Duration::from_millis(5);

/// Reconnect back-off: first retry at once, then jittered between these two.
pub const RECONNECT_MIN: Duration = Duration::from_millis(20);
/// Longest pause between two attempts to reach a silent peer.
pub const RECONNECT_MAX: Duration = Duration::from_millis(1000);

/// Events waiting for the driver. At the limit: senders wait (transport reads slow down, which
/// TCP turns into back-pressure on the peer).
pub const DRIVER_QUEUE_EVENTS: usize = 4096;

/// Events the driver takes in one turn before it flushes; this is the size of a group commit.
pub const DRIVER_DRAIN_EVENTS: usize = 512;

/// Requests waiting for the disk thread. At the limit: the driver stops draining new events until
/// the disk has caught up, while the engine's heartbeats go on.
pub const DISK_QUEUE_REQUESTS: usize = 256;

/// Largest entry payload accepted by `propose`, in bytes. At the limit: refused.
pub const ENTRY_MAX_BYTES: usize = 2 << 20;

/// Entry bytes in one append message. At the limit: the rest goes into the next message.
pub const APPEND_MAX_BYTES: u64 = 1 << 20;

/// Append messages in flight to one peer. At the limit: the engine waits for an answer.
pub const APPEND_INFLIGHT_MESSAGES: usize = 128;

/// Entry bytes that a leader may hold uncommitted. At the limit: proposals are refused.
pub const UNCOMMITTED_MAX_BYTES: u64 = 16 << 20;

/// Committed entry bytes handed to the state machine in one turn. At the limit: next turn.
pub const COMMITTED_PER_TURN_MAX_BYTES: u64 = 4 << 20;

/// Applied entry bytes kept in memory for followers that are slightly behind.
/// At the limit: the oldest are dropped and read from the log when needed.
pub const ENTRY_CACHE_MAX_BYTES: usize = 4 << 20;

/// Bytes of one log segment file; preallocated. At the limit: the next segment is used.
pub const LOG_SEGMENT_BYTES: u64 = 16 << 20;

/// Bytes of the very first segment of a log, so that the first start is fast and a cluster that
/// writes little stays small. At the limit: the next segment, of full size.
pub const LOG_FIRST_SEGMENT_BYTES: u64 = 1 << 20;

/// Bytes of a spare segment allocated at a time while the log is idle, so that an append never
/// waits long behind it. At the limit: the next idle moment.
pub const LOG_ALLOCATE_STEP_BYTES: u64 = 512 << 10;

/// Files kept ready to become the next log segment; recycled ones count.
/// At the limit: a segment that is no longer needed is removed instead.
pub const LOG_SPARE_SEGMENTS: usize = 2;

/// Entries between two marks of the log's in-memory index. At the limit: another mark.
pub const LOG_MARK_ENTRIES: u64 = 64;

/// Bytes between two marks of the log's in-memory index. At the limit: another mark.
pub const LOG_MARK_BYTES: u64 = 64 << 10;

/// Memory for cached pages of the state machine's database, in bytes.
/// At the limit: the least recently used pages are dropped and read again.
pub const STATE_CACHE_BYTES: usize = 1 << 20;

/// Applied entries kept in the log below the durable applied index, for followers that lag.
/// Beyond it: whole segments are recycled and such a follower gets a snapshot.
pub const LOG_KEEP_ENTRIES: u64 = 65_536;

/// Entries kept by the state machine between durable commits: time bound.
pub const STATE_FLUSH_INTERVAL: Duration = Duration::from_millis(1500);

/// Largest snapshot that travels inside one message, in bytes. The replicated state of membership
/// and activation is far below it. At the limit: building the snapshot is an internal error.
pub const SNAPSHOT_MAX_BYTES: usize = 4 << 20;

/// Linearizable reads waiting for confirmation. At the limit: a new read is refused.
pub const PENDING_READS_MAX: usize = 4096;

/// Proposals waiting for commit. At the limit: a new proposal is refused as busy.
pub const PENDING_PROPOSALS_MAX: usize = 8192;

/// Members of a cluster. At the limit: configuration refused.
pub const MEMBERS_MAX: usize = 7;

/// Characters of a node or cluster name.
pub const NAME_MAX_CHARS: usize = 32;

/// Size of a configuration file, in bytes. At the limit: refused.
pub const CONFIG_MAX_BYTES: u64 = 1 << 20;

/// Connections to the private D-Bus socket. At the limit: a new one is closed at once.
pub const DBUS_CONNECTIONS_MAX: usize = 64;

/// D-Bus calls running at once on one connection. At the limit: calls wait, unread, in the socket.
pub const DBUS_CALLS_PER_CONNECTION_MAX: usize = 4;

/// Role and leader changes a slow subscriber may lag behind. At the limit: the oldest are lost to
/// that subscriber, and it is told how many.
pub const CHANGE_BACKLOG: usize = 256;

/// Deadline for asking a remote node for its state.
pub const REMOTE_STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// Output kept of one event script, in bytes. Beyond it: read and discarded, the number is logged.
pub const SCRIPT_OUTPUT_MAX_BYTES: usize = 16 << 10;

/// Log lines waiting for a slow reader of stderr or of the log file.
/// At the limit: lines are dropped and counted; the agent never waits.
pub const LOG_QUEUE_LINES: usize = 8192;

const _: () = {
    assert!(APPEND_MAX_BYTES as usize + ENTRY_MAX_BYTES + 4096 <= FRAME_PAYLOAD_MAX_BYTES);
    assert!(SNAPSHOT_MAX_BYTES + 4096 <= FRAME_PAYLOAD_MAX_BYTES);
    assert!(PEER_QUEUE_BYTES >= 2 * FRAME_PAYLOAD_MAX_BYTES);
    assert!(ENTRY_MAX_BYTES as u64 * 2 <= LOG_SEGMENT_BYTES);
    // A record's offset in its segment fits 32 bits.
    assert!(LOG_SEGMENT_BYTES < u32::MAX as u64);
    assert!(UNCOMMITTED_MAX_BYTES >= ENTRY_MAX_BYTES as u64);
    assert!(DRIVER_DRAIN_EVENTS <= DRIVER_QUEUE_EVENTS);
    assert!(HANDSHAKE_PAYLOAD_MAX_BYTES < FRAME_PAYLOAD_MAX_BYTES);
};
