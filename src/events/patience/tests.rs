//! Tests of the limits of one script.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(30);
const KILL_AFTER: Duration = Duration::from_secs(5);

/// The agent's stop begins so many seconds after the start of the script and may take so many.
type Stopping = Option<(u64, u64)>;

/// The limits in seconds after the start, with a demotion due since `due` seconds after it, where D
/// is 15 seconds.
fn limits(
    stop: Stopping,
    part: Part,
    due: Option<i64>,
    fence_after: Option<u64>,
) -> (f64, f64, Cause) {
    let started = Instant::now() + Duration::from_secs(1000);
    let stop = stop.map(|(begin, take)| {
        Stop::new(started + Duration::from_secs(begin), Duration::from_secs(take))
    });
    let shifted = |by: i64| match by {
        0.. => started + Duration::from_secs(by.unsigned_abs()),
        _ => started - Duration::from_secs(by.unsigned_abs()),
    };
    let (_keep, orders) = watch::channel(Orders { stop, demotion: due.map(shifted) });
    let patience = Patience {
        timeout: TIMEOUT,
        kill_after: KILL_AFTER,
        demote_timeout: Duration::from_secs(15),
        fence_after: fence_after.map(Duration::from_secs),
        orders,
    };
    let limits = patience.limits(started, part);
    let base = started - Duration::from_secs(1000);
    let seconds = |at: Instant| ((at - base).as_millis() as f64 - 1e6) / 1e3;
    (seconds(limits.terminate), seconds(limits.kill), limits.cause)
}

use Part::{Demotion, Obstacle};

#[test]
fn without_orders_the_configuration_holds() {
    assert_eq!(limits(None, Obstacle, None, Some(12)), (30.0, 35.0, Cause::Limit));
    assert_eq!(limits(None, Demotion, None, Some(12)), (30.0, 35.0, Cause::Limit));
}

#[test]
fn a_stop_ends_the_script_in_time_and_leaves_a_fifth_for_sigterm() {
    assert_eq!(limits(Some((2, 10)), Obstacle, None, None), (10.0, 12.0, Cause::Stop));
    // kill_after is shorter than a fifth.
    assert_eq!(limits(Some((0, 28)), Obstacle, None, None), (23.0, 28.0, Cause::Stop));
}

#[test]
fn a_script_that_holds_up_a_demotion_gets_half_of_the_stop() {
    assert_eq!(limits(Some((2, 10)), Obstacle, Some(2), None), (6.0, 7.0, Cause::Stop));
    assert_eq!(limits(Some((2, 10)), Demotion, Some(2), None), (10.0, 12.0, Cause::Stop));
}

#[test]
fn a_stop_never_lengthens() {
    assert_eq!(limits(Some((0, 1000)), Obstacle, None, None), (30.0, 35.0, Cause::Limit));
    // The time limit comes first, the agent's end cuts off the wait for SIGTERM to work.
    assert_eq!(limits(Some((28, 4)), Obstacle, None, None), (30.0, 32.0, Cause::Limit));
}

#[test]
fn a_stop_without_time_is_at_once() {
    assert_eq!(limits(Some((3, 0)), Obstacle, Some(3), None), (3.0, 3.0, Cause::Stop));
}

#[test]
fn an_obstacle_gets_a_third_and_sigkill_after_another() {
    assert_eq!(limits(None, Obstacle, Some(3), None), (8.0, 13.0, Cause::Demotion));
    // Whether the host will be fenced does not matter.
    assert_eq!(limits(None, Obstacle, Some(3), Some(12)), (8.0, 13.0, Cause::Demotion));
    // Its own time limit is earlier.
    assert_eq!(limits(None, Obstacle, Some(27), None), (30.0, 35.0, Cause::Limit));
}

#[test]
fn what_starts_while_the_demotion_waits_ends_before_the_last_third() {
    assert_eq!(limits(None, Obstacle, Some(-6), None), (1.5, 4.0, Cause::Demotion));
}

#[test]
fn a_demotion_gets_what_the_fence_leaves() {
    assert_eq!(limits(None, Demotion, Some(0), Some(12)), (9.6, 12.0, Cause::Limit));
    assert_eq!(limits(None, Demotion, Some(-7), Some(12)), (4.0, 5.0, Cause::Limit));
    // Nobody fences: its own time limit holds.
    assert_eq!(limits(None, Demotion, Some(-7), None), (30.0, 35.0, Cause::Limit));
    // Too late for the fence: it runs nevertheless.
    assert_eq!(limits(None, Demotion, Some(-100), Some(12)), (4.0, 5.0, Cause::Limit));
    assert_eq!(limits(None, Demotion, Some(0), Some(1000)), (30.0, 35.0, Cause::Limit));
}

#[test]
fn absurd_durations_do_not_overflow() {
    let now = Instant::now();
    let stop = Some(Stop::new(now, Duration::MAX));
    let (_keep, orders) = watch::channel(Orders { stop, demotion: Some(now) });
    let patience = Patience {
        timeout: Duration::MAX,
        kill_after: Duration::MAX,
        demote_timeout: Duration::MAX,
        fence_after: Some(Duration::MAX),
        orders,
    };
    for part in [Demotion, Obstacle] {
        assert!(patience.limits(now, part).terminate > now);
        assert!(patience.deadline(now, part) > now);
        assert_eq!(patience.exhausted(part), None);
    }
}

#[test]
fn a_script_without_any_time_is_not_started() {
    let second = Duration::from_secs(1);
    let now = Instant::now();
    let (orders, receiver) = watch::channel(Orders::default());
    let patience = Patience {
        timeout: TIMEOUT,
        kill_after: KILL_AFTER,
        demote_timeout: second * 15,
        fence_after: None,
        orders: receiver,
    };
    orders.send_modify(|orders| orders.demotion = now.checked_sub(second * 11));
    assert_eq!(patience.exhausted(Obstacle), Some(Cause::Demotion));
    assert_eq!(patience.exhausted(Demotion), None, "a demotion always runs");
    orders.send_modify(|orders| orders.stop = Some(Stop::new(now, Duration::ZERO)));
    assert_eq!(patience.exhausted(Demotion), Some(Cause::Stop));
}
