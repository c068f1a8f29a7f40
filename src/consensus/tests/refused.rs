//! The guard: for each check a message that it refuses, of each kind it applies to, and a valid
//! message of each kind that passes.

use super::*;
use crate::core::message::Snapshot;

fn snapshot(index: Index, term: Term, voters: &[u64], learners: &[u64]) -> Snapshot {
    let (voters, learners) = (voters.to_vec(), learners.to_vec());
    Snapshot { index, term, voters, learners, data: vec![1] }
}

/// A message of `kind` from node 1, which leads term 2, to node 2 with the log [1, 1, 2].
fn valid(kind: Kind) -> Message {
    let base = of(kind, 1, 2, 2);
    match kind {
        Kind::Append => append(1, 2, 2, (3, 2), &[2, 2]),
        Kind::Snapshot => Message { snapshot: Some(snapshot(9, 2, &[1, 2, 3], &[])), ..base },
        Kind::Vote | Kind::PreVote => Message { term: 3, index: 3, log_term: 2, ..base },
        Kind::Heartbeat => Message { commit: 1, context: vec![0; 8], ..base },
        Kind::HeartbeatResponse => Message { context: vec![0; 8], ..base },
        Kind::AppendResponse => Message { index: 3, ..base },
        Kind::ReadIndex => Message { term: 0, entries: vec![Entry::default()], ..base },
        Kind::ReadIndexResponse => Message { entries: vec![Entry::default()], ..base },
        _ => base,
    }
}

fn all_kinds() -> impl Iterator<Item = Kind> {
    (1..=12).map(|number| Kind::try_from(number).unwrap())
}

/// Node 2 follows node 1 in term 2, and has committed and applied entries 1 and 2.
fn follower() -> Peer {
    let hard_state = HardState { term: 2, vote: 1, commit: 2 };
    let mut peer = Peer::with(config(2), recovered(3, &[1, 1, 2], hard_state, 2));
    peer.step(later(), of(Kind::Heartbeat, 1, 2, 2));
    peer
}

/// What `message` is refused with; that nothing changes by it.
fn refusal(message: Message) -> Refused {
    let mut peer = follower();
    let before = (peer.position(), peer.terms());
    let refused = peer.replica.step(later(), message.clone());
    assert!(peer.replica.ready().is_none(), "{message:?} was refused and did something");
    assert_eq!(before, (peer.position(), peer.terms()));
    refused.expect_err(&format!("{message:?} should be refused"))
}

#[test]
fn a_valid_message_of_every_kind_passes() {
    for kind in all_kinds() {
        follower().replica.step(later(), valid(kind)).unwrap_or_else(|e| panic!("{kind:?}: {e}"));
    }
}

#[test]
fn a_second_leader_of_a_term_is_refused() {
    for kind in [Kind::Append, Kind::Heartbeat, Kind::Snapshot] {
        let message = Message { from: 3, ..valid(kind) };
        let (from, leader) = (NodeId(3), NodeId(1));
        assert_eq!(refusal(message), Refused::SecondLeader { from, term: 2, leader }, "{kind:?}");
        // Of a newer term it may well be the leader.
        let newer = Message { from: 3, term: 3, ..valid(kind) };
        follower().replica.step(later(), newer).unwrap_or_else(|e| panic!("{kind:?}: {e}"));
    }
}

#[test]
fn unknown_kinds_are_refused() {
    for kind in [0, 13, 99, -1, i32::MAX, i32::MIN] {
        let message = Message { kind, ..valid(Kind::Heartbeat) };
        assert_eq!(refusal(message), Refused::UnknownKind { kind });
    }
}

#[test]
fn strangers_and_misdelivered_messages_are_refused() {
    for kind in all_kinds() {
        for (from, to) in [(1, 3), (1, 0), (2, 2), (0, 2), (4, 2), (u64::MAX, 2)] {
            let message = Message { from, to, ..valid(kind) };
            assert_eq!(refusal(message), Refused::WrongParties { from, to }, "{kind:?}");
        }
    }
}

#[test]
fn impossible_terms_and_indexes_are_refused() {
    for kind in all_kinds() {
        let wrong_zero = if kind == Kind::ReadIndex { 2 } else { 0 };
        for term in [wrong_zero, 1 << 62, u64::MAX] {
            let message = Message { term, ..valid(kind) };
            let expected = Refused::OutOfRange { field: "term", value: term };
            assert_eq!(refusal(message), expected, "{kind:?}");
        }
        for value in [1 << 48, u64::MAX] {
            for (field, message) in [
                ("index", Message { index: value, ..valid(kind) }),
                ("commit", Message { commit: value, ..valid(kind) }),
                ("reject hint", Message { reject_hint: value, ..valid(kind) }),
            ] {
                assert_eq!(refusal(message), Refused::OutOfRange { field, value }, "{kind:?}");
            }
        }
    }
}

