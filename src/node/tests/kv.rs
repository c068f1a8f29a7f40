//! Reads and writes of the store: who is asked, what is waited for, and what is said at the end.

use super::*;
use crate::core::Token;
use crate::core::command::{Body, Command};
use crate::core::kv::{
    Clients, Context, Delete, IndexAnswer, IndexQuestion, KvFrame, MemoryTable, Operation, Page,
    Put, Query, apply, get,
};
use crate::limits;
use crate::node::event::{Answer, RequestId};
use crate::node::kv::{Consistency, KvError, KvPage, KvRead, KvWrite};
use crate::node::store::{StoreRequest, Stored};

const WITHIN: Duration = Duration::from_secs(5);

/// Rows in memory.
#[derive(Default)]
struct Rows {
    table: MemoryTable,
    size: u64,
    clients: Clients,
    applied: Index,
}

impl Rows {
    /// Carries out what the effects ask of the store.
    fn carry_out(&mut self, effects: &[Effect]) -> Vec<Event> {
        let requests = effects.iter().filter_map(|effect| match effect {
            Effect::Store(request) => Some(request.clone()),
            _ => None,
        });
        requests.map(|request| Event::Stored(self.request(request))).collect()
    }

    fn request(&mut self, request: StoreRequest) -> Stored {
        match request {
            StoreRequest::Apply(work) => {
                let mut outcomes = Vec::new();
                for committed in work.commands {
                    let context = Context { index: committed.index, token: committed.token };
                    let (table, clients) = (&mut self.table, &mut self.clients);
                    let command = committed.command;
                    let Ok(applied) = apply(table, &mut self.size, clients, context, &command);
                    let (index, awaited) = (committed.index, committed.awaited);
                    outcomes.extend(awaited.answer(index, &command, applied.outcome));
                }
                self.applied = work.applied.0;
                Stored::Applied { applied: self.applied, bytes: self.size, outcomes }
            }
            StoreRequest::Read(queries) => {
                let page = |(number, query): (u64, Query)| {
                    let Ok(row) = get(&self.table, &query.key);
                    let rows = row.map(|row| (query.key, row)).into_iter().collect();
                    (number, Page { rows, more: false })
                };
                let pages = queries.into_iter().map(page).collect();
                Stored::Read { pages, applied: self.applied }
            }
            StoreRequest::View => Stored::Viewed(None),
        }
    }
}

fn write(number: u64, now: Instant, value: &str) -> Event {
    let put = Put { key: b"k".to_vec(), value: value.into() };
    let operation = Operation::Put(put);
    let write = KvWrite { operation, token: None, within: WITHIN, forward: true };
    Event::KvWrite { request: RequestId(number), write, deadline: now + WITHIN }
}

fn read(number: u64, now: Instant, consistency: Consistency) -> Event {
    let query = Query { key: b"k".to_vec(), ..Query::default() };
    let read = KvRead { query, consistency, within: WITHIN };
    Event::KvRead { request: RequestId(number), read, deadline: now + WITHIN }
}

fn answer(effects: &[Effect], number: u64) -> Option<Answer> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer { request: RequestId(n), answer } if *n == number => Some(answer.clone()),
        _ => None,
    })
}

fn frames(effects: &[Effect]) -> Vec<(u64, KvFrame)> {
    let frame = |effect: &Effect| match effect {
        Effect::KvSend { to, frame } => Some((to.0, frame.clone())),
        _ => None,
    };
    effects.iter().filter_map(frame).collect()
}

fn value(answer: Option<Answer>) -> Option<String> {
    let Some(Answer::Read(Ok(KvPage { page, .. }))) = answer else { panic!("{answer:?}") };
    page.rows.first().map(|(_, row)| String::from_utf8(row.value.clone()).expect("text"))
}

/// A leader, and its rows up to date.
fn leader() -> (Fixture, Rows) {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    // What was applied before says nothing about keys.
    let rows = Rows { applied: fixture.node.applied().0, ..Rows::default() };
    let applied = Stored::Applied { applied: rows.applied, bytes: 0, outcomes: Vec::new() };
    fixture.turn([Event::Stored(applied)]);
    (fixture, rows)
}

