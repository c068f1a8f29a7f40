//! Time as an argument: a point on the CLOCK_BOOTTIME axis, in nanoseconds.
//!
//! `std::time::Instant` reads a clock that skips suspend and cannot be made up by a simulator; this
//! one is a plain number. Floor 3 reads the clock, the floors below are told.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point in time in nanoseconds since an arbitrary origin (CLOCK_BOOTTIME in production).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The point `ms` milliseconds after the origin.
    pub const fn from_millis(ms: u64) -> Self {
        Instant(ms * 1_000_000)
    }

    /// Time since `earlier`, zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, by: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}ms", self.0 / 1_000_000, self.0 / 1_000 % 1_000)
    }
}

/// One look at both clocks of a host (DESIGN 5.12): CLOCK_BOOTTIME goes on during suspend,
/// CLOCK_MONOTONIC_RAW is never slewed. A lease ends when *either* says so, a wait is over when
/// *both* do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// CLOCK_BOOTTIME: the axis of all deadlines.
    pub boot: Instant,
    /// CLOCK_MONOTONIC_RAW.
    pub raw: Instant,
}

impl Reading {
    /// The longest time that may have passed since `earlier`.
    pub fn at_most_since(self, earlier: Reading) -> Duration {
        (self.boot - earlier.boot).max(self.raw - earlier.raw)
    }

    /// The shortest time that may have passed since `earlier`.
    pub fn at_least_since(self, earlier: Reading) -> Duration {
        (self.boot - earlier.boot).min(self.raw - earlier.raw)
    }
}

impl From<Instant> for Reading {
    /// Two clocks that agree: for tests and scripts without drift.
    fn from(instant: Instant) -> Reading {
        Reading { boot: instant, raw: instant }
    }
}
