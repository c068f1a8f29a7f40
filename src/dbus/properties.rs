//! The properties of `org.raftctl.Agent1.Node` whose changes are announced, as the bus shows them,
//! and what differs between two moments. Empty strings and 0 mean "none".

use std::collections::HashMap;

use zbus::Variant;

use crate::node::status::{HostStatus, MemberStatus, NodeStatus};

/// A member as the property `Members` shows it: number, name, address, kind, connected.
pub type MemberTuple = (u64, String, String, String, bool);

/// A fence as the property `LastFence` shows it: when in microseconds since 1970, what, why.
pub type FenceTuple = (u64, String, String);

/// The announced properties at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) cluster_id: String,
    pub(super) role: String,
    pub(super) active: bool,
    pub(super) fence_armed: String,
    pub(super) last_fence: FenceTuple,
    pub(super) term: u64,
    pub(super) token: u64,
    pub(super) leader: String,
    pub(super) leader_address: String,
    pub(super) members: Vec<MemberTuple>,
    pub(super) paused: bool,
    pub(super) maintenance: bool,
    pub(super) ineligible: Vec<String>,
    pub(super) held_down_until: u64,
}

impl Announced {
    pub(super) fn new(status: &NodeStatus, host: &HostStatus) -> Announced {
        let leader = status.leader_member();
        let member = |m: &MemberStatus| {
            let kind = m.kind.as_str().to_owned();
            (m.id.0, m.name.to_string(), m.address.to_string(), kind, m.connected)
        };
        Announced {
            cluster_id: status.cluster_id.map_or(String::new(), |id| id.to_string()),
            role: status.role.as_str().to_owned(),
            active: status.active,
            fence_armed: host.fence_armed.as_str().to_owned(),
            last_fence: host
                .last_fence
                .clone()
                .map_or_else(FenceTuple::default, |fence| (fence.when_usec, fence.what, fence.why)),
            term: status.term,
            token: status.token.map_or(0, |token| token.0),
            leader: leader.map_or(String::new(), |m| m.name.to_string()),
            leader_address: leader.map_or(String::new(), |m| m.address.to_string()),
            members: status.members.iter().map(member).collect(),
            paused: status.paused,
            maintenance: host.maintenance,
            ineligible: host.ineligible.clone(),
            held_down_until: host.held_down_until_usec.unwrap_or(0),
        }
    }
}

/// The properties of `now` that are not what they were `before`.
pub(super) fn differences<'a>(
    before: &Announced,
    now: &'a Announced,
) -> HashMap<&'static str, Variant<'a>> {
    let mut changed = HashMap::new();
    let mut put = |differs: bool, name: &'static str, value: Variant<'a>| {
        if differs {
            changed.insert(name, value);
        }
    };
    put(before.cluster_id != now.cluster_id, "ClusterId", Variant::from(now.cluster_id.as_str()));
    put(before.role != now.role, "Role", Variant::from(now.role.as_str()));
    put(before.active != now.active, "Active", Variant::from(now.active));
    let fence_armed = Variant::from(now.fence_armed.as_str());
    put(before.fence_armed != now.fence_armed, "FenceArmed", fence_armed);
    let last_fence = Variant::from(now.last_fence.clone());
    put(before.last_fence != now.last_fence, "LastFence", last_fence);
    put(before.term != now.term, "Term", Variant::from(now.term));
    put(before.token != now.token, "Token", Variant::from(now.token));
    put(before.leader != now.leader, "Leader", Variant::from(now.leader.as_str()));
    let address = Variant::from(now.leader_address.as_str());
    put(before.leader_address != now.leader_address, "LeaderAddress", address);
    put(before.members != now.members, "Members", Variant::from(now.members.clone()));
    put(before.paused != now.paused, "Paused", Variant::from(now.paused));
    put(before.maintenance != now.maintenance, "Maintenance", Variant::from(now.maintenance));
    let eligible = now.ineligible.is_empty();
    put(before.ineligible.is_empty() != eligible, "Eligible", Variant::from(eligible));
    let reasons = Variant::from(now.ineligible.clone());
    put(before.ineligible != now.ineligible, "IneligibleReasons", reasons);
    let until = Variant::from(now.held_down_until);
    put(before.held_down_until != now.held_down_until, "HeldDownUntil", until);
    changed
}
