//! The text of the drop-in by which a unit joins a target, and how it is recognised again.

use std::time::Duration;

use super::unit::{On, StopTimeout, UnitName};
use crate::core::NodeName;
use crate::systemd::names;

/// Sorts after what a package ships and before what an administrator writes; purged with the
/// package.
pub const FILE_NAME: &str = "50-raftctl.conf";

/// How the first line of every drop-in of ours begins.
const MARK: &str = "# Written by \"raftctl attach\"";

/// What a unit joins.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The unit.
    pub unit: UnitName,
    /// The node of this host.
    pub node: NodeName,
    /// Which of its targets.
    pub on: On,
    /// How long a member may take to stop, so that the fence is not needed for it.
    pub limit: Duration,
}

impl Wish {
    /// The target.
    pub fn target(&self) -> String {
        self.on.target(&self.node)
    }

    /// `TimeoutStopSec=` that has to be written, if any: a member on the active host has to stop
    /// before the fence begins. What `before` had written because of a longer one stays.
    pub fn stop_timeout(&self, own: StopTimeout, before: Option<&str>) -> Option<Duration> {
        let (_, setting) = self.unit.stop_setting()?;
        let too_long = match own {
            StopTimeout::None => false,
            StopTimeout::Infinite => true,
            StopTimeout::After(time) => time > self.limit,
        };
        let was_too_long = before.is_some_and(|text| text.contains(&format!("\n{setting}=")));
        (self.on == On::Leader && (too_long || was_too_long)).then_some(self.limit)
    }

    /// The whole drop-in.
    pub fn text(&self, stop_timeout: Option<Duration>) -> String {
        let (unit, node, target) = (&self.unit, &self.node, self.target());
        let mut text = format!(
            "{MARK} for node {node}; \"raftctl detach {unit}\" removes it.\n\
             \n[Unit]\nBindsTo={target}\nAfter={target}\n"
        );
        if self.on == On::Leader {
            // BindsTo= with After= is what holds; this also keeps a member from being restarted
            // between the end of the authority and the stop of the target.
            text += &format!("ConditionPathExists={}\n", names::gate(node));
        }
        if let (Some(timeout), Some((section, setting))) = (stop_timeout, unit.stop_setting()) {
            text += &format!("\n[{section}]\n{setting}={}ms\n", timeout.as_millis());
        }
        // The empty ones take back what the unit has.
        text + &format!("\n[Install]\nWantedBy=\nRequiredBy=\nWantedBy={target}\n")
    }
}

/// Whether `text` is a drop-in that attach wrote.
pub fn is_ours(text: &str) -> bool {
    text.starts_with(MARK)
}

/// The target of a drop-in of ours.
pub fn target_of(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("BindsTo="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(on: On) -> Wish {
        let (unit, node) = ("nginx".parse().unwrap(), "n1".parse().unwrap());
        Wish { unit, node, on, limit: Duration::from_millis(1200) }
    }

    #[test]
    fn the_text_is_what_the_readme_promises() {
        let expected = "# Written by \"raftctl attach\" for node n1; \"raftctl detach \
            nginx.service\" removes it.\n\n\
            [Unit]\nBindsTo=raftctl-leader@n1.target\nAfter=raftctl-leader@n1.target\n\
            ConditionPathExists=/run/raftctl/n1/active\n\n\
            [Service]\nTimeoutStopSec=1200ms\n\n\
            [Install]\nWantedBy=\nRequiredBy=\nWantedBy=raftctl-leader@n1.target\n";
        let text = wish(On::Leader).text(Some(Duration::from_millis(1200)));
        assert_eq!(text, expected);
        assert!(is_ours(&text) && !is_ours("[Unit]\n"));
        assert_eq!(target_of(&text), Some("raftctl-leader@n1.target"));
        let follower = wish(On::Follower).text(None);
        assert!(!follower.contains("Timeout") && !follower.contains("Condition"), "{follower}");
    }

    #[test]
    fn a_stop_is_bounded_only_where_it_takes_too_long() {
        let (leader, limit) = (wish(On::Leader), Duration::from_millis(1200));
        let after = |ms| StopTimeout::After(Duration::from_millis(ms));
        for (own, expected) in [
            (StopTimeout::None, None),
            (StopTimeout::Infinite, Some(limit)),
            (after(90_000), Some(limit)),
            (after(1200), None),
            (after(500), None),
        ] {
            assert_eq!(leader.stop_timeout(own, None), expected, "{own:?}");
            assert_eq!(wish(On::Follower).stop_timeout(own, None), None, "{own:?}");
        }
        // Written before, it is what the service manager reports now.
        let before = leader.text(Some(limit));
        assert_eq!(leader.stop_timeout(after(1200), Some(&before)), Some(limit));
        let before = leader.text(None);
        assert_eq!(leader.stop_timeout(after(1200), Some(&before)), None);
    }
}
