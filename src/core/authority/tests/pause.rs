//! What a pause of the cluster changes, rule by rule.

use super::*;
use crate::core::command::{Expired, Pause, Resume};

impl Fixture {
    fn apply(&mut self, index: u64, term: Term, body: Body) {
        let applied = self.state.apply(index, term, &Command::from(body));
        assert_eq!(applied, crate::core::state::Applied::Changed);
    }

    fn paused() -> Fixture {
        let mut fixture = Fixture::active();
        fixture.apply(100, 3, Body::Pause(Pause {}));
        let orders = fixture.turn();
        assert_eq!(orders, [Order::DisarmDeadMan]);
        fixture
    }

    /// It gives its word, and whether it is active under its lease then.
    fn give_word(&mut self) -> bool {
        let can = self.authority.can_give_word(&self.view());
        self.authority.give_word(self.state.paused().expect("it is paused"));
        can
    }

    fn word_given(&self) -> bool {
        self.authority.has_given_word(&self.view())
    }

    fn resume(&mut self, index: u64, forced: bool, token: u64, term: Term) {
        let pause = self.state.paused().expect("it is paused");
        self.apply(index, term, Body::Resume(Resume { pause, forced, token, term }));
    }
}

#[test]
fn what_is_active_stays_without_lease_leadership_or_term_and_nothing_guards_it() {
    let mut fixture = Fixture::paused();
    (fixture.leads, fixture.term) = (false, 9);
    assert_eq!(fixture.pass(3_600_000), []);
    assert_eq!((fixture.phase(), fixture.authority.ping_until()), (Phase::Active, None));
    assert!(fixture.authority.rests_on_pause());
    assert_eq!(fixture.authority.next_deadline(), None, "nothing to wake up for");
}

#[test]
fn a_start_under_way_goes_on_but_none_begins_without_a_lease() {
    let mut fixture = Fixture::activated();
    fixture.lease();
    let number = start_of(&fixture.turn()).expect("entitled");
    fixture.apply(100, 3, Body::Pause(Pause {}));
    fixture.pass(5_000);
    fixture.report(Report::Started { number });
    assert_eq!(fixture.phase(), Phase::Active);

    let mut fixture = Fixture::activated();
    fixture.apply(100, 3, Body::Pause(Pause {}));
    fixture.lease();
    let orders = fixture.turn();
    assert!(matches!(orders[..], [Order::ArmDeadMan { .. }, Order::Start { .. }]), "{orders:?}");

    let mut fixture = Fixture::activated();
    fixture.apply(100, 3, Body::Pause(Pause {}));
    assert_eq!((fixture.turn(), fixture.phase()), (vec![], Phase::Idle));
    (fixture.leads, fixture.term) = (false, 4);
    assert_eq!((fixture.turn(), fixture.phase()), (vec![], Phase::Releasing), "given back");
}

#[test]
fn only_the_run_that_the_record_names_stays() {
    for (node, invocation) in [(2, [9; 16]), (1, [9; 16])] {
        let mut fixture = Fixture::active();
        fixture.apply(90, 3, Body::Expired(Expired { token: 5, forced: true }));
        fixture.record(node, invocation, 3, None);
        fixture.apply(100, 3, Body::Pause(Pause {}));
        assert!(stop_of(&fixture.turn()).is_some());
    }
}

#[test]
fn a_record_that_an_operator_declares_over_ends_it_with_time_to_stop() {
    let mut fixture = Fixture::paused();
    fixture.pass(60_000);
    fixture.apply(101, 4, Body::Expired(Expired { token: 5, forced: true }));
    let orders = fixture.pass(10);
    assert!(stop_of(&orders).is_some() && !fixture.authority.is_planned());
    // All guards count from when it was last seen that the pause holds, not from a lease long over.
    let seen = fixture.now.boot.0 - 10_000_000;
    let after = |ms: u64| Instant(seen + ms * 1_000_000);
    assert_eq!(armed(&orders), Some(after(100)));
    assert_eq!(fixture.authority.ping_until(), Some(after(0)));
    assert!(orders.contains(&Order::FenceAt { at: Some(after(1_200)) }), "{orders:?}");
}

