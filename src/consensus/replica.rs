//! One replica: engine, log view, guard and election timer as one synchronous value.
//!
//! Calls that change it: [`Replica::step`] (a message), [`Replica::tick`] (time),
//! [`Replica::propose`], [`Replica::read`], [`Replica::transfer`], [`Replica::leader_lost`]
//! (evidence), and the acknowledgements [`Replica::persisted`], [`Replica::applied`],
//! [`Replica::fetched`]. After any of them, [`Replica::ready`] until it returns `None`.

use std::collections::BTreeMap;

use raft::eraftpb::{ConfState, MessageType};
use raft::{RawNode, StateRole};
use slog::o;

use super::convert;
use super::election::{Candidacy, Election, Timing};
use super::guard::Refused;
use super::log_view::LogView;
use super::output::{Position, RaftRole};
use super::settings::{ProposeRefused, Recovered, ReplicaConfig, StartRefused, engine_config};
use crate::core::message::{Entry, Kind, Message};
use crate::core::{Index, Instant, NodeId, Term};
use crate::limits;

/// Fetches under way at once. At the limit: the engine asks again at the next heartbeat answer.
pub(super) const FETCHES_MAX: usize = 2 * limits::MEMBERS_MAX;

/// One member of the consensus group.
pub struct Replica {
    pub(super) config: ReplicaConfig,
    pub(super) raw: RawNode<LogView>,
    pub(super) election: Election,
    pub(super) now: Instant,
    pub(super) last_tick: Instant,
    pub(super) last_leader: u64,
    /// Turn whose term or vote is not durable yet.
    pub(super) vote_unsynced: Option<u64>,
    /// Term and vote last handed out to be persisted.
    pub(super) handed_vote: (Term, u64),
    pub(super) number: u64,
    pub(super) snapshots_sent: BTreeMap<u64, Instant>,
    pub(super) heartbeat_at: Instant,
    /// Who campaigns before this node; `None`: by number.
    pub(super) ahead: Option<Vec<NodeId>>,
}

impl Replica {
    /// Starts from what was durable.
    pub fn new(
        config: ReplicaConfig,
        recovered: Recovered,
        now: Instant,
    ) -> Result<Replica, StartRefused> {
        let Recovered { mut hard_state, truncated, last, applied, .. } = recovered;
        if applied > last {
            return Err(StartRefused::LogBehindState { applied, last });
        }
        if truncated.0 > applied {
            return Err(StartRefused::LogStartsTooLate { first: truncated.0 + 1, applied });
        }
        hard_state.commit = hard_state.commit.max(applied);
        let fresh = hard_state.term == 0;
        let ids = |members: &[NodeId]| members.iter().map(|m| m.0).collect::<Vec<_>>();
        let conf_state = ConfState::from((ids(&recovered.voters), ids(&recovered.learners)));
        let mut view = LogView::new(
            convert::hard_state_to_engine(hard_state),
            conf_state,
            truncated,
            recovered.terms,
            last,
            config.cache_max_bytes,
        );
        view.warm(recovered.tail.into_iter().map(convert::entry_to_engine).collect());
        let timing = Timing {
            election_min: config.election_min,
            election_max: config.election_max,
            tick: config.tick,
        };
        let logger = slog::Logger::root(slog::Discard, o!());
        let raw = RawNode::new(&engine_config(&config, applied), view, &logger)
            .map_err(StartRefused::Engine)?;
        let mut election = Election::new(timing, config.vote_lease, config.seed, fresh, now);
        if recovered.voters == [config.id] {
            election.alone(now);
        }
        Ok(Replica {
            election,
            config,
            raw,
            now,
            last_tick: now,
            last_leader: 0,
            vote_unsynced: None,
            handed_vote: (hard_state.term, hard_state.vote),
            number: 0,
            snapshots_sent: BTreeMap::new(),
            heartbeat_at: now,
            ahead: None,
        })
    }

    /// Where the replica stands.
    pub fn position(&self) -> Position {
        let raft = &self.raw.raft;
        let role = match raft.state {
            StateRole::Follower => RaftRole::Follower,
            StateRole::PreCandidate => RaftRole::PreCandidate,
            StateRole::Candidate => RaftRole::Candidate,
            StateRole::Leader => RaftRole::Leader,
        };
        let leader = (raft.leader_id != 0).then_some(NodeId(raft.leader_id));
        let (commit, last) = (raft.raft_log.committed, raft.raft_log.last_index());
        Position { role, term: raft.term, leader, commit, last }
    }

    /// On the leader: last index that `id` is known to have. `None` elsewhere.
    pub fn matched(&self, id: NodeId) -> Option<Index> {
        let leads = self.raw.raft.state == StateRole::Leader;
        self.raw.raft.prs().get(id.0).filter(|_| leads).map(|progress| progress.matched)
    }

