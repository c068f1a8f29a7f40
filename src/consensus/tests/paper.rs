//! The rules of Ongaro's thesis, one test for each sentence that safety or liveness rests on.

use super::*;

fn vote(from: u64, to: u64, term: Term, last: (Index, Term)) -> Message {
    Message { index: last.0, log_term: last.1, ..of(Kind::Vote, from, to, term) }
}

/// Whether this vote was granted; `None` without an answer.
fn granted(answers: &[Message]) -> Option<bool> {
    let answer = answers.iter().find(|m| m.kind() == Kind::VoteResponse)?;
    Some(!answer.reject)
}

/// Figure 3.1, RequestVote 2; 3.4: "each server will vote for at most one candidate in a given
/// term, on a first-come-first-served basis".
#[test]
fn paper_votes_once_per_term_first_come_first_served() {
    let mut peer = Peer::new(1, 3, &[1]);
    assert_eq!(granted(&peer.step(later(), vote(2, 1, 2, (1, 1)))), Some(true));
    assert_eq!(granted(&peer.step(later(), vote(3, 1, 2, (5, 1)))), Some(false));
    // The same candidate again: the answer may have been lost.
    assert_eq!(granted(&peer.step(later(), vote(2, 1, 2, (1, 1)))), Some(true));
    assert_eq!(granted(&peer.step(later(), vote(3, 1, 3, (5, 1)))), Some(true));
    assert_eq!((peer.hard_state.term, peer.hard_state.vote), (3, 3));
}

/// Figure 3.1, "Persistent state": the vote survives a restart.
#[test]
fn paper_a_vote_survives_a_restart() {
    let hard_state = HardState { term: 2, vote: 2, commit: 0 };
    let mut peer = Peer::with(config(1), recovered(3, &[1], hard_state, 0));
    assert_eq!(granted(&peer.step(later(), vote(3, 1, 2, (9, 1)))), Some(false));
    assert_eq!(granted(&peer.step(later(), vote(2, 1, 2, (1, 1)))), Some(true));
}

/// 3.6.1: "the voter denies its vote if its own log is more up-to-date than that of the
/// candidate": later last term first, then length.
#[test]
fn paper_votes_only_for_a_log_at_least_as_up_to_date() {
    for ((index, term), expected) in [
        ((3, 2), true),
        ((4, 2), true),
        ((2, 2), false),
        ((1, 3), true),
        ((9, 1), false),
        ((0, 0), false),
    ] {
        let mut peer = Peer::new(1, 3, &[1, 1, 2]);
        let answers = peer.step(later(), vote(2, 1, 9, (index, term)));
        assert_eq!(granted(&answers), Some(expected), "a log that ends at {index} in {term}");
    }
}

/// Figure 3.1, both receivers 1: "reply false if term < currentTerm". The engine answers an old
/// leader with its term, an old candidate not at all (it learns the term elsewhere).
#[test]
fn paper_refuses_requests_of_an_older_term() {
    let mut peer = Peer::new(1, 3, &[1, 4]);
    let answers = peer.step(later(), append(2, 1, 3, (1, 1), &[3]));
    assert_eq!(kinds(&answers), [Kind::AppendResponse]);
    assert_eq!((answers[0].term, answers[0].index), (4, 0));
    assert_eq!(granted(&peer.step(later(), vote(2, 1, 3, (9, 9)))), None);
    let asked = Message { index: 9, log_term: 9, ..of(Kind::PreVote, 2, 1, 3) };
    let answers = peer.step(later(), asked);
    assert!(answers[0].reject && answers[0].term == 4);
    assert_eq!(peer.terms(), [1, 4]);
}

/// Figure 3.1, all servers: "if RPC request or response contains term T > currentTerm: set
/// currentTerm = T, convert to follower". Not for pre-votes (9.6) and their grants.
#[test]
fn paper_a_higher_term_makes_a_follower() {
    for number in 1..=12 {
        let kind = Kind::try_from(number).unwrap();
        if matches!(kind, Kind::Snapshot | Kind::TimeoutNow | Kind::ReadIndex) {
            continue; // Their own tests; a read carries no term.
        }
        let mut peer = Peer::new(1, 3, &[1]);
        peer.elect(later());
        let term = peer.position().term;
        let mut message = Message { reject: true, ..of(kind, 2, 1, term + 5) };
        if kind == Kind::ReadIndexResponse {
            message.entries = vec![Entry::default()];
        }
        // The leader still hears its quorum, so it does not listen to candidates (4.2.3).
        let now = later() + Duration::from_millis(100);
        let stays = matches!(kind, Kind::PreVote | Kind::Vote);
        peer.step(now, message);
        let higher = (RaftRole::Follower, term + 5);
        let expected = if stays { (RaftRole::Leader, term) } else { higher };
        assert_eq!((peer.position().role, peer.position().term), expected, "{kind:?}");
    }
}

