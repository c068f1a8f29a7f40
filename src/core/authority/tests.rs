//! The table over all pairs, and the rules of DESIGN section 5 one by one.

mod pause;

use std::time::Duration;

use super::*;
use crate::core::command::{Activate, Body, Command};
use crate::core::state::{ClusterState, hash_of};
use crate::core::{Instant, NodeId, Reading, Term, Token};

fn pairs() -> impl Iterator<Item = &'static Rule> {
    TABLE.iter()
}

fn ms(at: u64) -> Reading {
    Instant::from_millis(at).into()
}

#[test]
fn a_demotion_once_begun_is_never_taken_back() {
    let begun = [Phase::Stopping, Phase::Waiting, Phase::Settling, Phase::Releasing];
    for rule in pairs().filter(|rule| begun.contains(&rule.from)) {
        assert!(!matches!(rule.to, Phase::Starting | Phase::Active), "{rule:?}");
        let order = |phase| Phase::ALL.iter().position(|p| *p == phase);
        // A stop that failed is ordered again, and has to be acknowledged again.
        let again = (rule.from, rule.to) == (Phase::Waiting, Phase::Stopping);
        let forward = again || rule.to == Phase::Idle || order(rule.to) >= order(rule.from);
        assert!(forward, "{rule:?}");
    }
}

#[test]
fn nothing_but_entitlement_starts_and_nothing_but_proof_ends() {
    for rule in pairs() {
        let starts = rule.acts.contains(&Act::Start);
        assert_eq!(starts, (rule.from, rule.signal) == (Phase::Idle, Signal::Entitled), "{rule:?}");
        assert_eq!(starts, rule.to == Phase::Starting && rule.from != rule.to, "{rule:?}");
        if rule.from != rule.to {
            let by = match rule.to {
                Phase::Active => &[Signal::Started][..],
                Phase::Settling => &[Signal::Stopped],
                Phase::Releasing => &[Signal::Quiet, Signal::Owing],
                Phase::Idle => &[Signal::Discharged],
                Phase::Waiting => &[Signal::StopQueued],
                _ => continue,
            };
            assert!(by.contains(&rule.signal), "{rule:?}");
        }
    }
}

#[test]
fn every_way_out_of_activity_stops_the_target() {
    for rule in pairs().filter(|r| matches!(r.from, Phase::Starting | Phase::Active)) {
        let leaves = !matches!(rule.to, Phase::Starting | Phase::Active);
        assert_eq!(leaves, rule.acts == [Act::Stop], "{rule:?}");
        assert!(!leaves || rule.to == Phase::Stopping, "{rule:?}");
    }
}

/// A node 1 that leads, and what it sees.
struct Fixture {
    authority: Authority,
    state: ClusterState,
    now: Reading,
    leads: bool,
    term: Term,
    released: bool,
}

const OWN: [u8; 16] = [7; 16];

impl Fixture {
    fn new(enforcement: Enforcement) -> Fixture {
        let timing = Timing { enforcement, ..Timing::default() };
        let authority = Authority::new(Me { node: NodeId(1), invocation: OWN }, timing);
        let (state, now) = (ClusterState::default(), ms(10_000));
        Fixture { authority, state, now, leads: true, term: 3, released: false }
    }

    /// Idle, with its own activation committed in its own term.
    fn activated() -> Fixture {
        let mut fixture = Fixture::new(Enforcement::Bounded);
        fixture.idle();
        fixture.record(1, OWN, 3, Some(2610));
        fixture
    }

    /// Up and running.
    fn active() -> Fixture {
        let mut fixture = Fixture::activated();
        fixture.lease();
        let number = start_of(&fixture.turn()).expect("entitled");
        fixture.report(Report::Started { number });
        assert_eq!(fixture.authority.phase(), Phase::Active);
        fixture
    }

