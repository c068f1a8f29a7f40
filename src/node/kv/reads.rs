//! The reads of this node that are under way, and on the leader the questions of followers.
//!
//! A linearizable read waits for a *round*: on the leader a confirmation by a quorum that it still
//! leads (the heartbeat that is also the lease round), on a follower a question to the leader,
//! which makes it part of a round there. A round covers the reads that were asked before it began.
//! One is under way at a time; its end says up to which index the log must be applied here. Then
//! the read is handed to the store.
//!
//! Pure: who leads and what time it is are arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::kv::{IndexAnswer, IndexQuestion, Page, Query};
use crate::core::{Index, Instant, NodeId};
use crate::limits;
use crate::node::event::RequestId;

use super::request::{KvError, KvPage};
use super::writes::Target;

/// See the module.
pub(super) struct Reads {
    run: u64,
    next: u64,
    live: BTreeMap<u64, Read>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Linearizable ones that no round covers yet.
    asked: Vec<u64>,
    /// On the leader: questions that no round covers yet.
    questions: Vec<(NodeId, IndexQuestion)>,
    round: Option<Round>,
    /// Those whose index is confirmed, by that index.
    confirmed: BTreeMap<Index, Vec<u64>>,
    target: Option<Target>,
}

struct Read {
    request: RequestId,
    /// Taken when it is handed to the store.
    query: Option<Query>,
    /// Of a stale read.
    age: Option<Option<Duration>>,
    asked: Instant,
    deadline: Instant,
}

/// A confirmation under way.
struct Round {
    /// The context on the leader, the number of the question on a follower.
    number: u64,
    reads: Vec<u64>,
    questions: Vec<(NodeId, IndexQuestion)>,
    /// When a follower asks again.
    again: Option<Instant>,
}

/// What became of a request.
pub(super) type Finished = (RequestId, Result<KvPage, KvError>);

impl Reads {
    pub(super) fn new(run: u64) -> Self {
        Reads {
            run,
            next: 0,
            live: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            asked: Vec::new(),
            questions: Vec::new(),
            round: None,
            confirmed: BTreeMap::new(),
            target: None,
        }
    }

    /// Takes a read that has been checked; `age` is given for a stale one, which needs no round.
    pub(super) fn take(
        &mut self,
        request: RequestId,
        query: Query,
        age: Option<Option<Duration>>,
        (asked, deadline): (Instant, Instant),
    ) -> Result<(), KvError> {
        if self.live.len() >= limits::KV_READS_UNDER_WAY {
            return Err(KvError::Busy { most: limits::KV_READS_UNDER_WAY });
        }
        self.next += 1;
        let id = self.next;
        self.live.insert(id, Read { request, query: Some(query), age, asked, deadline });
        self.deadlines.insert((deadline, id));
        match age {
            Some(_) => self.confirmed.entry(0).or_default().push(id),
            None => self.asked.push(id),
        }
        Ok(())
    }

    /// A follower asks for an index.
    pub(super) fn question(&mut self, from: NodeId, question: IndexQuestion) {
        let of_it = self.questions.iter().filter(|(other, _)| *other == from).count();
        if of_it >= limits::KV_QUESTIONS_PER_PEER
            && let Some(oldest) = self.questions.iter().position(|(other, _)| *other == from)
        {
            self.questions.remove(oldest);
        }
        self.questions.push((from, question));
    }

    /// From now on rounds are `target`'s; one of another is void, and its reads are asked again.
    pub(super) fn aim(&mut self, target: Option<Target>) {
        if self.target == target {
            return;
        }
        self.target = target;
        self.questions.clear();
        if let Some(round) = self.round.take() {
            self.asked.splice(0..0, round.reads);
        }
    }

    /// Whether something waits for a round, and none is under way.
    pub(super) fn wants_round(&self) -> bool {
        self.round.is_none() && !(self.asked.is_empty() && self.questions.is_empty())
    }