/// The command of `number`, proposed and then committed; the effects of both.
fn written(fixture: &mut Fixture, number: u64, operation: Operation) -> [Vec<Effect>; 2] {
    let write = KvWrite { operation, token: None, within: WITHIN, forward: true };
    let (request, deadline) = (RequestId(number), fixture.now + WITHIN);
    let before = fixture.settle([Event::KvWrite { request, write, deadline }]);
    [before, fixture.acknowledge_all()]
}

#[test]
fn a_write_is_answered_when_it_is_committed_and_applied_and_not_before() {
    let (mut fixture, mut rows) = leader();
    let delete = Operation::Delete(Delete { key: b"k".to_vec() });
    let [before, effects] = written(&mut fixture, 1, delete);
    assert_eq!(answer(&before, 1), None, "only this node has it");
    assert_eq!(answer(&effects, 1), None, "the store has not applied it");
    let stored = rows.carry_out(&effects);
    let effects = fixture.turn(stored);
    let Some(Answer::Written(Ok(written))) = answer(&effects, 1) else { panic!("{effects:?}") };
    assert_eq!(written.revision, fixture.node.applied().0);
    assert_eq!(fixture.node.kv_under_way(), (0, 0));
}

#[test]
fn a_put_whose_outcome_is_certain_is_answered_when_it_is_committed() {
    let (mut fixture, mut rows) = leader();
    let put = Operation::Put(Put { key: b"k".to_vec(), value: b"a".to_vec() });
    let [before, effects] = written(&mut fixture, 1, put);
    assert_eq!(answer(&before, 1), None, "only this node has it");
    let Some(Answer::Written(Ok(written))) = answer(&effects, 1) else { panic!("{effects:?}") };
    assert_eq!(written.revision, fixture.node.applied().0);
    let reads = fixture.turn([read(2, fixture.now, Consistency::Stale)]);
    let stored = rows.carry_out(&[effects, reads].concat());
    let effects = fixture.turn(stored);
    assert_eq!(answer(&effects, 1), None, "it has one answer");
    assert_eq!(value(answer(&effects, 2)).as_deref(), Some("a"), "even a stale read sees it");
}

/// The linearization point of a read is a round that began AFTER it was asked.
#[test]
fn a_read_of_the_leader_waits_for_a_round_that_began_after_it() {
    let (mut fixture, mut rows) = leader();
    fixture.rounds.clear();
    let effects = fixture.turn([read(1, fixture.now, Consistency::Linearizable)]);
    assert!(rows.carry_out(&effects).is_empty(), "not confirmed");
    let effects = fixture.turn([read(2, fixture.now, Consistency::Linearizable)]);
    assert!(rows.carry_out(&effects).is_empty());
    // The answers to the first round: only the first read is covered.
    let effects = fixture.acknowledge_all();
    let stored = rows.carry_out(&effects);
    let effects = fixture.turn(stored);
    assert_eq!(value(answer(&effects, 1)), None);
    assert_eq!(answer(&effects, 2), None, "its round is the next one");
    let effects = fixture.acknowledge_all();
    let stored = rows.carry_out(&effects);
    assert!(answer(&fixture.turn(stored), 2).is_some());
}

#[test]
fn a_stale_read_needs_nobody_and_says_how_old_it_may_be() {
    let mut fixture = Fixture::new(2, 3);
    let mut rows = Rows::default();
    let effects = fixture.turn([read(1, fixture.now, Consistency::Stale)]);
    let stored = rows.carry_out(&effects);
    let effects = fixture.turn(stored);
    let Some(Answer::Read(Ok(page))) = answer(&effects, 1) else { panic!("{effects:?}") };
    assert_eq!(page.age, None, "it has never heard a leader");
    fixture.follow();
    fixture.now += Duration::from_millis(70);
    let effects = fixture.turn([read(2, fixture.now, Consistency::Stale)]);
    let stored = rows.carry_out(&effects);
    let effects = fixture.turn(stored);
    let Some(Answer::Read(Ok(page))) = answer(&effects, 2) else { panic!("{effects:?}") };
    assert_eq!(page.age, Some(Duration::from_millis(70)));
}

/// A follower of node 1, which it is connected with.
fn follower() -> Fixture {
    let mut fixture = Fixture::new(2, 3);
    for peer in [1, 3] {
        let incarnation = Incarnation([peer as u8; 16]);
        fixture.settle([Event::Connected { peer: NodeId(peer), incarnation, process: peer }]);
    }
    fixture.follow();
    fixture
}

