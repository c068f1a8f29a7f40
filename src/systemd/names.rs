//! Names of the units and their object paths on the bus.

use crate::core::NodeName;

/// The target that runs where the node is active; the user's members are bound to it.
pub fn leader_target(node: &NodeName) -> String {
    format!("raftctl-leader@{node}.target")
}

/// The target that runs where the node is not active.
pub fn follower_target(node: &NodeName) -> String {
    format!("raftctl-follower@{node}.target")
}

/// The agent itself.
pub fn agent_service(node: &NodeName) -> String {
    format!("raftctl@{node}.service")
}

/// Whose stop job reboots the host when it takes too long, where that is wanted.
pub fn deadline_target(node: &NodeName) -> String {
    format!("raftctl-deadline@{node}.target")
}

/// Kills, as root, what is left of an activation.
pub fn fence_service(node: &NodeName) -> String {
    format!("raftctl-fence@{node}.service")
}

/// Runs, as root, the script of one event.
pub fn event_service(node: &NodeName, event: &str) -> String {
    format!("raftctl-event@{node}:{event}.service")
}

/// The gate of the leader target, for whoever looks at it from outside the agent.
pub fn gate(node: &NodeName) -> String {
    format!("/run/raftctl/{node}/active")
}

/// Interface of what all units have.
pub(super) const UNIT_INTERFACE: &str = "org.freedesktop.systemd1.Unit";

/// The file of the leader target, in one of [`UNIT_DIRECTORIES`].
pub(super) const LEADER_FILE: &str = "raftctl-leader@.target";

/// Where a package installs units; some builds of systemd name the first one without `/usr`.
/// A file of the same name elsewhere replaces ours (systemd.unit(5), "Unit File Load Path").
pub(super) const UNIT_DIRECTORIES: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// The object path of a unit: what is not a letter, or a digit after the first place, is `_` and
/// two hexadecimal digits (sd_bus_path_encode(3)).
pub fn unit_path(unit: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_as_systemd_does() {
        let node: NodeName = "n1".parse().unwrap();
        assert_eq!(
            unit_path(&leader_target(&node)),
            "/org/freedesktop/systemd1/unit/raftctl_2dleader_40n1_2etarget"
        );
        assert_eq!(
            unit_path(&event_service(&node, "follower")),
            "/org/freedesktop/systemd1/unit/raftctl_2devent_40n1_3afollower_2eservice"
        );
        assert_eq!(unit_path("1a_b"), "/org/freedesktop/systemd1/unit/_31a_5fb");
    }
}
