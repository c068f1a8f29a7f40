//! The store's part of the node's turn: to whom writes and questions go, what the log says, and
//! what is asked of the store, in that order.

use std::collections::VecDeque;

use crate::core::command::{Body, Command};
use crate::core::kv::{self, Answered, Awaited, IndexAnswer, KvCommand, KvFrame, Outcome, Room};
use crate::core::{Index, Instant, NodeId, Token};
use crate::limits;
use crate::node::event::{Answer, Effect, RequestId};
use crate::node::machine::StateMachine;
use crate::node::node::Node;
use crate::node::store::{StoreRequest, Stored};

use super::reads::Reads;
use super::request::{Consistency, KvError, KvRead, KvWrite};
use super::writes::{Target, Writes};

/// Requests of the store that this node looks after.
pub(in crate::node) struct Kv {
    writes: Writes,
    reads: Reads,
    /// Writes of other nodes that wait to be proposed here.
    forwarded: VecDeque<Vec<u8>>,
    forwarded_bytes: usize,
    /// What of the store's quota is free for certain.
    room: Room,
    /// Up to where the store has applied.
    stored: Index,
    /// Requests that the store has not answered.
    asked: usize,
    /// When this node last knew that it has everything.
    complete: Option<Instant>,
}

impl Kv {
    /// Nothing is under way; `invocation` is this run, `applied` where the store stands.
    pub(in crate::node) fn new(invocation: [u8; 16], quota_bytes: u64, applied: Index) -> Self {
        let (run, _) = invocation.split_first_chunk().expect("16 bytes");
        Kv {
            writes: Writes::new(invocation, quota_bytes),
            reads: Reads::new(u64::from_be_bytes(*run)),
            forwarded: VecDeque::new(),
            forwarded_bytes: 0,
            room: Room::default(),
            stored: applied,
            asked: 0,
            complete: None,
        }
    }

    /// Whether reads wait for a round of this leader.
    pub(in crate::node) fn wants_round(&self) -> bool {
        self.reads.wants_round()
    }

    /// A round of this leader begins.
    pub(in crate::node) fn begin_round(&mut self, context: u64) {
        self.reads.begin_round(context);
    }

    /// When something is to be done.
    pub(in crate::node) fn deadline(&self) -> Option<Instant> {
        self.writes.deadline().into_iter().chain(self.reads.deadline()).min()
    }

    /// Writes and reads under way here.
    pub(in crate::node) fn under_way(&self) -> (usize, usize) {
        (self.writes.len(), self.reads.len())
    }
}

impl<M: StateMachine> Node<M> {
    /// Writes and reads of the store that are under way on this node.
    pub fn kv_under_way(&self) -> (usize, usize) {
        self.kv.under_way()
    }

    /// A surface writes.
    pub(in crate::node) fn kv_write(
        &mut self,
        now: Instant,
        (request, write): (RequestId, KvWrite),
        deadline: Instant,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(error) = self.try_kv_write(now, request, write, deadline) {
            effects.push(Effect::Answer { request, answer: Answer::Written(Err(error)) });
        }
    }

    fn try_kv_write(
        &mut self,
        now: Instant,
        request: RequestId,
        write: KvWrite,
        deadline: Instant,
    ) -> Result<(), KvError> {
        if self.stopping {
            return Err(KvError::Stopping);
        }
        kv::check_operation(&write.operation)?;
        let position = self.replica.position();
        if !write.forward && !self.leads() {
            let leader = position.leader.map(|id| self.name_of(id));
            return Err(KvError::NotLeader { leader });
        }
        let what = (write.operation, write.token);
        self.kv.writes.take(request, what, position.commit, (now, deadline))
    }

    /// A surface reads.
    pub(in crate::node) fn kv_read(
        &mut self,
        now: Instant,
        (request, read): (RequestId, KvRead),
        deadline: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let stale = read.consistency == Consistency::Stale;
        let age = stale.then(|| self.kv.complete.map(|at| now - at));
        let taken = match kv::check_query(&read.query) {
            _ if self.stopping => Err(KvError::Stopping),
            Ok(()) => self.kv.reads.take(request, read.query, age, (now, deadline)),
            Err(invalid) => Err(invalid.into()),
        };
        if let Err(error) = taken {
            effects.push(Effect::Answer { request, answer: Answer::Read(Err(error)) });
        }
    }

