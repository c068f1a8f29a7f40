//! Pauses before reconnects: growing, bounded, and different for each dialer. Pure.

use std::time::Duration;

use crate::limits;

/// Spreads reconnects, so that peers that lost each other at once do not meet in step.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    /// The generator of dialer `own` in a process with `seed`.
    pub(super) fn new(seed: u64, own: u64) -> Jitter {
        Jitter(seed ^ own.wrapping_mul(STEP))
    }

    /// The pause after so many failures in a row.
    pub(super) fn back_off(&mut self, failures: u32) -> Duration {
        let doubled = limits::RECONNECT_MIN.saturating_mul(1 << failures.min(16));
        self.spread(doubled.min(limits::RECONNECT_MAX))
    }

    /// A pause between half of `longest` and all of it.
    pub(super) fn spread(&mut self, longest: Duration) -> Duration {
        // splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = ((z ^ (z >> 31)) >> 32) as u32;
        longest / 2 + (longest / 2).mul_f64(f64::from(share) / f64::from(u32::MAX))
    }
}

/// The step of splitmix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

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
