//! Limits of the command line, beyond its queries of the agent.

use std::time::Duration;

/// Time the command line waits for an answer of the service manager, which may be reading all its
/// units. At the limit: it says so; what was asked for may still happen.
pub const CLIENT_MANAGER_TIMEOUT: Duration = Duration::from_secs(60);

/// Time the command line waits until a unit has started or stopped. At the limit: it says so; the
/// job goes on.
pub const CLIENT_JOB_TIMEOUT: Duration = Duration::from_secs(120);

/// Units that `raftctl attach` looks at to find a loop in their order. At the limit: loops through
/// the others are not found; systemd breaks them, and says so in the journal.
pub const CLIENT_ORDER_UNITS_MAX: usize = 4096;

/// Time the command line waits for an agent to carry out a change that has to be on disk, or
/// committed. At the limit: it says so; the change may still happen.
pub const CLIENT_CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time the command line waits for a change for which somebody may be asked for a password.
pub const CLIENT_AUTHORIZATION_TIMEOUT: Duration = Duration::from_secs(120);

/// How often `raftctl wait` looks although nothing was announced.
pub const CLIENT_WAIT_POLL: Duration = Duration::from_millis(500);

/// How long `raftctl init` and `raftctl doctor` try to reach another host.
pub const CLIENT_PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Synced writes with which `raftctl doctor` measures a disk.
pub const DOCTOR_DISK_WRITES: usize = 200;

/// How long it measures at most. At the limit: what was measured until then counts.
pub const DOCTOR_DISK_TIME: Duration = Duration::from_secs(2);

/// Files of a directory of units that are looked at for completions. At the limit: the others are
/// not offered.
pub const COMPLETE_FILES_MAX: usize = 4096;

/// Keys of the store that completions offer. At the limit: the others are not offered.
pub const COMPLETE_KEYS_MAX: u32 = 200;
