//! `[authority]`: how long this host may take to give up, and who enforces it.
//!
//! D, W and G of the design are here, with every relation that its formulas need. The bound
//! `B = E + k (G + W + D) + S` is computed by others; whatever this module lets pass is finite
//! there, and late or early only in favour of "never two".
//!
//! Nothing relates W or G to the settings of other hosts: a successor never uses its own.

use std::time::Duration;

use super::reader::{Bad, Field, Reader, Section};
use super::timing::{describe, show};
use super::{Authority, Enforcement, OnDemoteTimeout, Raft, TICK};
use crate::limits;

/// Reads `[authority]`. `raft` is what `[raft]` says, if that could be read.
pub(super) fn authority(
    reader: &mut Reader,
    section: &Section,
    raft: Result<Raft, Bad>,
) -> Result<Authority, Bad> {
    let demote_timeout = within(reader, section, "demote_timeout", DEMOTE_TIMEOUT);
    let watchdog = within(reader, section, "watchdog", WATCHDOG);
    let grace = within(reader, section, "grace", GRACE);
    let on_demote_timeout = reader.parsed(section, "on_demote_timeout", |text| {
        OnDemoteTimeout::ALL.into_iter().find(|action| action.as_str() == text)
    });
    let enforcement = reader.parsed(section, "enforcement", |text| match text {
        "systemd" => Some(Enforcement::Systemd),
        "none" => Some(Enforcement::None),
        _ => None,
    });
    let (watchdog, grace) = (watchdog?, grace?);
    let election_min = raft?.election_min;
    let value = |field: &Option<Field<Duration>>, default| {
        field.as_ref().map_or(default, |field| field.value)
    };
    let by_default = DEFAULT_WATCHDOG.max(election_min * 5 / 2);
    let timing = Authority {
        demote_timeout: value(&demote_timeout?, DEFAULT_DEMOTE_TIMEOUT),
        watchdog: value(&watchdog, by_default),
        grace: value(&grace, DEFAULT_GRACE),
        on_demote_timeout: on_demote_timeout?.map_or(OnDemoteTimeout::Kill, |f| f.value),
        enforcement: enforcement?.map(|f| f.value),
    };
    check_watchdog(reader, election_min, &timing, (watchdog.as_ref(), grace.as_ref()))?;
    Ok(timing)
}

/// The watchdog is the second line: it must not strike before the first one had its time.
///
/// A ping is sent each W/2 until the lease ends, so the last one may be W/2 old at that moment, and
/// systemd kills at W after it. Until the grace is over, and for one tick of the driver, the agent
/// is to be killed by nobody but its own dead-man timer: `W/2 >= G + tick`. And a watchdog shorter
/// than a lease would end agents whose authority is still good: `W >= E`.
fn check_watchdog(
    reader: &mut Reader,
    election_min: Duration,
    timing: &Authority,
    (watchdog, grace): (Option<&Field<Duration>>, Option<&Field<Duration>>),
) -> Result<(), Bad> {
    let mut good = Ok(());
    let grace_is = describe(timing.grace, grace);
    if timing.watchdog < (timing.grace + TICK) * 2 {
        good = Err(match (watchdog, grace) {
            (Some(field), _) => {
                let least = show((timing.grace + TICK) * 2);
                let tick = show(TICK);
                let expected = format!(
                    "at least {least}, twice the sum of grace, which is {grace_is}, and {tick}"
                );
                reader.refuse(&field.origin, expected)
            }
            (None, Some(field)) => {
                let most = show(timing.watchdog / 2 - TICK);
                let (watchdog, tick) = (describe(timing.watchdog, watchdog), show(TICK));
                let expected =
                    format!("at most {most}, half of watchdog, which is {watchdog}, less {tick}");
                reader.refuse(&field.origin, expected)
            }
            (None, None) => unreachable!("the defaults fit"),
        });
    }
    if let Some(field) = watchdog
        && timing.watchdog < election_min
    {
        let least = show(election_min);
        let expected = format!("at least {least}, which is [raft] election_min");
        good = Err(reader.refuse(&field.origin, expected));
    }
    good
}

/// A duration between two limits, in whole milliseconds.
fn within(
    reader: &mut Reader,
    section: &Section,
    key: &'static str,
    limits: (Duration, Duration),
) -> Result<Option<Field<Duration>>, Bad> {
    let Some(field) = reader.duration_within(section, key, limits)? else { return Ok(None) };
    // What systemd counts in, and what travels in an activation: whole milliseconds.
    if !field.value.as_nanos().is_multiple_of(1_000_000) {
        return Err(reader.refuse(&field.origin, "a multiple of 1ms"));
    }
    Ok(Some(field))
}

const DEFAULT_DEMOTE_TIMEOUT: Duration = Duration::from_millis(1500);
const DEFAULT_WATCHDOG: Duration = Duration::from_millis(500);
const DEFAULT_GRACE: Duration = Duration::from_millis(100);

const DEMOTE_TIMEOUT: (Duration, Duration) =
    (limits::DEMOTE_TIMEOUT_LOWEST, limits::DEMOTE_TIMEOUT_HIGHEST);
const WATCHDOG: (Duration, Duration) = (limits::WATCHDOG_LOWEST, limits::WATCHDOG_HIGHEST);
const GRACE: (Duration, Duration) = (TICK, limits::GRACE_HIGHEST);

const _: () = {
    assert!(DEFAULT_WATCHDOG.as_millis() >= 2 * (DEFAULT_GRACE.as_millis() + TICK.as_millis()));
    // The default of the watchdog follows `election_min`, and stays inside its limits.
    assert!(
        limits::ELECTION_MIN_HIGHEST.as_millis() * 5 / 2 <= limits::WATCHDOG_HIGHEST.as_millis()
    );
    // The fence starts this long before D is over, so there has to be something before it.
    assert!(limits::DEMOTE_TIMEOUT_LOWEST.as_millis() > limits::FENCE_AHEAD.as_millis());
};
