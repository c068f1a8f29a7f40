//! A consistent view of what is durable, for a snapshot to be sent while the store goes on.

use super::error::StateStoreError;
use super::row::RowSum;
use crate::core::{Index, Term};

/// What a snapshot begins with: everything but the rows. It fits a frame.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotHeader {
    /// The last entry that it includes.
    #[prost(uint64, tag = "1")]
    pub index: Index,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: Term,
    /// The state of the cluster ([`crate::core::state::ClusterState::to_bytes`]).
    #[prost(bytes = "vec", tag = "3")]
    pub state: Vec<u8>,
    /// Who has written lately ([`crate::core::kv::Clients::to_bytes`]).
    #[prost(bytes = "vec", tag = "4")]
    pub clients: Vec<u8>,
    /// Rows in all.
    #[prost(uint64, tag = "5")]
    pub keys: u64,
    /// Their bytes, as the quota counts them.
    #[prost(uint64, tag = "6")]
    pub bytes: u64,
}

/// Some rows of a snapshot, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What [`super::Incoming::add`] takes. Opaque on its way.
    pub rows: Vec<u8>,
    /// Key of the last of them: where the next piece goes on. `None`: there are no more rows.
    pub last: Option<Vec<u8>>,
}

/// The state at the index that was durable when the view was made. Another thread may read it while
/// the store goes on; pages that it still needs are not used again meanwhile, so the file grows the
/// longer it lives. Fails once the store has installed a snapshot or is closed.
pub struct View {
    header: SnapshotHeader,
}

impl View {
    /// Everything but the rows.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// The rows after the key `after`, or the first ones: about `max_bytes` of them, one at least
    /// unless there are no more. Adds them to `sum`.
    pub fn rows_after(
        &self,
        _after: Option<&[u8]>,
        _max_bytes: usize,
        _sum: &mut RowSum,
    ) -> Result<Piece, StateStoreError> {
        unimplemented!()
    }

    /// The sum of all rows up to and including `last`: to go on after a key that the receiver has.
    /// Reads them all; `None` gives the sum of nothing.
    pub fn sum_through(&self, _last: Option<&[u8]>) -> Result<RowSum, StateStoreError> {
        unimplemented!()
    }
}
