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

/// Clients whose last write is remembered; then the oldest is forgotten, and a write of its that is
/// sent again is refused.
pub const KV_CLIENTS_MAX: u32 = 4096;

/// Steps and comparisons of a transaction, together; a longer one is refused.
pub const KV_TXN_STEPS_MAX: usize = 128;

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

/// Requests of the store that wait on one node, of all surfaces together. At the limit: refused as
/// busy.
pub const KV_WAITING_MAX: usize = 8192;

/// Bytes of the writes that wait on one node. At the limit: refused as busy.
pub const KV_WAITING_MAX_BYTES: usize = 64 << 20;

/// Writes of one node that are under way at once, each under the name of a client of its own.
/// At the limit: the next waits for one of them.
pub const KV_WRITES_UNDER_WAY: usize = 512;

/// How long a write waits to be seen in the log before it is sent again, and a question for an
/// index before it is asked again; at once when the leader changes.
pub const KV_RESEND: Duration = Duration::from_millis(500);

/// Entries handed to the thread of the store that it has not applied yet. Beyond it: a leader
/// proposes no writes of the store, a follower drops appends, which the leader sends again.
pub const STORE_WAITING_ENTRIES: u64 = 16_384;

/// Requests in the channel to the thread of the store. Never reached: see
/// [`STORE_WAITING_ENTRIES`]; a turn adds only a few requests.
pub const STORE_CHANNEL_REQUESTS: usize = 4096;
