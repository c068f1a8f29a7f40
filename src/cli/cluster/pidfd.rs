//! A process held by a descriptor: nobody else can be hit in its place.
//!
//! pidfd_open(2) and pidfd_send_signal(2), which nix does not wrap. Kernels before 5.3 (and some
//! sandboxes) lack them; callers then fall back to checking the number just before using it.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

/// A reference to one process, valid also after its number was given to another.
#[derive(Debug)]
pub(super) struct PidFd(OwnedFd);

impl PidFd {
    /// Takes hold of process `pid`. `Ok(None)`: the kernel cannot do this.
    /// `ESRCH`: there is no such process.
    pub(super) fn open(pid: i32) -> io::Result<Option<PidFd>> {
        // SAFETY: the call takes two integers and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match Errno::result(fd) {
            Ok(fd) => {
                let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
                // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
                Ok(Some(PidFd(unsafe { OwnedFd::from_raw_fd(fd) })))
            }
            Err(Errno::ENOSYS | Errno::EPERM) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends `signal` to exactly this process; `ESRCH` if it has ended.
    pub(super) fn send(&self, signal: Signal) -> io::Result<()> {
        let (fd, signal) = (self.0.as_raw_fd(), signal as i32);
        let none = std::ptr::null_mut::<libc::siginfo_t>();
        // SAFETY: the descriptor is open, and a null siginfo is allowed (pidfd_send_signal(2)).
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0) };
        Errno::result(sent).map(drop).map_err(io::Error::from)
    }

    /// Waits until the process has ended, at most until `deadline`; whether it has.
    pub(super) fn wait(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, or the last millisecond would be a busy loop.
            let left = PollTimeout::try_from(left + Duration::from_micros(999))
                .unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, left) {
                Ok(0) if Instant::now() >= deadline => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
