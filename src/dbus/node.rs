//! The object `/org/raftctl/Agent1` with the interface `org.raftctl.Agent1.Node`.
//!
//! One instance for each connection: messages on a peer-to-peer connection carry no sender, so
//! the object itself knows who is at the other end. Who may do what is decided by
//! [`super::access`]. The committed form of the interface is `dbus/org.raftctl.Agent1.Node.xml`; a
//! test compares.

use std::sync::Arc;

use tokio::task::JoinSet;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;

use super::access::{Access, Action, Caller};
use super::describe::{Describe, PeerView};
use super::error::{Error, Failure};
use super::properties::{Announced, FenceTuple, MemberTuple};
use crate::core::NodeName;
use crate::limits;
use crate::node::handle::{NodeHandle, RemoteStatusError};
use crate::node::status::{MemberStatus, NodeStatus};

/// The root object as one connection sees it.
pub(super) struct NodeObject {
    handle: NodeHandle,
    access: Access,
}

impl NodeObject {
    /// The object for callers as `access` lets them in.
    pub(super) fn new(handle: NodeHandle, access: Access) -> NodeObject {
        NodeObject { handle, access }
    }

    /// What the member says about itself, this node included; its text when it is well formed.
    async fn describe_member(
        handle: &NodeHandle,
        name: NodeName,
    ) -> Result<Describe, RemoteStatusError> {
        let status = handle.status();
        if status.name == name {
            return Ok(describe(handle));
        }
        let unreachable = |name: &NodeName| RemoteStatusError::Unreachable {
            name: name.to_string(),
            deadline_ms: limits::REMOTE_STATUS_TIMEOUT.as_millis() as u64,
        };
        // The node keeps the same deadline; this one also holds when its queue is full.
        let asked = handle.remote_status(name.clone());
        let answer = tokio::time::timeout(limits::REMOTE_STATUS_TIMEOUT, asked).await;
        let text = answer.map_err(|_| unreachable(&name))??;
        Describe::from_json(&text).map_err(|error| {
            tracing::warn!(node = %name, %error, "status of a member is not understood, ignoring");
            unreachable(&name)
        })
    }

    async fn view_of(handle: NodeHandle, member: MemberStatus) -> PeerView {
        let answer = NodeObject::describe_member(&handle, member.name.clone()).await;
        PeerView::from_answer(&member, answer.map_err(|error| error.to_string()))
    }

    fn status(&self) -> Arc<NodeStatus> {
        self.handle.status()
    }

    fn announced(&self) -> Announced {
        Announced::new(&self.status(), &self.handle.host())
    }
}

#[zbus::interface(name = "org.raftctl.Agent1.Node", introspection_docs = false)]
impl NodeObject {
    /// This node's state as JSON, see [`Describe`].
    #[zbus(out_args("json"))]
    fn describe(&self) -> String {
        describe(&self.handle).to_json()
    }

