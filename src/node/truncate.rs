//! What of the log may go: only what the state machine has durably, with a margin for members that
//! lag, by entries and by bytes; and on a leader nothing that a member needs which is catching up,
//! within larger bounds of the same two kinds.

use crate::consensus::RaftRole;
use crate::core::Index;

use super::event::Effect;
use super::machine::StateMachine;
use super::node::Node;
use crate::limits;

impl<M: StateMachine> Node<M> {
    /// The state machine is durable up to here.
    pub(super) fn state_durable(&mut self, index: Index, effects: &mut Vec<Effect>) {
        self.durable = self.durable.max(index);
        let target = self.may_go();
        // In steps: dropping entries one by one would wake the disk for nothing.
        let entries = target.saturating_sub(self.compacted);
        let is_heavy =
            self.replica.leaving_bytes(self.config.log_keep_bytes * 9 / 8) > self.compacted;
        if entries == 0 || (entries <= self.config.log_keep_entries / 8 && !is_heavy) {
            return;
        }
        let Some(term) = self.replica.term_of(target) else { return };
        self.compacted = target;
        self.replica.compact(target);
        effects.push(Effect::Compact { index: target, term });
    }

    /// The highest index that may go.
    fn may_go(&self) -> Index {
        let least = self.leaving(self.config.log_keep_entries, self.config.log_keep_bytes);
        let Some(floor) = self.log_floor() else { return least };
        let most = self.leaving(limits::LOG_HOLD_ENTRIES, limits::LOG_HOLD_BYTES);
        least.min(floor).max(most)
    }

    /// The highest index that may go so that no more than this is left below what is durable.
    fn leaving(&self, entries: u64, bytes: u64) -> Index {
        let light = self.replica.leaving_bytes(bytes);
        self.durable.saturating_sub(entries).max(light).min(self.durable)
    }

    /// On a leader: the position above which the log is held for members that are connected and
    /// catch up, or get the snapshot that ends there.
    fn log_floor(&self) -> Option<Index> {
        if self.replica.position().role != RaftRole::Leader {
            return None;
        }
        let first = self.replica.first_index();
        let held = self.sending.held().map(|(index, _)| index);
        let others = self.connected.keys().filter_map(|peer| self.replica.matched(*peer));
        others.filter_map(|matched| if matched + 1 >= first { Some(matched) } else { held }).min()
    }
}
