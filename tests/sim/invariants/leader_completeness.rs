//! Leader completeness (thesis figure 3.2): an entry committed in a term is in the log of the
//! leader of every later term.

use std::collections::BTreeMap;

use raftctl::consensus::Replica;
use raftctl::core::{Index, NodeId, Term};

#[derive(Default)]
pub struct LeaderCompleteness {
    committed: BTreeMap<Index, Term>,
}

impl LeaderCompleteness {
    /// Some node applied this entry, so it was committed.
    pub fn committed(&mut self, index: Index, term: Term) {
        self.committed.insert(index, term);
    }

    /// `node` was just elected; `compacted` is where its log begins.
    pub fn elected(&self, node: NodeId, replica: &Replica, compacted: Index) -> Result<(), String> {
        let position = replica.position();
        for (&index, &term) in self.committed.range(compacted + 1..) {
            if term < position.term && replica.term_of(index) != Some(term) {
                let has = replica.term_of(index);
                return Err(format!(
                    "leader_completeness: node {node} leads term {} without the entry {index} \
                     committed in term {term} (it has {has:?})",
                    position.term
                ));
            }
        }
        Ok(())
    }
}
