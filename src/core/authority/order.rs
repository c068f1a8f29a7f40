//! What the authority asks of the host, and what the host reports: two closed lists.
//!
//! The host is the service manager, seen through the systemd surface or simulated. Orders are
//! carried out one after the other. Nothing here believes that an order takes effect at once: each
//! has a number, and only reports with the number of the newest order count.

use crate::core::{Instant, Token};

/// Something the host has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From now on this process must not live past `at` (CLOCK_BOOTTIME) unless told otherwise
    /// (timer_create(2) with SIGKILL). Carried out in the same turn, BEFORE the orders after it.
    ArmDeadMan {
        /// L + G.
        at: Instant,
    },
    /// The dead-man is not needed any more. Carried out in the same turn.
    DisarmDeadMan,
    /// Open the gate and start the leader target. Answered by [`Report::Started`] or
    /// [`Report::StartFailed`], exactly once, unless a later order replaces it.
    Start {
        /// Names the order in reports.
        number: u64,
        /// The activation; written into the gate file.
        token: Token,
    },
    /// Close the gate BEFORE anything else, then stop the leader target. Answered by
    /// [`Report::StopQueued`] and then [`Report::Stopped`] or [`Report::StopFailed`].
    Stop {
        /// Names the order in reports.
        number: u64,
    },
    /// Whoever takes over if this process dies now (`ExecStopPost=`) has to start the fence unit at
    /// this time (CLOCK_BOOTTIME), not later: what the demotion has used up is used up.
    FenceAt {
        /// When D − 300 ms of an unplanned demotion have passed; `None`: counted anew.
        at: Option<Instant>,
    },
    /// Start the fence unit: kill what is left of the target's members and of event scripts.
    Fence {
        /// Whose members.
        token: Token,
    },
}

/// What the host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The start job ended with result `done`, the target is active, its conditions and bindings
    /// are ours. Members are ordered after it: they may still be starting.
    Started {
        /// Number of the order.
        number: u64,
    },
    /// The start job failed, was skipped (closed gate) or refused, or the target is not ours.
    StartFailed {
        /// Number of the order.
        number: u64,
    },
    /// The service manager has the stop job, or found the target inactive: it stops the target
    /// from here, with or without this process.
    StopQueued {
        /// Number of the order.
        number: u64,
    },
    /// All of: the job's result is `done`, target and members are inactive, no job for them is
    /// queued, their control groups are empty (DESIGN 5.6).
    Stopped {
        /// Number of the order.
        number: u64,
    },
    /// The stop job ended otherwise, or something still runs. To be ordered again.
    StopFailed {
        /// Number of the order.
        number: u64,
    },
    /// The target stops or has failed, and nobody here ordered it.
    Down,
}
