//! Limits of a host's standing: member failures, hold-down, health, further events.

use std::time::Duration;

/// Bytes of the name of a unit (systemd.unit(5)). Beyond: refused.
pub const UNIT_NAME_MAX_BYTES: usize = 255;

/// Highest `priority`. Beyond: configuration refused.
pub const PRIORITY_MAX: u32 = 1000;

/// Units of `eligible_while`. Beyond: configuration refused.
pub const ELIGIBLE_WHILE_MAX: usize = 16;

/// Highest `failures`. Beyond: configuration refused.
pub const MEMBER_FAILURES_MAX: u32 = 100;

/// Shortest `window` and `hold_down`. Below: configuration refused.
pub const HOLD_DOWN_LOWEST: Duration = Duration::from_secs(1);

/// Longest `window`, `hold_down` and `hold_down_max`. Beyond: configuration refused.
pub const HOLD_DOWN_HIGHEST: Duration = Duration::from_secs(24 * 3600);

/// Words of the health command. Beyond: configuration refused.
pub const HEALTH_COMMAND_MAX_WORDS: usize = 64;

/// Shortest `interval` of the health command. Below: configuration refused.
pub const HEALTH_INTERVAL_LOWEST: Duration = Duration::from_millis(100);

/// Longest `interval` of the health command. Beyond: configuration refused.
pub const HEALTH_INTERVAL_HIGHEST: Duration = Duration::from_secs(3600);

/// Shortest `timeout` of the health command. Below: configuration refused.
pub const HEALTH_TIMEOUT_LOWEST: Duration = Duration::from_millis(10);

/// Highest `rise` and `fall`. Beyond: configuration refused.
pub const HEALTH_COUNT_MAX: u32 = 100;

/// How long after the end of a hold-down the next one counts as the first again.
pub const HOLD_DOWN_QUIET: Duration = Duration::from_secs(3600);

/// Size of the record of a host's standing, in bytes. Beyond: it counts as damaged.
pub const STANDING_RECORD_MAX_BYTES: u64 = 256 << 10;

/// Units whose changes the agent follows: the members of both targets and `eligible_while`. The bus
/// allows 512 rules for a connection. At the limit: the rest is not looked at, and a warning says
/// so.
pub const FOLLOWED_UNITS_MAX: usize = 128;

/// Units are looked at this often even if nothing was announced, so that a lost signal costs this
/// long.
pub const FOLLOWED_UNITS_POLL: Duration = Duration::from_secs(10);

/// Shortest pause between two looks at the units, however much is announced.
pub const FOLLOWED_UNITS_PAUSE: Duration = Duration::from_millis(50);

const _: () = assert!(ELIGIBLE_WHILE_MAX < FOLLOWED_UNITS_MAX);

/// Observations and findings that wait for the owner of the standing. At the limit: whoever looks
/// waits.
pub const STANDING_QUEUE: usize = 8;

/// Bytes of the health command's output that are kept, from its end.
pub const HEALTH_OUTPUT_MAX_BYTES: usize = 1024;

/// Characters of its last line that are shown. At the limit: cut off.
pub const HEALTH_LINE_MAX_CHARS: usize = 120;

/// How long the script of a further event may go on when the agent stops. At the limit: killed.
pub const FURTHER_STOP: Duration = Duration::from_secs(1);
