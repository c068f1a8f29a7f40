//! Watches from outside which host has processes of which unit, and keeps what it saw.
//!
//! One thread reads the control groups of all hosts every 2 ms; it needs nobody's help, so it also
//! sees what a host does that is frozen, cut off or lying. It says how late it ever was: what is
//! shorter than that may have gone unseen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::libc;

use super::cgroup::{Activity, UnitPlaces};
use super::clock::{now, pass_until};
use super::host::Host;
use super::record::{Interval, Record};

/// How often it looks.
const EVERY: Duration = Duration::from_millis(2);

/// A longer time between two looks is kept, so that a reader knows how exact the record is.
const LATE: Duration = Duration::from_millis(10);

/// The watching thread; ends with [`Sampler::stop`].
pub struct Sampler {
    thread: Option<JoinHandle<Samples>>,
    stop: Arc<AtomicBool>,
}

/// What was seen.
pub struct Samples {
    records: BTreeMap<String, Record>,
    /// Stretches without a look that were longer than 10 ms: when, and how long.
    pub late: Vec<(Duration, Duration)>,
}

/// One unit on one host.
struct Spot {
    host: Arc<Host>,
    places: UnitPlaces,
    /// What was seen last, and since when.
    seen: Activity,
    since: Duration,
}

impl Sampler {
    /// Watches `units` on `hosts`; `%H` in the name of a unit is the name of the host. Has looked
    /// once when it returns.
    pub fn start(hosts: &[Arc<Host>], units: &[&str]) -> Sampler {
        let spot = |host: &Arc<Host>, unit: &str| Spot {
            places: host.groups().watched(&unit.replace("%H", &host.name)),
            host: Arc::clone(host),
            seen: Activity::Empty,
            since: Duration::ZERO,
        };
        let spots = |unit: &&str| hosts.iter().map(|host| spot(host, unit)).collect();
        let groups: BTreeMap<String, Vec<Spot>> =
            units.iter().map(|unit| ((*unit).to_owned(), spots(unit))).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (sender, begun) = mpsc::sync_channel(1);
        let thread = Some(thread::spawn(move || watch(groups, &stopped, &sender)));
        begun.recv().expect("it watches");
        Sampler { thread, stop }
    }

    /// Ends the watch.
    pub fn stop(mut self) -> Samples {
        self.stop.store(true, Ordering::Release);
        self.thread.take().expect("stopped once").join().unwrap()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Samples {
    /// What was seen of one of the watched units, called as it was in [`Sampler::start`].
    #[track_caller]
    pub fn of(&self, unit: &str) -> &Record {
        self.records.get(unit).unwrap_or_else(|| panic!("{unit} was not watched"))
    }

    /// The longest time without a look, if it was longer than 10 ms.
    pub fn latest(&self) -> Option<Duration> {
        self.late.iter().map(|&(_, length)| length).max()
    }
}

fn watch(
    mut groups: BTreeMap<String, Vec<Spot>>,
    stop: &AtomicBool,
    begun: &mpsc::SyncSender<()>,
) -> Samples {
    go_first();
    let mut records: BTreeMap<String, Record> =
        groups.keys().map(|unit| (unit.clone(), Record::default())).collect();
    let (mut late, mut last) = (Vec::new(), now());
    while !stop.load(Ordering::Acquire) {
        let at = now();
        if at - last > LATE {
            late.push((last, at - last));
        }
        last = at;
        for (unit, spots) in &mut groups {
            let record = records.get_mut(unit).expect("one for each unit");
            for (spot, seen) in look(spots).into_iter().enumerate() {
                record.intervals.extend(spots[spot].saw(seen, at));
            }
        }
        let _ = begun.try_send(());
        pass_until(at + EVERY);
    }
    for (unit, spots) in &mut groups {
        let record = records.get_mut(unit).expect("one for each unit");
        record
            .intervals
            .extend(spots.iter_mut().filter_map(|spot| spot.saw(Activity::Empty, now())));
        record.intervals.sort_by_key(|interval| interval.from);
    }
    Samples { records, late }
}

/// What the hosts run at one moment. The groups are read one after the other: if two hosts were
/// seen running, each must be seen a second time, or a quick hand-over would look like an overlap.
fn look(spots: &[Spot]) -> Vec<Activity> {
    let once = || spots.iter().map(|spot| spot.host.groups().activity(&spot.places));
    let first: Vec<Activity> = once().collect();
    match first.iter().filter(|seen| **seen != Activity::Empty).count() {
        0 | 1 => first,
        _ => first.into_iter().zip(once()).map(|(first, second)| first.min(second)).collect(),
    }
}

impl Spot {
    /// Takes what was seen; gives the interval that it ended.
    fn saw(&mut self, seen: Activity, at: Duration) -> Option<Interval> {
        if seen == self.seen {
            return None;
        }
        let (was, from) = (self.seen, self.since);
        (self.seen, self.since) = (seen, at);
        let host = self.host.index;
        let frozen = was == Activity::Frozen;
        (was != Activity::Empty).then_some(Interval { host, from, until: at, frozen })
    }
}

/// Asks to run before everything else on the machine; it is done in some microseconds. Where this
/// is not allowed it is late more often, and says so.
fn go_first() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: sched_setscheduler(2) reads one structure and changes this thread only.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
}