#[test]
fn what_a_kind_does_not_carry_is_refused() {
    for kind in all_kinds() {
        if !matches!(kind, Kind::Append | Kind::ReadIndex | Kind::ReadIndexResponse) {
            let message = Message { entries: vec![Entry::default(); 2], ..valid(kind) };
            let expected = Refused::OutOfRange { field: "number of entries", value: 2 };
            assert_eq!(refusal(message), expected, "{kind:?}");
        }
        let wrong = if kind == Kind::Snapshot { None } else { Some(Snapshot::default()) };
        let value = u64::from(wrong.is_some());
        let message = Message { snapshot: wrong, ..valid(kind) };
        let expected = Refused::OutOfRange { field: "number of snapshots", value };
        assert_eq!(refusal(message), expected, "{kind:?}");
    }
}

#[test]
fn contexts_are_refused_where_none_belongs() {
    let small = |kind| matches!(kind, Kind::Heartbeat | Kind::HeartbeatResponse);
    for kind in all_kinds() {
        let bytes = if small(kind) { 65 } else { 1 };
        let message = Message { context: vec![b'x'; bytes], ..valid(kind) };
        assert_eq!(refusal(message), Refused::BadContext { bytes }, "{kind:?}");
        let forced = Message { context: b"CampaignTransfer".to_vec(), ..valid(kind) };
        let mut peer = follower();
        let passes = peer.replica.step(later(), forced).is_ok();
        assert_eq!(passes, kind == Kind::Vote || small(kind), "{kind:?}");
    }
    for kind in [Kind::ReadIndex, Kind::ReadIndexResponse] {
        for entries in [
            vec![],
            vec![Entry::default(); 2],
            vec![Entry { data: vec![0; 65], ..Entry::default() }],
        ] {
            let message = Message { entries, ..valid(kind) };
            assert!(matches!(refusal(message), Refused::BadContext { .. }), "{kind:?}");
        }
    }
}

#[test]
fn entries_that_do_not_follow_each_other_are_refused() {
    let good = || append(1, 2, 2, (3, 2), &[2, 2]);
    let changed = |change: fn(&mut Vec<Entry>)| {
        let mut message = good();
        change(&mut message.entries);
        message
    };
    for message in [
        changed(|e| e[1].index = 6),
        changed(|e| e[0].index = 3),
        changed(|e| e[1].index = 4),
        changed(|e| e.swap(0, 1)),
        changed(|e| e[0].term = 1),
        changed(|e| e[0].term = 0),
        changed(|e| e[1].term = 3),
        changed(|e| e[1].term = u64::MAX),
        Message { index: 2, ..good() },
        // The engine would find that an entry of term 0 matches anywhere beyond its log.
        append(1, 2, 2, (9, 0), &[]),
        append(1, 2, 2, (9, 0), &[2]),
        append(1, 2, 2, (0, 1), &[2]),
    ] {
        let refused = refusal(message.clone());
        assert!(matches!(refused, Refused::BrokenSequence { .. }), "{message:?}: {refused}");
    }
}

#[test]
fn nobody_overwrites_what_is_committed() {
    let refused = refusal(append(1, 2, 2, (1, 1), &[2]));
    assert_eq!(refused, Refused::ContradictsCommitted { index: 2, theirs: 2, ours: 1 });
    // What is not committed may be overwritten.
    follower().step(later(), append(1, 2, 3, (2, 1), &[3]));
}

#[test]
fn impossible_snapshots_are_refused() {
    for (snapshot, term) in [
        (snapshot(9, 2, &[], &[]), 2),
        (snapshot(9, 2, &[1, 3], &[]), 2),
        (snapshot(9, 2, &[1, 2, 2], &[]), 2),
        (snapshot(9, 2, &[1, 2], &[2]), 2),
        (snapshot(9, 2, &[0, 1, 2], &[]), 2),
        (snapshot(9, 2, &[1, 2, 3, 4, 5, 6, 7, 8], &[]), 2),
        (snapshot(0, 2, &[1, 2, 3], &[]), 2),
        (snapshot(1 << 48, 2, &[1, 2, 3], &[]), 2),
        (snapshot(9, 0, &[1, 2, 3], &[]), 2),
        (snapshot(9, 3, &[1, 2, 3], &[]), 2),
    ] {
        let message = Message { snapshot: Some(snapshot), ..of(Kind::Snapshot, 1, 2, term) };
        assert!(matches!(refusal(message), Refused::BadSnapshot { .. }));
    }
}

