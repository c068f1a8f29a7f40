//! What the node tells the world: status, changes, and the consequences of a role.
//!
//! Once a turn, from the replica and the replicated state together: the role machine is told what
//! was observed, and its actions become effects. AFTER the status is published, so that whoever is
//! told can read what it was told.

use crate::consensus::{RaftRole, Replica};
use crate::core::authority::Phase;
use crate::core::command::MemberKind;
use crate::core::role::{EventName, Observation, RoleMachine, State};
use crate::core::{Index, Instant, NodeId, Term};
use crate::limits;

use super::event::{Consequence, Effect};
use super::machine::StateMachine;
use super::node::{Node, NodeConfig};
use super::status::{Change, MemberStatus, NodeStatus, Role};

/// What was published last, and the role machine.
pub(super) struct Published {
    status: NodeStatus,
    role: RoleMachine,
    /// Whether there is a quorum, once that was known.
    quorum: Option<bool>,
    /// Until when mere positions are not published.
    paused_until: Instant,
    /// When the status is to be published, if it has changed since.
    due: Option<Instant>,
}

impl Published {
    pub(super) fn starting<M: StateMachine>(
        config: &NodeConfig,
        replica: &Replica,
        machine: &M,
        applied: Index,
    ) -> Self {
        let position = replica.position();
        let member = |m: &super::node::Member| MemberStatus {
            id: m.id,
            name: m.name.clone(),
            address: m.address.clone(),
            kind: MemberKind::Voter,
            connected: m.id == config.id,
            matched: None,
            eligible: None,
            priority: None,
        };
        let own = config.members.iter().find(|m| m.id == config.id);
        let status = NodeStatus {
            name: own.expect("this node is a member").name.clone(),
            id: config.id,
            cluster_name: config.cluster_name.clone(),
            cluster_id: machine.cluster().cluster_id(),
            role: Role::Follower,
            active: false,
            phase: Phase::Unknown,
            term: position.term,
            token: machine.cluster().activation().map(|a| a.token()),
            leader: None,
            paused: machine.cluster().paused().is_some(),
            commit_index: position.commit,
            applied_index: applied,
            members: config.members.iter().map(member).collect(),
        };
        let role = RoleMachine::new();
        Published { status, role, quorum: None, paused_until: Instant::default(), due: None }
    }

    /// The status published last.
    pub(super) fn status(&self) -> &NodeStatus {
        &self.status
    }
}

impl<M: StateMachine> Node<M> {
    /// The status published last.
    pub fn status(&self) -> &NodeStatus {
        self.published.status()
    }

    /// Tells what changed since the last turn.
    pub(super) fn publish(&mut self, effects: &mut Vec<Effect>) {
        let observation = self.observe();
        // A demotion speaks of the activation that ended, whoever is active by now.
        let ended = self.published.role.token();
        let first = self.published.role.state() == State::Starting;
        let rule = self.published.role.observe(observation);
        let status = &self.published.status;
        let old = Before {
            role: status.role,
            active: status.active,
            leader: status.leader,
            term: status.term,
            paused: status.paused,
            quorum: self.published.quorum,
            first,
        };
        let later = self.published.paused_until.max(self.now);
        let due = match self.refresh_status() {
            Refreshed::More => Some(self.now),
            // Under load every turn moves an index; nobody has to hear of each.
            Refreshed::Positions => self.published.due.or(Some(later)),
            Refreshed::Nothing => self.published.due,
        };
        self.published.due = due.filter(|due| *due > self.now);
        if first || due.is_some() && self.published.due.is_none() {
            self.published.paused_until = self.now + limits::STATUS_POSITIONS_PAUSE;
            effects.push(Effect::Publish(Box::new(self.published.status.clone())));
        }
        let new = &self.published.status;
        let reason = self.reason(&old, new);
        if (old.role, old.active) != (new.role, new.active) || old.first {
            effects.push(Effect::Changed(Change::Role {
                old: old.role,
                new: new.role,
                active: new.active,
                term: new.term,
                token: new.token,
                reason,
            }));
        }
        for script in rule.script_events() {
            self.duty.acts += 1;
            let is_follower = script.event == EventName::Follower;
            let token = if is_follower { ended.or(new.token) } else { new.token };
            effects.push(Effect::Act(Consequence {
                number: self.duty.acts,
                planned: self.authority.is_planned(),
                script,
                term: new.term,
                token,
                leader: new.leader,
                reason,
            }));
        }
        if new.leader != old.leader {
            let change = Change::Leader { old: old.leader, new: new.leader, term: new.term };
            effects.push(Effect::Changed(change));
        }
        if new.paused != old.paused {
            let change = Change::Paused { paused: new.paused, term: new.term };
            effects.push(Effect::Changed(change));
        }
        let told = self.quorum.told();
        if let (Some(_), Some(has)) = (old.quorum, told.filter(|_| told != old.quorum)) {
            effects.push(Effect::Changed(Change::Quorum { has, term: new.term }));
        }
        self.published.quorum = told;
    }

