//! What comes from peers besides their consent: messages that may be refused, connections, and what
//! the replicated state says about who may connect.

use crate::core::message::{Kind, Message};
use crate::core::{Instant, NodeId};
use crate::limits;

use super::event::Effect;
use super::machine::StateMachine;
use super::node::{Node, Peer};

impl<M: StateMachine> Node<M> {
    pub(super) fn message(&mut self, now: Instant, message: Message, effects: &mut Vec<Effect>) {
        let from = message.from;
        // A disk that does not keep up must not make the queue of writes grow: the leader sends
        // appends again, heartbeats go on.
        let appends = message.kind() == Kind::Append && !message.entries.is_empty();
        let behind = self.flush.writes_waiting() >= limits::DISK_QUEUE_REQUESTS;
        if appends && (behind || self.store_is_behind()) {
            self.dropped_busy += 1;
            return;
        }
        if !self.rows_are_here(&message) {
            return; // Its sender offers them again.
        }
        let stepped = self.replica.step(now, message);
        if self.replica.position().leader == Some(NodeId(from)) {
            self.heard_leader = Some(now);
        }
        if let Err(refused) = stepped {
            self.refused += 1;
            // A line for each new reason, then for powers of two: a broken peer cannot fill a log.
            let kind = (from, std::mem::discriminant(&refused));
            if self.refused.is_power_of_two() || self.last_refused != Some(kind) {
                self.last_refused = Some(kind);
                let name = self.name_of(NodeId(from));
                let text =
                    format!("message from {name} refused ({} so far): {refused}", self.refused);
                effects.push(Effect::Warn(text));
            }
        }
    }

    pub(super) fn peer_connected(&mut self, now: Instant, peer: NodeId, info: Peer) {
        let before = self.processes.insert(peer, info.process);
        let restarted = before.is_some_and(|process| process != info.process);
        self.connected.insert(peer, info);
        if restarted {
            self.forget_standing(peer);
            // Another run of the same node: the one that led is gone.
            self.replica.leader_lost(now, peer);
        }
        if !self.quorum_seen {
            let voters = self.replica.voters();
            let here = |id: &&NodeId| **id == self.config.id || self.connected.contains_key(id);
            if voters.iter().filter(here).count() > voters.len() / 2 {
                self.quorum_seen = true;
                self.replica.quorum_reachable(now);
            }
        }
    }

    pub(super) fn learn(&mut self, effects: &mut Vec<Effect>) {
        if self.known_at == Some(self.applied.0) {
            return; // Only applying changes what is known.
        }
        self.known_at = Some(self.applied.0);
        let known = self.known();
        if known != self.known {
            self.known = known.clone();
            effects.push(Effect::Learn(known));
        }
    }
}
