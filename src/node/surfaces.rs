//! What the driver is given: what the floors above do with what the node says.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::disk_thread::Fatal;
use super::event::Consequence;
use super::handle::HostRequest;
use super::metrics::Metrics;
use super::status::{HostStatus, NodeStatus};
use crate::core::Instant;
use crate::core::authority::Order;

/// Carries out a consequence of a role change.
pub type Act = Box<dyn FnMut(&Consequence, &NodeStatus) + Send>;

/// Tells the supervisor that the loop runs, if it is time and before the second instant, from which
/// on it must not; returns when to be called again.
pub type Ping = Box<dyn FnMut(Instant, Option<Instant>) -> Option<Instant> + Send>;

/// What the floors above do with what the node says. Called in the driver: must not block.
pub struct Surfaces {
    /// Carries out a consequence of a role change.
    pub act: Act,
    /// The text that a peer gets when it asks for this node's status.
    pub describe: fn(&NodeStatus, &HostStatus) -> String,
    /// What is known of the host; others find out and publish it.
    pub host: watch::Receiver<Arc<HostStatus>>,
    /// Where requests about the standing of this host go.
    pub host_requests: mpsc::Sender<HostRequest>,
    /// Carries out an order to the host, or hands it on.
    pub order: Box<dyn FnMut(Order) + Send>,
    /// Tells the supervisor that the loop runs.
    pub ping: Ping,
    /// Where the driver and its threads count.
    pub metrics: Arc<Metrics>,
    /// Ends the process: the disk failed.
    pub fatal: Fatal,
}