    fn idle(&mut self) {
        let number = stop_of(&self.turn()).expect("an earlier run may have left something");
        self.report(Report::Stopped { number });
        assert!(!self.authority.published(1));
        self.authority.acted(1);
        self.turn();
        assert_eq!(self.authority.phase(), Phase::Idle);
    }

    fn record(&mut self, node: u64, invocation: [u8; 16], term: Term, bound_ms: Option<u64>) {
        let prev = self.state.activation().map_or(0, |a| a.token().0);
        let machine = vec![node as u8; 16];
        let (invocation, secret_hash) = (invocation.to_vec(), hash_of(b"secret").to_vec());
        let activate = Activate { prev, node, term, invocation, machine, bound_ms, secret_hash };
        let command = Command::from(Body::Activate(activate));
        let applied = self.state.apply(prev + 5, term, &command);
        assert_eq!(applied, crate::core::state::Applied::Changed);
    }

    fn lease(&mut self) {
        let number = self.authority.begin_round(self.now, self.term);
        self.authority.round_confirmed(number);
    }

    fn view(&self) -> View<'_> {
        View {
            now: self.now,
            leads: self.leads,
            term: self.term,
            elected: true,
            record: self.state.activation(),
            owed: self.state.owed_by(&OWN).map(|a| a.token()),
            released: self.released,
            paused: self.state.paused(),
            resumed: self.state.resumed(),
        }
    }

    fn turn(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        let view = View { record: self.state.activation(), ..self.view() };
        self.authority.turn(&view, &mut orders);
        orders
    }

    fn report(&mut self, report: Report) -> Vec<Order> {
        self.authority.report(report);
        self.turn()
    }

    fn pass(&mut self, time_ms: u64) -> Vec<Order> {
        let by = Duration::from_millis(time_ms);
        self.now = Reading { boot: self.now.boot + by, raw: self.now.raw + by };
        self.turn()
    }

    fn phase(&self) -> Phase {
        self.authority.phase()
    }
}

fn start_of(orders: &[Order]) -> Option<u64> {
    orders.iter().find_map(|order| match order {
        Order::Start { number, .. } => Some(*number),
        _ => None,
    })
}

fn stop_of(orders: &[Order]) -> Option<u64> {
    orders.iter().find_map(|order| match order {
        Order::Stop { number } => Some(*number),
        _ => None,
    })
}

fn armed(orders: &[Order]) -> Option<Instant> {
    orders.iter().rev().find_map(|order| match order {
        Order::ArmDeadMan { at } => Some(*at),
        _ => None,
    })
}

#[test]
fn rule_5_every_missing_condition_forbids_the_promotion() {
    type Spoil = fn(&mut Fixture);
    let spoil: [(&str, Spoil); 9] = [
        ("no lease", |_| {}),
        ("lease over", |f| {
            f.lease();
            f.now = ms(10_189);
        }),
        ("lease of another term", |f| {
            let number = f.authority.begin_round(f.now, 2);
            f.authority.round_confirmed(number);
        }),
        ("does not lead", |f| {
            f.lease();
            f.leads = false;
        }),
        ("term moved on", |f| {
            f.term = 4;
            f.lease();
        }),
        ("barred", |f| {
            f.lease();
            f.authority.bar(3);
        }),
        ("leaving", |f| {
            f.lease();
            f.authority.leave(true, false);
        }),
        ("yielding", |f| {
            f.lease();
            f.authority.leave(false, true);
        }),
        ("a slow clock hides that the lease is over", |f| {
            f.lease();
            f.now = Reading { boot: f.now.boot, raw: ms(10_189).raw };
        }),
    ];
    for (what, spoil) in spoil {
        let mut fixture = Fixture::activated();
        spoil(&mut fixture);
        assert_eq!(start_of(&fixture.turn()), None, "{what}");
        assert!(fixture.phase().is_down(), "{what}");
    }
    for (what, node, invocation, term) in [
        ("another node's", 2, [9; 16], 3),
        ("another run's", 1, [9; 16], 3),
        ("of an earlier term", 1, OWN, 2),
    ] {
        let mut fixture = Fixture::new(Enforcement::Bounded);
        fixture.idle();
        fixture.record(node, invocation, term, Some(2610));
        fixture.lease();
        assert_eq!(start_of(&fixture.turn()), None, "{what}");
    }
}

