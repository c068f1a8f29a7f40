//! All nodes have the same rows at the same index, and they are what the log says: whatever a node
//! was handed, and whether it came by the log or by a snapshot.

use std::collections::BTreeMap;

use raftctl::core::{Index, NodeId};

#[derive(Default)]
pub struct RowsAgree {
    /// Digest of the rows after an index at which they may have changed.
    known: BTreeMap<Index, u64>,
}

impl RowsAgree {
    /// By the log, the rows after the write at `index` have this digest.
    pub fn applied(&mut self, node: NodeId, index: Index, digest: u64) -> Result<(), String> {
        let known = *self.known.entry(index).or_insert(digest);
        match known == digest {
            true => Ok(()),
            false => Err(format!("rows_agree: node {node} has other rows at {index}")),
        }
    }

    /// The store of `node` has rows with this digest at `index`.
    pub fn has(&self, node: NodeId, index: Index, digest: u64) -> Result<(), String> {
        let newest = self.known.range(..=index).next_back();
        match newest.is_none_or(|(_, known)| *known == digest) {
            true => Ok(()),
            false => Err(format!("rows_agree: the store of node {node} has other rows at {index}")),
        }
    }
}
