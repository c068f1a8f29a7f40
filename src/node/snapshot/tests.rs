//! Tests of snapshots with rows: two nodes over real databases, and a wire that loses what it is
//! told to lose. A third member is only a voice that acknowledges.

use std::collections::VecDeque;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::core::Incarnation;
use crate::core::command::{Body, Command};
use crate::core::kv::{KvCommand, Operation, Put, Query};
use crate::core::message::{Entry, Kind, Message, Snapshot};
use crate::limits;
use crate::node::event::{Effect, Event, RequestId};
use crate::node::store::{DatabaseStore, Store as _, StoreWorker};
use crate::node::tests::{Fixture, of};
use crate::storage::state_store::StateStore;
use crate::transport::snapshot::SnapshotFrame;

const WRITES: u64 = 600;
const VALUE_BYTES: usize = 1024;

struct Side {
    fixture: Fixture,
    store: StoreWorker<DatabaseStore>,
    snapshots: SnapshotWorker,
    inbox: VecDeque<Event>,
    _files: TempDir,
}

impl Side {
    fn new(id: u64) -> Side {
        let files = TempDir::new().unwrap();
        let (database, _) = StateStore::open(files.path().join("state"), 1 << 20).unwrap();
        let database = DatabaseStore::new(database, limits::KV_QUOTA_BYTES);
        let intakes = database.intakes();
        let store = StoreWorker::new(database);
        let snapshots = SnapshotWorker::new(store.views(), intakes);
        let mut fixture = Fixture::new(id, 3);
        fixture.node.config.log_keep_entries = 10;
        Side { fixture, store, snapshots, inbox: VecDeque::new(), _files: files }
    }

    /// Makes durable what is applied.
    fn flush(&mut self) {
        self.store.begin_flush(Box::new(|| {})).unwrap();
        let event = self.store.end_flush().unwrap();
        self.inbox.extend(event);
    }

    fn keys(&mut self) -> usize {
        let query = Query { is_prefix: true, keys_only: true, ..Query::default() };
        self.store.store_mut().read(&query).unwrap().rows.len()
    }
}

/// What happens to a frame on its way.
enum Fate {
    Arrives,
    Lost,
    Damaged,
}

/// Node 1, which leads, and node 2, which has nothing.
struct Rig {
    sides: [Side; 2],
    fate: Box<dyn FnMut(&SnapshotFrame) -> Fate>,
    /// Positions from which pieces were sent.
    pieces: Vec<u64>,
    news: Vec<(bool, SnapshotStep)>,
    joined: bool,
    requests: u64,
}

impl Rig {
    /// The leader has committed writes and given their log up.
    fn new() -> Rig {
        let mut rig = Rig {
            sides: [Side::new(1), Side::new(2)],
            fate: Box::new(|_| Fate::Arrives),
            pieces: Vec::new(),
            news: Vec::new(),
            joined: false,
            requests: 0,
        };
        rig.sides[0].fixture.elect();
        rig.join(false);
        rig.until("leads", |rig| rig.leader().position().commit >= 1);
        for number in 0..WRITES {
            rig.write(number);
            rig.step();
        }
        rig.until("applied", |rig| rig.sides[0].keys() as u64 == WRITES);
        rig.sides[0].flush();
        rig.until("truncated", |rig| rig.leader().first_index() > WRITES / 2);
        rig
    }

    fn leader(&self) -> &crate::consensus::Replica {
        self.sides[0].fixture.node.replica()
    }

    fn write(&mut self, number: u64) {
        let put = Put { key: format!("key{number:06}").into(), value: vec![7; VALUE_BYTES] };
        let command = KvCommand {
            quota_bytes: limits::KV_QUOTA_BYTES,
            clients_max: 10,
            operation: Some(Operation::Put(put)),
            ..KvCommand::default()
        };
        self.requests += 1;
        let request = RequestId(1_000_000 + self.requests);
        let data = Command::from(Body::Kv(command)).to_bytes();
        self.sides[0].inbox.push_back(Event::Propose { request, data });
    }

