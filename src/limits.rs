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

/// Largest frame payload on a control connection, in bytes; what is larger travels as bulk.
/// At the limit: an outgoing message is dropped and counted, an incoming one closes its connection.
pub const CONTROL_PAYLOAD_MAX_BYTES: usize = 64 << 10;

/// Entries in one message. A frame of the largest size could otherwise be decoded into twenty times
/// its size in empty entries. At the limit: refused before decoding and the connection is closed.
pub const MESSAGE_ENTRIES_MAX: usize = 1 << 18;

/// Bytes of one peer's bulk messages that the driver has not taken over yet. At the limit: its bulk
/// connection is not read, which TCP turns into back-pressure.
pub const INBOUND_BULK_BYTES: usize = 24 << 20;

/// What the smallest bulk message counts against [`INBOUND_BULK_BYTES`], so that a peer's bulk
/// messages never take more than their share of the driver's queue.
pub const INBOUND_BULK_MESSAGE_MIN_BYTES: usize = 96 << 10;

/// Bytes of one peer's control messages that the driver has not taken over yet. At the limit: its
/// control connection is not read.
pub const INBOUND_CONTROL_BYTES: usize = 1 << 20;

/// What the smallest control message counts against [`INBOUND_CONTROL_BYTES`].
pub const INBOUND_CONTROL_MESSAGE_MIN_BYTES: usize = 4 << 10;

/// Size to which the read and write buffers of a connection return when they are empty, in bytes.
/// They grow on demand, while bytes really arrive or leave, up to one frame.
pub const CONNECTION_BUFFER_BYTES: usize = 8 << 10;

/// Queued frames are written together up to this many bytes (or one frame, if it is larger).
pub const WRITE_BATCH_BYTES: usize = 64 << 10;

/// Bytes written to one connection before the tasks of others have their turn.
pub const WRITE_TURN_BYTES: usize = 1 << 20;

/// How long a bulk connection may stay without any acknowledgement or open window.
/// At the limit: the kernel closes it (TCP_USER_TIMEOUT) and it is dialed again.
pub const BULK_STALL_MAX: Duration = Duration::from_secs(5);

/// Losses of connections younger than [`RECONNECT_MAX`] to one process, in a row, that are still
/// redialed at once. Beyond it: back-off, so that a peer which accepts and closes costs no loop.
pub const QUICK_LOSSES_MAX: u32 = 3;

/// How long a stopping transport goes on writing what is queued. At the limit: the rest is lost.
pub const SHUTDOWN_FLUSH: Duration = Duration::from_millis(100);

/// Pause after `accept` failed for want of descriptors or memory.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A complaint about a peer that has not changed is repeated in the log after this time.
pub const COMPLAINT_REPEAT: Duration = Duration::from_secs(60);

/// Shortest time between two complaints about one peer, whatever they say. At the limit: the later
/// one is not logged; if it persists, it is logged when it comes again.
pub const COMPLAINT_PAUSE: Duration = Duration::from_secs(1);

/// Different complaints about one peer that are remembered. At the limit: the oldest is forgotten.
pub const COMPLAINTS_MAX: usize = 8;

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
    assert!(UNCOMMITTED_MAX_BYTES >= ENTRY_MAX_BYTES as u64);
    assert!(DRIVER_DRAIN_EVENTS <= DRIVER_QUEUE_EVENTS);
    assert!(HANDSHAKE_PAYLOAD_MAX_BYTES < FRAME_PAYLOAD_MAX_BYTES);
    assert!(HANDSHAKE_PAYLOAD_MAX_BYTES <= CONTROL_PAYLOAD_MAX_BYTES);
    assert!(CONTROL_PAYLOAD_MAX_BYTES <= INBOUND_CONTROL_BYTES);
    // A frame of the largest size, with the most entries, can be paid for.
    assert!(FRAME_PAYLOAD_MAX_BYTES + 40 * MESSAGE_ENTRIES_MAX <= INBOUND_BULK_BYTES);
    assert!(INBOUND_BULK_BYTES < u32::MAX as usize);
    assert!(INBOUND_CONTROL_BYTES < INBOUND_BULK_BYTES);
    // The messages of all peers together leave room in the driver's queue for everything else.
    assert!(
        (MEMBERS_MAX - 1)
            * (INBOUND_BULK_BYTES / INBOUND_BULK_MESSAGE_MIN_BYTES
                + INBOUND_CONTROL_BYTES / INBOUND_CONTROL_MESSAGE_MIN_BYTES)
            < DRIVER_QUEUE_EVENTS
    );
};