    /// A peer sends writes, a question or answers.
    pub(in crate::node) fn kv_frame(&mut self, from: NodeId, frame: KvFrame) {
        for answer in frame.answers {
            // Only the leader of now may say up to where to read.
            if self.replica.position().leader == Some(from) {
                self.kv.reads.answered(answer);
            }
        }
        if !self.leads() {
            // Whoever sent it hears of the leader as this node does, and sends it there.
            return;
        }
        self.notices.asked(from, self.now);
        if let Some(question) = frame.question {
            self.kv.reads.question(from, question);
        }
        for data in frame.writes {
            let room = self.kv.forwarded_bytes + data.len() <= limits::KV_FORWARDED_BYTES;
            if room && is_sound(&data) {
                self.kv.forwarded_bytes += data.len();
                self.kv.forwarded.push_back(data);
            }
        }
    }

    /// The store has done something.
    pub(in crate::node) fn stored(&mut self, stored: Stored, effects: &mut Vec<Effect>) {
        self.kv.asked = self.kv.asked.saturating_sub(1);
        match stored {
            Stored::Applied { applied, bytes, outcomes } => {
                self.kv.stored = self.kv.stored.max(applied);
                self.kv.room.applied(applied, bytes);
                for Answered { client, sequence, outcome, .. } in outcomes {
                    self.kv_answered((&client, sequence), outcome, effects);
                }
            }
            Stored::Read { pages, applied } => {
                for (id, page) in pages {
                    if let Some((request, result)) = self.kv.reads.read(id, page, applied) {
                        effects.push(Effect::Answer { request, answer: Answer::Read(result) });
                    }
                }
            }
            Stored::Viewed(viewed) => self.viewed(viewed, effects),
        }
    }

    fn kv_answered(&mut self, of: (&[u8], u64), outcome: Outcome, effects: &mut Vec<Effect>) {
        if let Some((request, result)) = self.kv.writes.answered(of, outcome) {
            effects.push(Effect::Answer { request, answer: Answer::Written(result) });
        }
    }

    /// A write is committed, and about to be handed to the store: what is to be done with its
    /// outcome. If that is certain already, whoever waits for it here is answered.
    pub(in crate::node) fn kv_committed(
        &mut self,
        index: Index,
        token: Option<Token>,
        command: &KvCommand,
        effects: &mut Vec<Effect>,
    ) -> Awaited {
        self.kv.room.hand_over(index, command);
        let Some(times) = self.kv.writes.awaits(command) else { return Awaited::No };
        let Some(outcome) = self.kv.room.foresee(index, token, command, times == 1) else {
            return Awaited::Yes;
        };
        self.kv_answered((&command.client, command.sequence), outcome, effects);
        Awaited::Foreseen
    }

    /// A quorum has confirmed a round of this leader.
    pub(in crate::node) fn kv_round_confirmed(
        &mut self,
        context: u64,
        index: Index,
        effects: &mut Vec<Effect>,
    ) {
        let answers = self.kv.reads.round_confirmed(context, index);
        effects.extend(answers.into_iter().map(|(to, answer)| answer_to(to, answer)));
    }

    /// A snapshot has replaced the state: what was in the log below it is not seen here any more.
    pub(in crate::node) fn kv_restored(&mut self, index: Index) {
        self.kv.stored = self.kv.stored.max(index);
        self.kv.room.replaced(index);
        self.kv.writes.send_all_again();
    }

    /// Whether the store is so far behind that nothing more is to be given to it.
    pub(in crate::node) fn store_is_behind(&self) -> bool {
        let entries = self.applied.0 - self.kv.stored.min(self.applied.0);
        entries > limits::STORE_WAITING_ENTRIES || self.kv.asked >= limits::STORE_WAITING_REQUESTS
    }

    /// Sends what is to be sent, or proposes it.
    pub(in crate::node) fn kv_turn(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let target = self.kv_target();
        self.kv.writes.aim(target);
        self.kv.reads.aim(target);
        self.kv_expire(now, effects);
        self.kv.writes.send_late_again(now);
        self.kv_note_complete(now);
        match target {
            Some((_, leader)) if leader == self.config.id => self.kv_propose(now),
            Some((_, leader)) => self.kv_forward(now, leader, effects),
            None => {}
        }
        if !self.leads() && !self.kv.forwarded.is_empty() {
            // Those who sent them send them to the next leader.
            self.kv.forwarded.clear();
            self.kv.forwarded_bytes = 0;
        }
    }