    /// The member can be reached from now on, or no longer.
    fn join(&mut self, joined: bool) {
        self.joined = joined;
        for (at, peer) in [(0, 2), (1, 1)] {
            let peer = NodeId(peer);
            let incarnation = Incarnation([peer.0 as u8; 16]);
            let event = match joined {
                true => Event::Connected { peer, incarnation, process: peer.0 },
                false => Event::Lost { peer },
            };
            self.sides[at].inbox.push_back(event);
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&mut Rig) -> bool) {
        for _ in 0..20_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("not {what} in time: {:?}", self.news);
    }

    /// Both handle what has arrived, and time goes on.
    fn step(&mut self) {
        for at in 0..2 {
            let side = &mut self.sides[at];
            side.fixture.now += Duration::from_millis(2);
            let events: Vec<Event> = side.inbox.drain(..).collect();
            for effect in side.fixture.turn(events) {
                self.carry_out(at, effect);
            }
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let (joined, other) = (self.joined, 1 - at);
        let from = NodeId(at as u64 + 1);
        match effect {
            Effect::Send(message) if message.to == 3 => self.third(at, message),
            Effect::Send(message) if joined => {
                self.sides[other].inbox.push_back(Event::Message(message));
            }
            Effect::SendSnapshot { frame, .. } if joined => {
                if let SnapshotFrame::Piece(piece) = &frame {
                    self.pieces.push(piece.from);
                }
                let frame = match ((self.fate)(&frame), frame) {
                    (Fate::Lost, _) => return,
                    (Fate::Damaged, SnapshotFrame::Piece(mut piece)) => {
                        let middle = piece.rows.len() / 2;
                        piece.rows[middle] ^= 1;
                        SnapshotFrame::Piece(piece)
                    }
                    (_, frame) => frame,
                };
                self.sides[other].inbox.push_back(Event::Snapshot { from, frame });
            }
            Effect::Snapshot(request) => {
                let side = &mut self.sides[at];
                side.inbox.extend(side.snapshots.step(request).map(Event::SnapshotDone));
            }
            Effect::Store(request) => {
                let side = &mut self.sides[at];
                side.store.push(request);
                let event = side.store.step().unwrap();
                side.inbox.extend(event);
            }
            Effect::Persist { number, persist } => {
                let side = &mut self.sides[at];
                if let Some(snapshot) = &persist.snapshot {
                    side.inbox.extend(side.store.install(snapshot).unwrap());
                }
                side.inbox.push_back(Event::Persisted { number });
            }
            Effect::SnapshotNews(news) => self.news.push((news.incoming, news.step)),
            Effect::Fetch(_) => panic!("everything is in memory"),
            _ => {}
        }
    }

    /// The third member has whatever it is sent.
    fn third(&mut self, at: usize, message: Message) {
        let answer = match message.kind() {
            Kind::Heartbeat => Kind::HeartbeatResponse,
            Kind::Append => Kind::AppendResponse,
            _ => return,
        };
        let index = message.index + message.entries.len() as u64;
        let context = message.context;
        let answer = Message { index, context, ..of(answer, 3, message.from, message.term) };
        self.sides[at].inbox.push_back(Event::Message(answer));
    }

    /// The member has everything, under the leader of before.
    fn until_caught_up(&mut self) {
        self.until("caught up", |rig| {
            let applied = rig.sides[0].fixture.node.applied();
            rig.sides[1].fixture.node.applied() == applied
        });
        assert_eq!(self.sides[1].keys(), self.sides[0].keys());
        assert_eq!(self.leader().position().term, 1, "nobody has disturbed the leader");
        assert_eq!(self.sides[1].fixture.node.travels().snapshots_installed, 1);
    }
}

#[test]
fn a_member_that_lags_gets_the_rows_and_then_the_log_under_load() {
    let mut rig = Rig::new();
    rig.join(true);
    let before = rig.requests;
    while rig.sides[1].fixture.node.travels().snapshots_installed == 0 {
        rig.write(WRITES + rig.requests);
        rig.step();
        assert!(rig.requests < before + 20_000);
    }
    assert!(rig.requests > before + 10);
    rig.until_caught_up();
    assert!(rig.pieces.len() > 2, "{:?}", rig.pieces);
    assert!(rig.pieces.is_sorted());
    let (begun, installed) = (SnapshotStep::Begun, SnapshotStep::Installed);
    let told = [(false, begun), (true, begun), (true, installed), (false, installed)];
    assert_eq!(rig.news, told);
    assert_eq!(rig.sides[0].fixture.node.travels().snapshots_sent, 1);
}

#[test]
fn a_broken_connection_costs_no_rows_that_have_arrived() {
    let mut rig = Rig::new();
    rig.join(true);
    rig.until("half sent", |rig| rig.pieces.len() >= 2);
    for _ in 0..5 {
        rig.step();
    }
    rig.join(false);
    for _ in 0..50 {
        rig.step();
    }
    rig.join(true);
    rig.until_caught_up();
    let beginnings = rig.pieces.iter().filter(|from| **from == 0).count();
    assert_eq!(beginnings, 1, "{:?}", rig.pieces);
}

#[test]
fn lost_frames_are_made_up_for() {
    let mut rig = Rig::new();
    let mut count = 0;
    rig.fate = Box::new(move |_| {
        count += 1;
        if count % 4 == 0 { Fate::Lost } else { Fate::Arrives }
    });
    rig.join(true);
    rig.until_caught_up();
}

#[test]
fn rows_that_are_not_those_that_were_sent_are_not_installed() {
    let mut rig = Rig::new();
    let mut damaged = false;
    rig.fate = Box::new(move |frame| match frame {
        SnapshotFrame::Piece(piece) if piece.from > 0 && !damaged => {
            damaged = true;
            Fate::Damaged
        }
        _ => Fate::Arrives,
    });
    rig.join(true);
    rig.until_caught_up();
    assert!(rig.news.contains(&(true, SnapshotStep::Refused)), "{:?}", rig.news);
    let beginnings = rig.pieces.iter().filter(|from| **from == 0).count();
    assert_eq!(beginnings, 2, "{:?}", rig.pieces);
}

#[test]
fn a_message_without_its_rows_is_not_taken() {
    let mut rig = Rig::new();
    let data = crate::core::snapshot::payload(Vec::new(), true);
    let voters = vec![1, 2, 3];
    let snapshot = Some(Snapshot { index: 50, term: 1, voters, learners: Vec::new(), data });
    let heartbeat = of(Kind::Heartbeat, 1, 2, 1);
    let message = Message { snapshot, ..of(Kind::Snapshot, 1, 2, 1) };
    rig.sides[1].inbox.extend([Event::Message(heartbeat), Event::Message(message)]);
    rig.step();
    rig.step();
    assert_eq!(rig.sides[1].fixture.node.applied(), (0, 0));
    assert_eq!(rig.sides[1].fixture.node.replica().position().last, 0);
}

#[test]
fn who_leads_no_longer_lets_the_view_go() {
    let mut rig = Rig::new();
    rig.join(true);
    rig.until("under way", |rig| !rig.sides[0].fixture.node.travels().snapshots.is_empty());
    let entries = vec![Entry { term: 2, index: 1, data: Vec::new() }];
    let newer = Message { entries, ..of(Kind::Append, 3, 1, 2) };
    rig.sides[0].inbox.push_back(Event::Message(newer));
    rig.step();
    rig.step();
    assert!(rig.sides[0].fixture.node.travels().snapshots.is_empty());
}

#[test]
fn large_entries_are_given_up_by_their_bytes() {
    let mut rig = Rig::new();
    rig.sides[0].fixture.node.config.log_keep_entries = 1_000_000;
    rig.sides[0].fixture.node.config.log_keep_bytes = 300 << 10;
    let before = rig.leader().first_index();
    for number in 0..1000 {
        rig.write(number);
        rig.step();
    }
    rig.until("applied", |rig| {
        let node = &rig.sides[0].fixture.node;
        node.applied().0 == node.replica().position().last
    });
    rig.sides[0].flush();
    rig.until("truncated", |rig| rig.leader().first_index() > before + 500);
    let weight = rig.leader().log_bytes();
    assert!((300 << 10..1200 << 10).contains(&weight), "{weight}");
}