#[test]
fn rule_5_the_dead_man_is_armed_before_the_start() {
    let mut fixture = Fixture::activated();
    fixture.lease();
    let orders = fixture.turn();
    let dead_man = ms(10_000).boot + Duration::from_micros(188_100 + 100_000);
    assert_eq!(orders[0], Order::ArmDeadMan { at: dead_man });
    assert!(matches!(orders[1], Order::Start { token: Token(5), .. }), "{orders:?}");
    assert_eq!(orders.len(), 2);
    fixture.pass(40);
    fixture.lease();
    let later = dead_man + Duration::from_millis(40);
    assert_eq!(fixture.turn(), [Order::ArmDeadMan { at: later }], "moved on with the renewal");
}

#[test]
fn rule_5_after_a_pause_everything_is_looked_at_again() {
    let mut fixture = Fixture::activated();
    fixture.lease();
    let number = start_of(&fixture.turn()).expect("entitled");
    fixture.now = ms(10_200);
    let orders = fixture.report(Report::Started { number });
    assert!(stop_of(&orders).is_some(), "{orders:?}");
    assert_eq!((fixture.phase(), fixture.authority.held()), (Phase::Stopping, None));
}

#[test]
fn rule_6_a_lost_lease_demotes_steps_down_and_bars_the_term() {
    let mut fixture = Fixture::active();
    assert_eq!(fixture.authority.held(), Some(Token(5)));
    let orders = fixture.pass(188);
    assert_eq!(orders, []);
    let orders = fixture.pass(1);
    let number = stop_of(&orders).expect("the lease is over");
    assert!(fixture.authority.takes_step_down() && !fixture.authority.takes_step_down());
    fixture.lease();
    fixture.turn();
    assert_eq!(fixture.phase(), Phase::Stopping, "a new lease does not help any more");
    fixture.report(Report::StopQueued { number });
    assert_eq!(fixture.phase(), Phase::Waiting);
    fixture.report(Report::Stopped { number });
    assert_eq!((fixture.phase(), fixture.authority.held()), (Phase::Settling, None));
    assert!(!fixture.authority.published(2));
    fixture.turn();
    assert_eq!(fixture.phase(), Phase::Settling, "its scripts still run");
    fixture.authority.acted(2);
    fixture.turn();
    assert_eq!(fixture.phase(), Phase::Releasing);
    fixture.released = true;
    fixture.turn();
    assert_eq!(fixture.phase(), Phase::Idle);
}

#[test]
fn rule_6_only_the_newest_order_is_answered() {
    let mut fixture = Fixture::active();
    let stop = |orders: &[Order]| stop_of(orders).expect("a stop");
    let first = stop(&fixture.pass(189));
    fixture.report(Report::StopFailed { number: first });
    let second = stop(&fixture.pass(50));
    assert_ne!(first, second);
    fixture.report(Report::Stopped { number: first });
    assert_eq!(fixture.phase(), Phase::Stopping, "the answer to an order that was replaced");
    fixture.report(Report::Stopped { number: second });
    assert_eq!(fixture.phase(), Phase::Settling);
}

#[test]
fn rule_6_a_stop_that_nobody_ordered_is_a_planned_demotion() {
    let mut fixture = Fixture::active();
    assert!(stop_of(&fixture.report(Report::Down)).is_some());
    assert!(!fixture.authority.takes_step_down(), "it holds the lease, and hands over");
    assert!(fixture.authority.is_barred(3));
}

