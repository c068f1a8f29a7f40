//! The way of committed entries: what became durable, and what is applied.
//!
//! Guarantees that entries are applied in order, once, and handed to the store in that order. A
//! write of the store may be answered before the store has applied it, never before it is
//! committed.

use crate::core::Index;
use crate::core::kv::{Committed, KvCommand, Work};
use crate::core::message::Entry;

use super::event::{Answer, Effect};
use super::machine::StateMachine;
use super::node::Node;
use super::store::StoreRequest;

impl<M: StateMachine> Node<M> {
    pub(super) fn persisted(&mut self, number: u64, effects: &mut Vec<Effect>) {
        let released = self.flush.persisted(number, effects);
        if let Some(number) = released.number {
            self.replica.persisted(number);
        }
        if let Some(snapshot) = released.snapshot {
            let restored = self.machine.restore(snapshot.index, &snapshot.data);
            restored.unwrap_or_else(|e| panic!("cannot restore snapshot: {e}"));
            self.applied = (snapshot.index, snapshot.term);
            self.durable = snapshot.index;
            self.compacted = snapshot.index;
            self.replica.applied(snapshot.index);
            self.kv_restored(snapshot.index);
            self.forget_arrival_below(snapshot.index, effects);
            let later = self.pending.split_off(&(snapshot.index + 1));
            for (_, gone) in std::mem::replace(&mut self.pending, later) {
                effects.push(Effect::Answer { request: gone.request, answer: Answer::Unknown });
            }
        }
    }

    pub(super) fn flush_turn(
        &mut self,
        mut output: crate::consensus::Output,
        effects: &mut Vec<Effect>,
    ) {
        self.divert_snapshots(&mut output.send_now, effects);
        self.divert_snapshots(&mut output.send_after, effects);
        self.hold_notices(&mut output.send_now);
        if let Some(taken) = output.persist.as_ref().and_then(|p| p.snapshot.as_ref()) {
            self.snapshot_taken(taken);
        }
        let snapshot_wanted = output.snapshot_wanted;
        let writes = output.persist.is_some();
        let number = output.number;
        for read in &output.reads {
            self.authority.round_confirmed(read.context);
            self.kv_round_confirmed(read.context, read.index, effects);
        }
        let committed = self.flush.turn(output, effects);
        if !writes {
            // Durable at once if nothing written before it is still under way.
            let released = self.flush.persisted(0, effects);
            if let Some(released) = released.number {
                assert!(released <= number);
                self.replica.persisted(released);
            }
        }
        self.apply(committed, effects);
        if snapshot_wanted {
            self.snapshot_wanted(effects);
        }
    }

    fn apply(&mut self, committed: Vec<Entry>, effects: &mut Vec<Effect>) {
        let Some(last) = committed.last().map(|e| (e.index, e.term)) else { return };
        let mut commands = Vec::new();
        let (mut changes, mut begins) = (false, false);
        for entry in committed {
            let index = entry.index;
            assert_eq!(index, self.applied.0 + 1, "entries are applied in order, once");
            begins |= entry.data.is_empty();
            if !entry.data.is_empty() {
                let applied = self.machine.apply(index, entry.term, &entry.data);
                let left = applied.unwrap_or_else(|e| panic!("cannot apply entry {index}: {e}"));
                changes |= left.is_none();
                commands.extend(left.map(|command| self.committed(index, command, effects)));
            }
            self.applied = (entry.index, entry.term);
            if let Some(pending) = self.pending.remove(&entry.index) {
                let answer = if pending.term == entry.term {
                    Answer::Applied { index: entry.index }
                } else {
                    Answer::Refused { reason: "superseded by another leader's entry".to_owned() }
                };
                effects.push(Effect::Answer { request: pending.request, answer });
            }
        }
        self.replica.applied(last.0);
        self.forget_arrival_below(last.0, effects);
        if changes || begins {
            self.notices.hurry(self.now);
        }
        let state = changes.then(|| Box::new(self.machine.cluster().clone()));
        let work = Work { commands, applied: last, state };
        self.ask_store(StoreRequest::Apply(work), effects);
    }

    /// A write, with the token in force where it stands in the log. Whoever waits for it here is
    /// answered now if its outcome is certain.
    fn committed(
        &mut self,
        index: Index,
        command: KvCommand,
        effects: &mut Vec<Effect>,
    ) -> Committed {
        let activation = self.machine.cluster().activation();
        let token = activation.filter(|a| a.is_active()).map(|a| a.token());
        let awaited = self.kv_committed(index, token, &command, effects);
        Committed { index, token, command, awaited }
    }
}
