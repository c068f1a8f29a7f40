//! `[eligibility]` and `[health]`: when this host may be active, and how much it should be.

use std::path::Path;
use std::time::Duration;

use super::reader::{Bad, Origin, Reader, Section};
use super::timing::{describe, show};
use crate::core::UnitName;
use crate::core::unit::{InvalidUnitName, UNIT_GRAMMAR};
use crate::limits;

/// `[eligibility]`, with `hold_down <= hold_down_max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eligibility {
    /// How much this node should be preferred: at most `limits::PRIORITY_MAX`.
    pub priority: u32,
    /// Whether this node, while it is active, hands over to an eligible one of higher priority.
    pub preempt: bool,
    /// Units that have to be active, sorted; at most `limits::ELIGIBLE_WHILE_MAX`.
    pub eligible_while: Vec<UnitName>,
    /// How many failures of members within `window` hold this node down; at least one.
    pub failures: u32,
    /// How long a failure counts.
    pub window: Duration,
    /// How long the first hold-down lasts.
    pub hold_down: Duration,
    /// How long one lasts at most, having doubled.
    pub hold_down_max: Duration,
}

impl Default for Eligibility {
    fn default() -> Eligibility {
        Eligibility {
            priority: 100,
            preempt: false,
            eligible_while: Vec::new(),
            failures: 3,
            window: Duration::from_secs(600),
            hold_down: Duration::from_secs(60),
            hold_down_max: HOLD_DOWN_MAX,
        }
    }
}

/// `[health]`, with `timeout <= interval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The program, by its absolute path, and its arguments; empty: nothing is asked.
    pub command: Vec<String>,
    /// From one start to the next.
    pub interval: Duration,
    /// How long it may run.
    pub timeout: Duration,
    /// Successes in a row after which an unhealthy host counts as healthy; at least one.
    pub rise: u32,
    /// Failures in a row after which a healthy host counts as unhealthy; at least one.
    pub fall: u32,
}

impl Default for Health {
    fn default() -> Health {
        Health { command: Vec::new(), interval: INTERVAL, timeout: TIMEOUT, rise: 2, fall: 3 }
    }
}

/// Reads `[eligibility]`; what is not given is as in `base`.
pub(super) fn eligibility(
    reader: &mut Reader,
    section: &Section,
    base: Eligibility,
) -> Result<Eligibility, Bad> {
    let count = 1..=limits::MEMBER_FAILURES_MAX;
    let span = (limits::HOLD_DOWN_LOWEST, limits::HOLD_DOWN_HIGHEST);
    let priority = reader.number(section, "priority", 0..=limits::PRIORITY_MAX);
    let preempt = reader.flag(section, "preempt");
    let eligible_while = units(reader, section);
    let failures = reader.number(section, "failures", count);
    let window = reader.duration_within(section, "window", span);
    let hold_down = reader.duration_within(section, "hold_down", span);
    let hold_down_max = reader.duration_within(section, "hold_down_max", span);
    let (hold_down, hold_down_max) = (hold_down?, hold_down_max?);
    let first = hold_down.as_ref().map_or(base.hold_down, |f| f.value);
    let longest = match &hold_down_max {
        Some(field) if field.value < first => {
            let (least, is) = (show(first), describe(first, hold_down.as_ref()));
            let expected = format!("at least {least}: hold_down is {is}");
            return Err(reader.refuse(&field.origin, expected));
        }
        Some(field) => field.value,
        None => base.hold_down_max.max(first),
    };
    Ok(Eligibility {
        priority: priority?.unwrap_or(base.priority),
        preempt: preempt?.unwrap_or(base.preempt),
        eligible_while: eligible_while?.unwrap_or(base.eligible_while),
        failures: failures?.unwrap_or(base.failures),
        window: window?.map_or(base.window, |f| f.value),
        hold_down: first,
        hold_down_max: longest,
    })
}

