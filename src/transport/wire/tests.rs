//! Tests of the wire messages.

use super::*;
use crate::core::message::{Kind, Snapshot};

fn full_message() -> Message {
    let entry = |index| Entry { term: 9, index, data: vec![1; 20] };
    Message {
        kind: Kind::Append as i32,
        to: 1,
        from: 2,
        term: u64::MAX,
        log_term: 3,
        index: 4,
        entries: vec![entry(5), entry(6)],
        commit: 4,
        commit_term: 3,
        snapshot: Some(Snapshot {
            index: 4,
            term: 3,
            voters: (1..=7).collect(),
            learners: vec![u64::MAX],
            data: vec![0; 50],
        }),
        reject: true,
        reject_hint: 1,
        context: b"context".to_vec(),
    }
}

#[test]
fn a_message_weighs_what_it_takes_and_reads_back() {
    let message = full_message();
    let bytes = message.encode_to_vec();
    assert_eq!(weigh(&bytes), Ok(bytes.len() + 2 * size_of::<Entry>()));
    assert_eq!(read_message(&bytes).unwrap(), message);
    assert_eq!(weigh(&[]), Ok(0));
}

#[test]
fn a_small_payload_cannot_become_a_large_value() {
    let empty_entry = [(TAG_ENTRIES as u8) << 3 | 2, 0];
    let entries = empty_entry.repeat(limits::MESSAGE_ENTRIES_MAX);
    assert_eq!(read_message(&entries).unwrap().entries.len(), limits::MESSAGE_ENTRIES_MAX);
    assert!(weigh(&entries).is_ok());
    let too_many = empty_entry.repeat(limits::MESSAGE_ENTRIES_MAX + 1);
    assert!(matches!(weigh(&too_many), Err(PayloadError::TooMany { what: "entries", .. })));

    for voters in [vec![1; 1000], vec![u64::MAX; 15]] {
        let half = Snapshot { voters: voters.clone(), ..Default::default() };
        let other = Snapshot { learners: voters, ..Default::default() };
        for snapshot in [half, other] {
            let message = Message { snapshot: Some(snapshot), ..Default::default() };
            let error = weigh(&message.encode_to_vec()).unwrap_err();
            assert!(matches!(error, PayloadError::TooMany { .. }), "{error}");
        }
    }
    // The same list as numbers that are not packed, and spread over repeated snapshots.
    let one = [(TAG_SNAPSHOT as u8) << 3 | 2, 2, (TAG_SNAPSHOT_VOTERS as u8) << 3, 1];
    assert_eq!(read_message(&one.repeat(3)).unwrap().snapshot.unwrap().voters, [1, 1, 1]);
    assert!(matches!(weigh(&one.repeat(1000)), Err(PayloadError::TooMany { .. })));
}

#[test]
fn what_is_weighed_without_complaint_is_never_heavier_than_said() {
    let mut random = fastrand::Rng::with_seed(11);
    let whole = full_message().encode_to_vec();
    let mut accepted = 0;
    for _ in 0..100_000 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(..=bytes.len()));
        if let (Ok(weight), Ok(message)) = (weigh(&bytes), read_message(&bytes)) {
            let data: usize = message.entries.iter().map(|e| e.data.len()).sum();
            assert!(data + message.entries.len() * size_of::<Entry>() <= weight);
            accepted += 1;
        }
    }
    assert!(accepted > 1000, "{accepted}: the test reaches too little");
}
