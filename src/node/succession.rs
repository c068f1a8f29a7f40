//! Who should lead after whom: what peers say about themselves, the rank of campaigns, the choice
//! of a successor, and preemption.
//!
//! Guarantees: nothing here decides about safety, and every doubt means "stay". An ineligible peer
//! is never chosen. Priority only orders: nobody waits longer than the ranks of a campaign are
//! apart, and a preferred node that is not there is not waited for at all.
//!
//! Does not: hand over (`transfer`), or judge whether this host may be active (others tell it).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::{Instant, NodeId};
use crate::limits;

use super::event::Effect;
use super::machine::StateMachine;
use super::node::Node;

/// What a peer says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub eligible: bool,
    pub priority: u32,
}

/// What is known about who should lead.
#[derive(Default)]
pub(super) struct Succession {
    standings: BTreeMap<NodeId, Standing>,
    /// What the peers were told last.
    told: Option<Standing>,
    preemption: Preemption,
}

impl<M: StateMachine> Node<M> {
    /// A peer says how it stands.
    pub(super) fn peer_standing(&mut self, peer: NodeId, eligible: bool, priority: u32) {
        if peer == self.config.id || self.config.members.iter().all(|m| m.id != peer) {
            return;
        }
        self.succession.standings.insert(peer, Standing { eligible, priority });
        self.rank_campaigns();
    }

    /// Another process of a peer says anew how it stands.
    pub(super) fn forget_standing(&mut self, peer: NodeId) {
        if self.succession.standings.remove(&peer).is_some() {
            self.rank_campaigns();
        }
    }

    /// What a connected peer says about itself, if anything.
    pub(super) fn standing_of(&self, peer: NodeId) -> Option<Standing> {
        let here = self.connected.contains_key(&peer);
        self.succession.standings.get(&peer).copied().filter(|_| here)
    }

    /// How this node stands.
    pub(super) fn own_standing(&self) -> Standing {
        Standing { eligible: !self.duty.unfit, priority: self.config.priority }
    }

    /// Tells the peers, if that changed.
    pub(super) fn tell_standing(&mut self, effects: &mut Vec<Effect>) {
        let standing @ Standing { eligible, priority } = self.own_standing();
        if self.succession.told.replace(standing) != Some(standing) {
            effects.push(Effect::Standing { eligible, priority });
        }
    }

    /// Whom to let campaign first: those with a higher priority, then those with a lower number.
    /// Of a peer that has said nothing only the number counts; an ineligible one is last anyway.
    fn rank_campaigns(&mut self) {
        let me = (self.config.priority, Reverse(self.config.id));
        let first = |id: &NodeId| match self.succession.standings.get(id) {
            Some(peer) => peer.eligible && (peer.priority, Reverse(*id)) > me,
            None => *id < self.config.id,
        };
        let members = self.config.members.iter().map(|m| m.id);
        let ahead = members.filter(|id| *id != self.config.id && first(id)).collect();
        self.replica.set_ahead(ahead);
    }

    /// Whether `peer` has said that it may not be active. What a pause keeps active may lead, or
    /// else it could not end the pause.
    pub(super) fn is_ineligible(&self, peer: NodeId) -> bool {
        let cluster = self.machine.cluster();
        let record = cluster.activation().filter(|a| a.is_active() && cluster.paused().is_some());
        let kept = record.is_some_and(|record| record.node() == peer);
        !kept && self.succession.standings.get(&peer).is_some_and(|standing| !standing.eligible)
    }

    /// Whether this host is active, and stays so whoever leads.
    pub(super) fn keeps_active(&self) -> bool {
        self.authority.rests_on_pause() && !self.stopping && !self.duty.suspended
    }

    /// Whether `peer` lacks so little that a transfer to it is complete within E.
    fn is_caught_up(&self, peer: NodeId) -> bool {
        let last = self.replica.position().last;
        let matched = self.replica.matched(peer);
        matched.is_some_and(|matched| matched + limits::SUCCESSOR_LAG_ENTRIES >= last)
    }

    /// Of the connected voters that may be active: one that is caught up, then one that has said
    /// that it may, then the highest priority, the longest log, the lowest number.
    pub(super) fn best_successor(&self) -> Option<NodeId> {
        let voters = self.replica.voters().into_iter();
        let candidates = voters.filter(|id| {
            *id != self.config.id && self.connected.contains_key(id) && !self.is_ineligible(*id)
        });
        candidates.max_by_key(|id| {
            let standing = self.standing_of(*id);
            let priority = standing.map_or(0, |s| s.priority);
            let matched = self.replica.matched(*id);
            (self.is_caught_up(*id), standing.is_some(), priority, matched, Reverse(*id))
        })
    }