    /// On the leader: a round begins, with this context.
    pub(super) fn begin_round(&mut self, number: u64) {
        if self.wants_round() {
            let reads = std::mem::take(&mut self.asked);
            let questions = std::mem::take(&mut self.questions);
            self.round = Some(Round { number, reads, questions, again: None });
        }
    }

    /// On the leader: a round was confirmed, and those before it; the answers to followers.
    pub(super) fn round_confirmed(
        &mut self,
        number: u64,
        index: Index,
    ) -> Vec<(NodeId, IndexAnswer)> {
        let Some(round) = self.round.take_if(|round| round.number <= number) else {
            return Vec::new();
        };
        self.confirmed.entry(index).or_default().extend(round.reads);
        let answer = |(to, question): (NodeId, IndexQuestion)| {
            (to, IndexAnswer { run: question.run, number: question.number, index })
        };
        round.questions.into_iter().map(answer).collect()
    }

    /// On a follower: the question to ask the leader now, if any.
    pub(super) fn ask(&mut self, now: Instant) -> Option<IndexQuestion> {
        let late = |round: &Round| round.again.is_some_and(|again| again <= now);
        if let Some(round) = self.round.take_if(|round| late(round)) {
            self.asked.splice(0..0, round.reads);
        }
        if self.round.is_some() || self.asked.is_empty() {
            return None;
        }
        self.next += 1;
        let (number, reads) = (self.next, std::mem::take(&mut self.asked));
        let again = Some(now + limits::KV_ASK_AGAIN);
        self.round = Some(Round { number, reads, questions: Vec::new(), again });
        Some(IndexQuestion { run: self.run, number })
    }

    /// On a follower: the leader's answer. One to an older question says nothing about the reads
    /// that were asked since.
    pub(super) fn answered(&mut self, answer: IndexAnswer) {
        let ours = |round: &Round| answer.run == self.run && round.number == answer.number;
        // A leader's round has no time to ask again: its number is a context, not a question.
        let open = self.round.take_if(|round| round.again.is_some() && ours(round));
        if let Some(round) = open {
            self.confirmed.entry(answer.index).or_default().extend(round.reads);
        }
    }

    /// The reads whose index is applied, for the store.
    pub(super) fn due(&mut self, applied: Index) -> Vec<(u64, Query)> {
        let mut due = Vec::new();
        while let Some(entry) = self.confirmed.first_entry().filter(|e| *e.key() <= applied) {
            for id in entry.remove() {
                if let Some(query) = self.live.get_mut(&id).and_then(|read| read.query.take()) {
                    due.push((id, query));
                }
            }
        }
        due
    }

    /// The store has read.
    pub(super) fn read(&mut self, id: u64, page: Page, revision: Index) -> Option<Finished> {
        let read = self.live.remove(&id)?;
        self.deadlines.remove(&(read.deadline, id));
        let age = read.age.unwrap_or(Some(Duration::ZERO));
        Some((read.request, Ok(KvPage { page, revision, age })))
    }

    /// The outcomes of the reads whose deadline has come.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Finished> {
        let mut finished = Vec::new();
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            let read = self.live.remove(&id).expect("it has a deadline");
            let waited_ms = (now - read.asked).as_millis() as u64;
            finished.push((read.request, Err(KvError::Unavailable { waited_ms })));
        }
        if !finished.is_empty() {
            // Those that nobody waits for take no room where the others wait.
            let live = |id: &u64| self.live.contains_key(id);
            self.asked.retain(live);
            self.confirmed.values_mut().for_each(|reads| reads.retain(live));
            self.confirmed.retain(|_, reads| !reads.is_empty());
        }
        finished
    }

    /// The node stops.
    pub(super) fn stop(&mut self) -> Vec<Finished> {
        self.deadlines.clear();
        let live = std::mem::take(&mut self.live).into_values();
        live.map(|read| (read.request, Err(KvError::Stopping))).collect()
    }

    /// When something is to be done about them.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let again = self.round.as_ref().and_then(|round| round.again);
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(again).min()
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }
}