    /// The state of member `node` as it tells it itself, as JSON, within
    /// [`limits::REMOTE_STATUS_TIMEOUT`].
    #[zbus(out_args("json"))]
    async fn describe_peer(
        &self,
        node: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Failure> {
        let name = parse_node("node", node)?;
        let _caller = self.access.to_ask(&header).await?;
        Ok(NodeObject::describe_member(&self.handle, name).await?.to_json())
    }

    /// The state of every member as it tells it itself, as a JSON array of [`PeerView`] in the
    /// order of their numbers. All are asked at once, each with the deadline of `DescribePeer`.
    #[zbus(out_args("json"))]
    async fn describe_cluster(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Failure> {
        let _caller = self.access.to_ask(&header).await?;
        let mut asked = JoinSet::new();
        for member in self.status().members.iter().take(limits::MEMBERS_MAX) {
            asked.spawn(NodeObject::view_of(self.handle.clone(), member.clone()));
        }
        let mut views = asked.join_all().await;
        views.sort_by_key(|view| view.id);
        Ok(serde_json::to_string(&views).expect("a description has only string keys"))
    }

    /// Hands leadership to `node`, or to the best follower if it is empty; returns who leads then,
    /// which may take as long as the members of the active node take to stop. It goes on when the
    /// caller goes away.
    #[zbus(out_args("leader"))]
    async fn transfer_leadership(
        &self,
        node: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Failure> {
        let to = if node.is_empty() { None } else { Some(parse_node("node", node)?) };
        let caller = self.access.to_change(Action::Transfer, &header).await?;
        let Caller { uid, pid, .. } = caller;
        tracing::info!(uid, pid, to = node, "transfer of leadership requested");
        Ok(self.handle.transfer(to).await?.to_string())
    }

    /// Declares the activation in force over, without proof that its host has stopped; returns its
    /// token. An operator who says `force` takes the responsibility.
    #[zbus(out_args("token"))]
    async fn takeover(
        &self,
        force: bool,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, Failure> {
        if !force {
            return Err(Error::ForceRequired(FORCE_REQUIRED.to_owned()).into());
        }
        let caller = self.access.to_change(Action::Takeover, &header).await?;
        let Caller { uid, pid, .. } = caller;
        let result = self.handle.takeover().await;
        match &result {
            Ok(token) => tracing::warn!(uid, pid, token = token.0, "taken over by force"),
            Err(error) => tracing::info!(uid, pid, "forced takeover refused: {error}"),
        }
        Ok(result?.0)
    }

    /// Takes this host out of service, or puts it back; kept across restarts. What it runs as the
    /// active one is handed over after the answer.
    async fn set_maintenance(
        &self,
        on: bool,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Failure> {
        let caller = self.access.to_change(Action::Maintenance, &header).await?;
        let Caller { uid, pid, .. } = caller;
        tracing::info!(uid, pid, on, "maintenance requested");
        Ok(self.handle.maintenance(on).await?)
    }

    /// Forgets the failures of units of this host, and ends a hold-down.
    async fn clear_failures(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Failure> {
        let caller = self.access.to_change(Action::Clear, &header).await?;
        let Caller { uid, pid, .. } = caller;
        tracing::info!(uid, pid, "clearing of failures requested");
        Ok(self.handle.clear_failures().await?)
    }

    /// Pauses the cluster: what is active stays so, unguarded, and nothing becomes active.
    async fn pause(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Failure> {
        let caller = self.access.to_change(Action::Pause, &header).await?;
        let Caller { uid, pid, .. } = caller;
        tracing::info!(uid, pid, "pause of the cluster requested");
        Ok(self.handle.pause(true, false).await?)
    }

    /// Lets the cluster go on, once the active node is guarded again. With `force` without asking
    /// it: an operator who says so takes the responsibility.
    async fn resume(&self, force: bool, #[zbus(header)] header: Header<'_>) -> Result<(), Failure> {
        let caller = self.access.to_change(Action::Pause, &header).await?;
        let Caller { uid, pid, .. } = caller;
        tracing::info!(uid, pid, force, "end of the pause requested");
        Ok(self.handle.pause(false, force).await?)
    }

    /// This node's name.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.status().name.to_string()
    }

    /// Name of the cluster.
    #[zbus(property(emits_changed_signal = "const"))]
    fn cluster_name(&self) -> String {
        self.status().cluster_name.clone()
    }

    /// Version of the agent.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    /// Identity of the cluster in hexadecimal, empty before it is committed.
    #[zbus(property)]
    fn cluster_id(&self) -> String {
        self.announced().cluster_id
    }

    /// `follower`, `candidate`, `leader` or `learner`.
    #[zbus(property)]
    fn role(&self) -> String {
        self.announced().role
    }

    /// Whether this node's activation is in force and it leads.
    #[zbus(property)]
    fn active(&self) -> bool {
        self.status().active
    }

    /// `none`, `kill` or `reboot`: what the service manager has been found to do by itself when the
    /// end of an activation takes too long.
    #[zbus(property)]
    fn fence_armed(&self) -> String {
        self.announced().fence_armed
    }

    /// The last time that it did: when, what, why; 0 and empty for never.
    #[zbus(property)]
    fn last_fence(&self) -> FenceTuple {
        self.announced().last_fence
    }

    /// Current term.
    #[zbus(property)]
    fn term(&self) -> u64 {
        self.status().term
    }

    /// Token of the activation in force, 0 for none.
    #[zbus(property)]
    fn token(&self) -> u64 {
        self.announced().token
    }

    /// Name of the leader of the current term, empty if unknown.
    #[zbus(property)]
    fn leader(&self) -> String {
        self.announced().leader
    }

    /// Its Raft address, empty if unknown.
    #[zbus(property)]
    fn leader_address(&self) -> String {
        self.announced().leader_address
    }

    /// All members, in order of their numbers.
    #[zbus(property)]
    fn members(&self) -> Vec<MemberTuple> {
        self.announced().members
    }

    /// Whether the cluster is paused: what is active stays, nothing becomes active.
    #[zbus(property)]
    fn paused(&self) -> bool {
        self.status().paused
    }

    /// Whether an operator has taken this host out of service.
    #[zbus(property)]
    fn maintenance(&self) -> bool {
        self.handle.host().maintenance
    }

    /// Whether this host may be active, as far as itself is concerned.
    #[zbus(property)]
    fn eligible(&self) -> bool {
        self.announced().ineligible.is_empty()
    }

    /// Why it may not be, as phrases; empty if it may.
    #[zbus(property)]
    fn ineligible_reasons(&self) -> Vec<String> {
        self.announced().ineligible
    }

    /// Until when failures of its units keep this host from being active, in microseconds since
    /// 1970; 0 if they do not.
    #[zbus(property)]
    fn held_down_until(&self) -> u64 {
        self.announced().held_down_until
    }

    /// Commit index; changes too often to be announced.
    #[zbus(property(emits_changed_signal = "false"))]
    fn commit_index(&self) -> u64 {
        self.status().commit_index
    }

    /// Last applied index; changes too often to be announced.
    #[zbus(property(emits_changed_signal = "false"))]
    fn applied_index(&self) -> u64 {
        self.status().applied_index
    }

    /// This node's role, or whether it is active, changed. Follows the `PropertiesChanged` that
    /// tells the new values.
    #[zbus(signal, name = "RoleChanged")]
    pub async fn signal_role(
        emitter: &SignalEmitter<'_>,
        old: &str,
        new: &str,
        term: u64,
        token: u64,
        reason: &str,
    ) -> zbus::Result<()>;

    /// The leader that this node follows changed; empty names mean none.
    #[zbus(signal, name = "LeaderChanged")]
    pub async fn signal_leader(
        emitter: &SignalEmitter<'_>,
        old: &str,
        new: &str,
        term: u64,
    ) -> zbus::Result<()>;

    /// Whether this node hears a quorum changed.
    #[zbus(signal, name = "QuorumChanged")]
    pub async fn signal_quorum(
        emitter: &SignalEmitter<'_>,
        has: bool,
        term: u64,
    ) -> zbus::Result<()>;

    /// The cluster was paused, or goes on.
    #[zbus(signal, name = "PausedChanged")]
    pub async fn signal_paused(
        emitter: &SignalEmitter<'_>,
        paused: bool,
        term: u64,
    ) -> zbus::Result<()>;

    /// A unit that joins a target of this node is in another state, or began to join, or joins no
    /// longer, which is the empty state.
    #[zbus(signal, name = "MemberUnitChanged")]
    pub async fn signal_unit(
        emitter: &SignalEmitter<'_>,
        unit: &str,
        state: &str,
    ) -> zbus::Result<()>;

    /// Something had to be ended by force on this host: when in microseconds since 1970, what was
    /// done, and why.
    #[zbus(signal, name = "Fenced")]
    pub async fn signal_fenced(
        emitter: &SignalEmitter<'_>,
        when: u64,
        what: &str,
        why: &str,
    ) -> zbus::Result<()>;
}

/// What this node says about itself.
fn describe(handle: &NodeHandle) -> Describe {
    Describe::new(&handle.status(), &handle.host()).with_store(&handle.store())
}

/// What a caller without force is told.
const FORCE_REQUIRED: &str = "a takeover declares the active node over without proof that its \
    units have stopped; if its host is up, two hosts are active. Ask for it with force only if \
    that host is known to be down";

fn parse_node(argument: &str, value: &str) -> Result<NodeName, Error> {
    value.parse().map_err(|error| Error::invalid_argument(argument, &error))
}
