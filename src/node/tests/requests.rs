//! Every request gets one answer, and what a full queue does.

use super::*;
use crate::core::command::{Body, Command, NodeRecord};
use crate::core::message::Snapshot;
use crate::core::state::ClusterState;
use crate::limits;
use crate::node::event::{Answer, RequestId};

fn command() -> Vec<u8> {
    Command::from(Body::Node(NodeRecord { id: 9, incarnation: vec![1; 16] })).to_bytes()
}

fn propose(number: u64) -> Event {
    Event::Propose { request: RequestId(number), data: command() }
}

fn answers(effects: &[Effect]) -> Vec<(u64, Answer)> {
    let answer = |effect: &Effect| match effect {
        Effect::Answer { request, answer } => Some((request.0, answer.clone())),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

fn reason(effects: &[Effect]) -> String {
    match &answers(effects)[..] {
        [(_, Answer::Refused { reason })] => reason.clone(),
        other => panic!("expected one refusal: {other:?}"),
    }
}

#[test]
fn a_follower_refuses_a_write_and_says_why() {
    let mut fixture = Fixture::new(2, 3);
    fixture.follow();
    assert_eq!(reason(&fixture.turn([propose(1)])), "this node does not lead");
}

#[test]
fn an_impossible_size_is_refused() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    for size in [0, limits::ENTRY_MAX_BYTES + 1] {
        let event = Event::Propose { request: RequestId(1), data: vec![1; size] };
        let reason = reason(&fixture.turn([event]));
        assert!(reason.starts_with(&format!("a proposal has {size} bytes")), "{reason}");
    }
}

/// A deposed leader's proposal: superseded at its index is refused for good.
#[test]
fn a_superseded_write_is_refused_when_that_is_certain() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    let before = fixture.node.replica().position();
    fixture.settle([propose(1)]);
    let after = (before.last, before.term);
    let other = append(2, 1, 2, after, &[2]);
    let effects = fixture.settle([Event::Message(other.clone())]);
    assert_eq!(answers(&effects), [], "replaced here, but is the other one committed?");
    let commit = Message { commit: before.last + 1, entries: Vec::new(), ..other };
    let commit = Message { index: before.last + 1, log_term: 2, ..commit };
    let effects = fixture.settle([Event::Message(commit)]);
    assert_eq!(reason(&effects), "superseded by another leader's entry");
}

/// A snapshot says what the state is, not which entries made it so.
#[test]
fn a_write_whose_index_a_snapshot_covers_has_an_unknown_outcome() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    fixture.settle([propose(1)]);
    let index = fixture.node.replica().position().last + 10;
    let state: &ClusterState = &fixture.node.machine().0;
    let snapshot = Snapshot {
        index,
        term: 2,
        voters: vec![1, 2, 3],
        learners: Vec::new(),
        data: state.to_bytes(),
    };
    let install = Message { snapshot: Some(snapshot), ..of(Kind::Snapshot, 2, 1, 2) };
    let effects = fixture.settle([Event::Message(install)]);
    assert_eq!(answers(&effects), [(1, Answer::Unknown)]);
    assert_eq!(fixture.node.applied(), (index, 2));
}

#[test]
fn a_stopping_node_answers_what_is_waiting() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    fixture.settle([propose(1), propose(2)]);
    let effects = fixture.settle([Event::Shutdown]);
    assert_eq!(answers(&effects), [(1, Answer::Unknown), (2, Answer::Unknown)]);
    assert!(!effects.contains(&Effect::Stopped), "it hands over first");
    let mut effects = fixture.settle([Event::Message(of(Kind::Heartbeat, 2, 1, 2))]);
    // Nobody has confirmed its release: it says so for a while.
    while effects.last() != Some(&Effect::Stopped) {
        assert!(!effects.contains(&Effect::Stopped));
        fixture.now = fixture.now.max(fixture.node.next_deadline());
        effects = fixture.settle([]);
    }
    assert_eq!(fixture.settle([propose(3)]), [], "nothing more");
}

#[test]
fn a_node_that_cannot_hand_over_stops_after_twice_e() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    fixture.settle([Event::Shutdown]);
    let begin = fixture.now;
    let mut effects = Vec::new();
    while !effects.contains(&Effect::Stopped) {
        fixture.now = fixture.now.max(fixture.node.next_deadline());
        effects = fixture.settle([]);
        assert!(fixture.now - begin <= Duration::from_millis(400));
    }
    assert_eq!(fixture.now - begin, Duration::from_millis(400));
}

