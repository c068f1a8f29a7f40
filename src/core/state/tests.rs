//! Every command against every standing of the record.

use super::*;

fn activate_by(prev: u64, node: u64, term: u64, invocation: u8) -> Command {
    Body::Activate(Activate {
        prev,
        node,
        term,
        invocation: vec![invocation; 16],
        machine: vec![node as u8; 16],
        bound_ms: Some(2610),
        secret_hash: hash_of(&[invocation; 32]).to_vec(),
    })
    .into()
}

fn activate(prev: u64, node: u64, term: u64) -> Command {
    activate_by(prev, node, term, node as u8)
}

fn release(node: u64, invocation: u8, token: u64, secret: &[u8]) -> Command {
    let (invocation, secret) = (vec![invocation; 16], secret.to_vec());
    Body::Released(Release { node, invocation, token, secret }).into()
}

fn expired(token: u64) -> Command {
    Body::Expired(Expired { token, forced: false }).into()
}

fn bootstrap(id: u8) -> Command {
    let member = |id: u64| Member { id, name: format!("n{id}"), ..Default::default() };
    let members = vec![member(2), member(1)];
    Body::Bootstrap(Bootstrap { cluster_id: vec![id; 16], members }).into()
}

fn active(state: &ClusterState) -> bool {
    state.activation().is_some_and(Activation::is_active)
}

#[test]
fn the_first_bootstrap_wins() {
    let mut state = ClusterState::default();
    assert_eq!(state.apply(1, 1, &bootstrap(7)), Applied::Changed);
    assert!(matches!(state.apply(2, 1, &bootstrap(8)), Applied::Void(_)));
    assert_eq!(state.cluster_id(), Some(ClusterId([7; 16])));
    assert_eq!(state.members().iter().map(|m| m.id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_activation_follows_exactly_the_newest_one_and_only_when_it_is_over() {
    let mut state = ClusterState::default();
    assert_eq!(state.apply(3, 1, &activate(0, 1, 1)), Applied::Changed);
    assert_eq!(state.activation().unwrap().token(), Token(3));
    assert!(matches!(state.apply(4, 1, &activate(0, 2, 1)), Applied::Void(_)), "wrong prev");
    assert!(matches!(state.apply(5, 2, &activate(3, 2, 1)), Applied::Void(_)), "other term");
    assert!(matches!(state.apply(5, 2, &activate(3, 2, 2)), Applied::Void(_)), "still active");
    assert_eq!(state.apply(6, 2, &expired(3)), Applied::Changed);
    assert_eq!(state.apply(7, 2, &activate(3, 2, 2)), Applied::Changed);
    assert_eq!(state.activation().unwrap().token(), Token(7));
}

#[test]
fn a_release_ends_the_activation_it_names_and_no_other() {
    let mut state = ClusterState::default();
    state.apply(3, 1, &activate(0, 1, 1));
    for (what, command) in [
        ("another node", release(2, 1, 3, &[])),
        ("another invocation", release(1, 9, 3, &[])),
        ("another token", release(1, 1, 4, &[])),
        ("a forged secret", release(1, 1, 0, &[9; 32])),
        ("a forged secret beside the right token", release(1, 1, 3, &[9; 32])),
    ] {
        assert!(matches!(state.apply(4, 1, &command), Applied::Void(_)), "{what}");
        assert!(active(&state), "{what}");
    }
    assert_eq!(state.apply(5, 1, &release(1, 1, 3, &[])), Applied::Changed);
    assert!(!active(&state));
    assert!(matches!(state.apply(6, 1, &release(1, 1, 3, &[])), Applied::Void(_)), "again");
    // The living agent may become active again.
    assert_eq!(state.apply(7, 2, &activate(3, 1, 2)), Applied::Changed);
}

#[test]
fn an_invocation_released_for_good_never_comes_back() {
    let mut state = ClusterState::default();
    state.apply(3, 1, &activate(0, 1, 1));
    assert_eq!(state.apply(4, 1, &release(1, 1, 0, &[1; 32])), Applied::Changed);
    assert!(matches!(state.apply(5, 2, &activate(3, 1, 2)), Applied::Void(_)));
    assert_eq!(state.apply(6, 2, &activate_by(3, 1, 2, 77)), Applied::Changed);
    let late = state.apply(7, 2, &release(1, 1, 0, &[1; 32]));
    assert!(matches!(late, Applied::Void(_)) && active(&state), "an older invocation's release");
}

#[test]
fn what_expired_is_owed_until_it_is_released() {
    let mut state = ClusterState::default();
    state.apply(3, 1, &activate(0, 1, 1));
    assert!(matches!(state.apply(4, 1, &expired(2)), Applied::Void(_)));
    assert_eq!(state.apply(4, 1, &expired(3)), Applied::Changed);
    assert!(matches!(state.apply(5, 1, &expired(3)), Applied::Void(_)), "again");
    state.apply(6, 2, &activate(3, 2, 2));
    assert_eq!(state.unreleased(&[1; 16]).unwrap().token(), Token(3));
    assert_eq!(state.unreleased(&[2; 16]), None);
    assert_eq!(state.owed_by(&[1; 16]).unwrap().token(), Token(3));
    assert_eq!(state.owed_by(&[2; 16]).unwrap().token(), Token(6));
    assert_eq!(state.apply(7, 2, &release(1, 1, 3, &[])), Applied::Changed);
    assert_eq!(state.unreleased(&[1; 16]), None);
    assert!(active(&state), "the newest is another's");
    assert_eq!(ClusterState::from_bytes(&state.to_bytes()).unwrap(), state);
}

#[test]
fn the_list_of_dead_invocations_is_bounded() {
    let mut state = ClusterState::default();
    let mut prev = 0;
    for round in 0..3 * limits::DEAD_INVOCATIONS_MAX as u64 {
        let (index, byte) = (10 + 2 * round, round as u8);
        assert_eq!(state.apply(index, 1, &activate_by(prev, 1, 1, byte)), Applied::Changed);
        assert_eq!(state.apply(index + 1, 1, &release(1, byte, 0, &[byte; 32])), Applied::Changed);
        prev = index;
    }
    assert_eq!(state.dead.len(), limits::DEAD_INVOCATIONS_MAX);
}

#[test]
fn an_incarnation_is_recorded_once() {
    let mut state = ClusterState::default();
    state.apply(1, 1, &bootstrap(7));
    let record = |id, byte| Body::Node(NodeRecord { id, incarnation: vec![byte; 16] }).into();
    assert_eq!(state.apply(2, 1, &record(1, 1)), Applied::Changed);
    assert!(matches!(state.apply(3, 1, &record(1, 2)), Applied::Void(_)));
    assert!(matches!(state.apply(4, 1, &record(9, 2)), Applied::Void(_)));
    assert_eq!(state.incarnation(NodeId(1)), Some(Incarnation([1; 16])));
    assert_eq!(ClusterState::from_bytes(&state.to_bytes()).unwrap(), state);
}
