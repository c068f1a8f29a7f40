//! What of the log goes: the margins by entries and by bytes.

use super::*;
use crate::core::kv::{Operation, Put};
use crate::limits;
use crate::node::event::RequestId;
use crate::node::kv::KvWrite;
use crate::node::store::Stored;

/// Commits `count` writes of `bytes` each, with everything durable; up to where the log went.
fn written(fixture: &mut Fixture, count: usize, bytes: usize) -> Option<Index> {
    let mut gone = None;
    for _ in 0..count {
        let put = Put { key: b"k".to_vec(), value: vec![0; bytes] };
        let (operation, within) = (Operation::Put(put), Duration::from_secs(1));
        let write = KvWrite { operation, token: None, within, forward: true };
        let (request, deadline) = (RequestId(1), fixture.now + within);
        fixture.settle([Event::KvWrite { request, write, deadline }]);
        fixture.acknowledge_all();
        let (index, _) = fixture.node.applied();
        for effect in fixture.turn([Event::StateDurable { index }]) {
            if let Effect::Compact { index, .. } = effect {
                assert!(gone < Some(index));
                gone = Some(index);
            }
        }
        // The store answers nothing here: what waits for it must not be in the way.
        let applied = Stored::Applied { applied: index, bytes: 0, outcomes: Vec::new() };
        fixture.turn([Event::Stored(applied)]);
    }
    gone
}

#[test]
fn few_large_entries_go_by_their_bytes() {
    let mut fixture = Fixture::new(1, 1);
    fixture.lead();
    let large = limits::LOG_WEIGHT_MARK_BYTES as usize;
    assert_eq!(written(&mut fixture, 4, large), None, "1 MiB is kept");
    let gone = written(&mut fixture, 8, large).expect("some went");
    let left = fixture.node.applied().0 - gone;
    assert!((4..=6).contains(&left), "{left} are left");
}

#[test]
fn many_small_entries_go_by_their_number() {
    let mut fixture = Fixture::new(1, 1);
    fixture.lead();
    assert_eq!(written(&mut fixture, 900, 1), None, "1000 are kept");
    let gone = written(&mut fixture, 500, 1).expect("some went");
    let left = fixture.node.applied().0 - gone;
    assert!((1000..=1125).contains(&left), "{left} are left");
}