    /// What the role machine is told: where the replica stands, and whether this host is, or still
    /// has to be taken for, the one (DESIGN 5.6: the scripts of a demotion come AFTER the stop).
    fn observe(&self) -> Observation {
        if self.stopped {
            return Observation::Stops;
        }
        let position = self.replica.position();
        let held = self.authority.held();
        match position.role {
            _ if held.is_some() => Observation::Activated(held.expect("just seen")),
            RaftRole::Leader => Observation::Elected,
            RaftRole::Candidate | RaftRole::PreCandidate => Observation::Campaigns,
            RaftRole::Follower if self.replica.voters().contains(&self.config.id) => {
                Observation::Follows
            }
            RaftRole::Follower => Observation::Learns,
        }
    }

    fn role(&self) -> Role {
        match self.replica.position().role {
            _ if self.stopped => Role::Follower,
            RaftRole::Leader => Role::Leader,
            RaftRole::Candidate | RaftRole::PreCandidate => Role::Candidate,
            RaftRole::Follower if self.replica.voters().contains(&self.config.id) => Role::Follower,
            RaftRole::Follower => Role::Learner,
        }
    }

    /// When a status that has changed is to be published.
    pub(super) fn publish_deadline(&self) -> Option<Instant> {
        self.published.due
    }

    /// Brings the status up to date; what changed.
    fn refresh_status(&mut self) -> Refreshed {
        let position = self.replica.position();
        let cluster = self.machine.cluster();
        let active = self.authority.is_active();
        let role = self.role();
        let own = |id| (id == self.config.id).then(|| self.own_standing());
        let of = |member: &MemberStatus| own(member.id).or_else(|| self.standing_of(member.id));
        let standings: Vec<_> = self.published.status.members.iter().map(of).collect();
        let mut standings = standings.into_iter();
        let status = &mut self.published.status;
        let mut changed = false;
        let mut note = |different: bool| changed |= different;
        note(replace(&mut status.role, role));
        note(replace(&mut status.active, active));
        note(replace(&mut status.phase, self.authority.phase()));
        note(replace(&mut status.term, position.term));
        note(replace(&mut status.leader, position.leader.filter(|_| !self.stopped)));
        note(replace(&mut status.cluster_id, cluster.cluster_id()));
        note(replace(&mut status.token, cluster.activation().map(|a| a.token())));
        note(replace(&mut status.paused, cluster.paused().is_some()));
        let mut moved = replace(&mut status.commit_index, position.commit);
        moved |= replace(&mut status.applied_index, self.applied.0);
        for member in &mut status.members {
            let own = member.id == self.config.id;
            let connected = own || self.connected.contains_key(&member.id);
            note(replace(&mut member.connected, connected));
            let (before, matched) = (member.matched, self.replica.matched(member.id));
            moved |= replace(&mut member.matched, matched);
            note(before.is_some() != matched.is_some());
            let standing = standings.next().expect("one for each member");
            note(replace(&mut member.eligible, standing.map(|s| s.eligible)));
            note(replace(&mut member.priority, standing.map(|s| s.priority)));
        }
        match (changed, moved) {
            (true, _) => Refreshed::More,
            (false, true) => Refreshed::Positions,
            (false, false) => Refreshed::Nothing,
        }
    }

    fn reason(&self, old: &Before, new: &NodeStatus) -> &'static str {
        if self.stopped {
            return "stopping";
        }
        match (old.role, new.role) {
            (Role::Follower, Role::Follower) => "started",
            (_, Role::Leader) if new.active => "activation committed",
            (Role::Leader, Role::Leader) => self.why_demoted(),
            (_, Role::Leader) => "election won",
            (Role::Leader, _) if self.handing_over => "leadership handed over",
            (Role::Leader, _) if self.stopping => "the agent stops",
            (Role::Leader, _) if new.term > old.term => "another node leads a newer term",
            (Role::Leader, _) => "quorum lost",
            (_, Role::Candidate) => "no leader heard",
            (Role::Candidate, Role::Follower) if new.leader.is_none() => "election not won",
            (_, Role::Follower) => "following the leader",
            (_, Role::Learner) => "learning the log",
        }
    }

    /// Why a leader ceases to be active.
    fn why_demoted(&self) -> &'static str {
        match self {
            _ if self.stopping => "the agent stops",
            _ if self.duty.suspended => "the host leaves",
            _ if self.duty.unfit => "this host may not be active",
            _ if self.transfer.is_some() => "leadership is handed over",
            _ => "demotion begun",
        }
    }
}

/// What changed in the status.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refreshed {
    Nothing,
    /// Only how far the log is.
    Positions,
    More,
}

/// What the status said before a turn.
struct Before {
    role: Role,
    active: bool,
    leader: Option<NodeId>,
    term: Term,
    paused: bool,
    quorum: Option<bool>,
    /// Nothing was published yet.
    first: bool,
}

/// Puts `new` into `place`; whether it is different.
fn replace<T: PartialEq>(place: &mut T, new: T) -> bool {
    let different = *place != new;
    *place = new;
    different
}
