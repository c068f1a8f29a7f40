//! The state machine of the simulated nodes: the production one, recording what is applied.
//!
//! Workload entries begin with a byte that no command begins with; they go into a running digest,
//! so that two nodes whose digests differ at the same index did not apply the same things.

use prost::Message as _;
use raftctl::core::command::{Body, Command, UnreadableCommand};
use raftctl::core::kv::KvCommand;
use raftctl::core::state::{Activation, Applied, ClusterState};
use raftctl::core::{Index, NodeId, Term};
use raftctl::node::machine::{ClusterMachine, StateMachine};

use super::store::Rows;

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

/// One applied command that changed the state.
#[derive(Clone, Debug)]
pub struct AppliedCommand {
    pub index: Index,
    pub body: Body,
    /// The newest activation before and after.
    pub before: Option<Activation>,
    pub after: Option<Activation>,
    /// The pause in force before.
    pub paused: Option<Index>,
    /// What the command released.
    pub released: Vec<Activation>,
}

/// A mutation for the tests of the simulator itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// Apply this one entry twice.
    pub twice: bool,
    /// Snapshots are taken before the last entry takes effect.
    pub stale_snapshot: bool,
    /// Snapshots are taken before the last write of the store takes effect in the rows.
    pub stale_rows: bool,
    /// What the node is told about the activation in force, which is not true.
    pub lie: Option<Lie>,
}

/// What is wrong about the activation that a node is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Its bound is this.
    Bound(u64),
    /// Its bound is this many millionths of what it is.
    ScaledBound(u64),
    /// If it is of this node: its term is the node's own (`Recorder::term`).
    Term { of: NodeId },
    /// There is another pause each time that it looks.
    OtherPause,
    /// There is no pause; nor is there one for what is applied.
    NoPause,
}

/// The fields of an activation that lies are about: a message of prost takes the last value.
#[derive(Clone, PartialEq, prost::Message)]
struct Correction {
    #[prost(uint64, optional, tag = "3")]
    term: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    bound_ms: Option<u64>,
}

/// The fields of a state that lies and restores are about.
#[derive(Clone, PartialEq, prost::Message)]
struct StateCorrection {
    #[prost(uint32, optional, tag = "2")]
    generation: Option<u32>,
    #[prost(message, optional, tag = "4")]
    activation: Option<Correction>,
    #[prost(uint64, optional, tag = "7")]
    paused: Option<u64>,
}

fn corrected(state: &ClusterState, correction: &StateCorrection) -> ClusterState {
    let bytes = [state.to_bytes(), correction.encode_to_vec()].concat();
    ClusterState::from_bytes(&bytes).expect("corrections are well-formed")
}

/// What `save` gave, with another generation: a backup as it is restored (DESIGN 5.1).
pub fn with_generation(saved: &[u8], generation: u32) -> Vec<u8> {
    let correction = StateCorrection { generation: Some(generation), ..Default::default() };
    [saved, &correction.encode_to_vec()].concat()
}

#[derive(Clone, Debug, Default)]
pub struct Recorder {
    inner: ClusterMachine,
    /// What the entries make of the store, whatever the store makes of them.
    pub rows: Rows,
    chain: u64,
    planted: Planted,
    /// The state before the last entry; only for the planted bug.
    before: Vec<u8>,
    /// The rows before the last write; only for the planted bug.
    rows_before: Rows,
    /// Applied since the oracle looked last.
    pub fresh: Vec<AppliedEntry>,
    /// Writes of the store among them, with the digest of the rows after each.
    pub fresh_rows: Vec<(Index, u64)>,
    /// Commands among them that changed the state.
    pub commands: Vec<AppliedCommand>,
    /// Snapshot restored since the oracle looked last: its index and digest.
    pub restored: Option<(Index, u64)>,
    /// The node's term, for a lie about it.
    pub term: Term,
    shown: Option<ClusterState>,
    /// How often the node was shown something; only for a lie.
    looks: u64,
}

fn joined(chain: u64, rows: &[u8], cluster: &[u8]) -> Vec<u8> {
    let length = (rows.len() as u64).to_be_bytes();
    [&chain.to_be_bytes()[..], &length, rows, cluster].concat()
}

/// What was saved, with these rows.
pub fn with_rows(bytes: &[u8], rows: &Rows) -> Vec<u8> {
    let Saved { chain, cluster, .. } = saved(bytes);
    joined(chain, &rows.to_bytes(), cluster)
}

/// The parts of what `save` gave.
struct Saved<'a> {
    chain: u64,
    rows: &'a [u8],
    cluster: &'a [u8],
}

fn saved(bytes: &[u8]) -> Saved<'_> {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("8 bytes"));
    let (chain, rest) = bytes.split_at(8);
    let (length, rest) = rest.split_at(8);
    let (rows, cluster) = rest.split_at(number(length) as usize);
    Saved { chain: number(chain), rows, cluster }
}

