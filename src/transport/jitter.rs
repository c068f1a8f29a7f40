//! Pauses before reconnects: growing, bounded, and different for each dialer. Pure.

use std::time::Duration;

use crate::core::rng::Rng;
use crate::limits;

/// Spreads reconnects, so that peers that lost each other at once do not meet in step.
#[derive(Debug)]
pub(super) struct Jitter(Rng);

impl Jitter {
    /// The generator of dialer `own` in a process with `seed`.
    pub(super) fn new(seed: u64, own: u64) -> Jitter {
        Jitter(Rng::new(seed.wrapping_add(own.rotate_left(32))))
    }

    /// The pause after so many failures in a row.
    pub(super) fn back_off(&mut self, failures: u32) -> Duration {
        let doubled = limits::RECONNECT_MIN.saturating_mul(1 << failures.min(16));
        self.spread(doubled.min(limits::RECONNECT_MAX))
    }

    /// A pause between half of `longest` and all of it.
    pub(super) fn spread(&mut self, longest: Duration) -> Duration {
        let share = self.0.below(1 << 32) as u32;
        longest / 2 + (longest / 2).mul_f64(f64::from(share) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_between_dialers() {
        let mut jitter = Jitter::new(1, 2);
        for failures in 0..40 {
            let longest = limits::RECONNECT_MIN * (1 << failures.min(10));
            let longest = longest.min(limits::RECONNECT_MAX);
            let pause = jitter.back_off(failures);
            assert!(pause >= longest / 2 && pause <= longest, "{failures}: {pause:?}");
        }
        let of = |own| Jitter::new(1, own).spread(limits::RECONNECT_MAX);
        assert_ne!(of(1), of(2));
        assert_eq!(of(1), of(1));
    }
}
