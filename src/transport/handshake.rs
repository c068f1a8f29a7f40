//! The handshake: who may speak with whom.
//!
//! Pure. The dialer says `Hello`, the acceptor checks it and answers `Welcome` or `Refused`, the
//! dialer checks the `Welcome` in the same way. A member that was configured differently, that
//! belongs to another cluster, that lost its disk or that sits at another's address is kept out
//! here, with the two values that differ, before Raft hears a word of it.

use std::collections::BTreeMap;
use std::fmt;

use super::wire::{ConnectionKind, Greeting, PROTOCOL_VERSIONS, Refusal};
use super::{Identity, Known, Peer};
use crate::core::{ClusterId, Incarnation, NodeId};

/// What this node knows when it judges a greeting.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// Who this node is.
    pub identity: &'a Identity,
    /// What the replicated state says.
    pub known: &'a Known,
    /// The other members.
    pub peers: &'a BTreeMap<NodeId, Peer>,
    /// Incarnations of peers that have passed a handshake in the life of this process.
    pub seen: &'a BTreeMap<NodeId, Incarnation>,
}

/// A peer that has passed the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Which peer.
    pub id: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Random number of this run of its agent.
    pub process: u64,
    /// Its cluster identity, if it has one.
    pub cluster_id: Option<ClusterId>,
    /// Which connection it speaks on.
    pub kind: ConnectionKind,
    /// Highest protocol version that both sides speak.
    pub protocol: u32,
}

/// Two values that should be equal. `theirs` may come from the network; it is already fit for a
/// log line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {theirs} there and {ours} here")]
pub struct Mismatch {
    /// What was compared.
    pub what: String,
    /// The value on this node.
    pub ours: String,
    /// The value on the other side.
    pub theirs: String,
}

impl Mismatch {
    pub(super) fn new(
        what: impl Into<String>,
        ours: impl fmt::Display,
        theirs: impl fmt::Display,
    ) -> Self {
        Mismatch { what: what.into(), ours: ours.to_string(), theirs: theirs.to_string() }
    }

    /// The refusal to send to the other side.
    pub fn to_refusal(&self, process: u64) -> Refusal {
        let Mismatch { what, ours, theirs } = self.clone();
        Refusal { what, ours, theirs, process }
    }

    /// The other side's refusal, seen from here.
    pub fn from_refusal(refusal: &Refusal) -> Mismatch {
        Mismatch {
            what: printable(&refusal.what),
            ours: printable(&refusal.theirs),
            theirs: printable(&refusal.ours),
        }
    }
}

/// What this node says to `receiver` on a connection of `kind`.
pub fn greeting(ours: Ours<'_>, receiver: &Peer, kind: ConnectionKind) -> Greeting {
    let identity = ours.identity;
    let expected = ours.expected_incarnation(receiver.id);
    Greeting {
        protocol_min: PROTOCOL_VERSIONS.0,
        protocol_max: PROTOCOL_VERSIONS.1,
        cluster_name: identity.cluster_name.clone(),
        cluster_id: ours.known.cluster_id.map_or_else(Vec::new, |id| id.0.to_vec()),
        bootstrap: identity.bootstrap.to_vec(),
        node: identity.node.to_string(),
        id: identity.id.0,
        receiver: receiver.name.to_string(),
        receiver_incarnation: expected.map_or_else(Vec::new, |i| i.0.to_vec()),
        incarnation: identity.incarnation.0.to_vec(),
        process: identity.process,
        election_min_ms: identity.election_min_ms,
        kind: kind as i32,
        version: identity.version.clone(),
    }
}

/// Judges what came from the other side; `dialed` is the peer that was dialed, `None` on the
/// accepting side. The first thing that does not fit is the one that is named.
pub fn check(
    ours: Ours<'_>,
    dialed: Option<NodeId>,
    theirs: &Greeting,
) -> Result<Speaker, Mismatch> {
    let identity = ours.identity;
    let protocol = check_protocol(theirs)?;
    same_text("cluster name", &identity.cluster_name, &theirs.cluster_name)?;
    same_text("name of the receiving node", identity.node.as_str(), &theirs.receiver)?;
    let peer = check_member(ours, dialed, theirs)?;
    let cluster_id = check_cluster(ours, theirs)?;
    if identity.election_min_ms != theirs.election_min_ms {
        let [ours, theirs] =
            [identity.election_min_ms, theirs.election_min_ms].map(|ms| format!("{ms} ms"));
        return Err(Mismatch::new("election_min", ours, theirs));
    }
    let incarnation = check_incarnations(ours, peer, theirs)?;
    let kind = theirs.kind();
    if kind == ConnectionKind::Unknown {
        let ours = "control (1) or bulk (2)";
        return Err(Mismatch::new("kind of the connection", ours, theirs.kind));
    }
    Ok(Speaker { id: peer.id, incarnation, process: theirs.process, cluster_id, kind, protocol })
}