#[test]
fn a_stop_in_a_pause_takes_the_time_that_it_needs() {
    type Begin = fn(&mut Fixture) -> Vec<Order>;
    let begin: [Begin; 2] = [
        |f| f.report(Report::Down),
        |f| {
            f.authority.leave(true, false);
            f.turn()
        },
    ];
    for begin in begin {
        let mut fixture = Fixture::paused();
        fixture.leads = false;
        fixture.pass(60_000);
        let number = stop_of(&begin(&mut fixture)).expect("a stop");
        assert_eq!(fixture.report(Report::StopQueued { number }), []);
        assert_eq!(fixture.pass(60_000), [], "no fence");
        assert!(fixture.authority.is_planned());
        fixture.report(Report::Stopped { number });
        fixture.authority.published(0);
        fixture.turn();
        assert_eq!(fixture.phase(), Phase::Releasing, "released as ever");
    }
}

#[test]
fn what_makes_a_node_hand_over_does_not_stop_what_a_pause_keeps() {
    let mut fixture = Fixture::paused();
    fixture.authority.leave(false, true);
    assert_eq!((fixture.pass(1_000), fixture.phase()), (vec![], Phase::Active));
}

#[test]
fn a_word_is_given_only_while_active_under_a_lease_and_guards_before_anything_is_proposed() {
    let mut fixture = Fixture::paused();
    fixture.pass(60_000);
    assert!(!fixture.authority.can_give_word(&fixture.view()), "no lease");
    // Leadership came back in another term than that of the record.
    fixture.term = 7;
    fixture.lease();
    fixture.turn();
    assert!(!fixture.word_given(), "nothing was said");
    assert!(fixture.give_word());
    assert!(fixture.word_given());
    let end = Instant(fixture.now.boot.0 + 188_100_000);
    let dead_man = Instant(end.0 + 100_000_000);
    assert_eq!(fixture.turn(), [Order::ArmDeadMan { at: dead_man }]);
    assert_eq!((fixture.phase(), fixture.authority.ping_until()), (Phase::Active, Some(end)));
    fixture.resume(101, false, 5, 7);
    assert_eq!((fixture.turn(), fixture.phase()), (vec![], Phase::Active), "its term is 7 now");
    assert!(stop_of(&fixture.pass(200)).is_some(), "from here on as ever");
}

#[test]
fn after_its_word_it_never_rests_on_that_pause_again() {
    for led in [true, false] {
        let mut fixture = Fixture::paused();
        fixture.lease();
        assert!(fixture.give_word());
        fixture.leads = led;
        let orders = fixture.pass(if led { 200 } else { 1 });
        assert!(stop_of(&orders).is_some(), "whatever became of the proposal: {orders:?}");
    }
    let mut fixture = Fixture::paused();
    fixture.lease();
    fixture.give_word();
    fixture.turn();
    fixture.resume(101, false, 5, 3);
    fixture.turn();
    fixture.apply(102, 3, Body::Pause(Pause {}));
    assert_eq!((fixture.pass(9_000), fixture.phase()), (vec![Order::DisarmDeadMan], Phase::Active));
}

#[test]
fn a_forced_resumption_demotes_what_holds_no_lease_and_leaves_what_does() {
    for leased in [true, false] {
        let mut fixture = Fixture::paused();
        fixture.pass(60_000);
        if leased {
            fixture.lease();
        }
        fixture.turn();
        fixture.resume(101, true, 0, 0);
        let orders = fixture.pass(10);
        assert_eq!(stop_of(&orders).is_none(), leased, "{orders:?}");
        assert!(armed(&orders).is_some_and(|at| at > fixture.now.boot), "time to stop: {orders:?}");
    }
}

