//! The order of effects: persist, send, apply, publish.

use super::*;
use crate::consensus::{Output, Persist};
use crate::node::event::{Answer, RequestId};
use crate::node::flush::Flush;

fn output(number: u64, writes: bool, send_after: Kind) -> Output {
    let persist = Persist { snapshot: None, entries: Vec::new(), hard_state: HardState::default() };
    Output {
        number,
        persist: writes.then_some(persist),
        send_after: vec![of(send_after, 1, 2, 1)],
        ..Output::default()
    }
}

#[test]
fn nothing_that_waits_for_a_write_leaves_before_it() {
    let mut flush = Flush::default();
    let mut effects = Vec::new();
    flush.turn(output(1, true, Kind::VoteResponse), &mut effects);
    flush.turn(output(2, true, Kind::AppendResponse), &mut effects);
    assert_eq!(sent(&effects), []);
    assert_eq!(flush.writes_waiting(), 2);
    let released = flush.persisted(1, &mut effects);
    assert_eq!((sent(&effects), released.number), (vec![Kind::VoteResponse], Some(1)));
    let released = flush.persisted(2, &mut effects);
    assert_eq!(released.number, Some(2));
    assert_eq!(sent(&effects), [Kind::VoteResponse, Kind::AppendResponse]);
    assert_eq!(flush.writes_waiting(), 0);
}

#[test]
fn a_turn_without_a_write_waits_for_those_before_it() {
    let mut flush = Flush::default();
    let mut effects = Vec::new();
    flush.turn(output(1, true, Kind::Vote), &mut effects);
    flush.turn(output(2, false, Kind::PreVote), &mut effects);
    assert_eq!(flush.persisted(0, &mut effects).number, None);
    assert_eq!(sent(&effects), []);
    assert_eq!(flush.persisted(1, &mut effects).number, Some(2));
    assert_eq!(sent(&effects), [Kind::Vote, Kind::PreVote]);
    // Alone, it need not wait.
    flush.turn(output(3, false, Kind::VoteResponse), &mut effects);
    assert_eq!(flush.persisted(0, &mut effects).number, Some(3));
}

#[test]
fn merged_writes_release_their_turns_in_order() {
    let mut flush = Flush::default();
    let mut effects = Vec::new();
    let kinds = [Kind::Vote, Kind::AppendResponse, Kind::VoteResponse];
    for (number, kind) in (1..).zip(kinds) {
        flush.turn(output(number, true, kind), &mut effects);
    }
    assert_eq!(flush.persisted(3, &mut effects).number, Some(3));
    assert_eq!(sent(&effects), kinds);
    assert_eq!(flush.persisted(3, &mut effects).number, None, "each is released once");
}

#[test]
fn a_vote_waits_for_the_disk() {
    let mut fixture = Fixture::new(2, 3);
    let effects = fixture.hears(of(Kind::Vote, 3, 2, 1));
    assert_eq!(sent(&effects), []);
    let Some(Effect::Persist { number, persist }) =
        effects.iter().find(|e| matches!(e, Effect::Persist { .. }))
    else {
        panic!("nothing is written: {effects:?}");
    };
    assert_eq!((persist.hard_state.term, persist.hard_state.vote), (1, 3));
    let effects = fixture.turn([Event::Persisted { number: *number }]);
    assert_eq!(sent(&effects), [Kind::VoteResponse]);
}

#[test]
fn acknowledged_entries_wait_for_the_disk_and_heartbeat_answers_do_not() {
    let mut fixture = Fixture::new(2, 3);
    fixture.follow();
    let effects = fixture.hears(append(1, 2, 1, (1, 1), &[1]));
    assert_eq!(sent(&effects), []);
    let number = newest_persist(&effects).expect("a write");
    let effects = fixture.hears(of(Kind::Heartbeat, 1, 2, 1));
    assert_eq!(sent(&effects), [Kind::HeartbeatResponse], "a slow disk must not depose a leader");
    let effects = fixture.turn([Event::Persisted { number }]);
    assert_eq!(sent(&effects), [Kind::AppendResponse]);
}