impl<'a> Ours<'a> {
    /// The recorded incarnation of a peer, or else the first one that was seen.
    fn expected_incarnation(&self, peer: NodeId) -> Option<Incarnation> {
        self.known.incarnations.get(&peer).or_else(|| self.seen.get(&peer)).copied()
    }

    fn member_list(&self) -> String {
        let of = |peer: &Peer| format!("{} (number {})", peer.name, peer.id);
        self.peers.values().map(of).collect::<Vec<_>>().join(", ")
    }
}

fn check_protocol(theirs: &Greeting) -> Result<u32, Mismatch> {
    let (min, max) = PROTOCOL_VERSIONS;
    let highest = max.min(theirs.protocol_max);
    if highest < min.max(theirs.protocol_min) {
        let ours = format!("{min} to {max}");
        let theirs = format!("{} to {}", theirs.protocol_min, theirs.protocol_max);
        return Err(Mismatch::new("range of protocol versions", ours, theirs));
    }
    Ok(highest)
}

fn check_member<'a>(
    ours: Ours<'a>,
    dialed: Option<NodeId>,
    theirs: &Greeting,
) -> Result<&'a Peer, Mismatch> {
    let peer = ours.peers.get(&NodeId(theirs.id));
    let peer = peer.filter(|p| p.name.as_str() == theirs.node);
    let claim = || format!("{} (number {})", printable(&theirs.node), theirs.id);
    let expected = match dialed.and_then(|id| ours.peers.get(&id)) {
        Some(dialed) => format!("{} (number {})", dialed.name, dialed.id),
        None => format!("one of {}", ours.member_list()),
    };
    peer.filter(|p| dialed.is_none_or(|id| id == p.id))
        .ok_or_else(|| Mismatch::new("name of the peer", expected, claim()))
}

/// Once both sides know the cluster's identity it must be the same. Before that, the configured
/// member lists must be: two lists could elect two leaders.
fn check_cluster(ours: Ours<'_>, theirs: &Greeting) -> Result<Option<ClusterId>, Mismatch> {
    const WHAT: &str = "cluster identity";
    let theirs_id = match theirs.cluster_id.as_slice() {
        [] => None,
        bytes => Some(ClusterId::try_from(bytes).map_err(|_| {
            let ours = ours.known.cluster_id.map_or("not known".to_owned(), |id| id.to_string());
            Mismatch::new(WHAT, ours, hex(bytes))
        })?),
    };
    if let (Some(ours), Some(theirs)) = (ours.known.cluster_id, theirs_id) {
        let same = ours == theirs;
        return if same { Ok(theirs_id) } else { Err(Mismatch::new(WHAT, ours, theirs)) };
    }
    if ours.identity.bootstrap.as_slice() != theirs.bootstrap.as_slice() {
        let what = "digest of the configured member list";
        return Err(Mismatch::new(what, hex(&ours.identity.bootstrap), hex(&theirs.bootstrap)));
    }
    Ok(theirs_id)
}

/// A wiped disk has forgotten its votes and entries; it must not take part under its old number.
fn check_incarnations(
    ours: Ours<'_>,
    peer: &Peer,
    theirs: &Greeting,
) -> Result<Incarnation, Mismatch> {
    let expected = ours.expected_incarnation(peer.id);
    let found = Incarnation::try_from(theirs.incarnation.as_slice()).ok();
    let fits = found.filter(|found| expected.is_none_or(|expected| expected == *found));
    let Some(incarnation) = fits else {
        let expected = expected.map_or("any of 16 bytes".to_owned(), |e| e.to_string());
        let what = format!("incarnation of {}", peer.name);
        return Err(Mismatch::new(what, expected, hex(&theirs.incarnation)));
    };
    let identity = ours.identity;
    let wanted = theirs.receiver_incarnation.as_slice();
    if !wanted.is_empty() && wanted != identity.incarnation.0 {
        let what = format!("incarnation of {}", identity.node);
        return Err(Mismatch::new(what, identity.incarnation, hex(wanted)));
    }
    Ok(incarnation)
}

pub(super) fn same_text(what: &str, ours: &str, theirs: &str) -> Result<(), Mismatch> {
    if ours == theirs { Ok(()) } else { Err(Mismatch::new(what, ours, printable(theirs))) }
}

/// Text from the network, short and without anything that could disturb a terminal or a log.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let mut short: String = text.chars().take(PRINTED_CHARS_MAX).map(plain).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    if short.is_empty() { "(empty)".to_owned() } else { short }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::new();
    for byte in bytes.iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    match bytes.len() {
        0 => "(empty)".to_owned(),
        1..=16 => text,
        more => format!("{text}... ({more} bytes)"),
    }
}

/// Enough for the list of all members; far below what a handshake payload may carry.
const PRINTED_CHARS_MAX: usize = 400;

#[cfg(test)]
mod tests;
