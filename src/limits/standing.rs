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
