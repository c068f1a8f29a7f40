//! Tests of the node and of the disk's work: above all, what may leave before what is durable.

mod disk;
mod kv;
mod order;
mod pause;
mod recover;
mod requests;
mod succession;
mod truncate;

use std::time::Duration;

use super::event::{Effect, Event};
use super::machine::ClusterMachine;
use super::{Member, Node, NodeConfig};
use crate::consensus::{Recovered, Replica, ReplicaConfig};
use crate::core::authority::{Enforcement, Timing};
use crate::core::message::{Entry, HardState, Kind, Message, TermRuns};
use crate::core::{Incarnation, Index, Instant, NodeId, Term};

/// A node that has never been anything, in a cluster of `size`.
pub(super) struct Fixture {
    pub(super) node: Node<ClusterMachine>,
    pub(super) now: Instant,
    /// Heartbeats that nobody has answered.
    rounds: Vec<Message>,
}

const START: Instant = Instant::from_millis(1_000);

impl Fixture {
    pub(super) fn new(id: u64, size: u64) -> Fixture {
        let member = |id| Member {
            id: NodeId(id),
            name: format!("n{id}").parse().expect("a name"),
            address: format!("192.0.2.{id}:7100").parse().expect("an address"),
        };
        let config = NodeConfig {
            id: NodeId(id),
            cluster_name: "test".to_owned(),
            members: (1..=size).map(member).collect(),
            incarnation: Incarnation([id as u8; 16]),
            invocation: [7; 16],
            cluster_id_proposal: [9; 16],
            machine: [id as u8; 16],
            release_key: [7; 32],
            timing: Timing { enforcement: Enforcement::Nothing, ..Timing::default() },
            log_keep_entries: 1_000,
            log_keep_bytes: 1 << 20,
            snapshot_rate: 32 << 20,
            priority: 100,
            preempt: false,
            kv_quota_bytes: crate::limits::KV_QUOTA_BYTES,
        };
        let replica = ReplicaConfig {
            id: NodeId(id),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            heartbeat: Duration::from_millis(40),
            tick: Duration::from_millis(10),
            seed: id,
            vote_lease: true,
            cache_max_bytes: 1 << 20,
        };
        let recovered = Recovered {
            hard_state: HardState::default(),
            truncated: (0, 0),
            terms: TermRuns::default(),
            last: 0,
            tail: Vec::new(),
            applied: 0,
            voters: (1..=size).map(NodeId).collect(),
            learners: Vec::new(),
        };
        let replica = Replica::new(replica, recovered, START).expect("starts");
        Fixture {
            node: Node::new(config, replica, ClusterMachine::default(), (0, 0)),
            now: START,
            rounds: Vec::new(),
        }
    }

    /// One turn of a driver: these events, then what follows.
    pub(super) fn turn(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for event in events {
            self.node.handle(self.now, event, &mut effects);
        }
        self.node.turn(self.now, &mut effects);
        // No scripts here: they are over as soon as they are due.
        let acts = |effect: &Effect| match effect {
            Effect::Act(consequence) => Some(consequence.number),
            _ => None,
        };
        if let Some(number) = effects.iter().rev().find_map(acts) {
            self.node.handle(self.now, Event::Acted { number }, &mut effects);
            self.node.turn(self.now, &mut effects);
        }
        self.rounds.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Send(message) if message.kind() == Kind::Heartbeat => Some(message.clone()),
            _ => None,
        }));
        effects
    }

    fn hears(&mut self, message: Message) -> Vec<Effect> {
        self.turn([Event::Message(message)])
    }

    /// A turn, and then the disk: everything is durable when it returns. All effects.
    fn settle(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
        let mut effects = self.turn(events);
        let mut done = 0;
        while let Some(number) = newest_persist(&effects).filter(|number| *number > done) {
            done = number;
            effects.extend(self.turn([Event::Persisted { number }]));
        }
        effects
    }

    fn id(&self) -> u64 {
        self.node.replica().position().leader.map_or(0, |leader| leader.0)
    }

    /// Makes it lead term 1, with everything durable, acknowledged by the others and applied.
    fn lead(&mut self) {
        self.elect();
        // Duties: each acknowledgement may cause another entry.
        for _ in 0..4 {
            self.acknowledge_all();
        }
        assert!(self.node.status().active);
    }

    /// Makes it lead term 1.
    pub(super) fn elect(&mut self) {
        let others: Vec<NodeId> = self.node.replica().voters();
        let me = self.node.status().id;
        let others: Vec<NodeId> = others.into_iter().filter(|id| *id != me).collect();
        for peer in &others {
            let incarnation = Incarnation([peer.0 as u8; 16]);
            self.settle([Event::Connected { peer: *peer, incarnation, process: peer.0 }]);
        }
        self.now = self.now.max(self.node.next_deadline());
        self.settle([]);
        for kind in [Kind::PreVoteResponse, Kind::VoteResponse] {
            for peer in &others {
                let granted = of(kind, peer.0, me.0, 1);
                self.settle([Event::Message(granted)]);
            }
        }
        assert_eq!(self.id(), me.0, "it leads");
    }

    /// Everybody has what this leader has.
    fn acknowledge_all(&mut self) -> Vec<Effect> {
        let me = self.node.status().id;
        let last = self.node.replica().position().last;
        let term = self.node.replica().position().term;
        let mut effects = Vec::new();
        for round in std::mem::take(&mut self.rounds) {
            let answer = of(Kind::HeartbeatResponse, round.to, me.0, term);
            effects.extend(self.hears(Message { context: round.context, ..answer }));
        }
        for peer in self.node.replica().voters() {
            if peer != me {
                let answer = of(Kind::AppendResponse, peer.0, me.0, term);
                effects.extend(self.settle([Event::Message(Message { index: last, ..answer })]));
            }
        }
        effects
    }

    /// Makes it follow node 1 in term 1 with one entry, durable.
    fn follow(&mut self) {
        let me = self.node.status().id.0;
        self.settle([Event::Message(append(1, me, 1, (0, 0), &[1]))]);
        assert_eq!(self.id(), 1);
    }
}

pub(super) fn of(kind: Kind, from: u64, to: u64, term: Term) -> Message {
    Message { kind: kind as i32, from, to, term, ..Message::default() }
}

/// An append of the leader of `term` after `after` with empty entries of these terms.
fn append(from: u64, to: u64, term: Term, after: (Index, Term), terms: &[Term]) -> Message {
    let entry = |(at, term): (usize, &Term)| Entry {
        term: *term,
        index: after.0 + 1 + at as u64,
        data: Vec::new(),
    };
    let entries = terms.iter().enumerate().map(entry).collect();
    Message { index: after.0, log_term: after.1, entries, ..of(Kind::Append, from, to, term) }
}

fn newest_persist(effects: &[Effect]) -> Option<u64> {
    let number = |effect: &Effect| match effect {
        Effect::Persist { number, .. } => Some(*number),
        _ => None,
    };
    effects.iter().rev().find_map(number)
}

/// Kinds of the messages that left.
fn sent(effects: &[Effect]) -> Vec<Kind> {
    let kind = |effect: &Effect| match effect {
        Effect::Send(message) => Some(message.kind()),
        _ => None,
    };
    effects.iter().filter_map(kind).collect()
}
