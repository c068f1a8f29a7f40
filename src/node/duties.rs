//! What a leader proposes on its own: the cluster's identity, its activation, its members' records.
//!
//! Each duty follows from the applied state, so it needs no memory of what was proposed before
//! except one index: while own proposals are not applied yet, nothing new is proposed.

use crate::core::command::{Body, Bootstrap, Command, Member, MemberKind, NodeRecord};
use crate::core::{Incarnation, Instant, NodeId};

use super::machine::StateMachine;
use super::node::Node;

impl<M: StateMachine> Node<M> {
    /// Proposes what is due; returns whether anything was.
    pub(super) fn duties(&mut self, now: Instant) -> bool {
        let position = self.replica.position();
        // Only after an entry of its own term is applied does a leader know the state (thesis 6.4).
        let ready = self.leads()
            && self.applied.1 == position.term
            && self.applied.0 >= self.duty_until
            && self.replica.transferring_to().is_none();
        if !ready {
            if !self.leads() {
                self.duty_until = 0;
                self.duty.relays.clear();
            }
            return false;
        }
        let bodies = self.due_commands(position.term);
        if bodies.is_empty() {
            return false;
        }
        let data = bodies.iter().cloned().map(|body| Command::from(body).to_bytes()).collect();
        let Ok((first, term)) = self.replica.propose(now, data) else { return false };
        self.duty_until = first + bodies.len() as u64 - 1;
        self.proposed(first, term, &bodies);
        true
    }

    fn due_commands(&self, term: u64) -> Vec<Body> {
        let mut due = Vec::new();
        let cluster = self.machine.cluster();
        if cluster.cluster_id().is_none() {
            due.push(Body::Bootstrap(self.bootstrap()));
        }
        due.extend(self.authority_commands(term));
        due.extend(self.pausing_command(term));
        if cluster.cluster_id().is_some() {
            due.extend(self.unrecorded().map(|(id, incarnation)| {
                Body::Node(NodeRecord { id: id.0, incarnation: incarnation.0.to_vec() })
            }));
        }
        due
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