#[test]
fn rule_7_pings_end_with_the_lease_until_the_stop_is_acknowledged() {
    let mut fixture = Fixture::active();
    let end = ms(10_000).boot + Duration::from_micros(188_100);
    assert_eq!(fixture.authority.ping_until(), Some(end));
    let number = stop_of(&fixture.pass(200)).expect("a stop");
    assert_eq!(fixture.authority.ping_until(), Some(end));
    let orders = fixture.report(Report::StopQueued { number });
    assert_eq!(fixture.authority.ping_until(), None);
    assert!(orders.contains(&Order::DisarmDeadMan), "{orders:?}");
}

#[test]
fn rule_7_the_fence_counts_from_the_end_of_the_lease() {
    let mut fixture = Fixture::active();
    let orders = fixture.pass(400);
    let at = ms(10_000).boot + Duration::from_micros(188_100 + 1_200_000);
    assert!(orders.contains(&Order::FenceAt { at: Some(at) }), "{orders:?}");
    let number = stop_of(&orders).expect("a stop");
    fixture.report(Report::StopQueued { number });
    assert_eq!(fixture.pass(980), []);
    assert_eq!(fixture.pass(9), [Order::Fence { token: Token(5) }]);
    assert_eq!(fixture.pass(100), [], "not at every turn");
    let orders = fixture.report(Report::Stopped { number });
    assert!(!orders.contains(&Order::FenceAt { at: None }), "scripts still run: {orders:?}");
}

#[test]
fn rule_8_a_planned_demotion_renews_and_is_not_fenced() {
    let mut fixture = Fixture::active();
    fixture.authority.leave(true, false);
    let number = stop_of(&fixture.turn()).expect("a stop");
    let orders = fixture.report(Report::StopQueued { number });
    assert!(!orders.contains(&Order::DisarmDeadMan), "it still leads: {orders:?}");
    for _ in 0..60 {
        fixture.lease();
        let orders = fixture.pass(40);
        assert!(orders.iter().all(|o| matches!(o, Order::ArmDeadMan { .. })), "{orders:?}");
    }
    // Then the lease is lost: from here D counts, and it must not keep the others quiet.
    let orders = fixture.pass(200);
    assert!(orders.contains(&Order::DisarmDeadMan), "{orders:?}");
    assert!(matches!(orders.last(), Some(Order::FenceAt { at: Some(_) })), "{orders:?}");
    assert!(fixture.authority.takes_step_down());
}

#[test]
fn rule_8_the_dead_man_follows_a_planned_demotion_to_its_end() {
    let mut fixture = Fixture::active();
    fixture.authority.leave(true, false);
    let number = stop_of(&fixture.turn()).expect("a stop");
    fixture.lease();
    assert!(armed(&fixture.report(Report::StopQueued { number })).is_none(), "still armed");
    fixture.report(Report::Stopped { number });
    fixture.authority.published(0);
    assert_eq!(fixture.turn().last(), Some(&Order::DisarmDeadMan));
    assert_eq!(fixture.phase(), Phase::Releasing);
}

#[test]
fn rule_4_the_wait_is_the_records_and_counts_from_the_first_election_heard() {
    let mut fixture = Fixture::new(Enforcement::Bounded);
    fixture.record(2, [9; 16], 3, Some(1_000));
    let passed = |f: &Fixture| f.authority.bound_passed(&f.view());
    fixture.pass(5_000);
    assert!(!passed(&fixture), "nobody was elected after it");
    fixture.term = 4;
    fixture.pass(0);
    // A further election does not restart the wait.
    fixture.pass(1_000);
    fixture.term = 5;
    fixture.pass(20);
    assert!(!passed(&fixture));
    fixture.pass(1);
    assert!(passed(&fixture), "1000 ms and twice the drift, not this node's own bound");
}

#[test]
fn rule_4_without_a_bound_nothing_expires() {
    let mut fixture = Fixture::new(Enforcement::Bounded);
    fixture.record(2, [9; 16], 3, None);
    fixture.term = 4;
    fixture.pass(0);
    fixture.pass(1_000_000);
    assert!(!fixture.authority.bound_passed(&fixture.view()));
}

