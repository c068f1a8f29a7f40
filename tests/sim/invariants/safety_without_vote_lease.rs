//! Safety without the vote lease (DESIGN 5.3): half the seeds run without it, and all other
//! invariants hold there as well. This one only makes sure that those runs are what they claim to
//! be: leaders are deposed while voters have heard them less than E ago.

use std::time::Duration;

use raftctl::core::{Instant, NodeId};

#[derive(Default)]
pub struct SafetyWithoutVoteLease {
    vote_lease: bool,
    last: Option<(Instant, NodeId)>,
    /// Elections of somebody else so soon that no voter could have waited.
    pub quick: u64,
}

impl SafetyWithoutVoteLease {
    pub fn new(vote_lease: bool) -> Self {
        SafetyWithoutVoteLease { vote_lease, ..Default::default() }
    }

    /// `node` begins to lead.
    pub fn elected(&mut self, now: Instant, node: NodeId) {
        if let Some((at, before)) = self.last
            && before != node
            && now - at < Duration::from_millis(200)
            && !self.vote_lease
        {
            self.quick += 1;
        }
        self.last = Some((now, node));
    }
}
