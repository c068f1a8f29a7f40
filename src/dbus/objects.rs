//! The objects of the agent, for one connection of either kind.

use std::sync::Arc;

use zbus::Connection;
use zbus::connection::Builder;

use super::access::Access;
use super::announce::Announcer;
use super::key_value::{KeyValue, Reads};
use super::log_control::{Log, LogControl};
use super::manager::ObjectManager;
use super::member::{self, MemberObject};
use super::node::NodeObject;
use super::{LOG_PATH, ROOT_PATH};
use crate::node::handle::NodeHandle;

/// What is behind the objects.
#[derive(Clone)]
pub struct Served {
    /// The node.
    pub handle: NodeHandle,
    /// The log of the agent.
    pub log: Arc<dyn Log>,
    /// Places for answers of the store.
    reads: Reads,
}

impl Served {
    /// The node behind `handle`, and the log of the agent.
    pub fn new(handle: NodeHandle, log: Arc<dyn Log>) -> Served {
        Served { handle, log, reads: Reads::default() }
    }
}

/// A connection with all objects on it, from its first message on. Nothing is announced yet.
pub(super) async fn build(
    builder: Builder<'_>,
    served: Served,
    access: Access,
) -> zbus::Result<(Connection, Announcer)> {
    let Served { handle, log, reads } = served;
    let announcer = Announcer::new(handle.clone());
    let mut builder = builder
        .serve_at(ROOT_PATH, NodeObject::new(handle.clone(), access.clone()))
        .serve_at(ROOT_PATH, KeyValue::new(handle.clone(), access.clone(), reads))
        .serve_at(ROOT_PATH, ObjectManager::new(handle.clone()))
        .serve_at(LOG_PATH, LogControl::new(log, access));
    for (id, name) in announcer.members() {
        builder = builder.serve_at(member::path(name), MemberObject::new(handle.clone(), *id));
    }
    Ok((builder.build().await?, announcer))
}
