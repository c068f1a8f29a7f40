//! The quantities of DESIGN section 5 and how they follow from each other.

use std::time::Duration;

use crate::limits;

/// ρ: how much a clock may run fast or slow, in parts per million (1 %).
pub const DRIFT_PPM: u32 = 10_000;

/// S: slack for timers and scheduling.
pub const SLACK: Duration = Duration::from_millis(100);

/// κ: how late the service manager may be, in percent of what it was asked for.
pub const LATENESS_PERCENT: u32 = 110;

/// How long before D the fence unit is started.
pub const FENCE_LEAD: Duration = Duration::from_millis(300);

/// The settings that the authority needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// E.
    pub election_min: Duration,
    /// Latest moment for a follower to campaign.
    pub election_max: Duration,
    /// The engine's tick.
    pub tick: Duration,
    /// G: from the end of the lease to the dead-man.
    pub grace: Duration,
    /// W: the service manager's watchdog.
    pub watchdog: Duration,
    /// D: how long a demotion may take.
    pub demote_timeout: Duration,
    /// Who ends an activation when this process does not.
    pub enforcement: Enforcement,
    /// How long a node of higher priority must have been ready before it is given way to.
    pub preempt_after: Duration,
}

/// Who ends an activation when this process does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// The service manager within B: watchdog, bindings, fence.
    Bounded,
    /// The service manager, but it may take for ever (`on_demote_timeout = "none"`, or without
    /// watchdog): only a release or an operator ends an activation.
    Unbounded,
    /// Nobody, and nothing on this host depends on it: there is no target, only event scripts
    /// (local clusters). Activations are replaced at once.
    Nothing,
}

impl Default for Timing {
    /// The defaults of the configuration.
    fn default() -> Timing {
        Timing {
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            tick: Duration::from_millis(10),
            grace: Duration::from_millis(100),
            watchdog: Duration::from_millis(500),
            demote_timeout: Duration::from_millis(1500),
            enforcement: Enforcement::Bounded,
            preempt_after: limits::PREEMPT_AFTER,
        }
    }
}

impl Timing {
    /// How long a lease runs from t0: `(E − tick)(1 − ρ)`.
    pub fn lease(&self) -> Duration {
        let length = self.election_min.saturating_sub(self.tick);
        length - length * DRIFT_PPM / 1_000_000
    }

    /// B: `E + κ(G + W + D) + S`, if there is one.
    pub fn bound(&self) -> Option<Duration> {
        let late = (self.grace + self.watchdog + self.demote_timeout) * LATENESS_PERCENT / 100;
        match self.enforcement {
            Enforcement::Bounded => Some(self.election_min + late + SLACK),
            Enforcement::Unbounded => None,
            Enforcement::Nothing => Some(Duration::ZERO),
        }
    }
}

/// X: how long a successor waits after an activation whose bound is `bound`: `B(1 + ρ)/(1 − ρ)`,
/// rounded up.
pub fn successor_wait(bound: Duration) -> Duration {
    let one = 1_000_000;
    let nanos = bound.as_nanos() * u128::from(one + DRIFT_PPM) / u128::from(one - DRIFT_PPM);
    // At zero there is nothing to wait for.
    Duration::from_nanos(nanos as u64) + Duration::from_nanos(u64::from(nanos > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_give_the_numbers_of_the_design() {
        let ms = Duration::from_millis;
        let timing = Timing::default();
        assert_eq!(timing.lease(), Duration::from_micros(188_100));
        assert_eq!(timing.bound(), Some(ms(2610)));
        let wait = successor_wait(ms(2610));
        assert!(wait > ms(2662) && wait < ms(2663), "{wait:?}");
        assert_eq!(successor_wait(Duration::ZERO), Duration::ZERO);
        let unbounded = Timing { enforcement: Enforcement::Unbounded, ..timing };
        assert_eq!(unbounded.bound(), None);
    }
}