/// The rows in what `save` gave.
pub fn rows_of(bytes: &[u8]) -> Rows {
    Rows::from_bytes(saved(bytes).rows)
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
        self.save_with(&self.rows)
    }

    fn save_with(&self, rows: &Rows) -> Vec<u8> {
        joined(self.chain, &rows.to_bytes(), &self.inner.0.to_bytes())
    }

    /// The same without rows, see [`with_rows`].
    pub fn save_without_rows(&self) -> Vec<u8> {
        joined(self.chain, &[], &self.inner.0.to_bytes())
    }

    /// The state as it is, whatever the node is told.
    pub fn truth(&self) -> &ClusterState {
        self.inner.cluster()
    }

    /// Makes up what the node is told, if a bug is planted there.
    pub fn tell_lies(&mut self, term: Term) {
        self.term = term;
        self.looks += 1;
        self.shown = self.planted.lie.and_then(|lie| {
            let paused = self.truth().paused();
            let shown = match lie {
                Lie::OtherPause => Some(paused? + self.looks),
                Lie::NoPause => Some(0),
                _ => None,
            };
            if shown.is_some() {
                let correction = StateCorrection { paused: shown, ..Default::default() };
                return Some(corrected(self.truth(), &correction));
            }
            let activation = self.truth().activation()?;
            let mut correction = Correction::default();
            match lie {
                Lie::Bound(ms) => correction.bound_ms = Some(ms),
                Lie::ScaledBound(ppm) => {
                    let bound = activation.bound()?.as_millis() as u64;
                    correction.bound_ms = Some(bound * ppm / 1_000_000);
                }
                Lie::Term { of } if activation.node() == of => correction.term = Some(self.term),
                Lie::Term { .. } | Lie::OtherPause | Lie::NoPause => return None,
            }
            let state = StateCorrection { activation: Some(correction), ..Default::default() };
            Some(corrected(self.truth(), &state))
        });
    }

    /// What a snapshot of this state contains; with a planted bug, less.
    pub fn snapshot(&self) -> Vec<u8> {
        if self.planted.stale_snapshot && !self.before.is_empty() {
            return self.before.clone();
        }
        if self.planted.stale_rows {
            return self.save_with(&self.rows_before);
        }
        self.save()
    }

    /// The planted bug: what a pause makes void takes effect.
    fn ignores_pause(&self, command: &Command) -> bool {
        let voids = matches!(command.body, Some(Body::Activate(_) | Body::Expired(_)));
        self.planted.lie == Some(Lie::NoPause) && voids
    }

    fn apply_command(
        &mut self,
        index: Index,
        term: Term,
        data: &[u8],
    ) -> Result<Option<KvCommand>, UnreadableCommand> {
        let command = Command::from_bytes(data)?;
        if let Some(Body::Kv(command)) = command.body {
            if self.planted.stale_rows {
                self.rows_before = self.rows.clone();
            }
            let active = self.truth().activation().filter(|record| record.is_active());
            let token = active.map(Activation::token);
            self.rows.apply(index, token, &command);
            self.fresh_rows.push((index, self.rows.digest()));
            return Ok(Some(command));
        }
        let before = self.inner.0.clone();
        let ignored = before.paused().filter(|_| self.ignores_pause(&command));
        if ignored.is_some() {
            let correction = StateCorrection { paused: Some(0), ..Default::default() };
            self.inner.0 = corrected(&before, &correction);
        }
        if self.inner.0.apply(index, term, &command) == Applied::Changed {
            let body = command.body.expect("decoded");
            let released = match &body {
                Body::Released(release) => before.owed_by(&release.invocation).cloned(),
                _ => None,
            };
            self.commands.push(AppliedCommand {
                index,
                body,
                before: before.activation().cloned(),
                after: self.inner.0.activation().cloned(),
                paused: before.paused(),
                released: released.into_iter().collect(),
            });
        }
        if ignored.is_some() {
            let correction = StateCorrection { paused: ignored, ..Default::default() };
            self.inner.0 = corrected(&self.inner.0, &correction);
        }
        self.tell_lies(self.term);
        Ok(None)
    }
}

impl StateMachine for Recorder {
    fn apply(
        &mut self,
        index: Index,
        term: Term,
        data: &[u8],
    ) -> Result<Option<KvCommand>, UnreadableCommand> {
        if self.planted.stale_snapshot {
            self.before = self.save();
        }
        let times = if self.planted.twice && index.is_multiple_of(7) { 2 } else { 1 };
        let mut left = None;
        for _ in 0..times {
            if data.first() == Some(&WORKLOAD) {
                self.chain = digest(self.chain.rotate_left(1), data);
            } else {
                left = self.apply_command(index, term, data)?;
            }
        }
        let data = digest(0, data);
        self.fresh.push(AppliedEntry { index, term, data, chain: self.chain });
        Ok(left)
    }

    fn cluster(&self) -> &ClusterState {
        self.shown.as_ref().unwrap_or(self.inner.cluster())
    }

    fn restore(&mut self, index: Index, data: &[u8]) -> Result<(), UnreadableCommand> {
        let Saved { chain, rows, cluster } = saved(data);
        self.chain = chain;
        self.rows = Rows::from_bytes(rows);
        self.rows_before = self.rows.clone();
        self.restored = Some((index, self.chain));
        self.inner.restore(index, cluster)?;
        self.tell_lies(self.term);
        Ok(())
    }
}
