//! Out of the replica: what a turn asks for, and the acknowledgements of what was done.

use raft::StateRole;
use raft::eraftpb::MessageType;

use super::convert;
use super::output::{FetchId, Output, Persist, ReadReady};
use super::replica::Replica;
use crate::core::Index;
use crate::core::message::Entry;

impl Replica {
    /// The turns up to `number` are durable.
    pub fn persisted(&mut self, number: u64) {
        assert!(number <= self.number, "turn {number} has not been handed out");
        if self.vote_unsynced.is_some_and(|turn| turn <= number) {
            self.vote_unsynced = None;
        }
        self.raw.on_persist_ready(number);
    }

    /// Whether the term and the vote of now are durable.
    pub(super) fn vote_durable(&self) -> bool {
        let raft = &self.raw.raft;
        self.vote_unsynced.is_none() && self.handed_vote == (raft.term, raft.vote)
    }

    /// Whether a snapshot has replaced the log in memory and is not applied yet.
    pub(super) fn installing(&self) -> bool {
        self.raw.raft.raft_log.applied + 1 < self.first_index()
    }

    /// Everything up to `index` is applied.
    pub fn applied(&mut self, index: Index) {
        self.raw.advance_apply_to(index);
        self.raw.mut_store().trim(index);
    }

    /// The entries of a fetch, in answer to [`Output::fetches`]; empty if they are gone.
    pub fn fetched(&mut self, id: FetchId, entries: Vec<Entry>) {
        let entries = entries.into_iter().map(convert::entry_to_engine).collect();
        if let Some(context) = self.raw.mut_store().deliver(id, entries) {
            self.raw.on_entries_fetched(context);
            self.raw.mut_store().forget_fetched();
        }
    }

    /// Whether [`Replica::ready`] has something.
    pub fn has_ready(&mut self) -> bool {
        self.raw.has_ready()
    }

    /// What this turn asks for; `None` when there is nothing to do.
    pub fn ready(&mut self) -> Option<Output> {
        let mut output = Output::default();
        let busy = self.raw.has_ready();
        if busy {
            self.engine_ready(&mut output);
        }
        output.number = self.number;
        output.fetches = self.raw.mut_store().take_fetches();
        output.snapshot_wanted = self.raw.mut_store().take_snapshot_wanted();
        (busy || !output.fetches.is_empty() || output.snapshot_wanted).then_some(output)
    }

    fn persist_of(&mut self, ready: &mut raft::Ready) -> Persist {
        let snapshot = (!ready.snapshot().is_empty())
            .then(|| convert::snapshot_from_engine(ready.snapshot().clone()));
        let entries = ready.entries().iter().cloned().map(convert::entry_from_engine).collect();
        let hard_state = convert::hard_state_from_engine(&self.raw.raft.hard_state());
        Persist { snapshot, entries, hard_state }
    }

    fn engine_ready(&mut self, output: &mut Output) {
        let leads = self.raw.raft.state == StateRole::Leader;
        let mut ready = self.raw.ready();
        self.number = ready.number();
        if !ready.snapshot().is_empty() {
            self.raw.mut_store().install(ready.snapshot());
        }
        self.raw.mut_store().append(ready.entries());
        if ready.must_sync() {
            output.persist = Some(self.persist_of(&mut ready));
            let vote = (self.raw.raft.term, self.raw.raft.vote);
            if vote != self.handed_vote {
                self.handed_vote = vote;
                self.vote_unsynced = Some(self.number);
            }
        }
        let durable_vote = self.vote_unsynced.is_none();
        let mut messages = ready.take_messages();
        messages.extend(ready.take_persisted_messages());
        for message in messages {
            let answer = message.get_msg_type() == MessageType::MsgHeartbeatResponse;
            let now = durable_vote && (leads || answer);
            let Some(message) = convert::message_from_engine(message) else { continue };
            if message.snapshot.is_some() {
                self.snapshots_sent.insert(message.to, self.now);
            }
            if now { output.send_now.push(message) } else { output.send_after.push(message) }
        }
        let committed = ready.take_committed_entries().into_iter();
        output.committed = committed.map(convert::entry_from_engine).collect();
        output.reads = ready.take_read_states().iter().filter_map(read_ready).collect();
        self.raw.advance_append_async(ready);
    }
}

/// The context given to `Replica::read` comes back as 8 bytes.
fn read_ready(state: &raft::ReadState) -> Option<ReadReady> {
    let context = u64::from_be_bytes(state.request_ctx.as_slice().try_into().ok()?);
    Some(ReadReady { context, index: state.index })
}
