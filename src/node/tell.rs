//! What the driver tells the log: one sentence for each thing that an operator reads after a
//! failover, with its facts. Decides nothing.

use std::sync::Arc;

use super::count::Count;
use super::event::Answer;
use super::handle::Request;
use super::machine::StateMachine;
use super::metrics::Metrics;
use super::node::Node;
use super::snapshot::{SnapshotNews, SnapshotStep};
use super::status::{Change, NodeStatus};
use crate::core::authority::Phase;
use crate::core::story::tell;
use crate::core::{Instant, Token};

/// What was told last.
#[derive(Default)]
pub(super) struct Teller {
    count: Count,
    /// The token of the own activation, while the node is active.
    active: Option<Token>,
    /// The token of the own activation, until it is released.
    owed: Option<Token>,
    phase: Option<Phase>,
    /// Since when the disk has not answered.
    stalled: Option<Instant>,
}

impl Teller {
    /// Nothing was told yet.
    pub(super) fn new(metrics: Arc<Metrics>) -> Teller {
        Teller { count: Count::new(metrics), ..Teller::default() }
    }

    /// A turn is over, but for its effects.
    pub(super) fn turned<M: StateMachine>(&mut self, node: &Node<M>, now: Instant) {
        self.count.turned(node);
        self.disk(node.disk_stalls(now), now);
    }

    /// The status has changed.
    pub(super) fn published(&mut self, status: &NodeStatus) {
        self.count.published(status);
        let before = self.phase.replace(status.phase);
        if before == Some(Phase::Releasing)
            && status.phase == Phase::Idle
            && let Some(Token(token)) = self.owed.take()
        {
            let (node, term) = (&status.name, status.term);
            tell!(
                Released, term = term, token = token;
                "{node} has stopped what its activation {token} ran, and the cluster knows."
            );
        }
    }

    /// Something changed that is worth a signal.
    pub(super) fn changed(&mut self, change: &Change, status: &NodeStatus) {
        self.count.changed(change);
        let leader = status.leader_member().map(|member| member.name.as_str());
        let node = &status.name;
        match change {
            Change::Role { old, new, active, term, token, reason } => {
                self.activation(node.as_str(), active.then_some(*token).flatten(), *term, reason);
                if old != new {
                    let (old, new) = (old.as_str(), new.as_str());
                    let token = token.map(|token| token.0);
                    tell!(
                        RoleChanged, role = new, old_role = old, term = term, token = token,
                        leader = leader, reason = *reason;
                        "{node} changed role {old} -> {new}: {reason} (term {term})."
                    );
                }
            }
            Change::Leader { term, .. } => match leader {
                Some(leader) => tell!(
                    LeaderChanged, leader = leader, term = term; "{leader} leads in term {term}."
                ),
                None => tell!(LeaderLost, term = term; "No leader is known in term {term}."),
            },
            Change::Quorum { has: true, term } => {
                tell!(QuorumRegained, term = term; "{node} hears a quorum again (term {term}).");
            }
            Change::Quorum { has: false, term } => tell!(
                QuorumLost, term = term;
                "{node} hears no quorum (term {term}): nothing is committed, and nobody becomes \
                 active, until most members can be reached."
            ),
            Change::Paused { paused: true, term } => tell!(
                Paused, term = term;
                "The cluster is paused: what is active stays so, and nothing else becomes active \
                 before \"raftctl resume\"."
            ),
            Change::Paused { paused: false, term } => {
                tell!(Resumed, term = term; "The cluster is not paused any more.");
            }
        }
    }

    fn activation(&mut self, node: &str, token: Option<Token>, term: u64, reason: &'static str) {
        let before = std::mem::replace(&mut self.active, token);
        match (before, token) {
            (None, Some(new)) => {
                self.owed = token;
                tell!(
                    Active, term = term, token = new.0, reason = reason;
                    "{node} is active with token {new}."
                );
            }
            (Some(old), None) => tell!(
                Demoted, term = term, token = old.0, reason = reason;
                "{node} ceases to be active: {reason}."
            ),
            _ => {}
        }
    }

    /// Whether a write has waited too long, at `now`.
    pub(super) fn disk(&mut self, stalls: bool, now: Instant) {
        match (self.stalled, stalls) {
            (None, true) => {
                self.stalled = Some(now);
                let duration = format!("{:?}", crate::limits::DISK_STALL);
                tell!(
                    DiskStalled, duration = duration.as_str();
                    "The disk has not answered for {duration}: a leader hands over, since the \
                     others can commit without it."
                );
            }
            (Some(since), false) => {
                self.stalled = None;
                let duration = format!("{:.1?}", crate::limits::DISK_STALL + (now - since));
                tell!(
                    DiskAnswers, duration = duration.as_str();
                    "The disk answers again, after {duration}."
                );
            }
            _ => {}
        }
    }
}

/// Somebody asks for something.
pub(super) fn asked(request: &Request) {
    if let Request::Transfer { to, .. } = request {
        let name = to.as_ref().map_or("the best follower", |name| name.as_str());
        tell!(TransferBegun, to = name; "Leadership is to be handed over to {name}.");
    }
}

/// Something about a snapshot.
pub(super) fn snapshot(news: &SnapshotNews, status: &NodeStatus) {
    let SnapshotNews { peer, incoming, index, bytes, step, why } = news;
    let name = status.members.iter().find(|member| member.id == *peer).map(|m| m.name.as_str());
    let name = name.unwrap_or("a member");
    match (step, incoming) {
        (SnapshotStep::Begun, false) => tell!(
            SnapshotSending, peer = name;
            "{name} gets a snapshot at index {index}, with {bytes} bytes of keys and values."
        ),
        (SnapshotStep::Installed, false) => {
            tell!(SnapshotSent, peer = name; "{name} has installed the snapshot at index {index}.");
        }
        (SnapshotStep::Begun, true) => tell!(
            SnapshotReceiving, peer = name;
            "A snapshot at index {index} comes from {name}, with {bytes} bytes of keys and values."
        ),
        (SnapshotStep::Installed, true) => tell!(
            SnapshotInstalled, peer = name;
            "The snapshot at index {index} from {name} is installed."
        ),
        (SnapshotStep::Refused | SnapshotStep::Broken, _) => {
            let from = if *incoming { "from" } else { "to" };
            tell!(
                SnapshotFailed, peer = name, reason = why.as_str();
                "The snapshot at index {index} {from} {name} did not get through: {why}."
            );
        }
    }
}

/// What became of a request.
pub(super) fn answered(answer: &Answer) {
    match answer {
        Answer::Transferred(Ok(name)) => {
            tell!(TransferDone, to = name.as_str(); "Leadership was handed over to {name}.");
        }
        Answer::Transferred(Err(error)) => {
            let reason = error.to_string();
            tell!(
                TransferFailed, reason = reason.as_str();
                "Leadership was not handed over: {reason}."
            );
        }
        Answer::TakenOver(Ok(token)) => tell!(
            TakenOver, token = token.0;
            "Activation {token} was declared over by force: whoever did so vouches that its host \
             has stopped everything."
        ),
        Answer::TakenOver(Err(error)) => {
            let reason = error.to_string();
            tell!(
                TakeoverRefused, reason = reason.as_str();
                "A takeover by force was refused: {reason}."
            );
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
