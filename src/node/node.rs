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
use crate::core::kv::{Committed, KvCommand, Work};
use crate::core::message::Entry;
use crate::core::secret::Key;
use crate::core::{Address, Incarnation, Index, Instant, NodeId, NodeName, Reading, Term};
use crate::transport::Known;

use super::authority::Duties;
use super::event::{Answer, Effect, Event};
use super::flush::Flush;
use super::machine::StateMachine;
use super::operator::Pausing;
use super::proposals::Pending;
use super::publish::Published;
use super::quorum::Quorum;
use super::snapshot::{Receiving, Sending};
use super::store::{StoreRequest, Stored};
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
            Event::Stored(Stored::Viewed(viewed)) => self.viewed(viewed, effects),
            Event::Stored(_) => {}
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
        self.check_stopping(now.boot, effects);
    }

    /// Replica, authority and duties, until none of them has anything to do now.
    fn settle(&mut self, now: Reading, effects: &mut Vec<Effect>) {
        loop {
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
    }

    /// When [`Node::turn`] must run even without an event.
    pub fn next_deadline(&self) -> Instant {
        let transfer = self.transfer.as_ref().and_then(|t| t.deadline);
        let later = |at: &Instant| *at > self.now;
        let preempt = self.preempt_deadline().filter(later);
        let quorum = self.quorum.deadline().filter(later);
        let snapshot = self.snapshot_deadline();
        let authority = self.authority_deadline(self.now);
        let own = [transfer, self.stop_by, authority, preempt, quorum, snapshot];
        own.into_iter().flatten().fold(self.replica.next_deadline(), Instant::min)
    }

    fn persisted(&mut self, number: u64, effects: &mut Vec<Effect>) {
        let released = self.flush.persisted(number, effects);
        if let Some(number) = released.number {
            self.replica.persisted(number);
        }
        if let Some(snapshot) = released.snapshot {
            let restored = self.machine.restore(snapshot.index, &snapshot.data);
            restored.unwrap_or_else(|e| panic!("cannot restore snapshot: {e}"));
            self.applied = (snapshot.index, snapshot.term);
            self.durable = snapshot.index;
            self.compacted = snapshot.index;
            self.replica.applied(snapshot.index);
            self.forget_arrival_below(snapshot.index, effects);
            let later = self.pending.split_off(&(snapshot.index + 1));
            for (_, gone) in std::mem::replace(&mut self.pending, later) {
                effects.push(Effect::Answer { request: gone.request, answer: Answer::Unknown });
            }
        }
    }

    fn flush_turn(&mut self, mut output: crate::consensus::Output, effects: &mut Vec<Effect>) {
        self.divert_snapshots(&mut output.send_now, effects);
        self.divert_snapshots(&mut output.send_after, effects);
        if let Some(taken) = output.persist.as_ref().and_then(|p| p.snapshot.as_ref()) {
            self.snapshot_taken(taken);
        }
        let snapshot_wanted = output.snapshot_wanted;
        let writes = output.persist.is_some();
        let number = output.number;
        for read in &output.reads {
            self.authority.round_confirmed(read.context);
        }
        let committed = self.flush.turn(output, effects);
        if !writes {
            // Durable at once if nothing written before it is still under way.
            let released = self.flush.persisted(0, effects);
            if let Some(released) = released.number {
                assert!(released <= number);
                self.replica.persisted(released);
            }
        }
        self.apply(committed, effects);
        if snapshot_wanted {
            self.snapshot_wanted(effects);
        }
    }

    fn apply(&mut self, committed: Vec<Entry>, effects: &mut Vec<Effect>) {
        let Some(last) = committed.last().map(|e| (e.index, e.term)) else { return };
        let mut commands = Vec::new();
        let mut changes = false;
        for entry in committed {
            let index = entry.index;
            assert_eq!(index, self.applied.0 + 1, "entries are applied in order, once");
            if !entry.data.is_empty() {
                let applied = self.machine.apply(index, entry.term, &entry.data);
                let left = applied.unwrap_or_else(|e| panic!("cannot apply entry {index}: {e}"));
                changes |= left.is_none();
                commands.extend(left.map(|command| self.committed(index, command)));
            }
            self.applied = (entry.index, entry.term);
            if let Some(pending) = self.pending.remove(&entry.index) {
                let answer = if pending.term == entry.term {
                    Answer::Applied { index: entry.index }
                } else {
                    Answer::Refused { reason: "superseded by another leader's entry".to_owned() }
                };
                effects.push(Effect::Answer { request: pending.request, answer });
            }
        }
        self.replica.applied(last.0);
        self.forget_arrival_below(last.0, effects);
        let state = changes.then(|| self.machine.cluster().clone());
        let work = Work { commands, applied: last, state };
        effects.push(Effect::Store(StoreRequest::Apply(work)));
    }

    /// A write, with the token in force where it stands in the log.
    fn committed(&self, index: Index, command: KvCommand) -> Committed {
        let activation = self.machine.cluster().activation();
        let token = activation.filter(|a| a.is_active()).map(|a| a.token());
        Committed { index, token, command, wanted: false }
    }
}
