//! What a leader proposes on its own: the cluster's identity, its activation, its members' records.
//!
//! Each duty follows from the applied state, so it needs no memory of what was proposed before
//! except one index: while own proposals are not applied yet, nothing new is proposed.

use crate::consensus::RaftRole;
use crate::core::command::{
    Activate, Body, Bootstrap, Command, Expired, Member, MemberKind, NodeRecord,
};
use crate::core::state::hash_of;
use crate::core::{Incarnation, Instant, NodeId};

use super::machine::StateMachine;
use super::node::Node;

impl<M: StateMachine> Node<M> {
    /// Proposes what is due; returns whether anything was.
    pub(super) fn duties(&mut self, now: Instant) -> bool {
        let position = self.replica.position();
        // Only after an entry of its own term is applied does a leader know the state (thesis 6.4).
        let ready = position.role == RaftRole::Leader
            && self.applied.1 == position.term
            && self.applied.0 >= self.duty_until
            && self.replica.transferring_to().is_none()
            && self.stopping.is_none();
        if !ready {
            if position.role != RaftRole::Leader {
                self.duty_until = 0;
            }
            return false;
        }
        let due: Vec<Vec<u8>> =
            self.due_commands(position.term).iter().map(Command::to_bytes).collect();
        let count = due.len() as u64;
        if count == 0 {
            return false;
        }
        match self.replica.propose(now, due) {
            Ok((first, _)) => self.duty_until = first + count - 1,
            Err(_) => return false,
        }
        true
    }

    fn due_commands(&self, term: u64) -> Vec<Command> {
        let mut due = Vec::new();
        let cluster = self.machine.cluster();
        if cluster.cluster_id().is_none() {
            due.push(Body::Bootstrap(self.bootstrap()).into());
        }
        if !self.is_activated(term) {
            let prev = cluster.activation().map_or(0, |a| a.token().0);
            if cluster.activation().is_some_and(|a| a.is_active()) {
                due.push(Body::Expired(Expired { token: prev, forced: false }).into());
            }
            let timing = &self.config.timing;
            let activate = Activate {
                prev,
                node: self.config.id.0,
                term,
                invocation: self.config.invocation.to_vec(),
                machine: self.config.machine.to_vec(),
                bound_ms: timing.bound().map(|b| b.as_millis() as u64),
                secret_hash: hash_of(&self.config.release_secret).to_vec(),
            };
            due.push(Body::Activate(activate).into());
        }
        if cluster.cluster_id().is_some() {
            due.extend(self.unrecorded().map(|(id, incarnation)| {
                let incarnation = incarnation.0.to_vec();
                Body::Node(NodeRecord { id: id.0, incarnation }).into()
            }));
        }
        due
    }

    /// Whether the activation in force is this run's own, of `term`.
    pub(super) fn is_activated(&self, term: u64) -> bool {
        self.machine.cluster().activation().is_some_and(|a| {
            a.node() == self.config.id
                && a.term() == term
                && a.invocation() == self.config.invocation
        })
    }

    fn bootstrap(&self) -> Bootstrap {
        let member = |m: &super::node::Member| Member {
            id: m.id.0,
            name: m.name.to_string(),
            address: m.address.to_string(),
            incarnation: Vec::new(),
            kind: MemberKind::Voter as i32,
        };
        Bootstrap {
            cluster_id: self.config.cluster_id_proposal.to_vec(),
            members: self.config.members.iter().map(member).collect(),
        }
    }

    /// Members whose incarnation is known here but not recorded yet.
    fn unrecorded(&self) -> impl Iterator<Item = (NodeId, Incarnation)> + '_ {
        let own = std::iter::once((self.config.id, self.config.incarnation));
        let peers = self.connected.iter().map(|(id, peer)| (*id, peer.incarnation));
        let cluster = self.machine.cluster();
        let is_member = |id: NodeId| cluster.members().iter().any(|m| m.id == id.0);
        own.chain(peers).filter(move |(id, _)| is_member(*id) && cluster.incarnation(*id).is_none())
    }
}
