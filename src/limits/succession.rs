//! Limits of who leads after whom: campaigns, hand-overs, preemption.

use std::time::Duration;

/// How many times the longest election timeout a node that may not be active waits beyond everybody
/// else before it campaigns. It does so at last, so that a cluster in which it alone has the newest
/// log has a leader.
pub const LAST_CAMPAIGN_ELECTIONS: u32 = 3;

/// How many entries a successor may lack. Beyond: leadership is not given to it if there is a
/// choice, and never without need, since a transfer that is not complete after E is given up.
pub const SUCCESSOR_LAG_ENTRIES: u64 = 1000;

/// How long a node of higher priority must have been connected, eligible and caught up, without
/// interruption, before an active node with `preempt` hands over to it.
pub const PREEMPT_AFTER: Duration = Duration::from_secs(10);

/// Shortest pause between two preemptions by one agent, in units of [`PREEMPT_AFTER`]; doubled with
/// each. At the limit: what is active stays.
pub const PREEMPT_PAUSE_FACTOR: u32 = 6;

/// Longest pause between two preemptions by one agent. A quiet time as long makes the next pause
/// the shortest again.
pub const PREEMPT_PAUSE_MAX: Duration = Duration::from_secs(3600);

/// How long a quorum must be missing before its loss is told. Below: an election, which is told as
/// such.
pub const QUORUM_LOST_AFTER: Duration = Duration::from_secs(1);