/// The leader's append of `data` behind what the follower has, committed.
fn committed(fixture: &mut Fixture, from: u64, term: Term, data: Vec<u8>) -> Vec<Effect> {
    let last = fixture.node.replica().position().last;
    let last_term = fixture.node.replica().term_of(last).expect("in the log");
    let mut message = append(from, 2, term, (last, last_term), &[term]);
    message.entries[0].data = data;
    message.commit = last + 1;
    fixture.settle([Event::Message(message)])
}

#[test]
fn a_write_on_a_follower_goes_to_the_leader_and_is_answered_from_the_log() {
    let mut fixture = follower();
    let mut rows = Rows::default();
    let sent = frames(&fixture.turn([write(1, fixture.now, "a")]));
    let [(1, frame)] = &sent[..] else { panic!("{sent:?}") };
    let data = frame.writes[0].clone();
    assert!(frames(&fixture.turn([])).is_empty(), "it is sent once");
    let effects = committed(&mut fixture, 1, 1, data);
    let stored = rows.carry_out(&effects);
    let effects = fixture.turn(stored);
    assert!(matches!(answer(&effects, 1), Some(Answer::Written(Ok(_)))), "{effects:?}");
}

/// etcd answers 503 after 7 s when the leader dies with a write; here it is sent to the next.
#[test]
fn a_write_is_sent_again_to_the_next_leader_and_after_a_while() {
    let mut fixture = follower();
    let first = frames(&fixture.turn([write(1, fixture.now, "a")]));
    fixture.now += limits::KV_RESEND;
    let again = frames(&fixture.turn([]));
    assert_eq!(again, first, "the same command, which applies once");
    let next = fixture.settle([Event::Message(append(3, 2, 2, (1, 1), &[2]))]);
    let sent = frames(&next);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!((sent[0].0, &sent[0].1), (3, &first[0].1));
}

#[test]
fn at_its_deadline_a_write_is_unknown_if_it_was_sent_and_else_not_done() {
    let mut alone = Fixture::new(2, 3);
    alone.turn([write(1, alone.now, "a")]);
    alone.now += WITHIN;
    let effects = alone.turn([]);
    let unavailable = KvError::Unavailable { waited_ms: 5_000 };
    assert_eq!(answer(&effects, 1), Some(Answer::Written(Err(unavailable))));

    let mut fixture = follower();
    fixture.turn([write(1, fixture.now, "a")]);
    fixture.now += WITHIN;
    let effects = fixture.turn([]);
    let unknown = KvError::Unknown { waited_ms: 5_000 };
    assert_eq!(answer(&effects, 1), Some(Answer::Written(Err(unknown))));
    assert_eq!(fixture.node.kv_under_way(), (0, 0));
}

/// A write that is refused because others hold too many bytes takes no place away.
#[test]
fn what_is_refused_for_its_bytes_takes_no_place() {
    let mut alone = Fixture::new(2, 3);
    let large = "v".repeat(limits::KV_VALUE_MAX_BYTES);
    let fit = (limits::KV_WRITES_UNDER_WAY_BYTES / limits::KV_VALUE_MAX_BYTES) as u64;
    let last = fit + limits::KV_WRITES_UNDER_WAY as u64 + 1;
    let mut refused = 0;
    for number in 1..=last {
        let effects = alone.turn([write(number, alone.now, &large)]);
        let answer = answer(&effects, number);
        refused += u64::from(matches!(answer, Some(Answer::Written(Err(KvError::Busy { .. })))));
    }
    assert!(refused > limits::KV_WRITES_UNDER_WAY as u64 - fit, "{refused} of {last}");
    alone.now += WITHIN;
    alone.turn([]);
    let effects = alone.turn([write(last + 1, alone.now, "a")]);
    assert_eq!(answer(&effects, last + 1), None, "it is taken");
}

