//! The replicated state machine of membership and activation: a pure fold over commands.
//!
//! `apply` is total and deterministic. A command that no longer fits is *void*: it changes nothing
//! and says why, the same on every node. The role of a node follows this state, never the event of
//! applying it (DESIGN 5.1).

use prost::Message as _;

use super::command::{Activate, Body, Bootstrap, Command, Member, NodeRecord};
use super::{ClusterId, Incarnation, Index, NodeId, Term, Token};

/// Everything the log has agreed on so far. Encodes to the payload of a snapshot.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClusterState {
    #[prost(bytes = "vec", tag = "1")]
    cluster_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    generation: u32,
    #[prost(message, repeated, tag = "3")]
    members: Vec<Member>,
    #[prost(message, optional, tag = "4")]
    activation: Option<Activation>,
}

/// The activation in force (DESIGN 5.1, "Record").
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Activation {
    #[prost(uint64, tag = "1")]
    token: u64,
    #[prost(uint64, tag = "2")]
    node: u64,
    #[prost(uint64, tag = "3")]
    term: u64,
    #[prost(bytes = "vec", tag = "4")]
    invocation: Vec<u8>,
}

impl Activation {
    /// Identity of this activation.
    pub fn token(&self) -> Token {
        Token(self.token)
    }

    /// The node it makes active.
    pub fn node(&self) -> NodeId {
        NodeId(self.node)
    }

    /// The term in which that node led.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The run of the agent it belongs to.
    pub fn invocation(&self) -> &[u8] {
        &self.invocation
    }
}

/// What applying one command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The state changed.
    Changed,
    /// Nothing changed, for this reason.
    Void(&'static str),
}

impl ClusterState {
    /// Identity of the cluster, once committed.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        ClusterId::try_from(self.cluster_id.as_slice()).ok()
    }

    /// Committed members in order of their numbers; empty before the bootstrap entry.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The recorded incarnation of a member.
    pub fn incarnation(&self, id: NodeId) -> Option<Incarnation> {
        let member = self.members.iter().find(|m| m.id == id.0)?;
        Incarnation::try_from(member.incarnation.as_slice()).ok()
    }

    /// The activation in force.
    pub fn activation(&self) -> Option<&Activation> {
        self.activation.as_ref()
    }

    /// Applies the command of the entry at `index`, appended in `term`.
    pub fn apply(&mut self, index: Index, term: Term, command: &Command) -> Applied {
        match command.body.as_ref() {
            Some(Body::Bootstrap(bootstrap)) => self.apply_bootstrap(bootstrap),
            Some(Body::Activate(activate)) => self.apply_activate(index, term, activate),
            Some(Body::Node(record)) => self.apply_node(record),
            None => Applied::Void("empty command"),
        }
    }

    fn apply_bootstrap(&mut self, bootstrap: &Bootstrap) -> Applied {
        if !self.cluster_id.is_empty() {
            return Applied::Void("the cluster already has an identity");
        }
        self.cluster_id = bootstrap.cluster_id.clone();
        self.members = bootstrap.members.clone();
        self.members.sort_by_key(|m| m.id);
        Applied::Changed
    }

    fn apply_activate(&mut self, index: Index, term: Term, activate: &Activate) -> Applied {
        if activate.term != term {
            return Applied::Void("activation was proposed in another term");
        }
        if activate.prev != self.activation.as_ref().map_or(0, |a| a.token) {
            return Applied::Void("activation does not follow the one in force");
        }
        let generation = u16::try_from(self.generation).expect("generation fits 16 bits");
        self.activation = Some(Activation {
            token: Token::new(generation, index).0,
            node: activate.node,
            term,
            invocation: activate.invocation.clone(),
        });
        Applied::Changed
    }

    fn apply_node(&mut self, record: &NodeRecord) -> Applied {
        let Some(member) = self.members.iter_mut().find(|m| m.id == record.id) else {
            return Applied::Void("not a member");
        };
        if !member.incarnation.is_empty() {
            return Applied::Void("an incarnation is already recorded");
        }
        member.incarnation = record.incarnation.clone();
        Applied::Changed
    }

    /// The payload of a snapshot of this state.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads the payload of a snapshot.
    pub fn from_bytes(data: &[u8]) -> Result<ClusterState, prost::DecodeError> {
        ClusterState::decode(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activate(prev: u64, node: u64, term: u64) -> Command {
        Body::Activate(Activate { prev, node, term, invocation: vec![node as u8; 16] }).into()
    }

    fn bootstrap(id: u8) -> Command {
        let member = |id: u64| Member { id, name: format!("n{id}"), ..Default::default() };
        let members = vec![member(2), member(1)];
        Body::Bootstrap(Bootstrap { cluster_id: vec![id; 16], members }).into()
    }

    #[test]
    fn the_first_bootstrap_wins() {
        let mut state = ClusterState::default();
        assert_eq!(state.apply(1, 1, &bootstrap(7)), Applied::Changed);
        assert!(matches!(state.apply(2, 1, &bootstrap(8)), Applied::Void(_)));
        assert_eq!(state.cluster_id(), Some(ClusterId([7; 16])));
        assert_eq!(state.members().iter().map(|m| m.id).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn an_activation_follows_exactly_the_one_in_force() {
        let mut state = ClusterState::default();
        assert_eq!(state.apply(3, 1, &activate(0, 1, 1)), Applied::Changed);
        assert_eq!(state.activation().unwrap().token(), Token(3));
        assert!(matches!(state.apply(4, 1, &activate(0, 2, 1)), Applied::Void(_)));
        assert!(matches!(state.apply(5, 2, &activate(3, 2, 1)), Applied::Void(_)));
        assert_eq!(state.apply(6, 2, &activate(3, 2, 2)), Applied::Changed);
        assert_eq!(state.activation().unwrap().token(), Token(6));
    }

    #[test]
    fn an_incarnation_is_recorded_once() {
        let mut state = ClusterState::default();
        state.apply(1, 1, &bootstrap(7));
        let record = |id, byte| Body::Node(NodeRecord { id, incarnation: vec![byte; 16] }).into();
        assert_eq!(state.apply(2, 1, &record(1, 1)), Applied::Changed);
        assert!(matches!(state.apply(3, 1, &record(1, 2)), Applied::Void(_)));
        assert!(matches!(state.apply(4, 1, &record(9, 2)), Applied::Void(_)));
        assert_eq!(state.incarnation(NodeId(1)), Some(Incarnation([1; 16])));
        assert_eq!(ClusterState::from_bytes(&state.to_bytes()).unwrap(), state);
    }
}
