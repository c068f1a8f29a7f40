//! The clock of floor 3: CLOCK_BOOTTIME, which goes on while the host is suspended
//! (clock_gettime(2)).

use nix::time::{ClockId, clock_gettime};

use crate::core::Instant;

/// The time now.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has CLOCK_BOOTTIME");
    let nanos = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
    Instant(nanos)
}
