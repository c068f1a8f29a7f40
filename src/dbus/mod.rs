//! Floor 4: the D-Bus surface. It translates between the bus and [`crate::node::handle`]; it
//! decides nothing but who may ask.
//!
//! [`private`] serves the objects peer to peer on a Unix socket, [`system`] on the system bus:
//! the same [`objects`], one set for each connection. [`node`] is the interface
//! `org.raftctl.Agent1.Node`, [`key_value`] that of the store, [`member`] that of the members,
//! [`log_control`] what systemctl talks to. [`describe`] is the JSON they speak, [`error`] the
//! errors, [`access`] who may do what, and [`client`] the other end, used by the command line and
//! by tests.

pub mod access;
pub mod client;
pub mod describe;
pub mod error;
pub mod key_value;
pub mod log_control;
pub mod member;
pub mod objects;
pub mod peer;
pub mod private;
pub mod system;

mod announce;
mod auth;
mod authority;
mod manager;
mod node;
mod properties;
mod socket;

/// Path of the root object.
pub const ROOT_PATH: &str = "/org/raftctl/Agent1";

/// Path of the object that controls the log, the same for every service.
pub const LOG_PATH: &str = "/org/freedesktop/LogControl1";

/// Name of the interface of the root object.
pub const NODE_INTERFACE: &str = "org.raftctl.Agent1.Node";

/// Name of the interface of the root object to the store.
pub const KEY_VALUE_INTERFACE: &str = "org.raftctl.Agent1.KeyValue";
