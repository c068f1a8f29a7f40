//! What the node says about itself: one value, replaced whole, read by every surface; and beside
//! it what is known of the host under it.
//!
//! The driver publishes the one, whoever looks after the host the other; D-Bus, CLI and event
//! scripts translate. Nothing here decides anything.

use crate::config::OnDemoteTimeout;
use crate::core::authority::Phase;
use crate::core::command::MemberKind;
use crate::core::{Address, ClusterId, Index, NodeId, NodeName, Term, Token};

/// Raft role of a node (DESIGN section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes (pre-vote included).
    Candidate,
    /// Leads its term.
    Leader,
    /// Receives the log, does not vote.
    Learner,
}

impl Role {
    /// The word used on every surface.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
            Role::Learner => "learner",
        }
    }
}

/// One member as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Number.
    pub id: NodeId,
    /// Name.
    pub name: NodeName,
    /// Raft address.
    pub address: Address,
    /// How it takes part.
    pub kind: MemberKind,
    /// Whether this node has a working connection to it; `true` for itself.
    pub connected: bool,
    /// On the leader: last log index known to be replicated there. `None` elsewhere.
    pub matched: Option<Index>,
    /// Whether it may be active, as it says itself; `None` if that is not known here.
    pub eligible: Option<bool>,
    /// How much it should be preferred, as it says itself; `None` if that is not known here.
    pub priority: Option<u32>,
}

/// The state of this node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// This node's name.
    pub name: NodeName,
    /// This node's number.
    pub id: NodeId,
    /// Name of the cluster, from the configuration.
    pub cluster_name: String,
    /// Identity of the cluster, once committed.
    pub cluster_id: Option<ClusterId>,
    /// Raft role.
    pub role: Role,
    /// Whether this node is *the one*: its activation is in force and its leader target runs.
    pub active: bool,
    /// Where the host stands (DESIGN 5).
    pub phase: Phase,
    /// Current term.
    pub term: Term,
    /// Token of the activation in force, of whichever node.
    pub token: Option<Token>,
    /// The leader of the current term, if known.
    pub leader: Option<NodeId>,
    /// Whether the cluster is paused: what is active stays, nothing becomes active.
    pub paused: bool,
    /// Commit index.
    pub commit_index: Index,
    /// Last applied index.
    pub applied_index: Index,
    /// All members, in order of their numbers.
    pub members: Vec<MemberStatus>,
}

impl NodeStatus {
    /// The member that leads, if known.
    pub fn leader_member(&self) -> Option<&MemberStatus> {
        let id = self.leader?;
        self.members.iter().find(|m| m.id == id)
    }
}

/// What is known of the host under the node. Says nothing that was not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStatus {
    /// What the service manager does, without this process, to an activation that does not end.
    pub fence_armed: OnDemoteTimeout,
    /// The last time that it did.
    pub last_fence: Option<LastFence>,
    /// What an operator should put right, as sentences without a full stop.
    pub warnings: Vec<String>,
    /// Whether an operator has taken this host out of service.
    pub maintenance: bool,
    /// Why this host may not be active, as phrases ("maintenance", "unit nginx.service is
    /// failed"); empty: it may.
    pub ineligible: Vec<String>,
    /// Until when failures of members keep this host from being active, in microseconds since
    /// 1970; `None`: they do not.
    pub held_down_until_usec: Option<u64>,
    /// The units that join the leader or the follower target of this host, sorted by name.
    pub units: Vec<UnitStatus>,
}

/// One unit that joins a target of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitStatus {
    /// Its name.
    pub name: String,
    /// Whether it joins the leader target; else the follower target.
    pub on_leader: bool,
    /// `ActiveState` of the service manager.
    pub state: String,
    /// Failures that count within the window.
    pub failures: u32,
}

impl Default for HostStatus {
    /// Nothing is known yet.
    fn default() -> HostStatus {
        let fence_armed = OnDemoteTimeout::None;
        HostStatus {
            fence_armed,
            last_fence: None,
            warnings: Vec::new(),
            maintenance: false,
            ineligible: Vec::new(),
            held_down_until_usec: None,
            units: Vec::new(),
        }
    }
}

/// One time that something had to be ended by force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFence {
    /// When it began, in microseconds since 1970.
    pub when_usec: u64,
    /// What was done: `kill` or `reboot`.
    pub what: String,
    /// Why, and to what.
    pub why: String,
}

/// A change worth telling: at most one role change and one leader change per turn of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This node's role, or whether it is active, changed. Signal `RoleChanged`.
    Role {
        /// Role before.
        old: Role,
        /// Role now.
        new: Role,
        /// Whether it is active now.
        active: bool,
        /// Term now.
        term: Term,
        /// Token of the activation in force, if any.
        token: Option<Token>,
        /// Why, as a short phrase: "election won", "higher term", "quorum lost", ...
        reason: &'static str,
    },
    /// The leader this node follows changed. Signal `LeaderChanged`.
    Leader {
        /// Leader before.
        old: Option<NodeId>,
        /// Leader now.
        new: Option<NodeId>,
        /// Term now.
        term: Term,
    },
    /// Whether this node hears a quorum changed: as leader, that a quorum answers; as follower,
    /// that there is a leader.
    Quorum {
        /// Whether it does now.
        has: bool,
        /// Term now.
        term: Term,
    },
    /// The cluster was paused, or goes on.
    Paused {
        /// Whether it is paused now.
        paused: bool,
        /// Term now.
        term: Term,
    },
}
