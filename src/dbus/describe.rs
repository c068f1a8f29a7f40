//! The JSON of `Describe()`, `DescribePeer()` and `DescribeCluster()`: a published format.
//!
//! The keys are stable: a later version may add keys, never remove or rename one, and readers
//! skip what they do not know, so that agents of two versions can describe each other. The same
//! text answers the transport's remote status request. The format is described in
//! `docs/adr/0004-private-dbus.md`.

use serde::{Deserialize, Serialize};

use crate::core::{Index, Term};
use crate::node::status::{HostStatus, LastFence, MemberStatus, NodeStatus, UnitStatus};
use crate::node::store::{SnapshotProgress, StoreStatus};

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Describe {
    /// This node's name.
    pub name: String,
    /// This node's number.
    pub id: u64,
    /// Name of the cluster, from the configuration.
    pub cluster_name: String,
    /// Identity of the cluster in hexadecimal, once committed.
    #[serde(default)]
    pub cluster_id: Option<String>,
    /// `follower`, `candidate`, `leader` or `learner`.
    pub role: String,
    /// Whether this node's activation is in force and it leads.
    pub active: bool,
    /// Where the host stands: `unknown`, `idle`, `starting`, `active`, `stopping`, `waiting`,
    /// `settling` or `releasing`. Empty from an agent that does not tell.
    #[serde(default)]
    pub authority: String,
    /// `none`, `kill` or `reboot`: what the service manager has been found to do by itself when
    /// the end of an activation takes too long. Empty from an agent that does not tell.
    #[serde(default)]
    pub fence_armed: String,
    /// The last time that it did.
    #[serde(default)]
    pub last_fence: Option<DescribeFence>,
    /// What an operator should put right on that host.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether the cluster is paused: what is active stays, nothing becomes active.
    #[serde(default)]
    pub paused: bool,
    /// Whether an operator has taken this host out of service.
    #[serde(default)]
    pub maintenance: bool,
    /// Whether this host may be active, as far as itself is concerned.
    #[serde(default = "yes")]
    pub eligible: bool,
    /// Why it may not be, as phrases.
    #[serde(default)]
    pub ineligible: Vec<String>,
    /// Until when failures of its units keep it from being active, in microseconds since 1970.
    #[serde(default)]
    pub held_down_until_usec: Option<u64>,
    /// The units that join a target of this node, sorted by name.
    #[serde(default)]
    pub units: Vec<DescribeUnit>,
    /// Current term.
    pub term: Term,
    /// Token of the activation in force, of whichever node.
    #[serde(default)]
    pub token: Option<u64>,
    /// Name of the leader of the current term, if known.
    #[serde(default)]
    pub leader: Option<String>,
    /// Its Raft address.
    #[serde(default)]
    pub leader_address: Option<String>,
    /// Commit index.
    #[serde(default)]
    pub commit_index: Index,
    /// Last applied index.
    #[serde(default)]
    pub applied_index: Index,
    /// The replicated store; null where that is not known.
    #[serde(default)]
    pub store: Option<DescribeStore>,
    /// Version of the agent.
    #[serde(default)]
    pub version: String,
    /// All members, in order of their numbers.
    #[serde(default)]
    pub members: Vec<DescribeMember>,
}

/// One fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeFence {
    /// When it began, in microseconds since 1970.
    pub when_usec: u64,
    /// `kill` or `reboot`.
    pub what: String,
    /// Why, and what was ended.
    pub why: String,
}

/// The replicated store on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeStore {
    /// Keys.
    pub keys: u64,
    /// Bytes that count towards the quota.
    pub bytes: u64,
    /// The quota of this node.
    pub quota_bytes: u64,
    /// Snapshots on their way to this node or from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<DescribeSnapshot>,
}

/// A snapshot that travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeSnapshot {
    /// Name of the other node.
    pub peer: String,
    /// Whether it comes from there.
    pub incoming: bool,
    /// Position that it contains.
    pub index: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes in all, about.
    pub total_bytes: u64,
}

impl From<&SnapshotProgress> for DescribeSnapshot {
    fn from(progress: &SnapshotProgress) -> DescribeSnapshot {
        let SnapshotProgress { peer, incoming, index, bytes, total_bytes } = progress.clone();
        DescribeSnapshot { peer, incoming, index, bytes, total_bytes }
    }
}

/// One unit that joins a target of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeUnit {
    /// Name of the unit.
    pub name: String,
    /// Whose target it joins: `leader` or `follower`.
    pub on: String,
    /// `ActiveState` of the service manager.
    pub state: String,
    /// Failures that count.
    #[serde(default)]
    pub failures: u32,
}

