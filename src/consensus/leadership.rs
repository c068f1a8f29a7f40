//! What a leader does with its leadership: heartbeats and read rounds, handing over, stepping down.

use raft::StateRole;

use super::election::Candidacy;
use super::replica::Replica;
use super::settings::TransferRefused;
use crate::core::{Instant, NodeId};

impl Replica {
    /// When the next heartbeat of a leader is due.
    pub fn heartbeat_at(&self) -> Instant {
        self.heartbeat_at
    }

    /// Whether an entry of the current term is committed: before, no round can be confirmed.
    pub fn commits_in_term(&self) -> bool {
        self.raw.raft.commit_to_current_term()
    }

    /// Sends heartbeats; with a context they are a round of a linearizable read (thesis 6.4), and
    /// the context comes back in `Output::reads` when a quorum has answered.
    pub fn heartbeat(&mut self, now: Instant, context: Option<u64>) {
        self.advance(now);
        self.heartbeat_at = now + self.config.heartbeat;
        match context {
            Some(context) => self.raw.read_index(context.to_be_bytes().to_vec()),
            None => self.raw.ping(),
        }
    }

    /// Stops leading at once, without a successor: what it cannot hold it must not block.
    pub fn step_down(&mut self, now: Instant) {
        self.advance(now);
        if self.raw.raft.state == StateRole::Leader {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, 0);
            self.election.stand_back(now);
        }
    }

    /// Whether this node should lead now. One that should not still votes, replicates and, when
    /// nobody else can, campaigns last (DESIGN 5.11).
    pub fn set_candidacy(&mut self, candidacy: Candidacy) {
        self.election.set_candidacy(candidacy);
    }

    /// Who campaigns before this node when everybody has the same reason to. Without a word: those
    /// with lower numbers.
    pub fn set_ahead(&mut self, ahead: Vec<NodeId>) {
        self.ahead = Some(ahead);
    }

    /// Asks for a linearizable read point (thesis 6.4). `context` must be unique; without a leader,
    /// or before its first commit, the request is silently lost: use a deadline.
    pub fn read(&mut self, now: Instant, context: u64) {
        self.advance(now);
        self.raw.read_index(context.to_be_bytes().to_vec());
    }

    /// Starts handing leadership to `to` (thesis 3.10).
    pub fn transfer(&mut self, now: Instant, to: NodeId) -> Result<(), TransferRefused> {
        self.advance(now);
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return Err(TransferRefused::NotLeader);
        }
        if to == self.config.id || !raft.prs().conf().voters().contains(to.0) {
            return Err(TransferRefused::BadTarget);
        }
        if raft.lead_transferee.is_some() {
            return Err(TransferRefused::InProgress);
        }
        self.raw.transfer_leader(to.0);
        Ok(())
    }
}