#[test]
fn a_successor_waits_from_the_end_of_the_pause() {
    let mut fixture = Fixture::new(Enforcement::Bounded);
    fixture.record(2, [9; 16], 3, Some(1_000));
    let passed = |f: &Fixture| f.authority.bound_passed(&f.view());
    fixture.term = 4;
    fixture.pass(0);
    fixture.pass(5_000);
    assert!(passed(&fixture));
    fixture.apply(100, 4, Body::Pause(Pause {}));
    fixture.turn();
    assert!(!passed(&fixture), "a pause has no bound");
    fixture.pass(60_000);
    assert!(!passed(&fixture));
    fixture.resume(101, true, 0, 0);
    fixture.turn();
    fixture.pass(1_020);
    assert!(!passed(&fixture), "the elections before said nothing about a lease");
    fixture.pass(1);
    assert!(passed(&fixture));
}

/// A snapshot may contain the pause and its end.
#[test]
fn a_successor_that_did_not_see_the_pause_waits_from_its_end_too() {
    for forced in [true, false] {
        let mut fixture = Fixture::new(Enforcement::Bounded);
        fixture.record(2, [9; 16], 3, Some(1_000));
        let passed = |f: &Fixture| f.authority.bound_passed(&f.view());
        fixture.term = 5;
        fixture.pass(0);
        fixture.pass(5_000);
        assert!(passed(&fixture));
        fixture.apply(100, 3, Body::Pause(Pause {}));
        fixture.resume(101, forced, 5, 4);
        assert!(!passed(&fixture), "even before the next turn");
        fixture.turn();
        fixture.pass(1_020);
        assert!(!passed(&fixture));
        fixture.pass(1);
        assert!(passed(&fixture));
    }
}

/// Its release is committed and not applied, and a resumption has moved the record's term.
#[test]
fn what_was_demoted_is_not_started_again_whatever_its_term() {
    let mut fixture = Fixture::paused();
    let number = stop_of(&fixture.report(Report::Down)).expect("a stop");
    fixture.report(Report::Stopped { number });
    fixture.authority.published(0);
    fixture.turn();
    assert_eq!(fixture.phase(), Phase::Releasing);
    fixture.released = true;
    fixture.turn();
    assert_eq!(fixture.phase(), Phase::Idle);
    fixture.term = 7;
    fixture.resume(101, false, 5, 7);
    fixture.lease();
    assert_eq!(start_of(&fixture.turn()), None);
}

/// Random histories with pauses: without a lease and without a pause nothing is active, and what
/// has given its word is guarded.
#[test]
fn random_histories_are_active_by_a_lease_or_by_a_pause_only() {
    let mut rng = crate::core::rng::Rng::new(9);
    let mut rested = 0;
    for _ in 0..2_000 {
        let mut fixture = Fixture::active();
        let (mut index, mut given) = (100, None);
        let mut armed_at = Some(Instant::default());
        for _ in 0..40 {
            index += 1;
            match rng.below(8) {
                0 if fixture.state.paused().is_none() => {
                    fixture.apply(index, fixture.term, Body::Pause(Pause {}));
                }
                1 if fixture.state.paused().is_some() => {
                    fixture.resume(index, true, 0, 0);
                }
                2 if fixture.word_given() => {
                    fixture.resume(index, false, 5, fixture.term);
                }
                3 if fixture.authority.can_give_word(&fixture.view()) => {
                    given = fixture.state.paused();
                    fixture.give_word();
                }
                4 => fixture.lease(),
                5 => fixture.leads = !fixture.leads,
                6 => fixture.term += rng.below(2),
                _ => {}
            }
            for order in fixture.pass(rng.below(120)) {
                match order {
                    Order::ArmDeadMan { at } => armed_at = Some(at),
                    Order::DisarmDeadMan => armed_at = None,
                    _ => {}
                }
            }
            if fixture.phase() != Phase::Active {
                break;
            }
            let rests = fixture.state.paused().is_some() && fixture.state.paused() != given;
            rested += u64::from(rests);
            let leased = fixture.authority.holds_lease(&fixture.view());
            assert!(rests || leased, "active without either");
            assert_eq!(rests, armed_at.is_none(), "guarded by a lease, or by the pause");
        }
    }
    assert!(rested > 1_000, "{rested}");
}