/// Figure 3.1, AppendEntries 2: "reply false if log doesn't contain an entry at prevLogIndex whose
/// term matches prevLogTerm".
#[test]
fn paper_an_append_needs_the_entry_before_it() {
    for after in [(4, 1), (3, 3), (2, 2)] {
        let mut peer = Peer::new(1, 3, &[1, 1, 2]);
        let answers = peer.step(later(), append(2, 1, 4, after, &[4]));
        assert!(answers[0].reject, "after {after:?}");
        assert_eq!(peer.terms(), [1, 1, 2]);
    }
}

/// Figure 3.1, AppendEntries 3 and 4: "if an existing entry conflicts with a new one, delete the
/// existing entry and all that follow it; append any new entries not already in the log".
#[test]
fn paper_a_conflicting_suffix_is_replaced_and_a_matching_one_kept() {
    let mut peer = Peer::new(1, 3, &[1, 1, 2, 2]);
    peer.step(later(), append(2, 1, 4, (1, 1), &[1, 3]));
    assert_eq!(peer.terms(), [1, 1, 3]);
    assert_eq!(peer.log.values().map(|e| e.term).collect::<Vec<_>>(), [1, 1, 3]);
    // An old append that is a prefix of the log deletes nothing.
    peer.step(later(), append(2, 1, 4, (1, 1), &[1]));
    assert_eq!(peer.terms(), [1, 1, 3]);
}

/// Figure 3.1, AppendEntries 5: "set commitIndex = min(leaderCommit, index of last new entry)".
#[test]
fn paper_the_commit_index_stays_within_what_matches() {
    let mut peer = Peer::new(1, 3, &[1, 1, 1]);
    let commit = |index, commit| Message { commit, ..append(2, 1, 1, (index, 1), &[]) };
    peer.step(later(), commit(2, 9));
    assert_eq!(peer.position().commit, 2);
    peer.step(later(), commit(3, 1));
    assert_eq!(peer.position().commit, 2, "never backwards");
    peer.step(later(), commit(3, 3));
    assert_eq!((peer.position().commit, peer.applied), (3, 3));
}

/// 3.6.2 and figure 3.7: "Raft never commits log entries from previous terms by counting
/// replicas"; they are committed with an entry of the leader's own term.
#[test]
fn paper_only_entries_of_the_own_term_are_committed_by_counting() {
    let mut peer = Peer::new(1, 3, &[1, 2]);
    peer.elect(later());
    assert_eq!(peer.terms(), [1, 2, 3]);
    let now = later() + Duration::from_millis(1);
    let match_at = |index| Message { index, ..of(Kind::AppendResponse, 2, 1, 3) };
    peer.step(now, match_at(2));
    assert_eq!(peer.position().commit, 0, "a quorum has entry 2, but of an older term");
    peer.step(now, match_at(3));
    assert_eq!((peer.position().commit, peer.applied), (3, 3));
}

/// 3.5, "Leader Append-Only": "a leader never overwrites or deletes entries in its log".
#[test]
fn paper_a_leader_never_overwrites_its_log() {
    let mut peer = Peer::new(1, 3, &[1, 2]);
    peer.elect(later());
    let refused = peer.replica.step(later(), append(2, 1, 3, (1, 1), &[3, 3]));
    assert!(matches!(refused, Err(Refused::SecondLeader { .. })), "{refused:?}");
    assert_eq!((peer.terms(), peer.position().role), (vec![1, 2, 3], RaftRole::Leader));
}

/// 3.4: a candidate that hears the leader of its term "recognizes the leader as legitimate and
/// returns to follower state".
#[test]
fn paper_a_candidate_follows_the_leader_of_its_term() {
    let mut peer = Peer::new(1, 3, &[1]);
    let now = peer.replica.next_deadline();
    let asked = peer.tick(now);
    peer.step(now, grant(&asked[0]));
    assert_eq!((peer.position().role, peer.position().term), (RaftRole::Candidate, 2));
    peer.step(now, append(3, 1, 2, (1, 1), &[]));
    assert_eq!(
        (peer.position().role, peer.position().leader),
        (RaftRole::Follower, Some(NodeId(3)))
    );
}

