//! Whether a host is fit, from what it has done: failures of its members, results of its health
//! command. Plain values; times are arguments, results say what follows.
//!
//! Times are those of the wall clock, in microseconds since 1970, since they outlive the agent. A
//! clock that jumps does not hold a host down for longer than it was held down for to begin with.

use std::time::Duration;

use crate::limits;

/// When failures hold a host down, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldDownRules {
    /// How many within `window`; at least one.
    pub failures: u32,
    /// How long one counts.
    pub window: Duration,
    /// How long the first hold-down lasts.
    pub hold_down: Duration,
    /// How long one lasts at most.
    pub hold_down_max: Duration,
}

/// One failure of a member while this node was active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The member.
    pub unit: String,
    /// When it was seen.
    pub when_usec: u64,
}

/// The failures that count, and the hold-downs that followed from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldDown {
    /// At most `limits::MEMBER_FAILURES_MAX`, oldest first.
    pub failures: Vec<Failure>,
    /// Hold-downs that followed soon on each other, the last one included.
    pub times: u32,
    /// When the last one began; 0: there was none.
    pub begun_usec: u64,
    /// When it ends.
    pub until_usec: u64,
}

impl HoldDown {
    /// Counts one more failure. `Some`: it was one too many, and the host is held down from now on
    /// for so long. One that comes while the host is held down already does not count.
    pub fn fail(&mut self, unit: &str, now_usec: u64, rules: &HoldDownRules) -> Option<Duration> {
        if self.left(now_usec).is_some() {
            return None;
        }
        self.forget_old(now_usec, rules.window);
        self.failures.push(Failure { unit: unit.to_owned(), when_usec: now_usec });
        if self.failures.len() < rules.failures as usize {
            return None;
        }
        self.failures.clear();
        let quiet = usec(limits::HOLD_DOWN_QUIET);
        if now_usec > self.until_usec.saturating_add(quiet) {
            self.times = 0;
        }
        let doubled = rules.hold_down.saturating_mul(1 << self.times.min(DOUBLINGS_MAX));
        let lasts = doubled.min(rules.hold_down_max);
        self.times = self.times.saturating_add(1);
        self.begun_usec = now_usec;
        self.until_usec = now_usec.saturating_add(usec(lasts));
        Some(lasts)
    }

    /// For how long the host is still held down. A clock that was set back, or a file that says
    /// nonsense, makes it begin anew at worst, and last no longer than `limits::HOLD_DOWN_HIGHEST`.
    pub fn left(&mut self, now_usec: u64) -> Option<Duration> {
        let most = usec(limits::HOLD_DOWN_HIGHEST);
        let lasts = self.until_usec.saturating_sub(self.begun_usec).min(most);
        if now_usec < self.begun_usec {
            self.begun_usec = now_usec;
        }
        self.until_usec = self.begun_usec.saturating_add(lasts);
        let left = self.until_usec.saturating_sub(now_usec);
        (left > 0).then(|| Duration::from_micros(left))
    }

    /// Forgets the failures that no longer count, and those of a time that has not come.
    pub fn forget_old(&mut self, now_usec: u64, window: Duration) {
        let since = now_usec.saturating_sub(usec(window));
        self.failures.retain(|failure| (since..=now_usec).contains(&failure.when_usec));
        let most = limits::MEMBER_FAILURES_MAX as usize;
        self.failures.drain(..self.failures.len().saturating_sub(most));
    }

    /// How many failures of `unit` count.
    pub fn count(&self, unit: &str) -> u32 {
        let of_it = self.failures.iter().filter(|failure| failure.unit == unit);
        u32::try_from(of_it.count()).unwrap_or(u32::MAX)
    }

    /// The hold-down is over now; the next one may still be longer for it.
    pub fn end(&mut self, now_usec: u64) {
        self.begun_usec = self.begun_usec.min(now_usec);
        self.until_usec = self.until_usec.min(now_usec);
    }
}

/// Whether the health command finds this host healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    healthy: Option<bool>,
    /// Results in a row that say otherwise.
    against: u32,
}

impl Health {
    /// Takes one result: `rise` successes in a row make an unhealthy host healthy, `fall` failures
    /// a healthy one unhealthy. The first result of all decides alone.
    pub fn tell(&mut self, success: bool, rise: u32, fall: u32) {
        let Some(healthy) = self.healthy else {
            self.healthy = Some(success);
            return;
        };
        self.against = if success == healthy { 0 } else { self.against + 1 };
        let needed = if healthy { fall } else { rise };
        if self.against >= needed {
            *self = Health { healthy: Some(success), against: 0 };
        }
    }

    /// What is known; `None` before the first result.
    pub fn is_healthy(&self) -> Option<bool> {
        self.healthy
    }
}

