//! Election safety (thesis figure 3.2): at most one leader in a term.

use std::collections::BTreeMap;

use raftctl::core::{NodeId, Term};

#[derive(Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl ElectionSafety {
    /// `node` says that it leads `term`.
    pub fn leads(&mut self, node: NodeId, term: Term) -> Result<(), String> {
        let first = *self.leaders.entry(term).or_insert(node);
        if first == node {
            return Ok(());
        }
        Err(format!("election_safety: nodes {first} and {node} both lead term {term}"))
    }
}
