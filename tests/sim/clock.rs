//! The clocks of one host: CLOCK_BOOTTIME and CLOCK_MONOTONIC_RAW, as functions of real time.
//!
//! Each runs fast or slow by up to ρ. The first is slewed: its rate changes every now and then,
//! always within ρ; it never jumps. The second keeps its rate and stands still during suspend. When
//! a virtual machine is paused, both stand still. The origins differ from host to host, so that a
//! time of one host means nothing on another.

use std::time::Duration;

use raftctl::core::authority::DRIFT_PPM;
use raftctl::core::rng::Rng;
use raftctl::core::{Instant, Reading};

/// From here on the boot clock runs at this rate.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// On the axis of the guest: the world's time without the pauses of the machine.
    guest: u64,
    boot: u64,
    ppm: i64,
}

#[derive(Clone, Debug)]
pub struct Clock {
    pieces: Vec<Piece>,
    raw_ppm: i64,
    raw_origin: u64,
    /// When the machine was paused, on the world's axis.
    paused: Vec<(Instant, Instant)>,
    /// When it was suspended.
    asleep: Vec<(Instant, Instant)>,
}

/// How long rates are made up in advance; runs are shorter.
const HORIZON: Duration = Duration::from_secs(200);

impl Clock {
    /// Shows the world's time.
    pub fn exact() -> Clock {
        let pieces = vec![Piece { guest: 0, boot: 0, ppm: 0 }];
        Clock { pieces, raw_ppm: 0, raw_origin: 0, paused: Vec::new(), asleep: Vec::new() }
    }

    /// Clocks of a host that are wrong by ρ in the same direction, for ever.
    pub fn steady(rng: &mut Rng) -> Clock {
        let mut clock = Clock::exact();
        clock.raw_ppm = i64::from(DRIFT_PPM) * (1 - 2 * rng.below(2) as i64);
        clock.pieces[0].ppm = clock.raw_ppm;
        clock.pieces[0].boot = rng.below(1 << 40);
        clock
    }

    /// A clock with a history of rates.
    pub fn drifting(rng: &mut Rng) -> Clock {
        let mut clock = Clock::exact();
        clock.raw_ppm = rate(rng);
        clock.raw_origin = rng.below(1 << 40);
        let (mut guest, mut boot) = (0, rng.below(1 << 40));
        clock.pieces.clear();
        while guest < HORIZON.as_nanos() as u64 {
            let ppm = rate(rng);
            clock.pieces.push(Piece { guest, boot, ppm });
            let length = 100_000_000 + rng.below(6_000_000_000);
            guest += length;
            boot += scaled(length, ppm);
        }
        clock
    }

    /// What both clocks show.
    pub fn read(&self, world: Instant) -> Reading {
        let guest = world.0 - within(&self.paused, world);
        let at = self.pieces.partition_point(|piece| piece.guest <= guest) - 1;
        let piece = self.pieces[at];
        let boot = Instant(piece.boot + scaled(guest - piece.guest, piece.ppm));
        let awake = guest - within(&self.asleep, world);
        Reading { boot, raw: Instant(self.raw_origin + scaled(awake, self.raw_ppm)) }
    }

    /// The world's time at which the boot clock first shows `boot`, as far as pauses are known.
    /// Never too early.
    pub fn when(&self, boot: Instant) -> Instant {
        let at = self.pieces.partition_point(|piece| piece.boot <= boot.0);
        let piece = self.pieces[at.saturating_sub(1)];
        let shown = u128::from(boot.0.saturating_sub(piece.boot));
        let rate = (1_000_000 + piece.ppm) as u128;
        let guest = (shown * 1_000_000).div_ceil(rate) as u64;
        let awake = Instant(piece.guest.saturating_add(guest));
        self.paused
            .iter()
            .fold(awake, |at, (from, to)| if *from < at { at + (*to - *from) } else { at })
    }

    /// The machine is paused from now for `time`, and nothing in it notices.
    pub fn steal(&mut self, now: Instant, time: Duration) {
        self.paused.push((now, now + time));
    }

    /// The machine is suspended from now for `time`.
    pub fn sleep(&mut self, now: Instant, time: Duration) {
        self.asleep.push((now, now + time));
    }

    /// A pause or sleep that was to last longer ends now.
    pub fn wake(&mut self, now: Instant) {
        for (_, to) in self.paused.iter_mut().chain(&mut self.asleep) {
            *to = now.min(*to);
        }
    }
}

/// How much of these times is before `now`.
fn within(times: &[(Instant, Instant)], now: Instant) -> u64 {
    times.iter().map(|(from, to)| (*to).min(now) - *from).sum::<Duration>().as_nanos() as u64
}

/// A rate within ρ; often the worst.
fn rate(rng: &mut Rng) -> i64 {
    let most = i64::from(DRIFT_PPM);
    match rng.below(4) {
        0 => most,
        1 => -most,
        _ => rng.below(2 * most as u64 + 1) as i64 - most,
    }
}

fn scaled(length: u64, ppm: i64) -> u64 {
    (u128::from(length) * (1_000_000 + ppm) as u128 / 1_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn clocks_stay_within_rho_and_reading_inverts() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let clock = Clock::drifting(&mut rng);
            let mut before = (Instant(0), clock.read(Instant(0)));
            for _ in 0..500 {
                let now = before.0 + Duration::from_nanos(1 + rng.below(50 * MS));
                let reading = clock.read(now);
                let real = (now - before.0).as_nanos() as i128;
                for shown in [reading.boot - before.1.boot, reading.raw - before.1.raw] {
                    let off = (shown.as_nanos() as i128 - real).abs();
                    assert!(off <= real / 100 + 2, "{shown:?} in {real} ns");
                }
                let again = clock.when(reading.boot);
                assert!(again <= now && now - again <= Duration::from_nanos(3), "{now} {again}");
                assert!(clock.read(again).boot >= reading.boot, "a timer would ring early");
                before = (now, reading);
            }
        }
    }

    #[test]
    fn a_paused_machine_loses_time_and_a_suspended_one_only_the_raw_clock() {
        let mut clock = Clock::exact();
        clock.sleep(Instant::from_millis(2), Duration::from_millis(5));
        let at = Instant::from_millis(20);
        assert_eq!(clock.read(at), Reading { boot: at, raw: Instant::from_millis(15) });
        clock.steal(Instant::from_millis(9), Duration::from_millis(3));
        let boot = Instant::from_millis(17);
        assert_eq!(clock.read(at), Reading { boot, raw: Instant::from_millis(12) });
        assert_eq!(clock.when(boot), at);
    }
}
