//! Who ran when: intervals on one clock, and the two questions that matter: did two run at once,
//! and for how long did nobody run?

use std::fmt;
use std::time::Duration;

/// One stretch of time in which a host ran something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Its index.
    pub host: usize,
    /// CLOCK_MONOTONIC: the first time it was seen,
    pub from: Duration,
    /// and the first time after that it was not.
    pub until: Duration,
    /// It existed, but could not run: the whole host was frozen.
    pub frozen: bool,
}

impl Interval {
    pub fn length(&self) -> Duration {
        self.until - self.from
    }
}

/// The intervals of one unit on all hosts, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub intervals: Vec<Interval>,
}

/// Two hosts at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    pub hosts: (usize, usize),
    pub from: Duration,
    pub length: Duration,
    /// One of them was frozen.
    pub frozen: bool,
}

impl Record {
    /// Every stretch in which two hosts ran it.
    pub fn overlaps(&self) -> Vec<Overlap> {
        let mut found = Vec::new();
        for (at, one) in self.intervals.iter().enumerate() {
            for other in &self.intervals[at + 1..] {
                let from = one.from.max(other.from);
                let length = one.until.min(other.until).saturating_sub(from);
                if one.host != other.host && !length.is_zero() {
                    let frozen = one.frozen || other.frozen;
                    found.push(Overlap { hosts: (one.host, other.host), from, length, frozen });
                }
            }
        }
        found
    }

    /// The longest time in which two hosts ran it. A frozen host runs nothing.
    pub fn longest_overlap(&self) -> Duration {
        self.overlaps().iter().filter(|o| !o.frozen).map(|o| o.length).max().unwrap_or_default()
    }

    /// How long nobody ran it, each time, between the first and the last who did.
    pub fn gaps(&self) -> Vec<Duration> {
        let mut running = self.intervals.iter().filter(|interval| !interval.frozen);
        let Some(mut end) = running.next().map(|first| first.until) else { return Vec::new() };
        let mut gaps = Vec::new();
        for next in running {
            if next.from > end {
                gaps.push(next.from - end);
            }
            end = end.max(next.until);
        }
        gaps
    }

    /// The indices of the hosts in the order in which they ran it; a host that ran it twice
    /// without another between them is named once.
    pub fn hosts(&self) -> Vec<usize> {
        let mut hosts: Vec<usize> = self.intervals.iter().map(|interval| interval.host).collect();
        hosts.dedup();
        hosts
    }
}

/// Who ran when: one line for each interval, in milliseconds since the first began.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = self.intervals.first().map(|first| first.from).unwrap_or_default();
        let ms = |at: Duration| at.saturating_sub(begin).as_secs_f64() * 1e3;
        for Interval { host, from, until, frozen } in &self.intervals {
            let frozen = if *frozen { " frozen" } else { "" };
            writeln!(f, "n{host} {:10.1} .. {:10.1} ms{frozen}", ms(*from), ms(*until))?;
        }
        Ok(())
    }
}

/// How often a scenario is repeated for its figures: `TRIALS`.
pub fn trials() -> usize {
    let trials = std::env::var("TRIALS").unwrap_or_else(|_| "1".to_owned());
    trials.parse().unwrap_or_else(|_| panic!("TRIALS={trials}: expected a number"))
}

/// Prints a figure where `make lab` finds it: the median and the longest of `values`.
pub fn figure(what: &str, values: &[Duration]) {
    let mut values = values.to_vec();
    values.sort();
    let (Some(longest), middle) = (values.last(), values.len() / 2) else { return };
    let (median, count) = (values[middle], values.len());
    println!("\nfigure: {what}: median {median:.1?}, longest {longest:.1?}, of {count}");
}

mod tests {
    use super::*;

    fn interval(host: usize, from: u64, until: u64) -> Interval {
        let (from, until) = (Duration::from_millis(from), Duration::from_millis(until));
        Interval { host, from, until, frozen: false }
    }

    #[test]
    fn overlaps_and_gaps_are_counted() {
        let mut intervals = vec![interval(1, 0, 10), interval(2, 10, 20), interval(1, 25, 40)];
        let clean = Record { intervals: intervals.clone() };
        assert_eq!(clean.longest_overlap(), Duration::ZERO);
        assert_eq!(clean.gaps(), [Duration::from_millis(5)]);
        assert_eq!(clean.hosts(), [1, 2, 1]);

        intervals.push(interval(3, 37, 50));
        let two = Record { intervals: intervals.clone() };
        assert_eq!(two.longest_overlap(), Duration::from_millis(3));
        assert_eq!(two.overlaps()[0].hosts, (1, 3));

        // A host that could not run is reported, and is not an overlap.
        intervals[3].frozen = true;
        let frozen = Record { intervals };
        assert_eq!(frozen.longest_overlap(), Duration::ZERO);
        assert!(frozen.overlaps()[0].frozen);
    }
}
