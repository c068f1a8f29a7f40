//! Tests of the replica: the rules of the thesis one by one (`paper`), every check of the guard
//! (`refused`), and many wrong messages (`hostile`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::*;
use crate::core::message::{Entry, HardState, Kind, Message, TermRuns};
use crate::core::{Index, Instant, NodeId, Term};

mod hostile;
mod paper;
mod refused;

/// A replica with a disk that is as fast as the test wants.
struct Peer {
    replica: Replica,
    log: BTreeMap<Index, Entry>,
    applied: Index,
    hard_state: HardState,
    /// Turns handed out and not durable yet, when the disk is held.
    waiting: VecDeque<Output>,
    hold_disk: bool,
    /// What left, oldest first.
    sent: Vec<Message>,
    reads: Vec<ReadReady>,
}

fn config(id: u64) -> ReplicaConfig {
    ReplicaConfig {
        id: NodeId(id),
        election_min: Duration::from_millis(200),
        election_max: Duration::from_millis(400),
        heartbeat: Duration::from_millis(40),
        tick: Duration::from_millis(10),
        seed: id,
        vote_lease: true,
        cache_max_bytes: 1 << 20,
    }
}

/// A log whose entries have these terms, all committed up to `commit` and applied up to `applied`.
fn recovered(voters: u64, terms: &[Term], hard_state: HardState, applied: Index) -> Recovered {
    let entry = |(at, term): (usize, &Term)| Entry {
        term: *term,
        index: at as u64 + 1,
        data: vec![at as u8, *term as u8],
    };
    let entries: Vec<Entry> = terms.iter().enumerate().map(entry).collect();
    let mut runs = TermRuns::default();
    entries.iter().for_each(|e| runs.push(e.index, e.term));
    Recovered {
        hard_state,
        truncated: (0, 0),
        terms: runs,
        last: entries.len() as u64,
        tail: entries,
        applied,
        voters: (1..=voters).map(NodeId).collect(),
        learners: Vec::new(),
    }
}

const START: Instant = Instant::from_millis(1_000);

impl Peer {
    /// Member `id` of `voters`, with a log of these terms; its term is the last one.
    fn new(id: u64, voters: u64, terms: &[Term]) -> Peer {
        let term = terms.last().copied().unwrap_or(0);
        Peer::with(config(id), recovered(voters, terms, HardState { term, vote: 0, commit: 0 }, 0))
    }