/// An answer in a term that is not durable yet promises not to vote in an older one.
#[test]
fn a_heartbeat_answer_in_a_new_term_waits_for_the_disk() {
    let mut fixture = Fixture::new(2, 3);
    fixture.follow();
    let effects = fixture.hears(of(Kind::Heartbeat, 3, 2, 5));
    assert_eq!(sent(&effects), []);
    let effects = fixture.turn([Event::Persisted { number: newest_persist(&effects).unwrap() }]);
    assert_eq!(sent(&effects), [Kind::HeartbeatResponse]);
}

#[test]
fn a_leader_sends_before_it_writes_and_applies_after_both() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    let request = RequestId(1);
    let data = crate::core::command::Command::from(crate::core::command::Body::Node(
        crate::core::command::NodeRecord { id: 9, incarnation: vec![1; 16] },
    ));
    let effects = fixture.turn([Event::Propose { request, data: data.to_bytes() }]);
    let written = effects.iter().position(|e| matches!(e, Effect::Persist { .. })).unwrap();
    let left = effects.iter().rposition(|e| matches!(e, Effect::Send(_))).unwrap();
    assert_eq!(sent(&effects), [Kind::Append, Kind::Append]);
    assert!(left < written, "in parallel with the write: {effects:?}");
    let number = newest_persist(&effects).unwrap();

    let answered = |effects: &[Effect]| {
        effects.iter().any(|e| matches!(e, Effect::Answer { answer: Answer::Applied { .. }, .. }))
    };
    let index = fixture.node.replica().position().last;
    let applied = fixture.node.applied().0;
    for peer in [2, 3] {
        let answer = of(Kind::AppendResponse, peer, 1, 1);
        let effects = fixture.hears(Message { index, ..answer });
        assert!(!answered(&effects), "its own copy is not durable");
    }
    assert_eq!(fixture.node.replica().position().commit, index, "but a quorum has it");
    assert_eq!(fixture.node.applied().0, applied);
    let effects = fixture.turn([Event::Persisted { number }]);
    assert!(answered(&effects));
    assert_eq!(fixture.node.applied().0, index);
}

#[test]
fn a_write_is_acknowledged_only_when_a_quorum_has_it() {
    let mut fixture = Fixture::new(1, 5);
    fixture.lead();
    let effects = fixture.settle([Event::Propose { request: RequestId(1), data: valid_command() }]);
    let answers =
        |effects: &[Effect]| effects.iter().filter(|e| matches!(e, Effect::Answer { .. })).count();
    assert_eq!(answers(&effects), 0, "one of five");
    let index = fixture.node.replica().position().last;
    let has = |peer| Message { index, ..of(Kind::AppendResponse, peer, 1, 1) };
    assert_eq!(answers(&fixture.settle([Event::Message(has(2))])), 0, "two of five");
    assert_eq!(answers(&fixture.settle([Event::Message(has(2))])), 0, "the same again");
    let effects = fixture.settle([Event::Message(has(3))]);
    let expected = Answer::Applied { index };
    assert!(effects.contains(&Effect::Answer { request: RequestId(1), answer: expected }));
    assert_eq!(answers(&fixture.settle([Event::Message(has(4))])), 0, "once");
}

fn valid_command() -> Vec<u8> {
    use crate::core::command::{Body, Command, NodeRecord};
    Command::from(Body::Node(NodeRecord { id: 9, incarnation: vec![1; 16] })).to_bytes()
}

/// Whoever is told can read what it was told.
#[test]
fn the_status_is_published_before_the_change_and_the_change_before_nothing_else() {
    let mut fixture = Fixture::new(1, 1);
    fixture.now = fixture.node.next_deadline();
    let effects = fixture.settle([]);
    let mut published = None;
    let mut seen = 0;
    for effect in &effects {
        match effect {
            Effect::Publish(status) => published = Some(status.clone()),
            Effect::Act(consequence) => {
                let status = published.as_ref().expect("published before");
                assert_eq!((status.term, status.token), (consequence.term, consequence.token));
            }
            Effect::Changed(crate::node::status::Change::Role { new, active, .. }) => {
                let status = published.as_ref().expect("published before");
                assert_eq!((status.role, status.active), (*new, *active));
                seen += 1;
            }
            _ => {}
        }
    }
    assert!(seen >= 1, "started, elected, activated: {effects:?}");
}
