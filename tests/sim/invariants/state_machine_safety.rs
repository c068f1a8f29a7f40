//! State machine safety (thesis figure 3.2): no two nodes apply different entries at one index,
//! and each applies every index exactly once, in order.

use std::collections::BTreeMap;

use raftctl::core::{Index, NodeId};

use crate::sim::recorder::AppliedEntry;

#[derive(Default)]
pub struct StateMachineSafety {
    applied: BTreeMap<Index, AppliedEntry>,
    /// Digest of the state after an index, from whoever got there first.
    chain: BTreeMap<Index, u64>,
}

impl StateMachineSafety {
    pub fn applies(&mut self, node: NodeId, entry: &AppliedEntry) -> Result<(), String> {
        let first = self.applied.entry(entry.index).or_insert_with(|| entry.clone());
        if first == entry {
            self.chain.insert(entry.index, entry.chain);
            return Ok(());
        }
        Err(format!(
            "state_machine_safety: node {node} applied {entry:?}, another node applied {first:?}"
        ))
    }

    /// `node` restored the state at `index`.
    pub fn restores(&self, node: NodeId, index: Index, chain: u64) -> Result<(), String> {
        let newest = self.chain.range(..=index).next_back();
        if newest.is_none_or(|(_, known)| *known == chain) {
            return Ok(());
        }
        Err(format!("state_machine_safety: the state that node {node} restored at {index} differs"))
    }

    /// What was applied at `index`.
    pub fn at(&self, index: Index) -> Option<&AppliedEntry> {
        self.applied.get(&index)
    }

    /// Indexes at which a payload was applied.
    pub fn indexes_of(&self, data: u64) -> Vec<Index> {
        self.applied.values().filter(|e| e.data == data).map(|e| e.index).collect()
    }
}