/// 3.4: "a candidate wins an election if it receives votes from a majority"; the same voter twice
/// is one voter.
#[test]
fn paper_a_majority_of_different_voters_elects() {
    let mut peer = Peer::new(1, 5, &[1]);
    let now = peer.replica.next_deadline();
    let asked = peer.tick(now);
    let votes: Vec<Message> = asked.iter().take(2).map(grant).collect();
    let asked: Vec<Message> = votes.into_iter().flat_map(|v| peer.step(now, v)).collect();
    peer.step(now, grant(&asked[0]));
    peer.step(now, grant(&asked[0]));
    assert_eq!(peer.position().role, RaftRole::Candidate);
    peer.step(now, grant(&asked[1]));
    assert_eq!(peer.position().role, RaftRole::Leader);
}

/// 6.4: a leader commits "a blank no-op entry into the log at the start of its term".
#[test]
fn paper_a_new_leader_appends_an_empty_entry() {
    let mut peer = Peer::new(1, 3, &[1]);
    let sent = peer.elect(later());
    let entries: Vec<&Entry> = sent.iter().flat_map(|m| &m.entries).collect();
    assert!(!entries.is_empty());
    assert!(entries.iter().all(|e| (e.index, e.term, e.data.len()) == (2, 2, 0)));
}

/// Figure 3.1: the term and the vote are persisted "before responding to RPCs".
#[test]
fn paper_a_vote_is_durable_before_it_is_given() {
    let mut peer = Peer::new(1, 3, &[1]);
    peer.hold_disk = true;
    assert_eq!(kinds(&peer.step(later(), vote(2, 1, 2, (1, 1)))), []);
    let persist = peer.waiting.iter().find_map(|output| output.persist.as_ref()).unwrap();
    assert_eq!((persist.hard_state.term, persist.hard_state.vote), (2, 2));
    peer.sync();
    assert_eq!(granted(&peer.sent), Some(true));
}

/// The same for a candidate's vote for itself, and for appended entries.
#[test]
fn paper_requests_and_acknowledgements_wait_for_the_disk() {
    let mut peer = Peer::new(1, 3, &[1]);
    peer.hold_disk = true;
    assert_eq!(kinds(&peer.step(later(), append(2, 1, 1, (1, 1), &[1]))), []);
    peer.sync();
    assert_eq!(kinds(&std::mem::take(&mut peer.sent)), [Kind::AppendResponse]);
    peer.hold_disk = false;
    let now = peer.replica.next_deadline();
    let asked = peer.tick(now);
    peer.hold_disk = true;
    assert_eq!(kinds(&peer.step(now, grant(&asked[0]))), [], "its own vote is not durable");
    peer.sync();
    assert_eq!(kinds(&peer.sent), [Kind::Vote, Kind::Vote]);
}

/// 10.2.1: "the leader can write to its disk in parallel with replicating to the followers".
#[test]
fn paper_a_leader_replicates_in_parallel_with_its_own_write() {
    let mut peer = Peer::new(1, 3, &[1]);
    peer.elect(later());
    for from in [2, 3] {
        peer.step(later(), Message { index: 2, ..of(Kind::AppendResponse, from, 1, 2) });
    }
    peer.sent.clear();
    peer.hold_disk = true;
    peer.propose(later(), b"x").unwrap();
    assert_eq!(kinds(&peer.sent), [Kind::Append, Kind::Append]);
    // Its own copy counts only when it is durable; those of the two others are enough.
    peer.step(later(), Message { index: 3, ..of(Kind::AppendResponse, 2, 1, 2) });
    assert_eq!(peer.position().commit, 2);
    peer.step(later(), Message { index: 3, ..of(Kind::AppendResponse, 3, 1, 2) });
    assert_eq!((peer.position().commit, peer.applied), (3, 2), "applied only AFTER its own write");
    peer.sync();
    peer.turn();
    assert_eq!(peer.applied, 3);
}

