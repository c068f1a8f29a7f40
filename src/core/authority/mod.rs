//! Authority: what this host may do, and until when (DESIGN section 5).
//!
//! Raft elects; authority decides. A pure value: readings of the clock, the replica's position, the
//! replicated record and the host's reports go in; orders to the host come out. What it wants of
//! the log is read off its phase (`node::authority`).
//!
//! Guarantees, for every order of events: the target is started only while [`View::entitled`]
//! holds, BEFORE that the dead-man is armed; a demotion once begun is never taken back; nothing is
//! released BEFORE the target is proven inactive and the scripts are over; pings end with the
//! lease unless the service manager has the stop job.
//!
//! Does not: read clocks, talk to anybody, or trust that an order has taken effect.

mod deadlines;
mod lease;
mod machine;
mod order;
mod pause;
mod table;
mod timing;
mod wait;

pub use lease::{Lease, Rounds};
pub use machine::{Authority, Me, View};
pub use order::{Order, Report};
pub use table::TABLE;
pub use timing::{
    DRIFT_PPM, Enforcement, FENCE_LEAD, LATENESS_PERCENT, SLACK, Timing, successor_wait,
};

/// Where the host stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The agent has just started; an earlier run may have left the target active.
    Unknown,
    /// Target known inactive, nothing owed to the cluster.
    Idle,
    /// Dead-man armed, gate open, start job under way.
    Starting,
    /// This host is *the one*.
    Active,
    /// A stop was ordered; the service manager has not acknowledged it.
    Stopping,
    /// The service manager stops the target, with or without us.
    Waiting,
    /// Target and members are proven inactive; scripts still run.
    Settling,
    /// Everything is over; the cluster has to be told.
    Releasing,
}

impl Phase {
    /// Every phase, in the order of the table.
    pub const ALL: [Phase; 8] = [
        Phase::Unknown,
        Phase::Idle,
        Phase::Starting,
        Phase::Active,
        Phase::Stopping,
        Phase::Waiting,
        Phase::Settling,
        Phase::Releasing,
    ];

    /// The word used on every surface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Unknown => "unknown",
            Phase::Idle => "idle",
            Phase::Starting => "starting",
            Phase::Active => "active",
            Phase::Stopping => "stopping",
            Phase::Waiting => "waiting",
            Phase::Settling => "settling",
            Phase::Releasing => "releasing",
        }
    }

    /// Whether the target is known to be inactive and scripts are over.
    pub const fn is_down(self) -> bool {
        matches!(self, Phase::Idle | Phase::Releasing)
    }
}

/// What the authority sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Everything that rule 5 asks for holds.
    Entitled,
    /// It does not.
    Unentitled,
    /// [`Report::Started`] of the newest order.
    Started,
    /// [`Report::StartFailed`] of the newest order.
    StartFailed,
    /// [`Report::StopQueued`] of the newest order.
    StopQueued,
    /// [`Report::Stopped`] of the newest order.
    Stopped,
    /// [`Report::StopFailed`] of the newest order.
    StopFailed,
    /// [`Report::Down`].
    Down,
    /// The pause after a failed or unanswered stop is over.
    Retry,
    /// D − 300 ms have passed since the demotion began, and it was not planned.
    FenceDue,
    /// The scripts of the demotion have ended.
    Quiet,
    /// An activation of this run is in the record, and cannot be used any more.
    Owing,
    /// No activation of this run is in the record.
    Discharged,
}

impl Signal {
    /// Every signal, in the order of the table.
    pub const ALL: [Signal; 13] = [
        Signal::Entitled,
        Signal::Unentitled,
        Signal::Started,
        Signal::StartFailed,
        Signal::StopQueued,
        Signal::Stopped,
        Signal::StopFailed,
        Signal::Down,
        Signal::Retry,
        Signal::FenceDue,
        Signal::Quiet,
        Signal::Owing,
        Signal::Discharged,
    ];
}

/// What a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Arm the dead-man, then start the target.
    Start,
    /// Stop the target.
    Stop,
    /// Start the fence unit.
    Fence,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The phase before.
    pub from: Phase,
    /// What was seen.
    pub signal: Signal,
    /// The phase after.
    pub to: Phase,
    /// What to do.
    pub acts: &'static [Act],
    /// Why, for a person.
    pub comment: &'static str,
}

#[cfg(test)]
mod tests;
