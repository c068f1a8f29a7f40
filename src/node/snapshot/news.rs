//! What there is to tell of a snapshot.

use crate::core::{Index, NodeId};

/// Something that an operator may look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotNews {
    /// The other member.
    pub peer: NodeId,
    /// Whether it comes from there.
    pub incoming: bool,
    /// The last entry that it includes.
    pub index: Index,
    /// Bytes of its rows.
    pub bytes: u64,
    /// What has happened.
    pub step: SnapshotStep,
    /// Why, if it was refused.
    pub why: String,
}

/// What has happened to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnapshotStep {
    /// It is on its way.
    Begun,
    /// The member does not take it.
    Refused,
    /// It did not get through; there will be another attempt.
    Broken,
    /// The member has it.
    Installed,
}
