//! Every command against every standing of the record.

use super::*;
use crate::core::command::Pause;

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

fn pause() -> Command {
    Body::Pause(Pause {}).into()
}

fn resume(pause: u64, forced: bool, token: u64, term: u64) -> Command {
    Body::Resume(Resume { pause, forced, token, term }).into()
}

#[test]
fn in_a_pause_no_activation_begins_and_none_expires_but_by_force() {
    let mut state = ClusterState::default();
    state.apply(3, 1, &activate(0, 1, 1));
    assert_eq!(state.apply(4, 1, &pause()), Applied::Changed);
    assert_eq!(state.paused(), Some(4));
    assert!(matches!(state.apply(5, 1, &pause()), Applied::Void(_)), "it is paused already");
    assert!(matches!(state.apply(6, 2, &expired(3)), Applied::Void(_)));
    assert!(active(&state));
    let forced = Body::Expired(Expired { token: 3, forced: true }).into();
    assert_eq!(state.apply(7, 2, &forced), Applied::Changed);
    assert!(matches!(state.apply(8, 2, &activate(3, 2, 2)), Applied::Void(_)));
    assert_eq!(state.apply(9, 2, &resume(4, false, 0, 0)), Applied::Changed, "nothing is active");
    assert_eq!((state.paused(), state.resumed()), (None, 9));
    assert_eq!(state.apply(10, 2, &activate(3, 2, 2)), Applied::Changed);
}

#[test]
fn a_release_counts_in_a_pause_as_ever() {
    let mut state = ClusterState::default();
    state.apply(3, 1, &activate(0, 1, 1));
    state.apply(4, 1, &pause());
    assert_eq!(state.apply(5, 1, &release(1, 1, 3, &[])), Applied::Changed);
    assert!(!active(&state));
}

#[test]
fn a_pause_ends_by_the_word_of_what_is_active_in_its_term_or_by_force() {
    let mut paused = ClusterState::default();
    paused.apply(3, 1, &activate(0, 1, 1));
    paused.apply(4, 1, &pause());
    for (what, command) in [
        ("no word", resume(4, false, 0, 0)),
        ("of another activation", resume(4, false, 2, 6)),
        ("in another term", resume(4, false, 3, 5)),
        ("another pause", resume(3, false, 3, 6)),
        ("another pause, forced", resume(3, true, 0, 0)),
    ] {
        let mut state = paused.clone();
        assert!(matches!(state.apply(9, 6, &command), Applied::Void(_)), "{what}");
        assert_eq!(state, paused, "{what}");
    }
    let mut state = paused.clone();
    assert_eq!(state.apply(9, 6, &resume(4, false, 3, 6)), Applied::Changed);
    let record = state.activation().expect("it is active");
    assert_eq!((record.token(), record.term(), record.is_active()), (Token(3), 6, true));
    let mut state = paused.clone();
    assert_eq!(state.apply(9, 6, &resume(4, true, 0, 0)), Applied::Changed);
    assert_eq!(state.activation(), paused.activation(), "nobody has said anything");
    assert!(matches!(state.apply(10, 6, &resume(4, true, 0, 0)), Applied::Void(_)));
}

/// States of a version before there were pauses.
#[test]
fn a_state_without_the_field_is_not_paused_and_a_pause_survives_a_snapshot() {
    let mut state = ClusterState::default();
    state.apply(3, 1, &activate(0, 1, 1));
    let before = ClusterState::from_bytes(&state.to_bytes()).unwrap();
    assert_eq!((before.paused(), before.resumed()), (None, 0));
    state.apply(4, 1, &pause());
    assert_eq!(ClusterState::from_bytes(&state.to_bytes()), Ok(state));
}
