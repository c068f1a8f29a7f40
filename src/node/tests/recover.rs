//! Recovery after a crash between the two halves of the installation of a snapshot.

use super::*;
use crate::core::state::ClusterState;
use crate::node::recover;
use crate::storage::{Batch, LogOptions, LogStore, SegmentedLog, SimDisk};

/// What a node starts with whose log has these terms and whose store was replaced by a snapshot
/// at `applied`, before the log was.
fn recovered(terms: &[Term], hard_state: HardState, applied: (Index, Term)) -> Recovered {
    let options = LogOptions { segment_bytes: 16 << 10, secret: 1 };
    let (mut log, found) =
        SegmentedLog::open(Box::new(SimDisk::new(1)), options).expect("a new log");
    assert_eq!(found.last_index, 0);
    let entry = |(index, term): (Index, &Term)| Entry { term: *term, index, data: vec![1] };
    let entries: Vec<Entry> = (1..).zip(terms).map(entry).collect();
    log.append(&Batch { entries: &entries, hard_state: Some(hard_state) }, true).expect("written");
    let mut terms = TermRuns::default();
    entries.iter().for_each(|entry| terms.push(entry.index, entry.term));
    let found = crate::storage::RecoveredLog {
        hard_state,
        truncated: (0, 0),
        last_index: entries.len() as Index,
        terms,
    };
    let state = ClusterState::default();
    recover(&mut log, found, (&state, applied), &[NodeId(1), NodeId(2), NodeId(3)])
        .expect("recovers")
}

fn starts(recovered: Recovered) -> Replica {
    let config = ReplicaConfig {
        id: NodeId(1),
        election_min: Duration::from_millis(200),
        election_max: Duration::from_millis(400),
        heartbeat: Duration::from_millis(40),
        tick: Duration::from_millis(10),
        seed: 1,
        vote_lease: false,
        cache_max_bytes: 0,
    };
    Replica::new(config, recovered, START).expect("starts")
}

/// The last entry of the log and the snapshot may well be of the same term.
#[test]
fn a_snapshot_ahead_of_the_log_replaces_it() {
    let hard_state = HardState { term: 3, vote: 2, commit: 1 };
    for (terms, applied) in [
        (&[1, 1][..], (10, 1)),
        (&[1, 1], (10, 3)),
        (&[1, 1], (3, 1)),
        (&[], (10, 1)),
        (&[1, 1, 1], (2, 2)),
    ] {
        let recovered = recovered(terms, hard_state, applied);
        assert_eq!((recovered.truncated, recovered.last), (applied, applied.0), "{terms:?}");
        assert_eq!((recovered.hard_state.term, recovered.hard_state.vote), (3, 2));
        let position = starts(recovered).position();
        assert_eq!((position.last, position.commit), (applied.0, applied.0));
    }
}

#[test]
fn a_log_that_has_the_applied_entry_is_kept() {
    let hard_state = HardState { term: 3, vote: 0, commit: 1 };
    let recovered = recovered(&[1, 1, 2], hard_state, (2, 1));
    assert_eq!((recovered.truncated, recovered.last), ((0, 0), 3));
    assert_eq!(recovered.tail.iter().map(|entry| entry.term).collect::<Vec<_>>(), [2]);
}

/// The term of the snapshot was to be written with the log's half. Without it, a node whose term
/// is older than its log would answer a candidate in a term in which the engine aborts.
#[test]
fn the_term_is_never_older_than_the_snapshot() {
    let recovered = recovered(&[], HardState::default(), (10, 2));
    assert_eq!(recovered.hard_state, HardState { term: 2, vote: 0, commit: 0 });
    let mut replica = starts(recovered);
    let asked = Message { index: 4, log_term: 1, ..of(Kind::PreVote, 2, 1, 1) };
    replica.step(START, asked).expect("not refused");
    let answers = replica.ready().expect("an answer").send_after;
    assert!(answers[0].reject && answers[0].term == 2, "{answers:?}");
}
