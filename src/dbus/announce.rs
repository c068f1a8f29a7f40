//! Tells one connection about changes: `PropertiesChanged` first, the signal that names the
//! change AFTER it, so that a listener of the signal reads the new properties.
//!
//! Relies on the node publishing a status BEFORE it broadcasts the change that led to it. Values
//! that came and went between two turns of this task are not announced; a client too slow for
//! `limits::CHANGE_BACKLOG` changes loses the oldest signals and still gets the properties.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use zbus::fdo::Properties;
use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, Variant};

use super::manager::ObjectManager;
use super::member::{self, MEMBER_INTERFACE, MemberObject, Members};
use super::node::NodeObject;
use super::properties::{Announced, differences};
use super::{NODE_INTERFACE, ROOT_PATH};
use crate::core::{NodeId, NodeName};
use crate::node::handle::NodeHandle;
use crate::node::status::{Change, HostStatus, LastFence, MemberStatus, NodeStatus, UnitStatus};

/// What one connection has been told, and where the news comes from.
pub(super) struct Announcer {
    handle: NodeHandle,
    status: watch::Receiver<Arc<NodeStatus>>,
    host: watch::Receiver<Arc<HostStatus>>,
    changes: broadcast::Receiver<Change>,
    seen: (Arc<NodeStatus>, Arc<HostStatus>),
    told: Announced,
    members: Members,
}

impl Announcer {
    /// Starts to listen; everything from now on will be announced.
    pub(super) fn new(handle: NodeHandle) -> Announcer {
        let changes = handle.changes();
        let (mut status, mut host) = (handle.watch(), handle.watch_host());
        let seen = (status.borrow_and_update().clone(), host.borrow_and_update().clone());
        let told = Announced::new(&seen.0, &seen.1);
        let members = member::told(&seen.0);
        Announcer { handle, status, host, changes, seen, told, members }
    }

    /// The members that there have to be objects for when it begins.
    pub(super) fn members(&self) -> impl Iterator<Item = &(NodeId, NodeName)> {
        self.members.keys()
    }

