//! Floor 4: the D-Bus surface. It translates between the bus and [`crate::node::handle`]; it
//! decides nothing.
//!
//! [`private`] serves the objects peer to peer on a Unix socket, [`node`] is the interface
//! `org.raftctl.Agent1.Node`, [`describe`] the JSON it speaks, [`error`] the errors, and
//! [`client`] the other end, used by the command line and by tests. The shared message bus is not
//! served here yet; the objects do not depend on which kind of connection they are on.

pub mod client;
pub mod describe;
pub mod error;
pub mod node;
pub mod peer;
pub mod private;

mod announce;
mod auth;
mod properties;
mod socket;

/// Path of the root object.
pub const ROOT_PATH: &str = "/org/raftctl/Agent1";

/// Name of the interface of the root object.
pub const NODE_INTERFACE: &str = "org.raftctl.Agent1.Node";
