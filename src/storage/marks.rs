//! Where entries are: a sparse index of the log, one mark per so many entries or bytes.
//!
//! A mark covers the entries from its index up to the next mark's. Within that span the entries
//! are consecutive in one segment, because a new segment and a superseding entry each begin a new
//! mark. Marks rise in index and in place alike.

use std::collections::VecDeque;

use crate::core::Index;
use crate::limits;

/// The place of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub index: Index,
    pub segment: u64,
    pub offset: u64,
}

/// The sparse index.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<Mark>);

impl Marks {
    /// Notes the entry at `index`, which supersedes everything from there on.
    pub fn note(&mut self, index: Index, segment: u64, offset: u64, supersedes: bool) {
        let mark = Mark { index, segment, offset };
        if supersedes {
            while self.0.back().is_some_and(|last| last.index >= index) {
                self.0.pop_back();
            }
            self.0.push_back(mark);
            return;
        }
        let close = self.0.back().is_some_and(|last| {
            assert!(last.index < index, "entry {index} noted after {}", last.index);
            last.segment == segment
                && index - last.index < limits::LOG_MARK_ENTRIES
                && offset - last.offset < limits::LOG_MARK_BYTES
        });
        if !close {
            self.0.push_back(mark);
        }
    }

    /// The mark that covers `index`, and the index where its span ends, if another follows.
    pub fn find(&self, index: Index) -> Option<(Mark, Option<Index>)> {
        let after = self.0.partition_point(|mark| mark.index <= index);
        let mark = *self.0.get(after.checked_sub(1)?)?;
        Some((mark, self.0.get(after).map(|next| next.index)))
    }

    /// Forgets spans that lie wholly at or below `index`; `last` is the last index of the log.
    pub fn compact(&mut self, index: Index, last: Index) {
        if index >= last {
            self.0.clear();
        }
        while self.0.get(1).is_some_and(|next| next.index <= index + 1) {
            self.0.pop_front();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The oldest segment that holds an entry still needed.
    pub fn oldest_segment(&self) -> Option<u64> {
        self.0.front().map(|mark| mark.segment)
    }

    /// Marks held.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_entries_take_few_marks_and_each_is_covered() {
        let mut marks = Marks::default();
        for index in 1..=1_000_000 {
            marks.note(index, index / 100_000, index % 100_000 * 100, false);
        }
        assert!(marks.len() < 1_000_000 / 60, "{}", marks.len());
        for index in [1, 63, 64, 65, 99_999, 100_000, 1_000_000] {
            let (mark, end) = marks.find(index).unwrap();
            assert!(mark.index <= index && end.is_none_or(|end| index < end));
            assert_eq!(mark.segment, index / 100_000);
        }
        assert_eq!(marks.find(0), None);
        marks.compact(250_000, 1_000_000);
        assert_eq!(marks.oldest_segment(), Some(2));
        assert!(marks.find(250_001).is_some());
    }

    #[test]
    fn a_superseding_entry_begins_a_span() {
        let mut marks = Marks::default();
        (1..=10).for_each(|index| marks.note(index, 1, index * 100, false));
        marks.note(5, 1, 1100, true);
        marks.note(6, 1, 1200, false);
        assert_eq!(marks.find(4), Some((Mark { index: 1, segment: 1, offset: 100 }, Some(5))));
        assert_eq!(marks.find(6), Some((Mark { index: 5, segment: 1, offset: 1100 }, None)));
        marks.note(1, 2, 100, true);
        assert_eq!(marks.len(), 1);
        marks.compact(1, 1);
        assert_eq!(marks.oldest_segment(), None);
    }
}
