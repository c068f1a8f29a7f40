//! Every limit of the agent, with its unit and its policy: what happens when it is reached.
//!
//! Nothing in the tree grows without one of these constants. Relations between limits that the
//! code relies on are asserted at compile time at the end of this file.

use std::time::Duration;

mod bus;
mod client;
mod host;
mod http;
mod kv;
mod snapshot;
mod standing;
mod state;
mod succession;

pub use bus::*;
pub use client::*;
pub use host::*;
pub use http::*;
pub use kv::*;
pub use snapshot::*;
pub use standing::*;
pub use state::*;
pub use succession::*;

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

/// Announcements of releases that wait for the driver's answer.
/// At the limit: a new one is closed without an answer and counted; its sender tries again.
pub const ANNOUNCEMENTS_WAITING_MAX: usize = 16;

/// Announcements of releases handed to the driver in a second. Six members that all crashed and
/// announce every few milliseconds are below it. At the limit: as for
/// [`ANNOUNCEMENTS_WAITING_MAX`].
pub const ANNOUNCEMENTS_PER_SECOND: u32 = 500;

/// Announcements that may come at once after a quiet time. At the limit: as for
/// [`ANNOUNCEMENTS_WAITING_MAX`].
pub const ANNOUNCEMENTS_BURST: u32 = 50;

/// How long the driver may take to answer an announcement. At the limit: closed without an answer.
pub const ANNOUNCEMENT_ANSWER: Duration = Duration::from_millis(500);

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

/// Requests in the channel to the disk thread. Never reached: the node refuses appends and
/// proposals at [`DISK_QUEUE_REQUESTS`] waiting writes, and a turn adds only a few requests.
pub const DISK_CHANNEL_REQUESTS: usize = 16 * DISK_QUEUE_REQUESTS;

/// Requests of surfaces waiting for the driver. At the limit: the surface waits.
pub const DRIVER_REQUESTS: usize = 256;

/// Questions to remote nodes that wait for an answer. At the limit: answered as unreachable.
pub const REMOTE_STATUS_WAITING: usize = 1024;

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

/// Proposals waiting for commit. At the limit: a new proposal is refused as busy.
pub const PENDING_PROPOSALS_MAX: usize = 8192;

/// Members of a cluster. At the limit: configuration refused.
pub const MEMBERS_MAX: usize = 7;

/// Characters of a node or cluster name.
pub const NAME_MAX_CHARS: usize = 32;

/// Size of a configuration file, in bytes. At the limit: refused.
pub const CONFIG_MAX_BYTES: u64 = 1 << 20;

/// Path of a Unix socket, in bytes: `sun_path` has 108 with the final zero (unix(7)).
/// At the limit: configuration refused.
pub const SOCKET_PATH_MAX_BYTES: usize = 107;

/// Shortest and longest `election_min`. Outside: configuration refused.
pub const ELECTION_MIN_LOWEST: Duration = Duration::from_millis(50);
/// See [`ELECTION_MIN_LOWEST`].
pub const ELECTION_MIN_HIGHEST: Duration = Duration::from_secs(60);

/// Longest `election_max`. Beyond: configuration refused.
pub const ELECTION_MAX_HIGHEST: Duration = Duration::from_secs(600);

/// Longest time limit of an event script. Beyond: configuration refused.
pub const SCRIPT_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Connections to the private D-Bus socket. At the limit: a new one is closed at once.
pub const DBUS_CONNECTIONS_MAX: usize = 64;

/// D-Bus calls running at once on one connection. At the limit: calls wait, unread, in the socket.
pub const DBUS_CALLS_PER_CONNECTION_MAX: usize = 4;

/// Time a new D-Bus connection may take to authenticate. At the limit: closed.
pub const DBUS_AUTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that a D-Bus client may send while it authenticates. At the limit: closed.
pub const DBUS_AUTH_MAX_BYTES: usize = 4 << 10;

