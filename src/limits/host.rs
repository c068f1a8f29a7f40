//! Limits of the host under the agent: leases, bounds, the service manager.

use std::time::Duration;

/// Lease rounds that wait for their quorum. At the limit: the oldest is forgotten; confirming it
/// later gives no lease.
pub const LEASE_ROUNDS_MAX: usize = 64;

/// Reports of the host that wait for the node's next turn. At the limit: the newest is dropped; the
/// order is then given again.
pub const HOST_REPORTS_MAX: usize = 32;

/// Pause before a stop that failed, or was not answered, is ordered again.
pub const STOP_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Pause between two starts of the fence unit while something still runs.
pub const FENCE_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long a leader's oldest write may wait for its disk. Beyond it: leadership is handed over to
/// a node whose disk answers.
pub const DISK_STALL: Duration = Duration::from_secs(1);

/// Pause between two announcements of a release to the members.
pub const ANNOUNCE_EVERY: Duration = Duration::from_millis(40);

/// Released invocations that the replicated state remembers, so that a late activation of one is
/// void. At the limit: the oldest is forgotten; its activation would then end by its bound.
pub const DEAD_INVOCATIONS_MAX: usize = 32;

/// Configuration files that the systemd generator looks at.
/// At the limit: the rest is ignored, and it says so.
pub const GENERATOR_FILES_MAX: usize = 256;

/// Descriptors that systemd may pass to the agent; it expects one. Beyond: refused.
pub const LISTEN_FDS_MAX: usize = 64;

/// Pause before a watchdog ping that systemd could not take is tried again.
pub const WATCHDOG_RETRY: Duration = Duration::from_millis(10);

/// By how much a stopping agent prolongs its stop timeout, each half of this time.
/// At the end of [`STOP_EXTEND_MAX`]: no more, and systemd kills it.
pub const STOP_EXTEND_STEP: Duration = Duration::from_secs(10);

/// How long a stopping agent goes on asking for more time.
pub const STOP_EXTEND_MAX: Duration = Duration::from_secs(600);

/// Shortest and longest `demote_timeout`. Outside: configuration refused.
pub const DEMOTE_TIMEOUT_LOWEST: Duration = Duration::from_millis(500);

/// See [`DEMOTE_TIMEOUT_LOWEST`].
pub const DEMOTE_TIMEOUT_HIGHEST: Duration = Duration::from_secs(600);

/// How long before the end of `demote_timeout` the fence starts.
pub const FENCE_AHEAD: Duration = Duration::from_millis(300);

/// Shortest and longest `watchdog`. Outside: configuration refused.
pub const WATCHDOG_LOWEST: Duration = Duration::from_millis(100);

/// See [`WATCHDOG_LOWEST`].
pub const WATCHDOG_HIGHEST: Duration = Duration::from_secs(300);

/// Longest `grace`; the shortest is a tick. Beyond: configuration refused.
pub const GRACE_HIGHEST: Duration = Duration::from_secs(60);

/// How long one call to the service manager or to logind may take, connecting included. PID 1 may
/// be slow (daemon-reload). At the limit: what became of the call counts as unknown, and the state
/// is looked at.
pub const HOST_CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// While an order is carried out, the state of the units is looked at this often even if nothing
/// was announced, so that a lost signal costs this long.
pub const HOST_POLL: Duration = Duration::from_millis(100);

/// While the target is active and nothing is announced, it is looked at this often.
pub const HOST_WATCH: Duration = Duration::from_secs(1);

/// How long a start or stop job may take; systemd's own default for one unit is 90 s.
/// At the limit: reported as failed, to be ordered again.
pub const HOST_JOB_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a start is asked for whose fate is unknown and that left no trace.
/// At the limit: reported as failed.
pub const HOST_START_ATTEMPTS: u32 = 3;

/// Shortest and longest pause before the message bus is connected again; doubled each time, and
/// back to the shortest once a connection has lived for longer than the longest.
pub const HOST_RECONNECT_MIN: Duration = Duration::from_millis(10);

/// See [`HOST_RECONNECT_MIN`].
pub const HOST_RECONNECT_MAX: Duration = Duration::from_secs(1);

/// Reports of the host waiting for the driver. At the limit: the host waits.
pub const HOST_REPORTS: usize = 16;

/// Ended jobs whose results are remembered until somebody asks for them. At the limit: the oldest
/// is forgotten, which is a lost signal.
pub const HOST_JOBS_REMEMBERED: usize = 64;

/// Units that depend on the leader target. At the limit: the target never counts as stopped.
pub const HOST_MEMBERS_MAX: usize = 256;

/// Notices of logind waiting for their reader. At the limit: the task that reads the bus waits.
pub const HOST_NOTICES: usize = 8;

/// After an agent has ended, the state of its units is looked at this often even if nothing is
/// announced.
pub const AFTER_POLL: Duration = Duration::from_millis(20);

/// How long what runs after an agent may take beyond `demote_timeout`. At the limit: it ends, and
/// the next agent releases what is left.
pub const RELEASE_EXTRA: Duration = Duration::from_millis(500);

/// How long what runs after an agent waits for the state directory before it goes on. At the limit:
/// everything is stopped, and nothing is announced before the state directory has answered.
pub const RELEASE_DISK: Duration = Duration::from_millis(100);

/// How long one announcement and its answer may take. At the limit: said again.
pub const ANNOUNCE_EXCHANGE: Duration = Duration::from_millis(300);

/// Shortest and longest pause before an announcement is said again to the same member; each is an
/// eighth longer than the one before.
pub const ANNOUNCE_PAUSE_MIN: Duration = Duration::from_millis(5);
/// See [`ANNOUNCE_PAUSE_MIN`].
pub const ANNOUNCE_PAUSE_MAX: Duration = Duration::from_millis(50);

/// How often it is looked whether the service manager enforces what the bound of an activation
/// counts on, when nothing says that it may have changed.
pub const FENCE_CHECK_EVERY: Duration = Duration::from_secs(60);

/// How long after a stop the record of a fence is looked for once more: the helper writes it when
/// the last process is gone, and so may be later than the agent.
pub const FENCE_RECORD_SETTLE: Duration = Duration::from_secs(1);

/// How long the fence helper waits, when it has killed, for the note that a reboot is expected.
/// At the limit: it ends, and the note may stay.
pub const FENCE_NOTE_WAIT: Duration = Duration::from_secs(1);

/// Requests to read or write the record of a fence that wait for a slow disk. At the limit: not
/// read or written; the next look does it.
pub const FENCE_RECORD_QUEUE: usize = 8;

/// Characters of what is told about a fence, which names units. At the limit: cut off.
pub const FENCE_WHY_MAX_CHARS: usize = 400;

/// Size of the record of a fence, in bytes; it names units. Beyond: not understood.
pub const FENCE_RECORD_MAX_BYTES: u64 = 256 << 10;

/// How long the fence goes on killing. At the limit: it says what is left, and fails.
pub const FENCE_PATIENCE: Duration = Duration::from_secs(5);
