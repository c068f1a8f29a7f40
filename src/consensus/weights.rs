//! What the entries of the log weigh, about: so that the log may be bounded in bytes as well.
//!
//! One mark for each `limits::LOG_WEIGHT_MARK_BYTES` of entries that were appended since the start;
//! what was there before weighs nothing, and is given up first.

use std::collections::VecDeque;

use crate::core::Index;
use crate::limits;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// An index, and what the entries up to and including it weigh together.
    marks: VecDeque<(Index, u64)>,
    total: u64,
    /// What was given up.
    gone: u64,
}

impl Weights {
    /// An entry was appended; it supersedes those from its index on.
    pub fn push(&mut self, index: Index, bytes: u64) {
        while self.marks.back().is_some_and(|(mark, _)| *mark >= index) {
            self.marks.pop_back();
            self.total = self.marks.back().map_or(self.gone, |(_, total)| *total);
        }
        self.total += bytes;
        let marked = self.marks.back().map_or(self.gone, |(_, total)| *total);
        if self.total - marked >= limits::LOG_WEIGHT_MARK_BYTES {
            self.marks.push_back((index, self.total));
        }
    }

    /// Entries up to and including `index` are given up.
    pub fn compact(&mut self, index: Index) {
        while let Some((_, total)) = self.marks.front().filter(|(mark, _)| *mark <= index) {
            self.gone = *total;
            self.marks.pop_front();
        }
    }

    /// Everything is given up.
    pub fn clear(&mut self) {
        *self = Weights::default();
    }

    /// The highest index known up to which the log may be given up so that at least `bytes` are
    /// left; 0 if it is lighter.
    pub fn leaving(&self, bytes: u64) -> Index {
        let Some(most) = self.total.checked_sub(bytes) else { return 0 };
        let after = self.marks.partition_point(|(_, total)| *total <= most);
        after.checked_sub(1).map_or(0, |at| self.marks[at].0)
    }

    /// What is left.
    pub fn bytes(&self) -> u64 {
        self.total - self.gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_weighs_as_much_as_was_asked_for_and_little_more() {
        let mut weights = Weights::default();
        let entry = 100 << 10;
        for index in 1..=1000 {
            weights.push(index, entry);
        }
        assert_eq!(weights.bytes(), 1000 * entry);
        assert_eq!(weights.leaving(2000 * entry), 0);
        let up_to = weights.leaving(300 * entry);
        assert!((697..=700).contains(&up_to), "{up_to}");
        weights.compact(up_to);
        let most = 300 * entry + limits::LOG_WEIGHT_MARK_BYTES + entry;
        assert!((300 * entry..most).contains(&weights.bytes()), "{}", weights.bytes());
        assert_eq!(weights.leaving(300 * entry), 0);
        // A new leader supersedes the tail.
        weights.push(901, entry);
        assert!(weights.bytes() <= 205 * entry, "{}", weights.bytes());
        weights.clear();
        assert_eq!((weights.bytes(), weights.leaving(0)), (0, 0));
    }
}
