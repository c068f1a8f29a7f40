//! The driver's alarm: one timer of the kernel on CLOCK_BOOTTIME (timerfd_create(2)).
//!
//! It counts suspended time, fires to the microsecond, and wakes the process once; the runtime's
//! own timer wheel skips suspend and wakes several times on the way. It is moved only when a
//! deadline comes nearer: an alarm that rings too early costs one idle turn, moving it at every
//! heartbeat costs a system call each.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::core::Instant;

/// An alarm clock.
pub(super) struct Timer {
    fd: AsyncFd<Fd>,
    armed: Option<Instant>,
}

/// The runtime wants the raw descriptor of what it watches.
struct Fd(TimerFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// An alarm that is not set. Must be called inside a runtime.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let fd = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        // SAFETY: `Fd` owns its descriptor, returns the same one for its whole life, and closes it
        // only when it is dropped, after the runtime has let go of it.
        let fd = unsafe { AsyncFd::register_with_interest(Fd(fd), Interest::READABLE) }?;
        Ok(Timer { fd, armed: None })
    }

    /// Waits until `deadline` or an earlier one that was set before. May be dropped while it waits.
    pub(super) async fn wait(&mut self, deadline: Instant) {
        if self.armed.is_none_or(|armed| deadline < armed) {
            // An expired time fires at once, but a zero one would disarm.
            let nanos = deadline.0.max(1);
            let at = TimeSpec::new((nanos / 1_000_000_000) as _, (nanos % 1_000_000_000) as _);
            let absolute = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
            let set = self.fd.get_ref().0.set(Expiration::OneShot(at), absolute);
            set.expect("an absolute time on an open timer can be set");
            self.armed = Some(deadline);
        }
        let mut guard = self.fd.readable().await.expect("the runtime lives while its tasks do");
        // Reading takes the expiration; the one after it is set anew.
        let _ = guard.get_inner().0.wait();
        guard.clear_ready();
        self.armed = None;
    }
}