/// One member as the describing node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeMember {
    /// Name.
    pub name: String,
    /// Number.
    pub id: u64,
    /// Raft address.
    pub address: String,
    /// `voter`, `learner` or `witness`.
    pub kind: String,
    /// Whether the describing node has a working connection to it; `true` for itself.
    pub connected: bool,
    /// On the leader: last log index known to be replicated there.
    #[serde(default)]
    pub matched: Option<Index>,
    /// Whether it may be active, as it says itself; null where that is not known.
    #[serde(default)]
    pub eligible: Option<bool>,
    /// How much it should be preferred, as it says itself; null where that is not known.
    #[serde(default)]
    pub priority: Option<u32>,
}

/// One element of the array of `DescribeCluster()`: a member and its own view of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Name.
    pub name: String,
    /// Number.
    pub id: u64,
    /// Raft address.
    pub address: String,
    /// `voter`, `learner` or `witness`.
    pub kind: String,
    /// Why `status` is missing: the member did not answer in time, or answered nonsense.
    #[serde(default)]
    pub error: Option<String>,
    /// What the member says about itself; absent when it could not be asked.
    #[serde(default)]
    pub status: Option<Describe>,
}

impl Describe {
    /// What the node of `status`, on the host of `host`, says about itself.
    pub fn new(status: &NodeStatus, host: &HostStatus) -> Describe {
        let leader = status.leader_member();
        Describe {
            name: status.name.to_string(),
            id: status.id.0,
            cluster_name: status.cluster_name.clone(),
            cluster_id: status.cluster_id.map(|id| id.to_string()),
            role: status.role.as_str().to_owned(),
            active: status.active,
            authority: status.phase.as_str().to_owned(),
            fence_armed: host.fence_armed.as_str().to_owned(),
            last_fence: host.last_fence.as_ref().map(DescribeFence::from),
            warnings: host.warnings.clone(),
            paused: status.paused,
            maintenance: host.maintenance,
            eligible: host.ineligible.is_empty(),
            ineligible: host.ineligible.clone(),
            held_down_until_usec: host.held_down_until_usec,
            units: host.units.iter().map(DescribeUnit::from).collect(),
            term: status.term,
            token: status.token.map(|token| token.0),
            leader: leader.map(|m| m.name.to_string()),
            leader_address: leader.map(|m| m.address.to_string()),
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            store: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            members: status.members.iter().map(DescribeMember::from).collect(),
        }
    }

    /// The same, with what is known of the store.
    pub fn with_store(self, store: &StoreStatus) -> Describe {
        let &StoreStatus { keys, bytes, quota_bytes, .. } = store;
        // A quota of nothing is one that has not been told yet.
        let known = quota_bytes > 0;
        let snapshots = store.snapshots.iter().map(DescribeSnapshot::from).collect();
        let store = known.then_some(DescribeStore { keys, bytes, quota_bytes, snapshots });
        Describe { store, ..self }
    }

    /// The status as text for other programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a description has only string keys")
    }

    /// Reads what another node says about itself. Unknown keys are skipped.
    pub fn from_json(text: &str) -> Result<Describe, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl From<&LastFence> for DescribeFence {
    fn from(fence: &LastFence) -> DescribeFence {
        let LastFence { when_usec, what, why } = fence.clone();
        DescribeFence { when_usec, what, why }
    }
}

impl From<&MemberStatus> for DescribeMember {
    fn from(member: &MemberStatus) -> DescribeMember {
        DescribeMember {
            name: member.name.to_string(),
            id: member.id.0,
            address: member.address.to_string(),
            kind: member.kind.as_str().to_owned(),
            connected: member.connected,
            matched: member.matched,
            eligible: member.eligible,
            priority: member.priority,
        }
    }
}

impl From<&UnitStatus> for DescribeUnit {
    fn from(unit: &UnitStatus) -> DescribeUnit {
        let UnitStatus { name, on_leader, state, failures } = unit.clone();
        let on = if on_leader { "leader" } else { "follower" };
        DescribeUnit { name, on: on.to_owned(), state, failures }
    }
}

/// An agent that does not tell is one that is never ineligible.
fn yes() -> bool {
    true
}

impl PeerView {
    /// The view of `member` from its answer, the text of its own `Describe()`.
    pub fn from_answer(member: &MemberStatus, answer: Result<Describe, String>) -> PeerView {
        let (status, error) = match answer {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error)),
        };
        PeerView {
            name: member.name.to_string(),
            id: member.id.0,
            address: member.address.to_string(),
            kind: member.kind.as_str().to_owned(),
            error,
            status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_of_a_newer_agent_is_understood() {
        let text = r#"{"name":"n1","id":1,"cluster_name":"c","role":"leader","active":true,
            "term":7,"a_key_of_the_future":{"deep":[1,2]}}"#;
        let describe = Describe::from_json(text).unwrap();
        assert_eq!((describe.name.as_str(), describe.term, describe.token), ("n1", 7, None));
        assert!(describe.eligible && !describe.paused, "as an agent that knows neither");
    }

    #[test]
    fn a_description_without_a_name_is_refused() {
        let error = Describe::from_json(r#"{"id":1}"#).unwrap_err();
        assert!(error.to_string().contains("name"), "{error}");
    }
}