    /// First index that the log still has.
    pub fn first_index(&self) -> Index {
        self.raw.raft.raft_log.first_index()
    }

    /// Term of the entry at `index`, if the log still knows it.
    pub fn term_of(&self, index: Index) -> Option<Term> {
        self.raw.raft.raft_log.term(index).ok().filter(|term| *term != 0)
    }

    /// Voters of the membership in force.
    pub fn voters(&self) -> Vec<NodeId> {
        let mut ids: Vec<u64> = self.raw.raft.prs().conf().voters().ids().iter().collect();
        ids.sort_unstable();
        ids.into_iter().map(NodeId).collect()
    }

    /// Whether a transfer of leadership is under way, and to whom.
    pub fn transferring_to(&self) -> Option<NodeId> {
        self.raw.raft.lead_transferee.map(NodeId)
    }

    /// This node's place among those who may succeed the last leader, from 0.
    fn rank(&self) -> u32 {
        let ahead = |id: u64| match &self.ahead {
            Some(ahead) => ahead.contains(&NodeId(id)),
            None => id < self.config.id.0,
        };
        let before = |id: &u64| ahead(*id) && *id != self.last_leader;
        self.raw.raft.prs().conf().voters().ids().iter().filter(before).count() as u32
    }

    /// Takes a message from a peer. A refused one changes nothing.
    pub fn step(&mut self, now: Instant, message: Message) -> Result<(), Refused> {
        self.advance(now);
        let kind = self.check(&message)?;
        if kind == Kind::TimeoutNow && self.election.candidacy() == Candidacy::Last {
            // The leader does not know yet; after E it gives up (DESIGN 5.8, 5.11).
            return Ok(());
        }
        let voting = matches!(kind, Kind::Vote | Kind::PreVote) && message.context.is_empty();
        if voting && self.raw.raft.state != StateRole::Leader {
            if self.in_vote_lease() {
                self.election.park(message);
                return Ok(());
            }
            // The lease is over or waived; the engine's own clock may not know.
            self.raw.raft.election_elapsed = self.raw.raft.election_timeout();
        }
        self.engine_step(message, kind);
        Ok(())
    }

    fn engine_step(&mut self, message: Message, kind: Kind) {
        let (from, message_term) = (message.from, message.term);
        let before = (self.raw.raft.state, self.raw.raft.vote, self.raw.raft.term);
        let Some(message) = convert::message_to_engine(message, kind) else { return };
        // The engine's errors here mean "dropped": a read without leader, an unknown peer.
        let _ = self.raw.step(message);
        let raft = &self.raw.raft;
        if raft.leader_id != 0 {
            self.last_leader = raft.leader_id;
        }
        let rank = self.rank();
        let raft = &self.raw.raft;
        let from_leader = matches!(kind, Kind::Append | Kind::Heartbeat | Kind::Snapshot)
            && raft.leader_id == from
            && raft.term == message_term;
        let voted = raft.vote != 0
            && raft.vote != raft.id
            && (raft.vote, raft.term) != (before.1, before.2);
        if from_leader {
            // Appends and snapshots wait in queues, heartbeats do not.
            let queued = kind != Kind::Heartbeat;
            self.election.heard_leader(self.now, rank, (from, message_term), queued);
        } else if voted || (before.0 == StateRole::Leader && raft.state != StateRole::Leader) {
            self.election.stand_back(self.now);
        } else if kind == Kind::PreVote && self.promised_vote_to(from) {
            self.election.promised(self.now, rank);
        }
    }

    /// Whether the answer just queued grants a pre-vote.
    fn promised_vote_to(&self, to: u64) -> bool {
        self.raw.raft.msgs.last().is_some_and(|m| {
            m.get_msg_type() == MessageType::MsgRequestPreVoteResponse && m.to == to && !m.reject
        })
    }

    fn in_vote_lease(&self) -> bool {
        self.lease_until().is_some_and(|until| self.now < until)
    }

    fn lease_until(&self) -> Option<Instant> {
        let raft = &self.raw.raft;
        let left = raft.election_timeout().saturating_sub(raft.election_elapsed) as u32;
        let heard = (raft.leader_id != 0).then(|| self.last_tick + self.config.tick * left);
        self.election.lease_until(heard, raft.leader_id, raft.term)
    }

