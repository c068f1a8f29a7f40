//! Limits of who may ask for what on D-Bus, and of the connection to the system bus.

use std::time::Duration;

use super::kv::{KV_KEY_MAX_BYTES, KV_TXN_STEPS_MAX, KV_VALUE_MAX_BYTES};

/// Groups of a client of the private socket that are looked at; the kernel allows no more.
/// At the limit: the client is refused.
pub const DBUS_PEER_GROUPS_MAX: usize = 65536;

/// Largest D-Bus message accepted, in bytes: the longest value of the store, and room for keys.
/// At the limit: refused before anything is allocated, and the connection is closed; on the system
/// bus it is thrown away.
pub const DBUS_MESSAGE_MAX_BYTES: usize = KV_VALUE_MAX_BYTES + (256 << 10);

/// D-Bus messages up to this size, in bytes, are taken as they come. A longer one is for methods
/// that take a value of the store, and needs one of `DBUS_LARGE_MESSAGES_MAX` places; for another
/// method it is treated like one above `DBUS_MESSAGE_MAX_BYTES`.
pub const DBUS_SMALL_MESSAGE_MAX_BYTES: usize = 64 << 10;

/// Longer messages whose calls are not answered yet: on the private socket of all its connections
/// together, and on the system bus. At the limit: the next one is not read; it waits in the socket.
pub const DBUS_LARGE_MESSAGES_MAX: usize = 16;

/// Linearizable reads of the store by D-Bus, and transactions that read, whose answers have not
/// been written; each has up to `KV_PAGE_MAX_BYTES`, or `KV_TXN_GETS_MAX` values. At the limit: the
/// next waits, as long as it may.
pub const DBUS_READS_MAX: usize = 8;

/// The same for stale reads.
pub const DBUS_STALE_READS_MAX: usize = 4;

/// Calls from the system bus, of all clients together, that run at once; each holds one task.
/// At the limit: further ones wait, unread, in the bus. No client that has not been authorised
/// gets far: see `DBUS_CALLS_PER_USER_MAX`.
pub const SYSTEM_BUS_CALLS_MAX: usize = 64;

/// Calls that take long, because a peer or polkit is asked, that one user of the system bus may
/// have running; administrators have no limit of their own.
/// At the limit: refused (`LimitsExceeded`).
pub const DBUS_CALLS_PER_USER_MAX: usize = 4;

/// How long one step towards the system bus, or one question to it, may take.
/// At the limit: the connection is given up, or the caller is refused.
pub const SYSTEM_BUS_TIMEOUT: Duration = Duration::from_secs(2);

/// Shortest and longest pause before the system bus is connected again; doubled each time, and back
/// to the shortest once a connection has lived for longer than the longest.
pub const SYSTEM_BUS_RECONNECT_MIN: Duration = Duration::from_millis(50);

/// See [`SYSTEM_BUS_RECONNECT_MIN`].
pub const SYSTEM_BUS_RECONNECT_MAX: Duration = Duration::from_secs(5);

/// How long polkit may take, being started included, to say whether a caller is authorised.
/// At the limit: refused.
pub const POLKIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same when a person may be asked for a password.
pub const POLKIT_INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest word of `org.freedesktop.LogControl1` that is
/// repeated in an error, in characters. Beyond it: cut off.
pub const LOG_WORD_MAX_CHARS: usize = 32;

const _: () = {
    assert!(DBUS_SMALL_MESSAGE_MAX_BYTES < DBUS_MESSAGE_MAX_BYTES);
    assert!(DBUS_MESSAGE_MAX_BYTES > KV_VALUE_MAX_BYTES + KV_TXN_STEPS_MAX * KV_KEY_MAX_BYTES);
};