/// 9.6: with pre-vote "a candidate only increments its term if it first learns from a majority of
/// the cluster that they would be willing to grant the candidate their votes".
#[test]
fn paper_a_pre_vote_raises_nobodys_term() {
    let mut peer = Peer::new(1, 3, &[1]);
    for _ in 0..5 {
        let now = peer.replica.next_deadline();
        assert_eq!(kinds(&peer.tick(now)), [Kind::PreVote, Kind::PreVote]);
    }
    assert_eq!((peer.position().term, peer.hard_state.vote), (1, 0));
    let mut other = Peer::new(2, 3, &[1]);
    let asked = Message { index: 1, log_term: 1, ..of(Kind::PreVote, 1, 2, 2) };
    let answers = other.step(later(), asked);
    assert!(!answers[0].reject && answers[0].term == 2);
    assert_eq!((other.position().term, other.hard_state.vote), (1, 0));
}

/// 4.2.3: "if a server receives a RequestVote request within the minimum election timeout of
/// hearing from a current leader, it does not update its term or grant its vote".
#[test]
fn paper_no_vote_while_the_leader_is_heard() {
    let mut peer = Peer::new(1, 3, &[1]);
    peer.step(later(), of(Kind::Heartbeat, 2, 1, 1));
    let now = later() + Duration::from_millis(150);
    for kind in [Kind::PreVote, Kind::Vote] {
        let asked = Message { index: 9, log_term: 1, ..of(kind, 3, 1, 2) };
        assert_eq!(kinds(&peer.step(now, asked)), []);
    }
    assert_eq!(peer.position().term, 1);
    // When the lease has run out it answers the newest request of each peer.
    let answers = peer.tick(later() + Duration::from_millis(201));
    assert_eq!(granted(&answers), Some(true));
}

/// The same rule for a node that restarts: it may have promised the lease before. A node that has
/// never been in a term has not.
#[test]
fn paper_the_vote_lease_holds_across_a_restart() {
    let now = START + Duration::from_millis(199);
    let mut peer = Peer::new(1, 3, &[1]);
    assert_eq!(granted(&peer.step(now, vote(2, 1, 2, (1, 1)))), None);
    let answers = peer.tick(START + Duration::from_millis(200));
    assert_eq!(granted(&answers), Some(true));
    let mut fresh = Peer::new(1, 3, &[]);
    assert_eq!(granted(&fresh.step(START, vote(2, 1, 1, (0, 0)))), Some(true));
}

/// 6.2: "a leader in Raft steps down if an election timeout elapses without a successful round of
/// heartbeats to a majority of its cluster".
#[test]
fn paper_a_leader_without_quorum_steps_down() {
    let mut peer = Peer::new(1, 5, &[1]);
    peer.elect(later());
    let (mut now, end) = (later(), later() + Duration::from_secs(3));
    while now < end {
        now += Duration::from_millis(10);
        peer.tick(now);
        let answers = [2, 3].map(|from| of(Kind::HeartbeatResponse, from, 1, 2));
        answers.into_iter().for_each(|answer| {
            peer.step(now, answer);
        });
    }
    assert_eq!(peer.position().role, RaftRole::Leader, "with three of five");
    let deaf_since = now;
    while peer.position().role == RaftRole::Leader {
        now += Duration::from_millis(10);
        peer.tick(now);
        peer.step(now, of(Kind::HeartbeatResponse, 2, 1, 2));
    }
    assert!(now - deaf_since <= Duration::from_millis(400), "two of five kept it for long");
    assert_eq!((peer.position().term, peer.position().leader), (2, None));
}

/// 6.4, step 1: a read waits until the leader has "marked an entry from its current term
/// committed"; step 3: a majority must acknowledge a round of heartbeats sent for it.
#[test]
fn paper_a_read_needs_a_commit_in_the_term_and_a_round_of_heartbeats() {
    let mut peer = Peer::new(1, 3, &[1]);
    peer.elect(later());
    peer.replica.read(later(), 7);
    assert_eq!(kinds(&peer.take(later())), [], "the term has no commit yet");
    peer.step(later(), Message { index: 2, ..of(Kind::AppendResponse, 2, 1, 2) });
    peer.replica.read(later(), 8);
    let round = peer.take(later());
    assert_eq!(kinds(&round), [Kind::Heartbeat, Kind::Heartbeat]);
    assert!(peer.reads.is_empty());
    peer.step(later(), of(Kind::HeartbeatResponse, 2, 1, 2));
    assert!(peer.reads.is_empty(), "an answer to another round");
    let context = round[0].context.clone();
    peer.step(later(), Message { context, ..of(Kind::HeartbeatResponse, 2, 1, 2) });
    assert_eq!(peer.reads, [ReadReady { context: 8, index: 2 }]);
}

