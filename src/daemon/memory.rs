//! Memory that stays (DESIGN 5.12): once touched, no page of the agent is given back to a disk that
//! may hang when it is needed again, which would cost the lease.
//!
//! Never makes an allocation fail: without a limit that allows everything, nothing is locked.

use std::io;

use nix::libc;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// Locks what is in memory and what will be, each page when it is first touched.
pub(super) fn lock() {
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((RLIM_INFINITY, _)) => {}
        Ok((bytes, _)) => {
            tracing::info!(bytes, "memory is not locked: LimitMEMLOCK= is not infinity");
            return;
        }
        Err(error) => {
            tracing::info!("memory is not locked: its limit is not known: {error}");
            return;
        }
    }
    // ONFAULT: the stacks of threads and the database's cache are mostly never used.
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: takes no pointer and changes no content of memory (mlockall(2)).
    if unsafe { libc::mlockall(flags) } != 0 {
        let error = io::Error::last_os_error();
        tracing::warn!("cannot lock memory: {error}, ignoring");
    }
}
