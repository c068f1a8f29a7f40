//! A write that was acknowledged is there for ever, at its index, once; one that was refused never
//! takes effect.

use std::collections::BTreeMap;

use raftctl::core::Index;

use super::state_machine_safety::StateMachineSafety;

#[derive(Default)]
pub struct AckedWriteDurable {
    acked: BTreeMap<u64, Index>,
    refused: Vec<u64>,
}

impl AckedWriteDurable {
    /// The client was told that the payload with this digest is committed at `index`.
    pub fn acked(&mut self, data: u64, index: Index) {
        self.acked.insert(data, index);
    }

    /// The client was told that it will never take effect.
    pub fn refused(&mut self, data: u64) {
        self.refused.push(data);
    }

    pub fn count(&self) -> usize {
        self.acked.len()
    }

    /// After healing, with everything applied everywhere.
    pub fn check(&self, applied: &StateMachineSafety) -> Result<(), String> {
        for (&data, &index) in &self.acked {
            if applied.at(index).map(|e| e.data) != Some(data) {
                return Err(format!(
                    "acked_write_durable: the write acknowledged at {index} is gone"
                ));
            }
            let all = applied.indexes_of(data);
            if all != [index] {
                return Err(format!("acked_write_durable: one write took effect at {all:?}"));
            }
        }
        match self.refused.iter().find(|data| !applied.indexes_of(**data).is_empty()) {
            Some(data) => Err(format!("acked_write_durable: refused write {data:x} took effect")),
            None => Ok(()),
        }
    }
}
