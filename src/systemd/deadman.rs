//! The dead-man: a timer of the kernel that kills this process (timer_create(2) on CLOCK_BOOTTIME
//! with SIGKILL, DESIGN 5.7).
//!
//! It needs nothing of the process: neither a thread that runs nor memory that is resident. A
//! stopped process dies on time. It does not survive execve(2) and is not inherited by fork(2).

use std::io;

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;

use crate::core::Instant;

/// Ends this process at a time, unless moved on or disarmed before.
#[derive(Debug)]
pub struct DeadMan {
    timer: Timer,
}

// SAFETY: a timer belongs to the process; its identifier, which only looks like a pointer, may be
// used by any of its threads (timer_create(2)).
unsafe impl Send for DeadMan {}

impl DeadMan {
    /// A dead-man that is not armed.
    pub fn new() -> io::Result<DeadMan> {
        let notify = SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
        let timer = Timer::new(ClockId::CLOCK_BOOTTIME, SigEvent::new(notify))?;
        Ok(DeadMan { timer })
    }

    /// From now on this process does not live past `at`, which replaces an earlier `at`. One in
    /// the past kills at once.
    pub fn arm(&mut self, at: Instant) {
        // A zero time would disarm; the first nanosecond after boot is past as well.
        let nanos = at.0.max(1);
        self.set(TimeSpec::new((nanos / 1_000_000_000) as _, (nanos % 1_000_000_000) as _));
    }

    /// Nothing ends this process any more.
    pub fn disarm(&mut self) {
        self.set(TimeSpec::new(0, 0));
    }

    fn set(&mut self, at: TimeSpec) {
        // TIMER_ABSTIME has the value of the flag for timer descriptors (linux/timerfd.h).
        let set = self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME);
        set.expect("a normal absolute time on an own timer can be set");
    }
}
