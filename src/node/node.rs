//! The node: replica, state machine, duties of a leader and the requests of operators, as one
//! synchronous value. Events and time go in, effects come out; the driver and the simulator run
//! the same code.
//!
//! Guarantees the order of effects (`flush`), that a request gets exactly one answer, and that a
//! proposal is answered as applied only AFTER it is committed and applied here.
//!
//! Does not do: I/O, clocks, chance. Does not decide what a role does to the host (`core::role`).

use std::collections::BTreeMap;

use crate::consensus::{Refused, Replica};
use crate::core::authority::{Authority, Me, Timing};
use crate::core::secret::Key;
use crate::core::{Address, Incarnation, Index, Instant, NodeId, NodeName, Reading, Term};
use crate::transport::Known;

use super::authority::Duties;
use super::event::{Effect, Event};
use super::flush::Flush;
use super::kv::Kv;
use super::machine::StateMachine;
use super::notices::Notices;
use super::operator::Pausing;
use super::proposals::Pending;
use super::publish::Published;
use super::quorum::Quorum;
use super::snapshot::{Receiving, Sending};
use super::succession::Succession;
use super::transfer::Transfer;

/// A member of the configured list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Number.
    pub id: NodeId,
    /// Name.
    pub name: NodeName,
    /// Raft address.
    pub address: Address,
}

/// Settings and identities of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node.
    pub id: NodeId,
    /// Name of the cluster.
    pub cluster_name: String,
    /// The configured members, this node among them, in order of their numbers.
    pub members: Vec<Member>,
    /// Identity of the state directory.
    pub incarnation: Incarnation,
    /// 16 random bytes of this run.
    pub invocation: [u8; 16],
    /// 16 random bytes: the cluster's identity if this node commits the first membership.
    pub cluster_id_proposal: [u8; 16],
    /// 16 bytes: this instance on this machine (DESIGN 5.10).
    pub machine: [u8; 16],
    /// The key of the state directory, from which the secrets of releases are derived.
    pub release_key: Key,
    /// The timing of leases and bounds; its E is also how long a transfer may take.
    pub timing: Timing,
    /// Applied entries kept in the log for lagging followers.
    pub log_keep_entries: u64,
    /// Bytes of such entries.
    pub log_keep_bytes: u64,
    /// Bytes of snapshots that are sent in a second.
    pub snapshot_rate: u64,
    /// How much this node should be preferred; more is better.
    pub priority: u32,
    /// Whether this node, when it is active, gives way to one of higher priority.
    pub preempt: bool,
    /// Bytes that the store may hold, for writes that are asked of this node.
    pub kv_quota_bytes: u64,
}

/// A peer with a complete handshake.
pub(super) struct Peer {
    pub incarnation: Incarnation,
    pub(super) process: u64,
}

/// One node of the cluster.
pub struct Node<M> {
    pub(super) config: NodeConfig,
    pub(super) replica: Replica,
    pub(super) machine: M,
    pub(super) flush: Flush,
    pub(super) connected: BTreeMap<NodeId, Peer>,
    pub(super) applied: (Index, Term),
    pub(super) pending: BTreeMap<Index, Pending>,
    pub(super) transfer: Option<Transfer>,
    pub(super) duty_until: Index,
    pub(super) published: Published,
    pub(super) stopping: bool,
    /// When a stop goes on although the cluster was not told everything.
    pub(super) stop_by: Option<Instant>,
    pub(super) stopped: bool,
    pub(super) handing_over: bool,
    pub(super) authority: Authority,
    pub(super) duty: Duties,
    pub(super) succession: Succession,
    /// The bound of the record has passed, as of this turn.
    pub(super) bound_passed: bool,
    /// This host has given its word to end the pause in force, and is active by its lease.
    pub(super) word_given: bool,
    /// An operator's pause or resumption that waits for the log.
    pub(super) pausing: Option<Pausing>,
    pub(super) quorum: Quorum,
    pub(super) kv: Kv,
    pub(super) notices: Notices,
    /// When the leader of now was heard last.
    pub(super) heard_leader: Option<Instant>,
    /// When this turn began.
    pub(super) now: Instant,
    pub(super) processes: BTreeMap<NodeId, u64>,
    pub(super) last_refused: Option<(u64, std::mem::Discriminant<Refused>)>,
    pub(super) durable: Index,
    pub(super) compacted: Index,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) quorum_seen: bool,
    pub(super) known: Known,
    pub(super) known_at: Option<Index>,
    pub(super) refused: u64,
    pub(super) dropped_busy: u64,
}