    /// Hands the reads to the store whose index is applied: AFTER what is to be applied.
    pub(in crate::node) fn kv_serve(&mut self, effects: &mut Vec<Effect>) {
        if self.kv.asked >= limits::STORE_WAITING_REQUESTS {
            return; // Its next answer brings a turn.
        }
        let due = self.kv.reads.due(self.applied.0);
        if !due.is_empty() {
            self.ask_store(StoreRequest::Read(due), effects);
        }
    }

    /// Asks the store for something that it answers once.
    pub(in crate::node) fn ask_store(&mut self, request: StoreRequest, effects: &mut Vec<Effect>) {
        self.kv.asked += 1;
        effects.push(Effect::Store(request));
    }

    /// Ends what is under way: the node stops.
    pub(in crate::node) fn kv_stop(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (request, result) in self.kv.writes.stop(now) {
            effects.push(Effect::Answer { request, answer: Answer::Written(result) });
        }
        for (request, result) in self.kv.reads.stop() {
            effects.push(Effect::Answer { request, answer: Answer::Read(result) });
        }
    }

    fn kv_expire(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (request, result) in self.kv.writes.expired(now) {
            effects.push(Effect::Answer { request, answer: Answer::Written(result) });
        }
        for (request, result) in self.kv.reads.expired(now) {
            effects.push(Effect::Answer { request, answer: Answer::Read(result) });
        }
    }

    /// The leader of now, if it can be reached.
    fn kv_target(&self) -> Option<Target> {
        let position = self.replica.position();
        let leader = position.leader?;
        let here = leader == self.config.id || self.connected.contains_key(&leader);
        here.then_some((position.term, leader))
    }

    /// A node has everything as long as it hears a leader, or is confirmed as one, and has applied
    /// what is committed as far as it knows.
    fn kv_note_complete(&mut self, now: Instant) {
        let position = self.replica.position();
        let known = if self.leads() {
            let lease = self.authority.lease().filter(|lease| lease.term == position.term);
            lease.map(|lease| lease.t0.boot)
        } else {
            self.heard_leader.filter(|_| position.leader.is_some())
        };
        let applied = self.applied.0 >= position.commit;
        self.kv.complete = known.filter(|at| applied && *at <= now).max(self.kv.complete);
    }

    fn kv_propose(&mut self, now: Instant) {
        while !self.kv.forwarded.is_empty() && self.kv_may_propose() {
            let mut batch = Vec::new();
            let mut bytes = 0;
            while let Some(data) = self.kv.forwarded.front() {
                bytes += data.len();
                if bytes > limits::KV_BATCH_BYTES && !batch.is_empty() {
                    break;
                }
                batch.extend(self.kv.forwarded.pop_front());
            }
            self.kv.forwarded_bytes -= batch.iter().map(Vec::len).sum::<usize>();
            // Those that are refused are sent again by those who wait for them.
            if self.replica.propose(now, batch).is_err() {
                break;
            }
        }
        while self.kv.writes.has_unsent() && self.kv_may_propose() {
            let (slots, data) = self.kv.writes.batch();
            if slots.is_empty() {
                break;
            }
            if self.replica.propose(now, data).is_err() {
                self.kv.writes.unsent(&slots);
                break;
            }
            self.kv.writes.sent(now, &slots);
        }
    }

    fn kv_may_propose(&self) -> bool {
        self.flush.writes_waiting() < limits::DISK_QUEUE_REQUESTS
            && !self.store_is_behind()
            && self.replica.transferring_to().is_none()
    }

    fn kv_forward(&mut self, now: Instant, leader: NodeId, effects: &mut Vec<Effect>) {
        let mut question = self.kv.reads.ask(now);
        while question.is_some() || self.kv.writes.has_unsent() {
            let (slots, writes) = self.kv.writes.batch();
            if writes.is_empty() && question.is_none() {
                break;
            }
            self.kv.writes.sent(now, &slots);
            let frame = KvFrame { writes, question: question.take(), answers: Vec::new() };
            effects.push(Effect::KvSend { to: leader, frame });
        }
    }
}

fn answer_to(to: NodeId, answer: IndexAnswer) -> Effect {
    Effect::KvSend { to, frame: KvFrame { answers: vec![answer], ..KvFrame::default() } }
}

/// Whether the bytes of a peer may go into the log: a write that this version would take itself.
fn is_sound(data: &[u8]) -> bool {
    let fits = data.len() <= limits::ENTRY_MAX_BYTES;
    match Command::from_bytes(data).ok().filter(|_| fits).and_then(|command| command.body) {
        Some(Body::Kv(command)) => kv::check(&command).is_ok(),
        _ => false,
    }
}