/// DESIGN 5.13: only the leader of this term hands over, and only in this term.
#[test]
fn a_hand_over_that_nobody_ordered_is_refused() {
    for (from, term) in [(3, 2), (1, 1), (1, 3), (3, 3)] {
        let refused = refusal(of(Kind::TimeoutNow, from, 2, term));
        let expected = Refused::UnexpectedTransfer { what: "hand-over", from: NodeId(from) };
        assert_eq!(refused, expected, "from {from} in {term}");
    }
}

/// A vote can answer only a request that has left, which it does AFTER the candidate's own vote
/// is durable. The engine aborts when it is elected before that.
#[test]
fn a_vote_that_nobody_asked_for_yet_is_refused() {
    let mut peer = follower();
    let now = peer.replica.next_deadline();
    let asked = peer.tick(now);
    peer.hold_disk = true;
    peer.step(now, grant(&asked[0]));
    assert_eq!(peer.position().role, RaftRole::Candidate);
    let vote = of(Kind::VoteResponse, 3, 2, 3);
    let refused = peer.replica.step(now, vote.clone());
    assert_eq!(refused, Err(Refused::EarlyVote { from: NodeId(3), term: 3 }));
    peer.sync();
    peer.step(now, vote);
    assert_eq!(peer.position().role, RaftRole::Leader);
}

#[test]
fn a_match_or_commit_beyond_the_log_is_refused() {
    let refused = refusal(Message { commit: 4, ..of(Kind::Heartbeat, 1, 2, 2) });
    assert_eq!(refused, Refused::BeyondLog { from: NodeId(1), claimed: 4, last: 3 });
    let mut leader = Peer::new(1, 3, &[1]);
    leader.elect(later());
    let matched = Message { index: 3, ..of(Kind::AppendResponse, 2, 1, 2) };
    let refused = leader.replica.step(later(), matched);
    assert_eq!(refused, Err(Refused::BeyondLog { from: NodeId(2), claimed: 3, last: 2 }));
}

/// A wiped disk: the node would have to acknowledge again what it has lost. It refuses with the
/// reason, does not abort, does not flood, and the two others go on.
#[test]
fn a_wiped_disk_is_told_and_the_cluster_keeps_leading() {
    let mut group = Group::new(3);
    group.pass(Duration::from_secs(1));
    let leader = group.leader().unwrap();
    let wiped = 1 + leader % 3;
    let now = group.now;
    group.peer(leader).propose(now, b"x").unwrap();
    group.pass(Duration::from_millis(100));
    let id = config(wiped);
    *group.peer(wiped) = Peer::with(id, recovered(3, &[], HardState::default(), 0));
    // The leader sees the connection close and open again.
    group.peer(leader).replica.unreachable(NodeId(wiped));
    let refused = group.pass(Duration::from_secs(2));
    let beyond = |(at, refused): &(u64, Refused)| {
        *at == wiped && matches!(refused, Refused::BeyondLog { last: 0, .. })
    };
    assert!(refused.iter().any(beyond), "{refused:?}");
    assert_eq!(group.leader(), Some(leader));
    let now = group.now;
    let (index, _) = group.peer(leader).propose(now, b"y").unwrap();
    group.settle();
    assert_eq!(group.peer(leader).applied, index);
}

/// Proposals and membership changes inside engine messages have no representation: whatever the
/// bytes say, an entry becomes one of the normal type, and the kinds do not exist.
#[test]
fn nothing_can_be_smuggled_in() {
    use raft::eraftpb::{EntryType, MessageType};
    for kind in all_kinds() {
        let engine = convert::message_to_engine(valid(kind), kind).unwrap();
        let local = [
            MessageType::MsgPropose,
            MessageType::MsgTransferLeader,
            MessageType::MsgHup,
            MessageType::MsgUnreachable,
            MessageType::MsgSnapStatus,
        ];
        assert!(!local.contains(&engine.get_msg_type()));
        assert!(engine.entries.iter().all(|e| e.get_entry_type() == EntryType::EntryNormal));
        assert_eq!(engine.request_snapshot, 0);
    }
    assert!(Kind::try_from(13).is_err());
}
