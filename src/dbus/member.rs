//! The objects `/org/raftctl/Agent1/member/NAME` with the interface `org.raftctl.Agent1.Member`:
//! one for each member of the cluster, this node included, as this node sees it.

use std::collections::{BTreeMap, HashMap};

use zbus::{ObjectPath, OwnedObjectPath, Variant, fdo};

use super::ROOT_PATH;
use crate::core::{NodeId, NodeName};
use crate::node::handle::NodeHandle;
use crate::node::status::{MemberStatus, NodeStatus};

/// Name of the interface of a member.
pub const MEMBER_INTERFACE: &str = "org.raftctl.Agent1.Member";

/// One member as one connection sees it.
pub(super) struct MemberObject {
    handle: NodeHandle,
    id: NodeId,
}

impl MemberObject {
    pub(super) fn new(handle: NodeHandle, id: NodeId) -> MemberObject {
        MemberObject { handle, id }
    }

    fn with<T>(&self, read: impl FnOnce(&NodeStatus, &MemberStatus) -> T) -> fdo::Result<T> {
        let status = self.handle.status();
        let member = status.members.iter().find(|member| member.id == self.id);
        let gone = || fdo::Error::UnknownObject(format!("node {} is no member", self.id.0));
        member.map(|member| read(&status, member)).ok_or_else(gone)
    }

    fn told<T>(&self, read: impl FnOnce(MemberTold) -> T) -> fdo::Result<T> {
        self.with(|status, member| read(MemberTold::new(status, member)))
    }
}

#[zbus::interface(name = "org.raftctl.Agent1.Member", introspection_docs = false)]
impl MemberObject {
    /// Its name.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> fdo::Result<String> {
        self.told(|told| told.name)
    }

    /// Its number.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> u64 {
        self.id.0
    }

    /// Its Raft address.
    #[zbus(property)]
    fn address(&self) -> fdo::Result<String> {
        self.told(|told| told.address)
    }

    /// `voter`, `learner` or `witness`.
    #[zbus(property)]
    fn kind(&self) -> fdo::Result<String> {
        self.told(|told| told.kind)
    }

    /// Whether this node has a working connection to it; true for itself.
    #[zbus(property)]
    fn connected(&self) -> fdo::Result<bool> {
        self.told(|told| told.connected)
    }

    /// Whether this node follows it as the leader of the current term, or is it.
    #[zbus(property)]
    fn leader(&self) -> fdo::Result<bool> {
        self.told(|told| told.leader)
    }

    /// Whether it may be active, as it says itself: `yes`, `no` or `unknown`.
    #[zbus(property)]
    fn eligible(&self) -> fdo::Result<String> {
        self.told(|told| told.eligible.to_owned())
    }

    /// How much it should be preferred, as it says itself; -1 if that is not known here.
    #[zbus(property)]
    fn priority(&self) -> fdo::Result<i32> {
        self.told(|told| told.priority)
    }

    /// On the leader, the last log index known to be replicated there, else 0; changes too often to
    /// be announced.
    #[zbus(property(emits_changed_signal = "false"))]
    fn matched(&self) -> fdo::Result<u64> {
        self.with(|_, member| matched(member))
    }
}

/// What is announced about a member, as the bus shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberTold {
    name: String,
    address: String,
    kind: String,
    connected: bool,
    leader: bool,
    eligible: &'static str,
    priority: i32,
}

impl MemberTold {
    fn new(status: &NodeStatus, member: &MemberStatus) -> MemberTold {
        let eligible = match member.eligible {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        let priority = member.priority.and_then(|priority| i32::try_from(priority).ok());
        MemberTold {
            name: member.name.to_string(),
            address: member.address.to_string(),
            kind: member.kind.as_str().to_owned(),
            connected: member.connected,
            leader: status.leader == Some(member.id),
            eligible,
            priority: priority.unwrap_or(-1),
        }
    }

    /// The properties of `self` that are not what they were `before`.
    pub(super) fn differences(&self, before: &MemberTold) -> HashMap<&'static str, Variant<'_>> {
        let mut changed = HashMap::new();
        let mut put = |differs: bool, name: &'static str, value: Variant<'static>| {
            if differs {
                changed.insert(name, value);
            }
        };
        put(before.address != self.address, "Address", Variant::from(self.address.clone()));
        put(before.kind != self.kind, "Kind", Variant::from(self.kind.clone()));
        put(before.connected != self.connected, "Connected", Variant::from(self.connected));
        put(before.leader != self.leader, "Leader", Variant::from(self.leader));
        put(before.eligible != self.eligible, "Eligible", Variant::from(self.eligible));
        put(before.priority != self.priority, "Priority", Variant::from(self.priority));
        changed
    }
}

/// The members that there are objects for, and what is told about them. Another name is another
/// member, even with the same number.
pub(super) type Members = BTreeMap<(NodeId, NodeName), MemberTold>;

/// The members of `status`.
pub(super) fn told(status: &NodeStatus) -> Members {
    let told =
        |member: &MemberStatus| ((member.id, member.name.clone()), MemberTold::new(status, member));
    status.members.iter().map(told).collect()
}

/// All properties of all members, by interface, as the object manager shows them.
pub(super) type Managed = HashMap<OwnedObjectPath, Interfaces>;

/// The properties of one object, by interface.
pub(super) type Interfaces = BTreeMap<&'static str, BTreeMap<&'static str, Variant<'static>>>;

/// All members.
pub(super) fn managed(status: &NodeStatus) -> Managed {
    let members = status.members.iter();
    members.map(|member| (path(&member.name), interfaces(status, member))).collect()
}

/// One member.
pub(super) fn interfaces(status: &NodeStatus, member: &MemberStatus) -> Interfaces {
    let told = MemberTold::new(status, member);
    let properties = BTreeMap::from([
        ("Name", Variant::from(told.name)),
        ("Id", Variant::from(member.id.0)),
        ("Address", Variant::from(told.address)),
        ("Kind", Variant::from(told.kind)),
        ("Connected", Variant::from(told.connected)),
        ("Leader", Variant::from(told.leader)),
        ("Eligible", Variant::from(told.eligible)),
        ("Priority", Variant::from(told.priority)),
        ("Matched", Variant::from(matched(member))),
    ]);
    BTreeMap::from([(MEMBER_INTERFACE, properties)])
}

fn matched(member: &MemberStatus) -> u64 {
    member.matched.unwrap_or(0)
}

/// The path of the member `name`: what a path cannot have is written as `_` and two hexadecimal
/// digits, as systemd does it (sd_bus_path_encode(3)).
pub fn path(name: &NodeName) -> OwnedObjectPath {
    let mut path = format!("{ROOT_PATH}/member/");
    for byte in name.as_str().bytes() {
        match byte.is_ascii_alphanumeric() {
            true => path.push(char::from(byte)),
            false => path.push_str(&format!("_{byte:02x}")),
        }
    }
    ObjectPath::try_from(path).expect("letters, digits and underscores").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_have_paths_that_differ() {
        let names = ["n1", "n-1", "n_1", "n_2d1", "n__1"];
        let expected = ["n1", "n_2d1", "n_5f1", "n_5f2d1", "n_5f_5f1"];
        for (name, expected) in names.iter().zip(expected) {
            let name = name.parse().unwrap();
            assert_eq!(path(&name).as_str(), format!("/org/raftctl/Agent1/member/{expected}"));
        }
    }
}