    /// One to whom leadership may be given although nothing forces this node to.
    pub(super) fn ready_successor(&self) -> Option<NodeId> {
        self.best_successor().filter(|id| self.is_caught_up(*id))
    }

    /// An active leader gives way to a node of higher priority that has long been ready.
    pub(super) fn preempt(&mut self, now: Instant) {
        if !self.config.preempt {
            return;
        }
        let active = self.leads() && self.authority.is_active() && self.transfer.is_none();
        let paused = self.machine.cluster().paused().is_some();
        let stays = !active || self.stopping || paused;
        let voters = self.replica.voters();
        let ready = |id: &NodeId| {
            let Some(standing) = self.standing_of(*id) else { return false };
            let above = standing.priority > self.config.priority;
            !stays && standing.eligible && above && self.is_caught_up(*id)
        };
        let ready: Vec<NodeId> = voters.into_iter().filter(ready).collect();
        self.succession.preemption.observe(now, &ready);
        let after = self.config.timing.preempt_after;
        let due = self.succession.preemption.due(now, after).into_iter();
        let rank = |id: &NodeId| (self.standing_of(*id).map(|s| s.priority), Reverse(*id));
        if let Some(to) = due.max_by_key(rank) {
            self.succession.preemption.begins(now, after);
            self.hand_over_to(now, Some(to));
        }
    }

    /// When a preemption may be due, next.
    pub(super) fn preempt_deadline(&self) -> Option<Instant> {
        self.succession.preemption.deadline(self.config.timing.preempt_after)
    }
}

/// Since when which peers are ready to take over, and when this agent may give way again.
#[derive(Debug, Default)]
struct Preemption {
    since: BTreeMap<NodeId, Instant>,
    /// When the last one began, and how long to wait after it.
    last: Option<(Instant, Duration)>,
}

impl Preemption {
    /// Only these are ready now. An interruption begins the wait anew.
    fn observe(&mut self, now: Instant, ready: &[NodeId]) {
        self.since.retain(|id, _| ready.contains(id));
        for id in ready {
            self.since.entry(*id).or_insert(now);
        }
    }

    fn not_before(&self) -> Instant {
        self.last.map_or(Instant::default(), |(at, pause)| at + pause)
    }

    /// Who has been ready for long enough.
    fn due(&self, now: Instant, after: Duration) -> Vec<NodeId> {
        let rested = now >= self.not_before();
        let long = self.since.iter().filter(|(_, since)| rested && now >= **since + after);
        long.map(|(id, _)| *id).collect()
    }

    /// One begins. Whether or not it works: if this node is active again, something is wrong with
    /// the other one, and it waits longer.
    fn begins(&mut self, now: Instant, after: Duration) {
        let least = after * limits::PREEMPT_PAUSE_FACTOR;
        let most = limits::PREEMPT_PAUSE_MAX;
        let pause = match self.last {
            Some((at, pause)) if now < at + pause + most => (pause * 2).min(most),
            _ => least,
        };
        self.last = Some((now, pause));
        self.since.clear();
    }

    fn deadline(&self, after: Duration) -> Option<Instant> {
        let first = self.since.values().min()?;
        Some((*first + after).max(self.not_before()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = limits::PREEMPT_AFTER;

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    #[test]
    fn an_interruption_begins_the_wait_anew() {
        let mut preemption = Preemption::default();
        let (n2, n3) = (NodeId(2), NodeId(3));
        preemption.observe(at(1), &[n2]);
        preemption.observe(at(6), &[n2, n3]);
        assert_eq!(preemption.deadline(AFTER), Some(at(11)));
        assert_eq!(preemption.due(at(10), AFTER), []);
        preemption.observe(at(11), &[n3]);
        assert_eq!(preemption.due(at(11), AFTER), []);
        preemption.observe(at(16), &[n2, n3]);
        assert_eq!(preemption.due(at(16), AFTER), [n3]);
        preemption.observe(at(17), &[]);
        assert_eq!((preemption.deadline(AFTER), preemption.due(at(90), AFTER)), (None, vec![]));
    }

    #[test]
    fn each_one_makes_the_pause_before_the_next_longer_up_to_a_limit() {
        let mut preemption = Preemption::default();
        let mut now = at(100);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            preemption.begins(now, AFTER);
            preemption.observe(now, &[NodeId(2)]);
            let next = preemption.deadline(AFTER).expect("somebody is ready");
            assert_eq!(preemption.due(Instant(next.0 - 1), AFTER), []);
            assert_eq!(preemption.due(next, AFTER), [NodeId(2)]);
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        now += limits::PREEMPT_PAUSE_MAX;
        preemption.begins(now, AFTER);
        preemption.observe(now, &[NodeId(2)]);
        assert_eq!(preemption.deadline(AFTER), Some(now + Duration::from_secs(60)));
    }
}
