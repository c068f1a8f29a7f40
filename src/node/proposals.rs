//! Proposals of clients: taken or refused, and answered when their entries are applied.
//!
//! Guarantees exactly one answer each. Does not know what they say.

use crate::core::{Instant, Term};
use crate::limits;

use super::event::{Answer, Effect, RequestId};
use super::machine::StateMachine;
use super::node::Node;

/// A proposal that waits for its index to be applied.
pub(super) struct Pending {
    pub term: Term,
    pub request: RequestId,
}

impl<M: StateMachine> Node<M> {
    pub(super) fn propose(
        &mut self,
        now: Instant,
        request: RequestId,
        data: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let refusal = if self.pending.len() >= limits::PENDING_PROPOSALS_MAX {
            "too many proposals are waiting".to_owned()
        } else if self.flush.writes_waiting() >= limits::DISK_QUEUE_REQUESTS {
            "the disk does not keep up".to_owned()
        } else {
            match self.replica.propose(now, vec![data]) {
                Ok((index, term)) => {
                    if let Some(old) = self.pending.insert(index, Pending { term, request }) {
                        // The log was truncated below that proposal; its entry is gone.
                        let answer = Answer::Unknown;
                        effects.push(Effect::Answer { request: old.request, answer });
                    }
                    return;
                }
                Err(refused) => refused.to_string(),
            }
        };
        effects.push(Effect::Answer { request, answer: Answer::Refused { reason: refusal } });
    }
}