/// Policy of `DISK_QUEUE_REQUESTS`: appends are dropped and counted, writes refused; heartbeats
/// go on.
#[test]
fn a_disk_that_does_not_keep_up_cannot_make_the_queue_grow() {
    let mut fixture = Fixture::new(2, 3);
    fixture.follow();
    for at in 0..limits::DISK_QUEUE_REQUESTS as u64 {
        let effects = fixture.hears(append(1, 2, 1, (1 + at, 1), &[1]));
        assert!(newest_persist(&effects).is_some());
    }
    let last = fixture.node.replica().position().last;
    let effects = fixture.hears(append(1, 2, 1, (last, 1), &[1]));
    assert_eq!(newest_persist(&effects), None);
    assert_eq!(fixture.node.dropped_appends(), 1);
    assert_eq!(fixture.node.replica().position().last, last);
    let effects = fixture.hears(of(Kind::Heartbeat, 1, 2, 1));
    assert_eq!(sent(&effects), [Kind::HeartbeatResponse]);

    let mut leader = Fixture::new(1, 3);
    leader.lead();
    for number in 0..limits::DISK_QUEUE_REQUESTS as u64 {
        leader.turn([propose(number)]);
    }
    assert_eq!(reason(&leader.turn([propose(9_999)])), "the disk does not keep up");
}

#[test]
fn too_many_waiting_writes_are_refused() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    let many = limits::PENDING_PROPOSALS_MAX as u64;
    let effects = fixture.turn((0..many).map(propose));
    assert_eq!(answers(&effects), []);
    assert_eq!(reason(&fixture.turn([propose(many)])), "too many proposals are waiting");
}

/// A broken peer cannot fill the log: a line for each new reason, then for powers of two.
#[test]
fn refused_messages_are_warned_about_in_moderation() {
    let mut fixture = Fixture::new(2, 3);
    fixture.follow();
    let mut lines = Vec::new();
    for _ in 0..1_000 {
        let effects = fixture.hears(Message { commit: 99, ..of(Kind::Heartbeat, 1, 2, 1) });
        lines.extend(effects.into_iter().filter(|e| matches!(e, Effect::Warn(_))));
    }
    assert_eq!(fixture.node.refused_messages(), 1_000);
    assert_eq!(lines.len(), 10, "1, 2, 4, ... 512");
    let Effect::Warn(text) = &lines[0] else { unreachable!() };
    assert_eq!(
        text,
        "message from n1 refused (1 so far): peer 1 counts on log index 99 here, but this log ends \
         at 1: the state directory was wiped or restored from an old copy"
    );
}

/// The leader's host answers, but with another process: that is evidence.
#[test]
fn another_process_of_the_leader_starts_a_campaign_at_once() {
    let mut fixture = Fixture::new(2, 3);
    fixture.follow();
    let connected =
        |process| Event::Connected { peer: NodeId(1), incarnation: Incarnation([1; 16]), process };
    assert_eq!(sent(&fixture.settle([connected(1)])), []);
    assert_eq!(sent(&fixture.settle([connected(1)])), [], "another connection of the same one");
    let effects = fixture.settle([connected(2)]);
    assert_eq!(sent(&effects), [Kind::PreVote, Kind::PreVote]);
}

/// A connection alone is no evidence, nor is the silence of somebody who does not lead.
#[test]
fn a_lost_connection_alone_starts_nothing() {
    let mut fixture = Fixture::new(2, 3);
    fixture.follow();
    let lost = Event::Lost { peer: NodeId(1) };
    let silent = Event::Silent { peer: NodeId(3) };
    assert_eq!(sent(&fixture.settle([lost, silent])), []);
    let effects = fixture.settle([Event::Silent { peer: NodeId(1) }]);
    assert_eq!(sent(&effects), [Kind::PreVote, Kind::PreVote]);
}

/// DESIGN 5.8: authority survives a stalled disk; after a second it is handed over, and the
/// followers alone commit the release.
#[test]
fn a_leader_whose_disk_stalls_hands_over() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    let begun = fixture.now;
    let mut left = Vec::new();
    let mut effects = fixture.turn([propose(1)]);
    while !left.contains(&Kind::TimeoutNow) {
        assert!(fixture.now - begun < Duration::from_secs(2), "{left:?}");
        let early = fixture.now - begun < limits::DISK_STALL;
        assert_eq!(fixture.node.status().active, early, "at {}", fixture.now);
        left = sent(&effects);
        // The followers answer everything; the disk nothing.
        let position = fixture.node.replica().position();
        let mut answers = Vec::new();
        for round in std::mem::take(&mut fixture.rounds) {
            let answer = of(Kind::HeartbeatResponse, round.to, 1, position.term);
            answers.push(Event::Message(Message { context: round.context, ..answer }));
        }
        for peer in [2, 3] {
            let answer = of(Kind::AppendResponse, peer, 1, position.term);
            answers.push(Event::Message(Message { index: position.last, ..answer }));
        }
        effects = fixture.turn(answers);
        left.extend(sent(&effects));
        fixture.now += Duration::from_millis(20);
        effects = fixture.turn([]);
    }
}