impl<M: StateMachine> Node<M> {
    /// A node over a recovered replica and the state machine at `applied`.
    pub fn new(config: NodeConfig, replica: Replica, machine: M, applied: (Index, Term)) -> Self {
        let published = Published::starting(&config, &replica, &machine, applied.0);
        let compacted = replica.first_index() - 1;
        let me = Me { node: config.id, invocation: config.invocation };
        Node {
            authority: Authority::new(me, config.timing),
            duty: Duties::default(),
            succession: Succession::default(),
            bound_passed: false,
            word_given: false,
            pausing: None,
            quorum: Quorum::default(),
            kv: Kv::new(config.invocation, config.kv_quota_bytes, applied.0),
            notices: Notices::default(),
            heard_leader: None,
            now: Instant::default(),
            config,
            replica,
            machine,
            flush: Flush::default(),
            connected: BTreeMap::new(),
            applied,
            pending: BTreeMap::new(),
            transfer: None,
            duty_until: 0,
            published,
            stopping: false,
            stop_by: None,
            stopped: false,
            handing_over: false,
            processes: BTreeMap::new(),
            last_refused: None,
            durable: applied.0,
            compacted,
            sending: Sending::default(),
            receiving: Receiving::default(),
            quorum_seen: false,
            known: Known::default(),
            known_at: None,
            refused: 0,
            dropped_busy: 0,
        }
    }

    /// The replica, to look at.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The state machine, to look at.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The state machine, for a simulator that takes its recordings out.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// Appends that were dropped because the disk did not keep up.
    pub fn dropped_appends(&self) -> u64 {
        self.dropped_busy
    }

    /// What the replicated state says about who may connect.
    pub fn known(&self) -> Known {
        let cluster = self.machine.cluster();
        let recorded = |id| cluster.incarnation(id).map(|incarnation| (id, incarnation));
        Known {
            cluster_id: cluster.cluster_id(),
            incarnations: cluster.members().iter().filter_map(|m| recorded(NodeId(m.id))).collect(),
        }
    }

    /// Last applied position.
    pub fn applied(&self) -> (Index, Term) {
        self.applied
    }

    /// Messages refused because no correct peer sends them.
    pub fn refused_messages(&self) -> u64 {
        self.refused
    }

