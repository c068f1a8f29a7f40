//! Log matching (thesis figure 3.2): entries with the same index and term are the same, and so is
//! everything before them. By induction it is enough that the same (index, term) always comes with
//! the same payload and the same term before it.

use std::collections::BTreeMap;

use raftctl::core::message::Entry;
use raftctl::core::{Index, NodeId, Term};

use crate::sim::recorder::digest;

#[derive(Default)]
pub struct LogMatching {
    seen: BTreeMap<(Index, Term), (u64, Option<Term>)>,
}

impl LogMatching {
    /// `node` appends `entries`, consecutive; `before` is the term of the entry before the first,
    /// if its log still knows it.
    pub fn appends(
        &mut self,
        node: NodeId,
        before: Option<Term>,
        entries: &[Entry],
    ) -> Result<(), String> {
        let mut before = before;
        for entry in entries {
            let key = (entry.index, entry.term);
            let data = digest(0, &entry.data);
            let known = self.seen.entry(key).or_insert((data, before));
            if known.0 != data {
                let (index, term) = key;
                return Err(format!(
                    "log_matching: entry {index} of term {term} differs on {node}"
                ));
            }
            match (known.1, before) {
                (Some(theirs), Some(ours)) if theirs != ours => {
                    return Err(format!(
                        "log_matching: before entry {} of term {} node {node} has term {ours}, \
                         another has {theirs}",
                        entry.index, entry.term
                    ));
                }
                (None, Some(_)) => known.1 = before,
                _ => {}
            }
            before = Some(entry.term);
        }
        Ok(())
    }
}