/// 3.10: the leader stops accepting requests, brings the target up to date, sends TimeoutNow.
#[test]
fn paper_a_transfer_waits_until_the_target_has_everything() {
    let mut peer = Peer::new(1, 3, &[1]);
    peer.elect(later());
    peer.replica.transfer(later(), NodeId(2)).unwrap();
    assert!(!kinds(&peer.take(later())).contains(&Kind::TimeoutNow));
    assert_eq!(peer.propose(later(), b"x"), Err(ProposeRefused::Transferring));
    let sent = peer.step(later(), Message { index: 2, ..of(Kind::AppendResponse, 2, 1, 2) });
    assert!(kinds(&sent).contains(&Kind::TimeoutNow));
    assert_eq!(peer.replica.transfer(later(), NodeId(3)), Err(TransferRefused::InProgress));
}

/// 3.10: the target campaigns at once, and its votes are not held back by the lease (4.2.3: the
/// request carries "a special flag").
#[test]
fn paper_the_target_of_a_transfer_is_elected_despite_the_lease() {
    let mut target = Peer::new(2, 3, &[1]);
    target.step(later(), of(Kind::Heartbeat, 1, 2, 1));
    let asked = target.step(later(), of(Kind::TimeoutNow, 1, 2, 1));
    assert_eq!(kinds(&asked), [Kind::Vote, Kind::Vote]);
    let mut voter = Peer::new(3, 3, &[1]);
    voter.step(later(), of(Kind::Heartbeat, 1, 3, 1));
    let forced = asked.iter().find(|m| m.to == 3).unwrap().clone();
    let plain = Message { context: Vec::new(), ..forced.clone() };
    assert_eq!(granted(&voter.step(later(), plain)), None);
    assert_eq!(granted(&voter.step(later(), forced)), Some(true));
}

/// 3.10: "if leadership transfer does not complete after about an election timeout, the prior
/// leader aborts the transfer and resumes accepting client requests".
#[test]
fn paper_a_transfer_that_does_not_complete_is_given_up() {
    let mut group = Group::new(3);
    group.pass(Duration::from_secs(1));
    let leader = group.leader().unwrap();
    let target = 1 + leader % 3;
    group.cut.push(target);
    let now = group.now;
    group.peer(leader).replica.transfer(now, NodeId(target)).unwrap();
    group.pass(Duration::from_millis(210));
    assert_eq!(group.leader(), Some(leader));
    assert_eq!(group.peer(leader).replica.transferring_to(), None);
    let now = group.now;
    assert!(group.peer(leader).propose(now, b"x").is_ok());
}

/// 6.2: a request that reaches a follower is not appended; only the leader appends.
#[test]
fn paper_only_the_leader_appends() {
    let mut peer = Peer::new(1, 3, &[1]);
    assert_eq!(peer.propose(later(), b"x"), Err(ProposeRefused::NotLeader));
    peer.step(later(), of(Kind::Heartbeat, 2, 1, 1));
    assert_eq!(peer.propose(later(), b"x"), Err(ProposeRefused::NotLeader));
    assert!(peer.sent.is_empty(), "nothing is forwarded");
}

/// 5.1 and figure 5.3: a follower that lacks what was compacted gets the snapshot, then the rest.
#[test]
fn paper_a_snapshot_replaces_what_was_compacted() {
    let mut group = Group::new(3);
    group.pass(Duration::from_secs(1));
    let leader = group.leader().unwrap();
    let behind = 1 + leader % 3;
    group.cut.push(behind);
    let now = group.now;
    for _ in 0..20 {
        group.peer(leader).propose(now, b"x").unwrap();
        group.settle();
    }
    let applied = group.peer(leader).applied;
    group.peer(leader).replica.compact(applied - 5);
    group.cut.clear();
    group.pass(Duration::from_millis(100));
    let expected = group.peer(leader).applied;
    assert_eq!(group.peer(behind).applied, expected);
    assert_eq!(group.peer(behind).replica.first_index(), applied + 1);
    group.peer(leader).propose(now, b"y").unwrap();
    group.pass(Duration::from_millis(100));
    assert_eq!(group.peer(behind).applied, applied + 1);
}