/// Reads `[health]`; what is not given is as in `base`.
pub(super) fn health(reader: &mut Reader, section: &Section, base: Health) -> Result<Health, Bad> {
    let counts = 1..=limits::HEALTH_COUNT_MAX;
    let intervals = (limits::HEALTH_INTERVAL_LOWEST, limits::HEALTH_INTERVAL_HIGHEST);
    let timeouts = (limits::HEALTH_TIMEOUT_LOWEST, limits::HEALTH_INTERVAL_HIGHEST);
    let command = command(reader, section);
    let interval = reader.duration_within(section, "interval", intervals);
    let timeout = reader.duration_within(section, "timeout", timeouts);
    let rise = reader.number(section, "rise", counts.clone());
    let fall = reader.number(section, "fall", counts);
    let (interval, timeout) = (interval?, timeout?);
    let every = interval.as_ref().map_or(base.interval, |f| f.value);
    let longest = match &timeout {
        Some(field) if field.value > every => {
            let (most, is) = (show(every), describe(every, interval.as_ref()));
            let expected = format!("at most {most}: interval is {is}");
            return Err(reader.refuse(&field.origin, expected));
        }
        Some(field) => field.value,
        None => base.timeout.min(every),
    };
    let command = command?.unwrap_or(base.command);
    Ok(Health {
        command,
        interval: every,
        timeout: longest,
        rise: rise?.unwrap_or(base.rise),
        fall: fall?.unwrap_or(base.fall),
    })
}

/// Reports `[health]` settings of a command that is not there.
pub(super) fn check_command(
    reader: &mut Reader,
    section: &Section,
    health: &Health,
) -> Result<(), Bad> {
    if section.keys().is_empty() || !health.command.is_empty() {
        return Ok(());
    }
    Err(reader.missing(section, "\"command\"", "command = [\"/usr/local/bin/check\"]"))
}

/// The units that have to be active, each once.
fn units(reader: &mut Reader, section: &Section) -> Result<Option<Vec<UnitName>>, Bad> {
    let Some(list) = reader.list(section, "eligible_while")? else { return Ok(None) };
    let (fields, origin) = (list.value, list.origin);
    if fields.len() > limits::ELIGIBLE_WHILE_MAX {
        let expected = format!("at most {} units", limits::ELIGIBLE_WHILE_MAX);
        return Err(reader.refuse(&origin, expected));
    }
    let (mut units, mut good) = (Vec::new(), Ok(()));
    for field in fields {
        match unit(reader, &field.origin, &field.value) {
            Ok(unit) if units.contains(&unit) => {
                good = Err(reader.refuse(&field.origin, "each unit once"));
            }
            Ok(unit) => units.push(unit),
            Err(bad) => good = Err(bad),
        }
    }
    units.sort();
    good.map(|()| Some(units))
}

fn unit(reader: &mut Reader, origin: &Origin, text: &str) -> Result<UnitName, Bad> {
    let unit: UnitName = text.parse().map_err(|InvalidUnitName { why, .. }| {
        reader.refuse(origin, format!("{UNIT_GRAMMAR}: {why}"))
    })?;
    // It would wait for what it itself brings about.
    if OURS.iter().any(|ours| text.starts_with(ours)) {
        let expected = "a unit that runs whether or not this node is active";
        return Err(reader.refuse(origin, expected));
    }
    Ok(unit)
}

/// The words of the command, the first one an absolute path.
fn command(reader: &mut Reader, section: &Section) -> Result<Option<Vec<String>>, Bad> {
    let Some(list) = reader.list(section, "command")? else { return Ok(None) };
    let (words, origin) = (list.value, list.origin);
    if !(1..=limits::HEALTH_COMMAND_MAX_WORDS).contains(&words.len()) {
        let expected = format!("1 to {} words", limits::HEALTH_COMMAND_MAX_WORDS);
        return Err(reader.refuse(&origin, expected));
    }
    for (at, word) in words.iter().enumerate() {
        if at == 0 && !Path::new(&word.value).is_absolute() {
            let expected = "the absolute path of a program as first word";
            return Err(reader.refuse(&word.origin, expected));
        }
        // It ends every argument (execve(2)), though TOML can write it.
        if word.value.contains('\0') {
            return Err(reader.refuse(&word.origin, "text without a NUL"));
        }
    }
    Ok(Some(words.into_iter().map(|word| word.value).collect()))
}

/// How names of our own units begin.
const OURS: [&str; 6] = [
    "raftctl@",
    "raftctl-leader@",
    "raftctl-follower@",
    "raftctl-deadline@",
    "raftctl-event@",
    "raftctl-fence@",
];

const HOLD_DOWN_MAX: Duration = Duration::from_secs(3600);
const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(5);
