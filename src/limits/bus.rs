//! Limits of who may ask for what on D-Bus, and of the connection to the system bus.

/// Groups of a client of the private socket that are looked at; the kernel allows no more.
/// At the limit: the client is refused.
pub const DBUS_PEER_GROUPS_MAX: usize = 65536;