#[test]
fn rule_12_a_wait_needs_both_clocks() {
    let mut fixture = Fixture::new(Enforcement::Bounded);
    fixture.record(2, [9; 16], 3, Some(1_000));
    fixture.term = 4;
    fixture.pass(0);
    // A suspended host: CLOCK_BOOTTIME went on, CLOCK_MONOTONIC_RAW did not.
    fixture.now.boot += Duration::from_secs(60);
    fixture.turn();
    assert!(!fixture.authority.bound_passed(&fixture.view()));
}

#[test]
fn rule_10_what_ran_before_is_stopped_first_and_fenced_in_time() {
    let mut fixture = Fixture::new(Enforcement::Bounded);
    fixture.record(1, OWN, 3, Some(2610));
    fixture.lease();
    let number = stop_of(&fixture.turn()).expect("what is left over is stopped");
    assert_eq!(fixture.phase(), Phase::Unknown);
    assert_eq!(fixture.pass(1_200), [], "the service manager may just be slow to answer");
    fixture.report(Report::StopQueued { number });
    assert!(fixture.authority.next_deadline().is_some_and(|at| at <= fixture.now.boot));
    assert_eq!(fixture.pass(0), [Order::Fence { token: Token(0) }], "it runs, no time is left");
}

#[test]
fn rule_10_the_scripts_of_a_start_are_not_fenced() {
    let mut fixture = Fixture::new(Enforcement::Bounded);
    let number = stop_of(&fixture.turn()).expect("an earlier run may have left something");
    fixture.report(Report::Stopped { number });
    assert_eq!(fixture.phase(), Phase::Settling);
    assert_eq!(fixture.pass(60_000), []);
    assert_eq!(fixture.authority.next_deadline(), None);
}

/// Random histories: the phases of a living agent never contradict what was ordered.
#[test]
fn random_histories_start_only_under_a_lease_and_release_only_after_proof() {
    let mut rng = crate::core::rng::Rng::new(5);
    for _ in 0..2_000 {
        let mut fixture = Fixture::active();
        let mut number = 2;
        let mut proven = false;
        for _ in 0..40 {
            let orders = match rng.below(9) {
                0 => fixture.report(Report::Started { number }),
                1 => fixture.report(Report::StartFailed { number }),
                2 => fixture.report(Report::StopQueued { number }),
                3 => {
                    proven |= fixture.phase() != Phase::Starting;
                    fixture.report(Report::Stopped { number })
                }
                4 => fixture.report(Report::StopFailed { number }),
                5 => fixture.report(Report::Down),
                6 => {
                    fixture.lease();
                    fixture.turn()
                }
                7 => fixture.pass(rng.below(120)),
                _ => {
                    fixture.authority.leave(rng.below(2) == 0, rng.below(2) == 0);
                    fixture.turn()
                }
            };
            if let Some(newer) = stop_of(&orders).or(start_of(&orders)) {
                (number, proven) = (newer, false);
            }
            assert!(start_of(&orders).is_none(), "its term is barred");
            fixture.authority.published(0);
            let over = matches!(fixture.phase(), Phase::Settling | Phase::Releasing | Phase::Idle);
            assert!(!over || proven, "{:?} without proof", fixture.phase());
        }
    }
}

#[test]
fn rule_6_a_stop_ordered_again_is_guarded_again() {
    let mut fixture = Fixture::active();
    let number = stop_of(&fixture.pass(200)).expect("the lease is over");
    fixture.report(Report::StopQueued { number });
    fixture.report(Report::StopFailed { number });
    let orders = fixture.pass(50);
    let again = stop_of(&orders).expect("ordered again");
    let by = fixture.now.boot + Duration::from_millis(100);
    assert_eq!(armed(&orders), Some(by), "somebody may have cancelled the job: {orders:?}");
    assert!(fixture.authority.ping_until().is_some_and(|until| until < fixture.now.boot));
    let orders = fixture.report(Report::StopQueued { number: again });
    assert!(orders.contains(&Order::DisarmDeadMan), "{orders:?}");
}