/// Time that a D-Bus client may leave one message of ours unread once its socket is full.
/// At the limit: the connection is closed.
pub const DBUS_WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after the private socket could not accept, for example without a free descriptor.
pub const DBUS_ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Shortest time between two log lines about refused D-Bus clients.
/// At the limit: counted, and the count is in the next line.
pub const DBUS_REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Time the command line waits for a local agent to accept, authenticate and answer a query.
/// It is longer than `REMOTE_STATUS_TIMEOUT`, which such an answer may take.
pub const CLIENT_CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Time the command line waits for a transfer of leadership, which begins with the stop of
/// everything that the active node runs. At the limit: it says so; the transfer goes on.
pub const CLIENT_TRANSFER_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a transfer may take before the command line says what it waits for, and how often it
/// looks whether that is still so.
pub const CLIENT_TRANSFER_PATIENCE: Duration = Duration::from_secs(2);

/// Pause between two attempts of `raftctl monitor` to reach an agent that went away.
pub const CLIENT_RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Local instances that the command line looks at. At the limit: the rest are not shown, and it
/// says so.
pub const CLIENT_INSTANCES_MAX: usize = 256;

/// Role and leader changes a slow subscriber may lag behind. At the limit: the oldest are lost to
/// that subscriber, and it is told how many.
pub const CHANGE_BACKLOG: usize = 256;

/// Shortest time between two publications of a status in which only log positions moved.
/// At the limit: the newest is published when it is over; everything else is published at once.
pub const STATUS_POSITIONS_PAUSE: Duration = Duration::from_millis(50);

/// Deadline for asking a remote node for its state.
pub const REMOTE_STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// Output kept of one event script, in bytes. Beyond it: read and discarded, the number is logged.
pub const SCRIPT_OUTPUT_MAX_BYTES: usize = 16 << 10;

/// Data given to an event script on standard input, in bytes: one page, the least that a pipe
/// holds, so that it is written whole before the script starts. At the limit: the script is not
/// run, and an error says so.
pub const SCRIPT_INPUT_MAX_BYTES: usize = 4096;

/// Output read from an event script at once, in bytes.
pub const SCRIPT_READ_BYTES: usize = 64 << 10;

/// Output read after an event script has exited, in bytes: the largest pipe of an unprivileged
/// user (`/proc/sys/fs/pipe-max-size`). At the limit: the rest is left unread, since whoever still
/// writes is not the script.
pub const SCRIPT_DRAIN_MAX_BYTES: usize = 1 << 20;

/// How often a terminated event script's process group is looked at until it is empty.
pub const SCRIPT_GROUP_POLL: Duration = Duration::from_millis(50);

/// How long a killed event script may take to vanish (it may hang in the kernel, on a dead network
/// file system). At the limit: an error is logged and the next event goes on without it.
pub const SCRIPT_KILL_WAIT: Duration = Duration::from_secs(2);

/// Event scripts that could not be killed and are watched until they vanish. Until then it is not
/// said that their event is over. At the limit: one more is not watched, and it is never said.
pub const SCRIPTS_LEFT_MAX: usize = 8;

/// Pause before the service manager is asked again to stop the unit of an event script.
pub const EVENT_UNIT_RETRY: Duration = Duration::from_millis(250);

/// Characters of the reason that an event script is told. At the limit: the script is not run.
pub const EVENT_REASON_MAX_CHARS: usize = 80;

/// Symbolic links on the way to an event script. At the limit: the script is not run.
pub const SCRIPT_LINKS_MAX: usize = 16;

/// Messages waiting for a slow journal, or a slow reader of stderr or of the log file.
/// At the limit: dropped and counted, and the log says how many; the agent never waits. The queue
/// is as large as this from the start: 64 bytes for each.
pub const LOG_QUEUE_LINES: usize = 2048;

/// Longest fact of a message for the journal, in bytes. At the limit: cut off, with an ellipsis.
pub const LOG_FIELD_MAX_BYTES: usize = 16 << 10;

/// How long a program that ends waits for the journal to take its last messages.
/// At the limit: they are lost.
pub const LOG_FLUSH: Duration = Duration::from_millis(250);