    /// Runs the engine's clock up to `now` and campaigns when it is time. Call it when
    /// [`Replica::next_deadline`] has come, AFTER the messages that were waiting.
    pub fn tick(&mut self, now: Instant) {
        self.advance(now);
        self.retry_lost_snapshots();
        if self.raw.raft.state == StateRole::Leader && now >= self.heartbeat_at {
            // The owner had no round of its own to send.
            self.heartbeat(now, None);
        }
        if self.election.has_parked() && !self.in_vote_lease() {
            self.step_parked();
        }
        if self.may_campaign() && self.now >= self.election.campaign_at() {
            let rank = self.rank();
            if self.installing() {
                self.election.slept(self.now, rank);
                return;
            }
            self.election.campaigning(self.now, rank);
            let _ = self.raw.campaign();
        }
    }

    fn may_campaign(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state != StateRole::Leader && raft.promotable()
    }

    /// When [`Replica::tick`] has something to do next.
    pub fn next_deadline(&self) -> Instant {
        let raft = &self.raw.raft;
        let ticks = |count: usize| self.last_tick + self.config.tick * count.max(1) as u32;
        if raft.state == StateRole::Leader {
            let quorum = raft.election_timeout().saturating_sub(raft.election_elapsed);
            if raft.prs().iter().len() == 1 {
                return ticks(quorum);
            }
            return ticks(quorum).min(self.heartbeat_at);
        }
        let mut next = self.election.campaign_at();
        if let Some(until) = self.lease_until().filter(|_| self.election.has_parked()) {
            next = next.min(until);
        }
        if self.may_campaign() { next } else { next.max(self.now + self.config.tick) }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        if now <= self.now {
            return;
        }
        // Not the time since the last event: a follower of a silent leader waits E on purpose.
        if now - self.next_deadline() > self.config.election_min / 2 {
            let rank = self.rank();
            self.election.slept(now, rank);
        }
        self.now = now;
        // A long sleep needs no more ticks than make a leader check its quorum twice.
        let most = self.config.election_min * 4;
        if now - self.last_tick > most {
            self.last_tick = Instant(now.0 - most.as_nanos() as u64);
        }
        let led = self.raw.raft.state == StateRole::Leader;
        while self.last_tick + self.config.tick <= now {
            self.last_tick += self.config.tick;
            self.raw.tick();
        }
        if led && self.raw.raft.state != StateRole::Leader {
            self.election.stand_back(now);
        }
    }

    fn step_parked(&mut self) {
        for message in self.election.take_parked() {
            let now = self.now;
            let _ = self.step(now, message);
        }
    }

    /// Evidence that `peer`'s process is gone: its connection closed and a redial was refused or
    /// not answered. If it led, this node stops waiting for it (DESIGN 5.3).
    pub fn leader_lost(&mut self, now: Instant, peer: NodeId) {
        self.advance(now);
        let raft = &self.raw.raft;
        if peer.0 != self.last_leader || raft.state == StateRole::Leader {
            return;
        }
        let term = raft.term;
        let rank = self.rank();
        self.election.lost_leader(now, peer.0, term, rank);
        self.step_parked();
    }

    /// A quorum of voters can be reached; call it once after the start.
    pub fn quorum_reachable(&mut self, now: Instant) {
        self.advance(now);
        if self.raw.raft.leader_id == 0 {
            let rank = self.rank();
            self.election.quorum_reachable(now, rank);
        }
    }

    /// A message to `peer` was lost: probe before sending more.
    pub fn unreachable(&mut self, peer: NodeId) {
        self.raw.report_unreachable(peer.0);
        if self.snapshots_sent.contains_key(&peer.0) {
            self.snapshot_failed(peer);
        }
    }

    /// Appends proposals as one batch; returns the index of the first and the term. They are
    /// committed if and only if entries with that term are later committed at those indexes.
    pub fn propose(
        &mut self,
        now: Instant,
        proposals: Vec<Vec<u8>>,
    ) -> Result<(Index, Term), ProposeRefused> {
        self.advance(now);
        let fits = |p: &Vec<u8>| !p.is_empty() && p.len() <= limits::ENTRY_MAX_BYTES;
        if let Some(bad) = proposals.iter().find(|p| !fits(p)) {
            return Err(ProposeRefused::Size { bytes: bad.len() });
        }
        if self.raw.raft.state != StateRole::Leader {
            return Err(ProposeRefused::NotLeader);
        }
        if self.raw.raft.lead_transferee.is_some() {
            return Err(ProposeRefused::Transferring);
        }
        let first = self.raw.raft.raft_log.last_index() + 1;
        if proposals.is_empty() {
            return Ok((first, self.raw.raft.term));
        }
        let mut message = raft::eraftpb::Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.config.id.0;
        let entry = |data| convert::entry_to_engine(Entry { term: 0, index: 0, data });
        let entries: Vec<_> = proposals.into_iter().map(entry).collect();
        message.set_entries(entries.into());
        self.raw.step(message).map_err(|_| ProposeRefused::Busy)?;
        Ok((first, self.raw.raft.term))
    }
}
