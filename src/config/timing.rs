//! `[raft]` and the other durations: how they depend on each other.

use std::time::Duration;

use super::reader::{Bad, Field, Origin, Reader, Section};
use super::{Raft, TICK};
use crate::limits;

/// Reads `[raft]`. What is not given follows from `election_min`.
pub(super) fn raft(reader: &mut Reader, section: &Section) -> Result<Raft, Bad> {
    let heartbeat = ticks(reader, section, "heartbeat");
    let min = ticks(reader, section, "election_min");
    let max = ticks(reader, section, "election_max");
    let (heartbeat, min, max) = (heartbeat?, min?, max?);

    let election_min = min.as_ref().map_or(ELECTION_MIN, |f| f.value);
    let floor_to_tick = |d: Duration| Duration::from_millis(d.as_millis() as u64 / 10 * 10);
    let raft = Raft {
        heartbeat: heartbeat.as_ref().map_or(floor_to_tick(election_min / 5), |f| f.value),
        election_min,
        election_max: max.as_ref().map_or(election_min * 2, |f| f.value),
    };

    let min_is = describe(election_min, min.as_ref());
    let mut good = Ok(());
    if let Some(field) = &min
        && !(limits::ELECTION_MIN_LOWEST..=limits::ELECTION_MIN_HIGHEST).contains(&field.value)
    {
        let range = (limits::ELECTION_MIN_LOWEST, limits::ELECTION_MIN_HIGHEST);
        let (low, high) = (show(range.0), show(range.1));
        good = Err(reader.refuse(&field.origin, format!("{low} to {high}")));
    }
    if let Some(field) = &heartbeat
        && raft.heartbeat * 3 > election_min
    {
        let expected = format!(
            "at most {}, a third of election_min, which is {min_is}",
            show(floor_to_tick(election_min / 3))
        );
        good = Err(reader.refuse(&field.origin, expected));
    }
    if let Some(field) = &max
        && raft.election_max * 2 < election_min * 3
    {
        let least = show(ceil_to_tick(election_min * 3 / 2));
        let expected =
            format!("at least {least}, one and a half times election_min, which is {min_is}");
        good = Err(reader.refuse(&field.origin, expected));
    }
    if let Some(field) = &max
        && field.value > limits::ELECTION_MAX_HIGHEST
    {
        let most = show(limits::ELECTION_MAX_HIGHEST);
        good = Err(reader.refuse(&field.origin, format!("at most {most}")));
    }
    good.map(|()| raft)
}

/// A duration of more than zero and at most `limits::SCRIPT_TIMEOUT_MAX`.
pub(super) fn script_limit(
    reader: &mut Reader,
    section: &Section,
    key: &'static str,
) -> Result<Option<Duration>, Bad> {
    let Some(field) = reader.duration(section, key)? else { return Ok(None) };
    if field.value.is_zero() || field.value > limits::SCRIPT_TIMEOUT_MAX {
        let most = show(limits::SCRIPT_TIMEOUT_MAX);
        return Err(reader.refuse(&field.origin, format!("more than 0s and at most {most}")));
    }
    Ok(Some(field.value))
}

/// A duration in whole ticks, at least one.
fn ticks(
    reader: &mut Reader,
    section: &Section,
    key: &'static str,
) -> Result<Option<Field<Duration>>, Bad> {
    let Some(field) = reader.duration(section, key)? else { return Ok(None) };
    if field.value.is_zero() || !field.value.as_nanos().is_multiple_of(TICK.as_nanos()) {
        return Err(refuse_ticks(reader, &field.origin));
    }
    // The sums below must not overflow; the limits of each key are far lower.
    if field.value > limits::ELECTION_MAX_HIGHEST {
        let most = show(limits::ELECTION_MAX_HIGHEST);
        return Err(reader.refuse(&field.origin, format!("at most {most}")));
    }
    Ok(Some(field))
}

fn refuse_ticks(reader: &mut Reader, origin: &Origin) -> Bad {
    reader.refuse(origin, format!("a multiple of {}, more than zero", show(TICK)))
}

fn ceil_to_tick(d: Duration) -> Duration {
    Duration::from_millis((d.as_millis() as u64).div_ceil(10) * 10)
}

/// A value for messages, which say when it was not given.
pub(super) fn describe(value: Duration, field: Option<&Field<Duration>>) -> String {
    let by_default = if field.is_none() { " by default" } else { "" };
    format!("{}{by_default}", show(value))
}

/// A duration as it would be written in the file.
pub(super) fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// E of the design.
const ELECTION_MIN: Duration = Duration::from_millis(200);