/// How often `raftctl cluster start` looks for three free ports. At the limit: refused.
pub const LOCAL_PORT_TRIPLES: u16 = 100;

/// How long `raftctl cluster start` waits for the sockets of its nodes and for a leader, and
/// `stop` and `kill` for a process to end.
/// At the limit: they say what is missing or still runs, and leave it as it is.
pub const CLUSTER_PATIENCE: Duration = Duration::from_secs(10);

/// How long each check of `raftctl cluster test` may take. At the limit: it fails.
pub const CLUSTER_TEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Size of a local node's log, in bytes, beyond which `raftctl cluster start` puts it aside, in
/// place of the one put aside before.
pub const CLUSTER_LOG_MAX_BYTES: u64 = 16 << 20;

/// Bytes of a local node's log that `raftctl cluster logs` looks back. Beyond it: not shown.
pub const CLUSTER_LOG_TAIL_BYTES: u64 = 4 << 20;

/// Longest line of an agent's standard error that `raftctl start` passes on, in bytes.
/// At the limit: broken into several lines.
pub const MANAGER_LINE_MAX_BYTES: usize = 64 << 10;

/// Shortest and longest pause before `raftctl start` starts a crashed agent again; doubled each
/// time, and back to the shortest once the agent has run for longer than the longest.
pub const MANAGER_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// See [`MANAGER_BACKOFF_MIN`].
pub const MANAGER_BACKOFF_MAX: Duration = Duration::from_secs(5);

const _: () = {
    assert!(APPEND_MAX_BYTES as usize + ENTRY_MAX_BYTES + 4096 <= FRAME_PAYLOAD_MAX_BYTES);
    assert!(PEER_QUEUE_BYTES >= 2 * FRAME_PAYLOAD_MAX_BYTES);
    assert!(ENTRY_MAX_BYTES as u64 * 2 <= LOG_SEGMENT_BYTES);
    // A record's offset in its segment fits 32 bits.
    assert!(LOG_SEGMENT_BYTES < u32::MAX as u64);
    assert!(UNCOMMITTED_MAX_BYTES >= ENTRY_MAX_BYTES as u64);
    assert!(DRIVER_DRAIN_EVENTS <= DRIVER_QUEUE_EVENTS);
    assert!(CLIENT_CALL_TIMEOUT.as_millis() > 2 * REMOTE_STATUS_TIMEOUT.as_millis());
    assert!(HANDSHAKE_PAYLOAD_MAX_BYTES < FRAME_PAYLOAD_MAX_BYTES);
    assert!(ANNOUNCEMENT_ANSWER.as_millis() < HANDSHAKE_TIMEOUT.as_millis());
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
            + ANNOUNCEMENTS_WAITING_MAX
            < DRIVER_QUEUE_EVENTS
    );
    assert!(SCRIPT_OUTPUT_MAX_BYTES <= SCRIPT_READ_BYTES);
    // One member that announces all the time stays below what the others take.
    assert!(ANNOUNCEMENTS_PER_SECOND as u128 * ANNOUNCE_PAUSE_MIN.as_millis() > 2 * 1000);
    assert!(STATE_CHANGES_BYTES < STATE_CHANGES_MAX_BYTES);
    assert!(STATE_TRIM_AFTER.as_millis() > STATE_FLUSH_INTERVAL.as_millis());
    assert!(KV_QUOTA_LOWEST_BYTES <= KV_QUOTA_BYTES && KV_QUOTA_BYTES <= KV_QUOTA_HIGHEST_BYTES);
    assert!(KV_SNAPSHOT_RATE_LOWEST <= KV_SNAPSHOT_RATE);
    assert!(KV_SNAPSHOT_RATE <= KV_SNAPSHOT_RATE_HIGHEST);
    assert!(HOST_POLL.as_nanos() < HOST_WATCH.as_nanos());
    assert!(HOST_CALL_TIMEOUT.as_nanos() < HOST_JOB_TIMEOUT.as_nanos());
};
