//! Bounds of the replicated store.
//!
//! Those that decide what applying a command does travel inside the command, from whoever proposes
//! it: two versions with other numbers here still agree.

use std::time::Duration;

/// Bytes of a key; a longer one is refused.
pub const KV_KEY_MAX_BYTES: usize = 1024;

/// Bytes of a value; a longer one is refused.
pub const KV_VALUE_MAX_BYTES: usize = 1024 * 1024;

/// Bytes that the store holds by default, keys and values with 32 for each; a write that grows it
/// beyond them is refused, one that shrinks it is not.
pub const KV_QUOTA_BYTES: u64 = 256 * 1024 * 1024;

/// Smallest and largest quota. Outside: configuration refused.
pub const KV_QUOTA_LOWEST_BYTES: u64 = 1 << 20;
/// See [`KV_QUOTA_LOWEST_BYTES`].
pub const KV_QUOTA_HIGHEST_BYTES: u64 = 8 << 30;

/// Bytes of a snapshot that are sent in a second by default; then the rest waits.
pub const KV_SNAPSHOT_RATE: u64 = 32 << 20;

/// Smallest and largest rate of snapshots, in bytes a second. Outside: configuration refused.
pub const KV_SNAPSHOT_RATE_LOWEST: u64 = 64 << 10;
/// See [`KV_SNAPSHOT_RATE_LOWEST`].
pub const KV_SNAPSHOT_RATE_HIGHEST: u64 = 1 << 30;

/// Bytes of rows that were read lately and are kept in memory. At the limit: those that were not
/// read again go.
pub const STORE_RECENT_BYTES: usize = 4 << 20;

/// Clients whose last write is remembered; then the oldest is forgotten, and a write of its that is
/// sent again is refused. Nodes count on it that nobody's is lower (`core::kv::Room`).
pub const KV_CLIENTS_MAX: u32 = 8192;

/// Steps and comparisons of a transaction, together; a longer one is refused.
pub const KV_TXN_STEPS_MAX: usize = 128;

/// Values that either branch of a transaction reads; one that reads more is refused. With the
/// longest keys and values the answer takes 8 MiB, and 11 MiB in base64.
pub const KV_TXN_GETS_MAX: usize = 8;

/// Bytes of the name of a client; a longer one is refused.
pub const KV_CLIENT_MAX_BYTES: usize = 32;

/// Rows of one page; the answer says that there are more.
pub const KV_PAGE_ROWS_MAX: usize = 1000;

/// Bytes of the rows of one page, counted as the quota is; the answer says that there are more.
pub const KV_PAGE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Keys that one `delete-prefix` removes; the answer says that there are more.
pub const KV_DELETE_MAX: u32 = 10_000;

/// Longest time that a request of the store may wait for its outcome, and how long it does if
/// nothing is said. At the limit: it is reported as unknown, or as not done.
pub const KV_DEADLINE_MAX: Duration = Duration::from_secs(60);

/// See [`KV_DEADLINE_MAX`].
pub const KV_DEADLINE_DEFAULT: Duration = Duration::from_secs(10);

/// Writes of one node that are under way at once, each under the name of a client of its own.
/// At the limit: refused as busy.
pub const KV_WRITES_UNDER_WAY: usize = 1024;

/// Bytes of the writes of one node that are under way. At the limit: refused as busy.
pub const KV_WRITES_UNDER_WAY_BYTES: usize = 64 << 20;

/// Reads of one node that are under way. At the limit: refused as busy.
pub const KV_READS_UNDER_WAY: usize = 8192;

/// How long word of a commit waits for an append that says it as well.
pub const NOTICE_DELAY: Duration = Duration::from_millis(2);

/// How long after its last write or question a follower hears of each commit at once.
pub const NOTICE_ASKED_LATELY: Duration = Duration::from_secs(1);

/// How long a write waits to be seen in the log before it is sent again, doubled with each time; at
/// once when the leader changes.
pub const KV_RESEND: Duration = Duration::from_millis(500);

/// How long a follower waits for a confirmed index before it asks again; at once when the leader
/// changes.
pub const KV_ASK_AGAIN: Duration = Duration::from_millis(100);

/// Questions of one follower for a confirmed index that wait on the leader. At the limit: the
/// oldest is forgotten, and asked again.
pub const KV_QUESTIONS_PER_PEER: usize = 4;

/// Bytes of writes in one frame to the leader, and in one proposal: the rest goes into the next.
pub const KV_BATCH_BYTES: usize = 1 << 20;

/// Bytes of writes of other nodes that a leader has not proposed yet. At the limit: dropped; they
/// are sent again.
pub const KV_FORWARDED_BYTES: usize = 32 << 20;

/// Entries handed to the thread of the store that it has not applied yet. Beyond it: a leader
/// proposes no writes of the store, a follower drops appends, which the leader sends again.
pub const STORE_WAITING_ENTRIES: u64 = 16_384;

/// Requests handed to the thread of the store that it has not answered yet. Beyond it: as for
/// [`STORE_WAITING_ENTRIES`], and reads wait.
pub const STORE_WAITING_REQUESTS: usize = 256;

/// Requests in the channel to the thread of the store. Never reached: see
/// [`STORE_WAITING_REQUESTS`]; what was appended before adds at most one request a turn.
pub const STORE_CHANNEL_REQUESTS: usize = 16 * STORE_WAITING_REQUESTS;

/// Writes, questions and answers in one frame about the store. At the limit: what is more goes into
/// the next; a frame with more is refused and its connection closed.
pub const KV_FRAME_ITEMS_MAX: usize = KV_WRITES_UNDER_WAY + 2;
