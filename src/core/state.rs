//! The replicated state machine of membership and activation: a pure fold over commands.
//!
//! `apply` is total and deterministic. A command that no longer fits is *void*: it changes nothing
//! and says why, the same on every node. The role of a node follows this state, never the event of
//! applying it (DESIGN 5.1).

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::command::Resume;
use super::command::{Activate, Body, Bootstrap, Command, Expired, Member, NodeRecord, Release};
use super::{ClusterId, Incarnation, Index, NodeId, Term, Token};
use crate::limits;

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
    /// Activations that expired and were never released, the newest of each machine.
    #[prost(message, repeated, tag = "5")]
    unreleased: Vec<Activation>,
    /// Invocations that were released for good, the newest last; at most
    /// [`limits::DEAD_INVOCATIONS_MAX`].
    #[prost(bytes = "vec", repeated, tag = "6")]
    dead: Vec<Vec<u8>>,
    /// Index of the pause in force, 0 for none.
    #[prost(uint64, tag = "7")]
    paused: u64,
    /// Index of the last resumption, 0 for none.
    #[prost(uint64, tag = "8")]
    resumed: u64,
}

/// How an activation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Standing {
    /// What it started may run.
    Active = 0,
    /// What it started has stopped, said by the node itself or in its name.
    Released = 1,
    /// What it started has been stopped by its service manager, or an operator says so.
    Expired = 2,
}

/// The newest activation (DESIGN 5.1, "Record").
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
    #[prost(bytes = "vec", tag = "5")]
    machine: Vec<u8>,
    #[prost(uint64, optional, tag = "6")]
    bound_ms: Option<u64>,
    #[prost(bytes = "vec", tag = "7")]
    secret_hash: Vec<u8>,
    #[prost(enumeration = "Standing", tag = "8")]
    standing: i32,
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

    /// The term in which that node led: when it was activated, or when it ended a pause.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The run of the agent it belongs to.
    pub fn invocation(&self) -> &[u8] {
        &self.invocation
    }

    /// The instance on its machine that it belongs to.
    pub fn machine(&self) -> &[u8] {
        &self.machine
    }

    /// B, if there is one (DESIGN 5).
    pub fn bound(&self) -> Option<std::time::Duration> {
        self.bound_ms.map(std::time::Duration::from_millis)
    }

    /// How it stands.
    pub fn is_active(&self) -> bool {
        Standing::try_from(self.standing) == Ok(Standing::Active)
    }

    /// Whether `secret` releases its invocation.
    pub fn is_released_by(&self, secret: &[u8]) -> bool {
        hash_of(secret)[..] == self.secret_hash
    }
}