fn usec(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// More would be longer than every `hold_down_max`.
const DOUBLINGS_MAX: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const START: u64 = 1_000_000 * SECOND;

    fn rules() -> HoldDownRules {
        let seconds = Duration::from_secs;
        HoldDownRules {
            failures: 3,
            window: seconds(600),
            hold_down: seconds(60),
            hold_down_max: seconds(150),
        }
    }

    #[test]
    fn three_failures_within_the_window_hold_down() {
        let mut held = HoldDown::default();
        assert_eq!(held.fail("a", START, &rules()), None);
        assert_eq!(held.fail("b", START + SECOND, &rules()), None);
        assert_eq!((held.count("a"), held.count("b"), held.count("c")), (1, 1, 0));
        // The first one is too old by now.
        let late = START + 600 * SECOND + 1;
        assert_eq!(held.fail("a", late, &rules()), None);
        assert_eq!(held.left(late), None);
        assert_eq!(held.fail("a", late, &rules()), Some(Duration::from_secs(60)));
        assert_eq!(held.left(late), Some(Duration::from_secs(60)));
        assert_eq!(held.fail("a", late + SECOND, &rules()), None, "while held down");
        assert_eq!(held.failures, []);
        assert_eq!(held.left(late + 60 * SECOND), None);
    }

    #[test]
    fn it_doubles_up_to_its_limit_and_starts_again_after_a_quiet_time() {
        let once = HoldDownRules { failures: 1, ..rules() };
        let mut held = HoldDown::default();
        let mut now = START;
        for expected in [60, 120, 150, 150] {
            assert_eq!(held.fail("a", now, &once), Some(Duration::from_secs(expected)));
            now += expected * SECOND;
        }
        let quiet = usec(limits::HOLD_DOWN_QUIET);
        assert_eq!(held.fail("a", now + quiet, &once), Some(Duration::from_secs(150)));
        now += quiet + 150 * SECOND;
        assert_eq!(held.fail("a", now + quiet + 1, &once), Some(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_over_by_hand_is_over_and_what_is_forgotten_is_new() {
        let once = HoldDownRules { failures: 1, ..rules() };
        let mut held = HoldDown::default();
        held.fail("a", START, &once);
        held.end(START + SECOND);
        assert_eq!(held.left(START + SECOND), None);
        assert_eq!(held.fail("a", START + 2 * SECOND, &once), Some(Duration::from_secs(120)));
        held = HoldDown::default();
        assert_eq!(held.left(START), None);
        assert_eq!(held.fail("a", START, &once), Some(Duration::from_secs(60)));
    }

    #[test]
    fn no_clock_holds_down_for_longer_than_was_meant() {
        let once = HoldDownRules { failures: 1, ..rules() };
        let mut held = HoldDown::default();
        held.fail("a", START, &once);
        assert_eq!(held.left(START - 500_000 * SECOND), Some(Duration::from_secs(60)));
        assert_eq!(held.left(START - 500_000 * SECOND + 60 * SECOND), None);
        // A clock that is ahead ends it.
        held.fail("a", START, &once);
        assert_eq!(held.left(START + 500_000 * SECOND), None);
        // Whatever a file says.
        for (begun_usec, until_usec) in [(0, u64::MAX), (u64::MAX, u64::MAX), (START, 0)] {
            let mut held = HoldDown { begun_usec, until_usec, ..HoldDown::default() };
            let left = held.left(START).unwrap_or_default();
            assert!(left <= limits::HOLD_DOWN_HIGHEST, "{left:?}");
        }
        let failure = |when_usec| Failure { unit: "a".to_owned(), when_usec };
        let failures = vec![failure(u64::MAX); 5000];
        let mut held = HoldDown { failures, ..HoldDown::default() };
        held.failures.extend(vec![failure(START); 5000]);
        held.forget_old(START, Duration::from_secs(1));
        assert_eq!(held.failures.len(), limits::MEMBER_FAILURES_MAX as usize);
        assert_eq!(held.failures[0].when_usec, START);
    }

    #[test]
    fn health_rises_and_falls_by_its_counts() {
        let mut health = Health::default();
        assert_eq!(health.is_healthy(), None);
        let mut play = |results: &str| {
            let tell = |c: char| {
                health.tell(c == '+', 2, 3);
                if health.is_healthy() == Some(true) { 'h' } else { 'u' }
            };
            results.chars().map(tell).collect::<String>()
        };
        assert_eq!(play("+--+---+-++-"), "hhhhhhuuuuhh");
        let mut first = Health::default();
        first.tell(false, 2, 3);
        assert_eq!(first.is_healthy(), Some(false), "the first result decides alone");
    }
}
