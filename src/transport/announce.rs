//! Announcements: releases said by somebody who is not a peer (DESIGN 5.9).
//!
//! Pure. After an agent has ended, its host announces that the invocation is released; there is no
//! process any more that could pass the handshake. Anybody who can reach the listener can say the
//! same, so an announcement is worth what its secret is worth: that is judged where the replicated
//! state is. Here it is only kept out if it cannot be meant for this node, or if too many come.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::handshake::{Mismatch, same_text};
use super::wire::{Announce, PROTOCOL_VERSIONS};
use super::{Identity, Peer};
use crate::core::NodeId;
use crate::core::command::Release;
use crate::limits;

/// The release that is announced to this node; the first thing that does not fit is named.
pub(super) fn check(
    identity: &Identity,
    peers: &BTreeMap<NodeId, Peer>,
    announce: Announce,
) -> Result<Release, Mismatch> {
    let (min, max) = PROTOCOL_VERSIONS;
    if announce.protocol < min || announce.protocol > max {
        let ours = format!("{min} to {max}");
        return Err(Mismatch::new("protocol version", ours, announce.protocol));
    }
    same_text("cluster name", &identity.cluster_name, &announce.cluster_name)?;
    same_text("name of the receiving node", identity.node.as_str(), &announce.receiver)?;
    let what = "release that is announced";
    let release = announce.release.ok_or_else(|| Mismatch::new(what, "needed", "missing"))?;
    if !peers.contains_key(&NodeId(release.node)) {
        let ours = "one of another member";
        return Err(Mismatch::new(what, ours, format!("one of node {}", release.node)));
    }
    if let Err(unfit) = release.check_form() {
        return Err(Mismatch::new(what, "well-formed", format!("a {unfit}")));
    }
    if !release.is_for_good() {
        return Err(Mismatch::new(what, "one with a secret", "without"));
    }
    Ok(release)
}

/// How many may come: [`limits::ANNOUNCEMENTS_PER_SECOND`], after a quiet time
/// [`limits::ANNOUNCEMENTS_BURST`] at once.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// When the last of those taken so far would have come, had they come evenly.
    due: Option<Instant>,
}

impl Rate {
    /// Whether one more is taken now.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let interval = std::time::Duration::from_secs(1) / limits::ANNOUNCEMENTS_PER_SECOND;
        let due = self.due.map_or(now, |due| due.max(now));
        let is_taken = due - now < interval * limits::ANNOUNCEMENTS_BURST;
        if is_taken {
            self.due = Some(due + interval);
        }
        is_taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Incarnation;
    use std::time::Duration;

    fn identity() -> Identity {
        Identity {
            cluster_name: "main".to_owned(),
            node: "n1".parse().unwrap(),
            id: NodeId(1),
            incarnation: Incarnation([1; 16]),
            process: 1,
            bootstrap: [7; 16],
            election_min_ms: 200,
            version: "test".to_owned(),
        }
    }

    fn announce() -> Announce {
        let (invocation, secret) = (vec![3; 16], vec![4; 32]);
        Announce {
            protocol: PROTOCOL_VERSIONS.1,
            cluster_name: "main".to_owned(),
            receiver: "n1".to_owned(),
            release: Some(Release { node: 2, invocation, token: 0, secret }),
        }
    }

    fn judge(change: impl FnOnce(&mut Announce)) -> Result<Release, String> {
        let name = "n2".parse().unwrap();
        let peer = Peer { id: NodeId(2), name, address: "127.0.0.1:7100".parse().unwrap() };
        let mut announce = announce();
        change(&mut announce);
        check(&identity(), &BTreeMap::from([(peer.id, peer)]), announce).map_err(|m| m.to_string())
    }

    #[test]
    fn what_is_meant_for_this_node_is_taken() {
        assert_eq!(judge(|_| {}).unwrap(), announce().release.unwrap());
    }

    #[test]
    fn what_does_not_fit_is_named_with_both_values() {
        type Case = (&'static str, fn(&mut Announce));
        let cases: [Case; 9] = [
            ("protocol version is 0 there and 1 to 3 here", |a| a.protocol = 0),
            ("protocol version is 9 there", |a| a.protocol = 9),
            ("cluster name is o?her there and main here", |a| a.cluster_name = "o\x1bher".into()),
            ("receiving node is n3 there and n1 here", |a| a.receiver = "n3".into()),
            ("is missing there and needed here", |a| a.release = None),
            ("one of node 1 there", |a| a.release.as_mut().unwrap().node = 1),
            ("one of node 9 there", |a| a.release.as_mut().unwrap().node = 9),
            ("invocation of 15 bytes", |a| {
                a.release.as_mut().unwrap().invocation.pop();
            }),
            ("is without there and one with a secret here", |a| {
                let release = a.release.as_mut().unwrap();
                (release.secret, release.token) = (Vec::new(), 7);
            }),
        ];
        for (expected, change) in cases {
            let found = judge(change).unwrap_err();
            assert!(found.contains(expected), "{found:?} has no {expected:?}");
        }
    }

    #[test]
    fn a_burst_is_taken_and_then_an_even_flow() {
        let mut rate = Rate::default();
        let mut now = Instant::now();
        let burst = (0..1000).filter(|_| rate.admit(now)).count();
        assert_eq!(burst as u32, limits::ANNOUNCEMENTS_BURST);
        now += Duration::from_millis(100);
        let flow = (0..1000).filter(|_| rate.admit(now)).count();
        assert_eq!(flow as u32, limits::ANNOUNCEMENTS_PER_SECOND / 10);
        now += Duration::from_secs(3600);
        let burst = (0..1000).filter(|_| rate.admit(now)).count();
        assert_eq!(burst as u32, limits::ANNOUNCEMENTS_BURST);
    }
}
