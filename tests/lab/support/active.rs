//! When a unit without processes, such as a target, was active: as process 1 of each host told its
//! journal, with the time at which it said so.

use std::time::Duration;

use serde_json::Value;

use super::Lab;
use super::clock::{from_realtime, now};
use super::host::{Host, Life};
use super::record::{Interval, Record};

/// "Start job for unit has finished" and "stop job for unit has finished" (sd-messages(3)).
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
const STOPPED: &str = "9d1aaa27d60140bd96365438aad20286";

impl Lab {
    /// When `unit` was active on which host; `%H` in its name is the name of the host.
    pub fn active(&self, unit: &str) -> Record {
        let of = |host: &Host| active_on(host, &unit.replace("%H", &host.name));
        let mut intervals: Vec<Interval> = self.hosts().flat_map(of).collect();
        intervals.sort_by_key(|interval| interval.from);
        Record { intervals }
    }
}

fn active_on(host: &Host, unit: &str) -> Vec<Interval> {
    let unit = format!("UNIT={unit}");
    let (started, stopped) = (format!("MESSAGE_ID={STARTED}"), format!("MESSAGE_ID={STOPPED}"));
    // Matches of one field are alternatives, those of different fields must all fit.
    let said = host.journal(&["_PID=1", &unit, &started, &stopped]);
    let lives = host.lives();
    let mut found: Vec<Interval> = Vec::new();
    let mut open: Option<Duration> = None;
    for entry in &said {
        let at = when(entry);
        let ends = entry["MESSAGE_ID"] == STOPPED;
        // A host that died said nothing more: the interval ended with that life at the latest.
        if let Some(from) = open.filter(|&from| ends || end_of_life(&lives, from) < at) {
            let until = at.min(end_of_life(&lives, from));
            found.push(Interval { host: host.index, from, until, frozen: false });
            open = None;
        }
        if !ends && entry["JOB_RESULT"] == "done" && !is_skipped(entry) {
            open = open.or(Some(at));
        }
    }
    found.extend(open.map(|from| {
        let until = end_of_life(&lives, from).min(now());
        Interval { host: host.index, from, until, frozen: false }
    }));
    found
}

/// A start that a condition of the unit prevented is announced like one that was carried out.
fn is_skipped(entry: &Value) -> bool {
    entry["MESSAGE"].as_str().is_some_and(|text| text.contains(" was skipped because "))
}

/// When the message was sent, as the kernel noted it.
fn when(entry: &Value) -> Duration {
    let field = |name: &str| entry[name].as_str().and_then(|text| text.parse().ok());
    let usec = field("_SOURCE_REALTIME_TIMESTAMP").or_else(|| field("__REALTIME_TIMESTAMP"));
    from_realtime(usec.expect("every entry has its time"))
}

fn end_of_life(lives: &[Life], at: Duration) -> Duration {
    let life = lives.iter().rev().find(|life| life.from <= at);
    life.and_then(|life| life.until).unwrap_or(Duration::MAX)
}
