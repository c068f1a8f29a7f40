//! Bounds of the replicated store.
//!
//! Those that decide what applying a command does travel inside the command, from whoever proposes
//! it: two versions with other numbers here still agree.

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