/// A cluster of one commits alone, at once, also after a restart: there is nobody to wait for.
#[test]
fn a_single_voter_does_not_wait() {
    for terms in [&[][..], &[1, 1][..]] {
        let mut peer = Peer::new(1, 1, terms);
        assert_eq!(peer.replica.next_deadline(), START);
        peer.tick(START);
        assert_eq!(peer.position().role, RaftRole::Leader);
        assert_eq!(peer.applied, terms.len() as u64 + 1);
    }
}

/// E after the leader was heard last, the first in rank campaigns; not a tick later because it
/// heard nothing meanwhile.
#[test]
fn a_silent_leader_costs_e_and_a_tick() {
    let mut peer = Peer::new(2, 3, &[1]);
    peer.step(later(), of(Kind::Heartbeat, 1, 2, 1));
    let due = later() + Duration::from_millis(210);
    assert_eq!(peer.replica.next_deadline(), due);
    assert_eq!(kinds(&peer.tick(due)), [Kind::PreVote, Kind::PreVote]);
}

/// A process that slept looks at its queue first: what is in it may be a heartbeat.
#[test]
fn after_a_sleep_the_queue_comes_first() {
    let mut peer = Peer::new(2, 3, &[1]);
    peer.step(later(), of(Kind::Heartbeat, 1, 2, 1));
    let woken = later() + Duration::from_secs(3);
    assert_eq!(kinds(&peer.tick(woken)), []);
    assert_eq!(kinds(&peer.step(woken, of(Kind::Heartbeat, 1, 2, 1))), [Kind::HeartbeatResponse]);
    assert!(peer.replica.next_deadline() >= woken + Duration::from_millis(200));
}

/// The engine reads what is not applied yet before it campaigns, and aborts when a snapshot under
/// way to the disk has replaced it.
#[test]
fn nobody_campaigns_while_a_snapshot_is_being_installed() {
    let mut peer = Peer::new(2, 3, &[1]);
    peer.hold_disk = true;
    let snapshot = crate::core::message::Snapshot {
        index: 50,
        term: 1,
        voters: vec![1, 2, 3],
        learners: Vec::new(),
        data: vec![1],
    };
    let install = Message { snapshot: Some(snapshot), ..of(Kind::Snapshot, 1, 2, 1) };
    peer.step(later(), install);
    let handed_over = peer.replica.step(later(), of(Kind::TimeoutNow, 1, 2, 1));
    assert!(matches!(handed_over, Err(Refused::UnexpectedTransfer { .. })), "{handed_over:?}");
    peer.replica.leader_lost(later(), NodeId(1));
    let mut now = later();
    for _ in 0..50 {
        now = now.max(peer.replica.next_deadline());
        assert_eq!(kinds(&peer.tick(now)), []);
    }
    assert!(now - later() >= Duration::from_millis(400), "without waking up all the time");
    peer.hold_disk = false;
    peer.sync();
    peer.sent.clear();
    let due = peer.replica.next_deadline();
    assert_eq!(kinds(&peer.tick(due)), [Kind::PreVote, Kind::PreVote]);
}

/// An append may have waited in a queue since before its sender died; that takes no evidence back.
/// A heartbeat does: it never waits behind appends.
#[test]
fn only_a_heartbeat_takes_evidence_back() {
    let mut peer = Peer::new(2, 3, &[1]);
    peer.step(later(), of(Kind::Heartbeat, 1, 2, 1));
    peer.replica.leader_lost(later(), NodeId(1));
    assert_eq!(kinds(&peer.tick(later())), [Kind::PreVote, Kind::PreVote]);
    peer.step(later(), append(1, 2, 1, (1, 1), &[1, 1]));
    let again = later() + Duration::from_millis(25);
    assert_eq!(peer.replica.next_deadline(), again);
    // A survivor in the same situation votes, although it has just heard an append.
    let asked = Message { index: 3, log_term: 1, ..of(Kind::PreVote, 3, 2, 2) };
    assert_eq!(kinds(&peer.step(later(), asked)), [Kind::PreVoteResponse]);
    peer.step(later(), of(Kind::Heartbeat, 1, 2, 1));
    assert_eq!(peer.replica.next_deadline(), later() + Duration::from_millis(210));
}