/// The hash of a secret, as an activation carries it.
pub fn hash_of(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
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

    /// The pause in force, by the index of its entry.
    pub fn paused(&self) -> Option<Index> {
        (self.paused != 0).then_some(self.paused)
    }

    /// The last end of a pause, by the index of its entry; 0 if there was none.
    pub fn resumed(&self) -> Index {
        self.resumed
    }

    /// The newest activation, however it stands.
    pub fn activation(&self) -> Option<&Activation> {
        self.activation.as_ref()
    }

    /// An activation of this instance on this machine that expired and was never released.
    pub fn unreleased(&self, machine: &[u8]) -> Option<&Activation> {
        self.unreleased.iter().find(|a| a.machine == machine)
    }

    /// The activation that is not released and belongs to this run.
    pub fn owed_by(&self, invocation: &[u8]) -> Option<&Activation> {
        let newest = self.activation.iter().filter(|a| a.is_active());
        newest.chain(&self.unreleased).find(|a| a.invocation == invocation)
    }

    /// Applies the command of the entry at `index`, appended in `term`.
    pub fn apply(&mut self, index: Index, term: Term, command: &Command) -> Applied {
        match command.body.as_ref() {
            Some(Body::Bootstrap(bootstrap)) => self.apply_bootstrap(bootstrap),
            Some(Body::Activate(activate)) => self.apply_activate(index, term, activate),
            Some(Body::Node(record)) => self.apply_node(record),
            Some(Body::Released(release)) => self.apply_released(release),
            Some(Body::Expired(expired)) => self.apply_expired(expired),
            Some(Body::Pause(_)) => self.apply_pause(index),
            Some(Body::Resume(resume)) => self.apply_resume(index, term, resume),
            Some(Body::Kv(_)) => Applied::Void("the store's"),
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
        if self.paused != 0 {
            return Applied::Void("the cluster is paused");
        }
        if activate.term != term {
            return Applied::Void("activation was proposed in another term");
        }
        if activate.prev != self.activation.as_ref().map_or(0, |a| a.token) {
            return Applied::Void("activation does not follow the newest one");
        }
        if self.activation.as_ref().is_some_and(Activation::is_active) {
            return Applied::Void("the activation before is neither released nor expired");
        }
        if self.dead.contains(&activate.invocation) {
            return Applied::Void("the invocation was released for good");
        }
        let generation = u16::try_from(self.generation).expect("generation fits 16 bits");
        self.activation = Some(Activation {
            token: Token::new(generation, index).0,
            node: activate.node,
            term,
            invocation: activate.invocation.clone(),
            machine: activate.machine.clone(),
            bound_ms: activate.bound_ms,
            secret_hash: activate.secret_hash.clone(),
            standing: Standing::Active as i32,
        });
        Applied::Changed
    }

    fn apply_released(&mut self, release: &Release) -> Applied {
        let for_good = !release.secret.is_empty();
        let hash = hash_of(&release.secret);
        let matches = |a: &Activation| {
            a.node == release.node
                && a.invocation == release.invocation
                && if for_good { a.secret_hash == hash } else { a.token == release.token }
        };
        let before = self.unreleased.len();
        self.unreleased.retain(|a| !matches(a));
        let mut changed = self.unreleased.len() != before;
        if let Some(newest) = self.activation.as_mut().filter(|a| matches(a)) {
            changed |= newest.standing != Standing::Released as i32;
            newest.standing = Standing::Released as i32;
            if for_good && !self.dead.contains(&release.invocation) {
                changed = true;
            }
        }
        if !changed {
            return Applied::Void("no activation that is not released matches");
        }
        if for_good && !self.dead.contains(&release.invocation) {
            self.dead.push(release.invocation.clone());
            let surplus = self.dead.len().saturating_sub(limits::DEAD_INVOCATIONS_MAX);
            self.dead.drain(..surplus);
        }
        Applied::Changed
    }

    fn apply_expired(&mut self, expired: &Expired) -> Applied {
        if self.paused != 0 && !expired.forced {
            return Applied::Void("the cluster is paused");
        }
        let newest = self.activation.as_mut();
        let Some(newest) = newest.filter(|a| a.token == expired.token && a.is_active()) else {
            return Applied::Void("not the activation in force");
        };
        newest.standing = Standing::Expired as i32;
        let owed = newest.clone();
        // One machine has one debt: it is not eligible again before it is paid.
        self.unreleased.retain(|a| a.machine != owed.machine);
        self.unreleased.push(owed);
        Applied::Changed
    }

    fn apply_pause(&mut self, index: Index) -> Applied {
        if self.paused != 0 {
            return Applied::Void("the cluster is already paused");
        }
        self.paused = index;
        Applied::Changed
    }

    /// With the word of the active node its activation counts as one of the term of that word: it
    /// is bound to its lease there, and a successor waits for what comes after.
    fn apply_resume(&mut self, index: Index, term: Term, resume: &Resume) -> Applied {
        if self.paused == 0 || resume.pause != self.paused {
            return Applied::Void("not the pause in force");
        }
        if let Some(active) = self.activation.as_mut().filter(|a| a.is_active())
            && !resume.forced
        {
            if resume.token != active.token || resume.term != term {
                return Applied::Void("the active node has not given its word");
            }
            active.term = term;
        }
        self.paused = 0;
        self.resumed = index;
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
mod tests;
