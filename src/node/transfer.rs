//! Planned loss of leadership: transfer on request, and hand-over before stopping.
//!
//! First the demotion, awaited and committed; then leadership moves, so that the successor
//! activates at once (DESIGN 5.8). Leadership that has not moved after E is given up. A stop waits
//! for the same; a node that cannot hand over stops anyway: the others can elect without it.

use crate::consensus::RaftRole;
use crate::core::authority::Phase;
use crate::core::{Instant, NodeId, NodeName};

use super::event::{Answer, Effect, RequestId};
use super::handle::TransferError;
use super::machine::StateMachine;
use super::node::Node;

/// A transfer under way.
pub(super) struct Transfer {
    /// `None` for the hand-over before a stop, which nobody waits for.
    pub request: Option<RequestId>,
    /// The wanted successor; `None` for the best one when the demotion is over.
    pub to: Option<NodeId>,
    pub started: Instant,
    /// Set when leadership is on its way: E after that.
    pub deadline: Option<Instant>,
}

impl<M: StateMachine> Node<M> {
    pub(super) fn start_transfer(
        &mut self,
        now: Instant,
        request: RequestId,
        to: Option<NodeName>,
        effects: &mut Vec<Effect>,
    ) {
        match self.check_target(to) {
            Ok(to) => {
                let request = Some(request);
                self.transfer = Some(Transfer { request, to, started: now, deadline: None });
            }
            Err(error) => {
                let answer = Answer::Transferred(Err(error));
                effects.push(Effect::Answer { request, answer });
            }
        }
    }

    fn check_target(&self, to: Option<NodeName>) -> Result<Option<NodeId>, TransferError> {
        if self.stopping {
            return Err(TransferError::Stopping);
        }
        let wanted = to.map(|name| self.member_named(&name)).transpose()?;
        let position = self.replica.position();
        if position.role != RaftRole::Leader {
            let leader = position.leader.map(|id| self.name_of(id));
            return Err(TransferError::NotLeader { leader });
        }
        if let Some(transfer) = &self.transfer {
            return Err(TransferError::InProgress { to: self.target_name(transfer.to) });
        }
        let not_eligible = |name: String, reason| TransferError::NotEligible { name, reason };
        let reason = match wanted {
            Some(to) if to == self.config.id => "it already leads",
            Some(to) if !self.connected.contains_key(&to) => "it is not connected",
            Some(to) if !self.replica.voters().contains(&to) => "it is not a voter",
            Some(to) if self.is_ineligible(to) => "it is not eligible",
            None if self.best_successor().is_none() => "no other voter is connected and eligible",
            _ => return Ok(wanted),
        };
        Err(not_eligible(self.target_name(wanted), reason))
    }

    fn target_name(&self, to: Option<NodeId>) -> String {
        to.map_or_else(|| "(any)".to_owned(), |to| self.name_of(to))
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

    /// Moves a transfer on: waits for the demotion, sends leadership on its way, gives up after E.
    pub(super) fn check_transfer(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(transfer) = &self.transfer else { return };
        let position = self.replica.position();
        if let Some(leader) = position.leader.filter(|leader| *leader != self.config.id) {
            // Somebody else may have won; the operator learns who leads.
            let member = self.config.members.iter().find(|m| m.id == leader);
            let name = member.map(|m| m.name.clone());
            return self.finish_transfer(now, name, effects);
        }
        if transfer.deadline.is_some_and(|deadline| now >= deadline) {
            if self.leads() {
                self.replica.step_down(now);
                self.hold_off(now);
            }
            return self.finish_transfer(now, None, effects);
        }
        if transfer.deadline.is_none() && !self.leads() {
            // Lost while the demotion went on: whoever wins is the successor.
            self.set_transfer_deadline(now);
        } else if transfer.deadline.is_none() && (self.is_out() || self.keeps_active()) {
            // In a pause leadership alone moves.
            self.send_leadership(now);
        }
    }

    fn set_transfer_deadline(&mut self, now: Instant) {
        let deadline = now + self.config.timing.election_min;
        if let Some(transfer) = &mut self.transfer {
            transfer.deadline = Some(deadline);
        }
    }

    /// Nothing runs here any more, and the cluster knows: now leadership may move.
    fn send_leadership(&mut self, now: Instant) {
        let wanted = self.transfer.as_ref().and_then(|t| t.to);
        let able = |to: &NodeId| self.connected.contains_key(to) && !self.is_ineligible(*to);
        let to = wanted.filter(able).or_else(|| self.best_successor());
        self.authority.bar(self.replica.position().term);
        self.set_transfer_deadline(now);
        let sent = to.is_some_and(|to| self.replica.transfer(now, to).is_ok());
        if let Some(transfer) = &mut self.transfer {
            transfer.to = to.or(transfer.to);
            if !sent {
                transfer.deadline = Some(now);
            }
        }
    }

    fn finish_transfer(
        &mut self,
        now: Instant,
        leader: Option<NodeName>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(transfer) = self.transfer.take() else { return };
        let Some(request) = transfer.request else { return };
        let result = leader.ok_or_else(|| TransferError::TimedOut {
            name: self.target_name(transfer.to),
            waited_ms: (now - transfer.started).as_millis() as u64,
        });
        effects.push(Effect::Answer { request, answer: Answer::Transferred(result) });
    }

    pub(super) fn start_stopping(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        for (_, pending) in std::mem::take(&mut self.pending) {
            let answer = Answer::Unknown;
            effects.push(Effect::Answer { request: pending.request, answer });
        }
        if self.leads() {
            self.hand_over(now);
        }
    }

    /// Gives leadership to the best successor, after the demotion if there is one to do.
    pub(super) fn hand_over(&mut self, now: Instant) {
        self.hand_over_to(now, None);
    }

    /// The same, to `to` if it can still take over when the demotion is done.
    pub(super) fn hand_over_to(&mut self, now: Instant, to: Option<NodeId>) {
        if self.transfer.is_none() {
            let transfer = Transfer { request: None, to, started: now, deadline: None };
            self.transfer = Some(transfer);
        }
    }

    /// A stop is over when nothing runs here, and leadership has moved or cannot. The cluster is
    /// told of the release for a while; then what runs after the agent goes on with it.
    pub(super) fn check_stopping(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.stopping {
            return;
        }
        let unknown = self.authority.phase() == Phase::Unknown;
        if !unknown && !self.authority.phase().is_down() {
            return;
        }
        let patience = self.config.timing.election_min * 2;
        let until = *self.stop_by.get_or_insert(now + patience);
        let over = self.transfer.is_none() && (unknown || self.is_out());
        if now < until && !over {
            return;
        }
        self.stopped = true;
        self.kv_stop(now, effects);
        self.publish(effects);
        effects.push(Effect::Stopped);
    }
}