    /// Takes one event. Effects that must follow come from [`Node::turn`], which the caller runs
    /// when it has no more events at hand (that is the group commit).
    pub fn handle(&mut self, now: impl Into<Reading>, event: Event, effects: &mut Vec<Effect>) {
        let reading = now.into();
        let now = reading.boot;
        if self.stopped {
            return;
        }
        match event {
            Event::Message(message) => self.message(now, message, effects),
            Event::Connected { peer, incarnation, process } => {
                self.peer_connected(now, peer, Peer { incarnation, process });
            }
            Event::Lost { peer } => {
                self.connected.remove(&peer);
                self.replica.unreachable(peer);
            }
            Event::Silent { peer } => self.replica.leader_lost(now, peer),
            Event::Persisted { number } => {
                self.persisted(number, effects);
                self.watch_disk(now, true);
            }
            Event::Fetched { id, entries } => self.replica.fetched(id, entries),
            Event::StateDurable { index } => self.state_durable(index, effects),
            Event::Stored(stored) => self.stored(stored, effects),
            Event::KvWrite { request, write, deadline } => {
                self.kv_write(now, (request, write), deadline, effects);
            }
            Event::KvRead { request, read, deadline } => {
                self.kv_read(now, (request, read), deadline, effects);
            }
            Event::KvFrame { from, frame } => self.kv_frame(from, frame),
            Event::Snapshot { from, frame } => self.snapshot_frame(from, frame, effects),
            Event::SnapshotDone(done) => self.snapshot_done(done, effects),
            Event::Propose { request, data } => self.propose(now, request, data, effects),
            Event::Transfer { request, to } => self.start_transfer(now, request, to, effects),
            Event::Shutdown => self.start_stopping(now, effects),
            Event::Host(report) => self.authority.report(report),
            Event::Acted { number } => self.authority.acted(number),
            Event::Release { from, request, release } => {
                self.take_release(from, request, release, effects);
            }
            Event::Suspend { before } => self.duty.suspended = before,
            Event::Takeover { request } => self.take_over(request, effects),
            Event::Eligible { eligible } => self.duty.unfit = !eligible,
            Event::PeerStanding { peer, eligible, priority } => {
                self.peer_standing(peer, eligible, priority);
            }
            Event::Pause { request, on, force } => {
                self.pause_or_resume(reading, request, on, force, effects);
            }
        }
    }

    /// Runs what time and the handled events ask for, until nothing is left to do now.
    pub fn turn(&mut self, now: impl Into<Reading>, effects: &mut Vec<Effect>) {
        let now = now.into();
        if self.stopped {
            return;
        }
        self.now = now.boot;
        self.tell_standing(effects);
        self.lease_round(now);
        if now.boot >= self.replica.next_deadline() {
            self.replica.tick(now.boot);
        }
        self.send_snapshots(effects);
        loop {
            self.settle(now, effects);
            self.learn(effects);
            self.watch_quorum(now);
            self.publish(effects);
            // Only now is it known which scripts a demotion has to wait for.
            if !self.authority.published(self.duty.acts) {
                break;
            }
        }
        self.watch_disk(now.boot, false);
        self.announce(now.boot, effects);
        self.send_notices(now.boot, effects);
        self.check_stopping(now.boot, effects);
    }

    /// Replica, authority and duties, until none of them has anything to do now.
    fn settle(&mut self, now: Reading, effects: &mut Vec<Effect>) {
        loop {
            self.kv_turn(now.boot, effects);
            self.lease_round(now);
            while let Some(output) = self.replica.ready() {
                self.flush_turn(output, effects);
            }
            self.authority_turn(now, effects);
            let before = self.transfer.is_some();
            self.preempt(now.boot);
            self.yield_if_useless(now.boot);
            let begins = !before && self.transfer.is_some();
            self.handing_over = self.transfer.is_some();
            self.check_transfer(now.boot, effects);
            self.check_pausing(effects);
            if !self.duties(now.boot) && !self.replica.has_ready() && !begins {
                break;
            }
        }
        self.kv_serve(effects);
    }

    /// When [`Node::turn`] must run even without an event.
    pub fn next_deadline(&self) -> Instant {
        let transfer = self.transfer.as_ref().and_then(|t| t.deadline);
        let later = |at: &Instant| *at > self.now;
        let preempt = self.preempt_deadline().filter(later);
        let quorum = self.quorum.deadline().filter(later);
        let authority = self.authority_deadline(self.now);
        let store = self.kv.deadline();
        let status = self.publish_deadline();
        let snapshot = self.snapshot_deadline();
        let rest = [store, status, snapshot, self.notices.deadline()];
        let own = [transfer, self.stop_by, authority, preempt, quorum].into_iter().chain(rest);
        own.flatten().fold(self.replica.next_deadline(), Instant::min)
    }
}
