//! The election timer and the vote lease, both ours (DESIGN 5.3, 8).
//!
//! Owns *when* this replica campaigns and *whether* it listens to candidates now. The engine's own
//! timer is set so high that it never fires: its random numbers would not replay from a seed.
//!
//! The vote lease is for liveness only: it keeps a returning node from disturbing a healthy
//! leader. No safety rule rests on it; the simulator switches it off for half its seeds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::message::Message;
use crate::core::rng::Rng;
use crate::core::{Instant, Term};
use crate::limits;

/// One fast campaign in this time, so that a flapping connection cannot cause a storm.
const FAST_EVERY: Duration = Duration::from_secs(2);

/// When this replica campaigns, compared with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidacy {
    /// In its turn.
    Ready,
    /// It leaves two full rounds to the others.
    Late,
    /// It should not lead: it leaves several rounds to the others, and takes no leadership that is
    /// handed to it.
    Last,
}

/// Timing of elections, from the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub election_min: Duration,
    pub election_max: Duration,
    pub tick: Duration,
}

/// Fractions of E, which the operator chose for the links there are: at the default of 200 ms a
/// rank is 10 ms, a retry 25 ms and the window 100 ms.
impl Timing {
    /// Distance between the campaigns of two ranks.
    fn rank_step(self) -> Duration {
        self.election_min / 20
    }

    /// Distance between two tries of one fast campaign.
    fn fast_retry(self) -> Duration {
        self.election_min / 8
    }

    /// Retries within this time after the evidence belong to the same fast campaign.
    fn fast_window(self) -> Duration {
        self.election_min / 2
    }
}

pub(super) struct Election {
    timing: Timing,
    vote_lease: bool,
    rng: Rng,
    campaign_at: Instant,
    /// Evidence that the leader of this term is gone.
    lost: Option<(u64, Term)>,
    fast_started: Option<Instant>,
    /// After a restart this node may have promised its vote lease to a leader it forgot.
    restart_lease_until: Instant,
    /// The newest vote request of each peer that came inside the lease. At most one per member.
    parked: BTreeMap<u64, Message>,
    candidacy: Candidacy,
}

impl Election {
    /// `fresh`: this node has never been in a term, so it has promised nothing to anybody.
    pub(super) fn new(
        timing: Timing,
        vote_lease: bool,
        seed: u64,
        fresh: bool,
        now: Instant,
    ) -> Self {
        let mut election = Election {
            timing,
            vote_lease,
            rng: Rng::new(seed),
            campaign_at: now,
            lost: None,
            fast_started: None,
            restart_lease_until: if fresh { now } else { now + timing.election_min },
            parked: BTreeMap::new(),
            candidacy: Candidacy::Ready,
        };
        election.campaign_at = now + election.random_timeout();
        election
    }

    fn random_timeout(&mut self) -> Duration {
        let Timing { election_min, election_max, .. } = self.timing;
        let span = election_max.saturating_sub(election_min).as_nanos() as u64;
        election_min + Duration::from_nanos(self.rng.below(span))
    }

    pub(super) fn campaign_at(&self) -> Instant {
        let rounds = match self.candidacy {
            Candidacy::Ready => 0,
            Candidacy::Late => 2,
            Candidacy::Last => limits::LAST_CAMPAIGN_ELECTIONS,
        };
        self.campaign_at + self.timing.election_max * rounds
    }

    pub(super) fn candidacy(&self) -> Candidacy {
        self.candidacy
    }

    pub(super) fn set_candidacy(&mut self, candidacy: Candidacy) {
        self.candidacy = candidacy;
    }

    /// `leader` was heard in the current term: wait for it again, the lowest rank shortest. Unless
    /// there is evidence against it and what was heard may have been `queued` since before.
    pub(super) fn heard_leader(
        &mut self,
        now: Instant,
        rank: u32,
        (leader, term): (u64, Term),
        queued: bool,
    ) {
        if queued && self.lost == Some((leader, term)) {
            return;
        }
        self.lost = None;
        self.parked.clear();
        self.campaign_at =
            now + self.timing.election_min + self.timing.tick + self.timing.rank_step() * rank;
    }

    /// This node gave its vote, or lost the lead: let the others have their turn.
    pub(super) fn stand_back(&mut self, now: Instant) {
        self.campaign_at = now + self.random_timeout();
    }

    /// This node said it would vote for somebody: do not get in the way at once.
    pub(super) fn promised(&mut self, now: Instant, rank: u32) {
        self.campaign_at = self.campaign_at.max(now + self.timing.rank_step() * (2 + rank));
    }

    /// A campaign starts now; when to try again if it fails.
    pub(super) fn campaigning(&mut self, now: Instant, rank: u32) {
        let fast = self.fast_started.is_some_and(|start| now < start + self.timing.fast_window());
        let pause = if fast {
            self.timing.fast_retry() + self.timing.rank_step() * rank
        } else {
            self.random_timeout()
        };
        self.campaign_at = now + pause;
    }

    /// Evidence that the leader is gone: its connection closed and its process does not answer.
    pub(super) fn lost_leader(&mut self, now: Instant, leader: u64, term: Term, rank: u32) {
        self.lost = Some((leader, term));
        self.restart_lease_until = now;
        if self.fast_started.is_none_or(|start| now >= start + FAST_EVERY) {
            self.fast_started = Some(now);
            self.campaign_at = self.campaign_at.min(now + self.timing.rank_step() * rank);
        }
    }

    /// A quorum can be reached for the first time and nobody leads: no reason to wait.
    pub(super) fn quorum_reachable(&mut self, now: Instant, rank: u32) {
        let soon = (now + self.timing.rank_step() * rank).max(self.restart_lease_until);
        self.campaign_at = self.campaign_at.min(soon);
    }

    /// There is nobody else to wait for, or to have promised anything to.
    pub(super) fn alone(&mut self, now: Instant) {
        self.campaign_at = now;
    }

    /// This process slept: what happened meanwhile is still in the queues, so look there first.
    pub(super) fn slept(&mut self, now: Instant, rank: u32) {
        self.campaign_at =
            self.campaign_at.max(now + self.timing.tick + self.timing.rank_step() * rank);
    }

    /// Until when candidates are not listened to; `heard_until` is the engine's lease, if it knows
    /// a leader.
    pub(super) fn lease_until(
        &self,
        heard_until: Option<Instant>,
        leader: u64,
        term: Term,
    ) -> Option<Instant> {
        if !self.vote_lease {
            return None;
        }
        let heard = heard_until.filter(|_| self.lost != Some((leader, term)));
        heard.max(Some(self.restart_lease_until))
    }

    /// Keeps a vote request for the end of the lease; the newest of each peer.
    pub(super) fn park(&mut self, message: Message) {
        self.parked.insert(message.from, message);
    }

    pub(super) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    pub(super) fn take_parked(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.parked).into_values().collect()
    }
}
