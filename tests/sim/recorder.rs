//! The state machine of the simulated nodes: the production one, recording what is applied.
//!
//! Workload entries begin with a byte that no command begins with; they go into a running digest,
//! so that two nodes whose digests differ at the same index did not apply the same things.

use raftctl::core::command::UnreadableCommand;
use raftctl::core::state::ClusterState;
use raftctl::core::{Index, Term};
use raftctl::node::machine::{ClusterMachine, StateMachine};

/// First byte of a workload entry: a field number that prost would refuse.
pub const WORKLOAD: u8 = 0xff;

/// One applied entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedEntry {
    pub index: Index,
    pub term: Term,
    /// Digest of the payload.
    pub data: u64,
    /// Digest of everything applied so far.
    pub chain: u64,
}

/// A mutation for the tests of the simulator itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// Apply this one entry twice.
    pub twice: bool,
    /// Snapshots are taken before the last entry takes effect.
    pub stale_snapshot: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Recorder {
    inner: ClusterMachine,
    chain: u64,
    planted: Planted,
    /// The state before the last entry; only for the planted bug.
    before: Vec<u8>,
    /// Applied since the oracle looked last.
    pub fresh: Vec<AppliedEntry>,
    /// Snapshot restored since the oracle looked last: its index and digest.
    pub restored: Option<(Index, u64)>,
}

/// FNV-1a: enough to tell payloads apart.
pub fn digest(start: u64, bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(start ^ 0xcbf2_9ce4_8422_2325, mix)
}

impl Recorder {
    pub fn new(planted: Planted) -> Self {
        Recorder { planted, ..Default::default() }
    }

    /// What a durable store would hold.
    pub fn save(&self) -> Vec<u8> {
        let mut bytes = self.chain.to_be_bytes().to_vec();
        bytes.extend(self.inner.to_bytes());
        bytes
    }
}

impl StateMachine for Recorder {
    fn apply(&mut self, index: Index, term: Term, data: &[u8]) -> Result<(), UnreadableCommand> {
        if self.planted.stale_snapshot {
            self.before = self.save();
        }
        let times = if self.planted.twice && index.is_multiple_of(7) { 2 } else { 1 };
        for _ in 0..times {
            if data.first() == Some(&WORKLOAD) {
                self.chain = digest(self.chain.rotate_left(1), data);
            } else {
                self.inner.apply(index, term, data)?;
            }
        }
        let data = digest(0, data);
        self.fresh.push(AppliedEntry { index, term, data, chain: self.chain });
        Ok(())
    }

    fn cluster(&self) -> &ClusterState {
        self.inner.cluster()
    }

    fn to_bytes(&self) -> Vec<u8> {
        if self.planted.stale_snapshot && !self.before.is_empty() {
            return self.before.clone();
        }
        self.save()
    }

    fn restore(&mut self, index: Index, data: &[u8]) -> Result<(), UnreadableCommand> {
        let (chain, rest) = data.split_at(8);
        self.chain = u64::from_be_bytes(chain.try_into().expect("8 bytes"));
        self.restored = Some((index, self.chain));
        self.inner.restore(index, rest)
    }
}