#[test]
fn a_follower_reads_what_the_leader_confirms_and_believes_no_other_answer() {
    let mut fixture = follower();
    let mut rows = Rows::default();
    let sent = frames(&fixture.turn([read(1, fixture.now, Consistency::Linearizable)]));
    let [(1, frame)] = &sent[..] else { panic!("{sent:?}") };
    let IndexQuestion { run, number } = frame.question.expect("a question");
    let index = fixture.node.applied().0 + 1;
    let reply = |run, number| {
        let answers = vec![IndexAnswer { run, number, index }];
        KvFrame { answers, ..KvFrame::default() }
    };
    for (from, frame) in [
        (1, reply(run, number - 1)),
        (1, reply(run ^ 1, number)),
        (3, reply(run, number)),
        (1, reply(run, number)),
    ] {
        let effects = fixture.turn([Event::KvFrame { from: NodeId(from), frame }]);
        assert!(rows.carry_out(&effects).is_empty(), "not applied up to {index} yet");
    }
    let effects = committed(&mut fixture, 1, 1, Vec::new());
    let stored = rows.carry_out(&effects);
    assert_eq!(value(answer(&fixture.turn(stored), 1)), None);
}

#[test]
fn an_answer_of_another_run_or_node_confirms_nothing() {
    let mut fixture = follower();
    let mut rows = Rows::default();
    let sent = frames(&fixture.turn([read(1, fixture.now, Consistency::Linearizable)]));
    let IndexQuestion { run, number } = sent[0].1.question.expect("a question");
    let index = fixture.node.applied().0;
    let reply = |run, number| {
        let answers = vec![IndexAnswer { run, number, index }];
        KvFrame { answers, ..KvFrame::default() }
    };
    for (from, frame) in
        [(1, reply(run, number - 1)), (1, reply(run ^ 1, number)), (3, reply(run, number))]
    {
        let effects = fixture.turn([Event::KvFrame { from: NodeId(from), frame }]);
        assert!(rows.carry_out(&effects).is_empty());
    }
    let frame = reply(run, number);
    let effects = fixture.turn([Event::KvFrame { from: NodeId(1), frame }]);
    assert!(!rows.carry_out(&effects).is_empty());
}

#[test]
fn the_leader_takes_writes_of_others_but_nothing_else_into_the_log() {
    let (mut fixture, _) = leader();
    let last = fixture.node.replica().position().last;
    let foreign = Command::from(Body::Pause(crate::core::command::Pause {})).to_bytes();
    let writes = vec![foreign, vec![1, 2, 3], Vec::new()];
    let frame = KvFrame { writes, ..KvFrame::default() };
    fixture.turn([Event::KvFrame { from: NodeId(2), frame }]);
    assert_eq!(fixture.node.replica().position().last, last);
    let mut other = follower();
    let sent = frames(&other.turn([write(1, other.now, "a")]));
    fixture.turn([Event::KvFrame { from: NodeId(2), frame: sent[0].1.clone() }]);
    assert_eq!(fixture.node.replica().position().last, last + 1);
}

#[test]
fn without_forwarding_a_follower_names_the_leader() {
    let mut fixture = follower();
    let Event::KvWrite { request, write, deadline } = write(1, fixture.now, "a") else { return };
    let write = KvWrite { forward: false, ..write };
    let effects = fixture.turn([Event::KvWrite { request, write, deadline }]);
    let error = KvError::NotLeader { leader: Some("n1".to_owned()) };
    assert_eq!(answer(&effects, 1), Some(Answer::Written(Err(error))));
}

#[test]
fn a_token_that_is_not_in_force_is_refused() {
    let (mut fixture, mut rows) = leader();
    let token = fixture.node.machine().0.activation().expect("active").token();
    for (number, given) in [(1, token), (2, Token(token.0 + 1))] {
        let Event::KvWrite { request, write, deadline } = write(number, fixture.now, "a") else {
            return;
        };
        let write = KvWrite { token: Some(given), ..write };
        fixture.settle([Event::KvWrite { request, write, deadline }]);
        let mut effects = fixture.acknowledge_all();
        assert_eq!(answer(&effects, number).is_some(), given == token, "{effects:?}");
        let stored = rows.carry_out(&effects);
        effects.extend(fixture.turn(stored));
        let Some(Answer::Written(result)) = answer(&effects, number) else { panic!("{effects:?}") };
        assert_eq!(result.is_ok(), given == token, "{result:?}");
    }
}

#[test]
fn more_than_may_be_under_way_are_refused_as_busy() {
    let mut fixture = Fixture::new(2, 3);
    let most = limits::KV_WRITES_UNDER_WAY as u64;
    let effects = fixture.turn((0..=most).map(|n| write(n, START, "a")));
    let busy = KvError::Busy { most: most as usize };
    assert_eq!(answer(&effects, most), Some(Answer::Written(Err(busy))));
    assert_eq!(answer(&effects, most - 1), None);
}