    /// Announces until the node stops or the connection fails.
    pub(super) async fn run(mut self, connection: &Connection) -> zbus::Result<()> {
        let emitter = SignalEmitter::new(connection, ROOT_PATH)?;
        loop {
            // A new status wakes this task too, but a pending change says more: look there first.
            tokio::select! {
                biased;
                change = self.changes.recv() => match change {
                    Ok(change) => {
                        self.tell_properties(&emitter).await?;
                        self.tell_change(&emitter, &change).await?;
                    }
                    Err(RecvError::Lagged(lost)) => {
                        tracing::warn!(lost, "a bus client is too slow for all changes, ignoring");
                        self.tell_properties(&emitter).await?;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
                changed = self.status.changed() => match changed {
                    Ok(()) => self.tell_properties(&emitter).await?,
                    Err(_) => return Ok(()),
                },
                // Nobody may be left who looks after the host; the node is what counts.
                Ok(()) = self.host.changed() => self.tell_properties(&emitter).await?,
            }
        }
    }

    async fn tell_properties(&mut self, emitter: &SignalEmitter<'_>) -> zbus::Result<()> {
        let status = self.status.borrow_and_update().clone();
        // A busy leader publishes a status for every commit: nothing is built for those.
        let host = self.host.borrow_and_update().clone();
        if looks_same(&self.seen.0, &status) && Arc::ptr_eq(&self.seen.1, &host) {
            return Ok(());
        }
        self.tell_members(emitter, &status).await?;
        let now = Announced::new(&status, &host);
        let (_, host_before) = std::mem::replace(&mut self.seen, (status, host));
        let changed = differences(&self.told, &now);
        if !changed.is_empty() {
            tell_changed(emitter, NODE_INTERFACE, changed).await?;
        }
        self.told = now;
        Announcer::tell_host(emitter, &host_before, &self.seen.1).await
    }

    /// Keeps the objects of the members what the members are.
    async fn tell_members(
        &mut self,
        emitter: &SignalEmitter<'_>,
        status: &NodeStatus,
    ) -> zbus::Result<()> {
        let now = member::told(status);
        let before = std::mem::take(&mut self.members);
        let server = emitter.connection().object_server();
        for (_, name) in before.keys().filter(|key| !now.contains_key(key)) {
            let path = member::path(name);
            server.remove::<MemberObject, _>(path.as_ref()).await?;
            ObjectManager::signal_removed(emitter, path.as_ref(), &[MEMBER_INTERFACE]).await?;
        }
        for (key @ (id, name), told) in &now {
            let path = member::path(name);
            let Some(before) = before.get(key) else {
                let object = MemberObject::new(self.handle.clone(), *id);
                server.at(path.as_ref(), object).await?;
                let member = status.members.iter().find(|member| member.id == *id);
                let member = member.expect("it was made from the status");
                let interfaces = member::interfaces(status, member);
                ObjectManager::signal_added(emitter, path.as_ref(), interfaces).await?;
                continue;
            };
            let changed = told.differences(before);
            if !changed.is_empty() {
                let emitter = SignalEmitter::new(emitter.connection(), path.as_ref())?;
                tell_changed(&emitter, MEMBER_INTERFACE, changed).await?;
            }
        }
        self.members = now;
        Ok(())
    }

    async fn tell_change(&self, emitter: &SignalEmitter<'_>, change: &Change) -> zbus::Result<()> {
        match change {
            Change::Role { old, new, term, token, reason, .. } => {
                let token = token.map_or(0, |token| token.0);
                let (old, new) = (old.as_str(), new.as_str());
                NodeObject::signal_role(emitter, old, new, *term, token, reason).await
            }
            Change::Leader { old, new, term } => {
                let (old, new) = (self.name_of(*old), self.name_of(*new));
                NodeObject::signal_leader(emitter, &old, &new, *term).await
            }
            Change::Quorum { has, term } => NodeObject::signal_quorum(emitter, *has, *term).await,
            Change::Paused { paused, term } => {
                NodeObject::signal_paused(emitter, *paused, *term).await
            }
        }
    }

    /// What of the host is told by signals: fences, and the units that join its targets.
    async fn tell_host(
        emitter: &SignalEmitter<'_>,
        before: &HostStatus,
        now: &HostStatus,
    ) -> zbus::Result<()> {
        if let (true, Some(fence)) = (before.last_fence != now.last_fence, &now.last_fence) {
            let LastFence { when_usec, what, why } = fence;
            NodeObject::signal_fenced(emitter, *when_usec, what, why).await?;
        }
        for (unit, state) in unit_changes(&before.units, &now.units) {
            NodeObject::signal_unit(emitter, unit, state).await?;
        }
        Ok(())
    }

    fn name_of(&self, id: Option<NodeId>) -> String {
        let Some(NodeId(id)) = id else { return String::new() };
        let member = self.told.members.iter().find(|member| member.0 == id);
        member.map_or(String::new(), |member| member.1.clone())
    }
}

async fn tell_changed(
    emitter: &SignalEmitter<'_>,
    interface: &'static str,
    changed: HashMap<&str, Variant<'_>>,
) -> zbus::Result<()> {
    let interface = InterfaceName::from_static_str_unchecked(interface);
    let invalidated = Cow::Borrowed(&[][..]);
    Properties::properties_changed(emitter, interface, changed, invalidated).await
}

/// Whether two statuses have the same announced properties; cheap, and allowed to say no.
fn looks_same(a: &NodeStatus, b: &NodeStatus) -> bool {
    let own = |s: &NodeStatus| (s.cluster_id, s.role, s.active, s.term, s.token, s.leader);
    own(a) == own(b)
        && a.paused == b.paused
        && a.members.len() == b.members.len()
        && a.members.iter().zip(&b.members).all(|(a, b)| {
            let seen = |m: &MemberStatus| (m.id, m.kind, m.connected, m.eligible, m.priority);
            seen(a) == seen(b) && a.name == b.name && a.address == b.address
        })
}

/// Units whose state is not what it was, and their new state; empty for one that is gone.
fn unit_changes<'a>(before: &'a [UnitStatus], now: &'a [UnitStatus]) -> Vec<(&'a str, &'a str)> {
    let state = |of: &'a [UnitStatus], name: &str| {
        of.iter().find(|unit| unit.name == name).map(|unit| unit.state.as_str())
    };
    let other = |unit: &&UnitStatus| state(before, &unit.name) != Some(&unit.state);
    let gone = |unit: &&UnitStatus| state(now, &unit.name).is_none();
    let changed = now.iter().filter(other).map(|unit| (unit.name.as_str(), unit.state.as_str()));
    changed.chain(before.iter().filter(gone).map(|unit| (unit.name.as_str(), ""))).collect()
}
