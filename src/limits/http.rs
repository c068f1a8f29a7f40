//! Bounds of the HTTP server.

use std::time::Duration;

/// Connections by default and at most. At the limit: one more is answered 503 and closed.
pub const HTTP_CONNECTIONS: u32 = 1024;
/// See [`HTTP_CONNECTIONS`].
pub const HTTP_CONNECTIONS_MAX: u32 = 8192;

/// Requests a second of one client address by default, as many at once: more than one processor
/// answers, so that it only matters where it is set. At the limit: answered 429, with the time
/// after which to try again.
pub const HTTP_RATE: u32 = 100_000;
/// Highest `rate`. Beyond: configuration refused.
pub const HTTP_RATE_MAX: u32 = 1_000_000;

/// Client addresses whose rate is remembered after their last connection. At the limit: those are
/// forgotten that have not used up anything, then all that have no connection.
pub const HTTP_CLIENTS_MAX: usize = 4096;

/// Origins in the configuration. Beyond: configuration refused.
pub const HTTP_ORIGINS_MAX: usize = 16;

/// Bytes of an origin. Beyond: configuration refused.
pub const HTTP_ORIGIN_MAX_BYTES: usize = 255;

/// Shortest and longest token, in bytes. Outside: refused at the start.
pub const HTTP_TOKEN_MIN_BYTES: usize = 16;
/// See [`HTTP_TOKEN_MIN_BYTES`].
pub const HTTP_TOKEN_MAX_BYTES: usize = 512;

/// Bytes of a request's head: method, path and headers, of which there are at most 100 (hyper's own
/// bound). A key takes up to three bytes for each of its own. At the limit: answered 431, and
/// closed.
pub const HTTP_HEAD_MAX_BYTES: usize = 16 << 10;

/// Bytes of the body of a transaction, whose values are written in base64 there, or of a legacy
/// request. At the limit: answered 413.
pub const HTTP_JSON_MAX_BYTES: usize = 2 << 20;

/// Bytes of request bodies in memory at once. At the limit: answered 503.
pub const HTTP_BODIES_MAX_BYTES: usize = 64 << 20;

/// Bytes of a body that is refused which are read, and thrown away, so that the client reads the
/// answer. At the limit: the connection is closed.
pub const HTTP_DRAIN_MAX_BYTES: usize = 4 << 20;

/// Ranges, transactions and reports at once: each may take some megabytes until its client has
/// read it. At the limit: answered 503.
pub const HTTP_LARGE_MAX: usize = 64;

/// How long the head of a request may take, and how long a connection may be idle before it. At the
/// limit: closed; 408 if something of a head was sent.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the body of a request may take. At the limit: answered 408.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may leave an answer unread. At the limit: closed by the kernel
/// (`TCP_USER_TIMEOUT`, tcp(7)).
pub const HTTP_WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests under way may take when the agent stops. At the limit: cut off.
pub const HTTP_STOP: Duration = Duration::from_millis(500);

/// Pause after `accept` failed for want of descriptors or memory.
pub const HTTP_ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Shortest time between two log lines about refused connections. At the limit: counted, and the
/// count is in the next line.
pub const HTTP_REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

const _: () = {
    // Any key fits into a path, and any value in base64 into a transaction.
    assert!(3 * super::KV_KEY_MAX_BYTES + 4096 < HTTP_HEAD_MAX_BYTES);
    assert!(super::KV_VALUE_MAX_BYTES / 3 * 4 + (256 << 10) < HTTP_JSON_MAX_BYTES);
    assert!(HTTP_BODIES_MAX_BYTES >= 8 * HTTP_JSON_MAX_BYTES);
};