    fn with(config: ReplicaConfig, recovered: Recovered) -> Peer {
        let log = recovered.tail.iter().map(|e| (e.index, e.clone())).collect();
        let (applied, hard_state) = (recovered.applied, recovered.hard_state);
        let replica = Replica::new(config, recovered, START).expect("starts");
        Peer {
            replica,
            log,
            applied,
            hard_state,
            waiting: VecDeque::new(),
            hold_disk: false,
            sent: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn position(&self) -> Position {
        self.replica.position()
    }

    /// Terms of the log as the replica knows them.
    fn terms(&self) -> Vec<Term> {
        let all = self.replica.first_index()..=self.position().last;
        all.map(|index| self.replica.term_of(index).expect("within the log")).collect()
    }

    /// Everything that is due now, with an obedient shell around it.
    fn turn(&mut self) {
        while let Some(output) = self.replica.ready() {
            self.sent.extend(output.send_now.iter().cloned());
            for fetch in &output.fetches {
                let range = self.log.range(fetch.low..fetch.high);
                self.replica.fetched(fetch.id, range.map(|(_, e)| e.clone()).collect());
            }
            for entry in &output.committed {
                assert_eq!(entry.index, self.applied + 1, "in order, once");
                self.applied = entry.index;
            }
            if let Some(last) = output.committed.last() {
                self.replica.applied(last.index);
            }
            if output.snapshot_wanted && self.applied > 0 {
                self.replica.provide_snapshot(self.applied, vec![9]);
            }
            self.reads.extend(output.reads.iter().copied());
            self.waiting.push_back(output);
            if !self.hold_disk {
                self.sync();
            }
        }
    }

    /// The disk catches up: what waited for it leaves.
    fn sync(&mut self) {
        while let Some(output) = self.waiting.pop_front() {
            if let Some(persist) = output.persist {
                self.hard_state = persist.hard_state;
                if let Some(snapshot) = &persist.snapshot {
                    self.log.clear();
                    self.applied = snapshot.index;
                }
                if let Some(first) = persist.entries.first() {
                    self.log.split_off(&first.index);
                }
                self.log.extend(persist.entries.into_iter().map(|e| (e.index, e)));
                self.replica.persisted(output.number);
                if let Some(snapshot) = persist.snapshot {
                    self.replica.applied(snapshot.index);
                }
            } else {
                self.replica.persisted(output.number);
            }
            self.sent.extend(output.send_after);
        }
    }

    /// Steps one message; what it answers.
    fn step(&mut self, now: Instant, message: Message) -> Vec<Message> {
        self.replica.step(now, message).expect("not refused");
        self.take(now)
    }

    fn tick(&mut self, now: Instant) -> Vec<Message> {
        self.replica.tick(now);
        self.take(now)
    }

    fn take(&mut self, _now: Instant) -> Vec<Message> {
        self.turn();
        std::mem::take(&mut self.sent)
    }

    fn propose(&mut self, now: Instant, data: &[u8]) -> Result<(Index, Term), ProposeRefused> {
        let result = self.replica.propose(now, vec![data.to_vec()]);
        self.turn();
        result
    }

    /// Makes it lead: its timer runs out and everybody else votes for it. What it sent as leader.
    fn elect(&mut self, now: Instant) -> Vec<Message> {
        // The first tick after a long time only looks around.
        self.tick(now);
        let now = now.max(self.replica.next_deadline());
        let asked = self.tick(now);
        assert!(asked.iter().all(|m| m.kind() == Kind::PreVote), "{asked:?}");
        let mut sent = asked;
        for _ in 0..2 {
            let grants: Vec<Message> = sent.iter().map(grant).collect();
            sent = grants.into_iter().flat_map(|grant| self.step(now, grant)).collect();
        }
        assert_eq!(self.position().role, RaftRole::Leader);
        sent
    }
}

/// The answer of a voter that grants what `asked` asks for.
fn grant(asked: &Message) -> Message {
    let kind = match asked.kind() {
        Kind::PreVote => Kind::PreVoteResponse,
        Kind::Vote => Kind::VoteResponse,
        other => panic!("{other:?} asks for no vote"),
    };
    Message { kind: kind as i32, to: asked.from, from: asked.to, term: asked.term, ..blank() }
}

fn blank() -> Message {
    Message::default()
}

fn of(kind: Kind, from: u64, to: u64, term: Term) -> Message {
    Message { kind: kind as i32, from, to, term, ..blank() }
}

/// An append from the leader of `term` after `(index, log_term)` with entries of these terms.
fn append(from: u64, to: u64, term: Term, after: (Index, Term), terms: &[Term]) -> Message {
    let entry = |(at, term): (usize, &Term)| Entry {
        term: *term,
        index: after.0 + 1 + at as u64,
        data: vec![1],
    };
    let entries = terms.iter().enumerate().map(entry).collect();
    Message { index: after.0, log_term: after.1, entries, ..of(Kind::Append, from, to, term) }
}

fn kinds(messages: &[Message]) -> Vec<Kind> {
    messages.iter().map(Message::kind).collect()
}

/// A time after every lease that a new replica may have promised.
fn later() -> Instant {
    START + Duration::from_secs(10)
}

/// Several peers and the messages between them.
struct Group {
    peers: Vec<Peer>,
    now: Instant,
    /// Receivers that get nothing.
    cut: Vec<u64>,
}

impl Group {
    fn new(size: u64) -> Group {
        let peers = (1..=size).map(|id| Peer::new(id, size, &[])).collect();
        Group { peers, now: START, cut: Vec::new() }
    }

    fn peer(&mut self, id: u64) -> &mut Peer {
        &mut self.peers[id as usize - 1]
    }

    /// Delivers until nobody has anything to say. What was refused.
    fn settle(&mut self) -> Vec<(u64, Refused)> {
        let mut refused = Vec::new();
        for _ in 0..200 {
            let mut messages = Vec::new();
            for peer in &mut self.peers {
                messages.extend(peer.take(self.now));
            }
            messages.retain(|m| !self.cut.contains(&m.to) && !self.cut.contains(&m.from));
            if messages.is_empty() {
                return refused;
            }
            for message in messages {
                let (now, to) = (self.now, message.to);
                if let Err(error) = self.peer(to).replica.step(now, message) {
                    refused.push((to, error));
                }
            }
        }
        panic!("the messages never end");
    }

    /// Time passes in ticks.
    fn pass(&mut self, time: Duration) -> Vec<(u64, Refused)> {
        let (end, mut refused) = (self.now + time, Vec::new());
        while self.now < end {
            self.now += Duration::from_millis(10);
            for peer in &mut self.peers {
                peer.replica.tick(self.now);
            }
            refused.extend(self.settle());
        }
        refused
    }

    fn leader(&self) -> Option<u64> {
        let leads = |p: &&Peer| p.position().role == RaftRole::Leader;
        let leaders: Vec<&Peer> = self.peers.iter().filter(leads).collect();
        leaders.iter().max_by_key(|p| p.position().term).map(|p| p.replica.config.id.0)
    }
}
