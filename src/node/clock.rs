//! The clock of floor 3: CLOCK_BOOTTIME, which goes on while the host is suspended
//! (clock_gettime(2)).

use nix::time::{ClockId, clock_gettime};

use crate::core::{Instant, Reading};

/// The time now.
pub fn now() -> Instant {
    read(ClockId::CLOCK_BOOTTIME)
}

/// Both clocks now.
pub fn reading() -> Reading {
    Reading { boot: now(), raw: read(ClockId::CLOCK_MONOTONIC_RAW) }
}

fn read(clock: ClockId) -> Instant {
    let time = clock_gettime(clock).expect("Linux has this clock");
    Instant(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
