//! Planned loss of leadership: transfer on request, and hand-over before stopping.
//!
//! A transfer is answered when the successor is known to lead, or after E. A stop waits for the
//! same; a node that cannot hand over stops anyway, because the others can elect without it.

use crate::consensus::{RaftRole, TransferRefused};
use crate::core::{Instant, NodeId, NodeName};

use super::event::{Answer, Effect, RequestId};
use super::handle::TransferError;
use super::machine::StateMachine;
use super::node::Node;

/// A transfer under way.
pub(super) struct Transfer {
    /// `None` for the hand-over before a stop, which nobody waits for.
    pub request: Option<RequestId>,
    pub to: NodeId,
    pub started: Instant,
    pub deadline: Instant,
}

impl<M: StateMachine> Node<M> {
    pub(super) fn start_transfer(
        &mut self,
        now: Instant,
        request: RequestId,
        to: Option<NodeName>,
        effects: &mut Vec<Effect>,
    ) {
        match self.try_transfer(now, to) {
            Ok(to) => {
                let deadline = now + self.config.timing.election_min;
                let request = Some(request);
                self.transfer = Some(Transfer { request, to, started: now, deadline });
            }
            Err(error) => {
                let answer = Answer::Transferred(Err(error));
                effects.push(Effect::Answer { request, answer });
            }
        }
    }

    fn try_transfer(
        &mut self,
        now: Instant,
        to: Option<NodeName>,
    ) -> Result<NodeId, TransferError> {
        if self.stopping.is_some() {
            return Err(TransferError::Stopping);
        }
        let wanted = to.map(|name| self.member_named(&name)).transpose()?;
        let position = self.replica.position();
        if position.role != RaftRole::Leader {
            let leader = position.leader.map(|id| self.name_of(id));
            return Err(TransferError::NotLeader { leader });
        }
        if let Some(transfer) = &self.transfer {
            return Err(TransferError::InProgress { to: self.name_of(transfer.to) });
        }
        let not_eligible = |name: String, reason| TransferError::NotEligible { name, reason };
        let to = match wanted {
            Some(to) if to == self.config.id => {
                return Err(not_eligible(self.name_of(to), "it already leads"));
            }
            Some(to) => to,
            None => self
                .best_successor()
                .ok_or_else(|| not_eligible("(any)".to_owned(), "no other voter is connected"))?,
        };
        if !self.connected.contains_key(&to) {
            return Err(not_eligible(self.name_of(to), "it is not connected"));
        }
        match self.replica.transfer(now, to) {
            Ok(()) => Ok(to),
            Err(TransferRefused::InProgress) => {
                Err(TransferError::InProgress { to: self.name_of(to) })
            }
            Err(TransferRefused::BadTarget) => {
                Err(not_eligible(self.name_of(to), "it is not a voter"))
            }
            Err(TransferRefused::NotLeader) => Err(TransferError::NotLeader { leader: None }),
        }
    }

    /// The connected voter with the longest replicated log; the lowest number among equals.
    pub(super) fn best_successor(&self) -> Option<NodeId> {
        let candidates = self
            .replica
            .voters()
            .into_iter()
            .filter(|id| *id != self.config.id && self.connected.contains_key(id));
        candidates.max_by_key(|id| (self.replica.matched(*id), std::cmp::Reverse(*id)))
    }

    fn member_named(&self, name: &NodeName) -> Result<NodeId, TransferError> {
        let members = &self.config.members;
        members.iter().find(|m| m.name == *name).map(|m| m.id).ok_or_else(|| {
            let names: Vec<_> = members.iter().map(|m| m.name.as_str()).collect();
            TransferError::UnknownMember { name: name.to_string(), members: names.join(", ") }
        })
    }

    /// The name of a member, for messages.
    pub(super) fn name_of(&self, id: NodeId) -> String {
        let member = self.config.members.iter().find(|m| m.id == id);
        member.map_or_else(|| format!("#{id}"), |m| m.name.to_string())
    }

    pub(super) fn check_transfer(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(transfer) = &self.transfer else { return };
        let position = self.replica.position();
        let arrived = position.leader.filter(|leader| *leader != self.config.id);
        if arrived.is_none() && now < transfer.deadline {
            return;
        }
        let transfer = self.transfer.take().expect("just seen");
        let Some(request) = transfer.request else { return };
        let result = match arrived {
            // Somebody else may have won; the operator learns who leads.
            Some(leader) => Ok(self.config.members.iter().find(|m| m.id == leader)),
            None => Err(()),
        };
        let result = match result {
            Ok(Some(member)) => Ok(member.name.clone()),
            _ => Err(TransferError::TimedOut {
                name: self.name_of(transfer.to),
                waited_ms: (now - transfer.started).as_millis() as u64,
            }),
        };
        effects.push(Effect::Answer { request, answer: Answer::Transferred(result) });
    }

    pub(super) fn start_stopping(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.stopping.is_some() {
            return;
        }
        let leads = self.replica.position().role == RaftRole::Leader;
        self.stopping = Some(if leads { now + self.config.timing.election_min * 2 } else { now });
        for (_, pending) in std::mem::take(&mut self.pending) {
            let answer = Answer::Unknown;
            effects.push(Effect::Answer { request: pending.request, answer });
        }
        if leads && self.transfer.is_none() {
            self.hand_over(now);
        }
    }

    fn hand_over(&mut self, now: Instant) {
        let Some(to) = self.best_successor() else {
            self.stopping = Some(now);
            return;
        };
        if self.replica.transfer(now, to).is_ok() {
            let deadline = now + self.config.timing.election_min;
            self.transfer = Some(Transfer { request: None, to, started: now, deadline });
        }
    }

    pub(super) fn check_stopping(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(deadline) = self.stopping else { return };
        let position = self.replica.position();
        let handed_over = position.leader.is_some_and(|leader| leader != self.config.id);
        if now < deadline && !handed_over {
            return;
        }
        self.stopped = true;
        self.stopping_published(effects);
        effects.push(Effect::Stopped);
    }
}
