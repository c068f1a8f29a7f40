//! Tests of one script process.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(30);
const KILL_AFTER: Duration = Duration::from_secs(5);

/// The limits in seconds after the start, with the agent's stop beginning `stop.0` seconds after
/// the start and allowed to take `stop.1` seconds.
fn limits(stop: Option<(u64, u64)>, demotion_waits: bool) -> (f64, f64, bool) {
    let started = Instant::now();
    let stop = stop.map(|(begin, take)| {
        Stop::new(started + Duration::from_secs(begin), Duration::from_secs(take))
    });
    let (_keep, stop) = watch::channel(stop);
    let patience = Patience { timeout: TIMEOUT, kill_after: KILL_AFTER, stop };
    let limits = patience.limits(started, demotion_waits);
    let seconds = |at: Instant| (at - started).as_secs_f64();
    (seconds(limits.terminate), seconds(limits.kill), limits.by_stop)
}

#[test]
fn without_a_stop_the_configuration_holds() {
    assert_eq!(limits(None, false), (30.0, 35.0, false));
    assert_eq!(limits(None, true), (30.0, 35.0, false));
}

#[test]
fn a_stop_ends_the_script_in_time_and_leaves_a_fifth_for_sigterm() {
    assert_eq!(limits(Some((2, 10)), false), (10.0, 12.0, true));
    // kill_after is shorter than a fifth.
    assert_eq!(limits(Some((0, 28)), false), (23.0, 28.0, true));
}

#[test]
fn a_script_that_holds_up_a_demotion_gets_half_of_the_time() {
    assert_eq!(limits(Some((2, 10)), true), (6.0, 7.0, true));
}

#[test]
fn a_stop_never_lengthens() {
    assert_eq!(limits(Some((0, 1000)), false), (30.0, 35.0, false));
    // The time limit comes first, the agent's end cuts off the wait for SIGTERM to work.
    assert_eq!(limits(Some((28, 4)), false), (30.0, 32.0, false));
}

#[test]
fn a_stop_without_time_is_at_once() {
    assert_eq!(limits(Some((3, 0)), true), (3.0, 3.0, true));
}

#[test]
fn absurd_durations_do_not_overflow() {
    let (_keep, stop) = watch::channel(Some(Stop::new(Instant::now(), Duration::MAX)));
    let patience = Patience { timeout: Duration::MAX, kill_after: Duration::MAX, stop };
    let now = Instant::now();
    assert!(patience.limits(now, true).terminate > now);
    assert!(patience.deadline(now) > now);
}
