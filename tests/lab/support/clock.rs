//! One clock for all hosts: CLOCK_MONOTONIC of the kernel that they share, as time since its boot.

use std::thread;
use std::time::Duration;

use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// How often a condition is looked at again. Nothing is measured with it.
const PAUSE: Duration = Duration::from_millis(5);

/// CLOCK_MONOTONIC.
pub fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into()
}

/// A point of CLOCK_REALTIME, in microseconds, on [`now`]'s scale. Nobody sets the clock of a
/// machine on which the lab runs: the lab itself is not allowed to.
pub fn from_realtime(usec: u64) -> Duration {
    let real: Duration = clock_gettime(ClockId::CLOCK_REALTIME).unwrap().into();
    (now() + Duration::from_micros(usec)).saturating_sub(real)
}

/// Lets the time pass until `at`; returns late if the machine is busy. For a thread that acts by
/// the clock, as the sampler does; a test waits for an event instead.
pub fn pass_until(at: Duration) {
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &at.into());
}

/// Looks at `found` again and again until it has something; `None` at the deadline.
pub fn within<T>(deadline: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let end = now() + deadline;
    loop {
        let seen = found();
        if seen.is_some() || now() >= end {
            return seen;
        }
        thread::park_timeout(PAUSE);
    }
}

/// Looks at `found` again and again until it has something.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, found: impl FnMut() -> Option<T>) -> T {
    within(deadline, found).unwrap_or_else(|| panic!("not within {deadline:?}: {what}"))
}

/// Looks at `condition` again and again until it holds.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}
