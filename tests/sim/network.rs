//! The simulated network: delay, loss, duplication, reordering, one-way cuts.
//!
//! A message is delivered, dropped or doubled, each after its own delay; so later ones overtake
//! earlier ones. A cut is one-way; a partition is a set of cuts.

use std::collections::BTreeSet;
use std::time::Duration;

use raftctl::core::NodeId;
use raftctl::core::rng::Rng;

/// How bad the network is, in parts per million and microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub loss_ppm: u64,
    pub duplicate_ppm: u64,
    pub delay_min_us: u64,
    pub delay_max_us: u64,
    /// Messages that take up to a second.
    pub straggler_ppm: u64,
}

impl Weather {
    /// A local network on a quiet day.
    pub const CALM: Weather = Weather {
        loss_ppm: 0,
        duplicate_ppm: 0,
        delay_min_us: 50,
        delay_max_us: 300,
        straggler_ppm: 0,
    };
}

#[derive(Debug)]
pub struct Network {
    pub weather: Weather,
    cuts: BTreeSet<(NodeId, NodeId)>,
}

impl Network {
    pub fn new(weather: Weather) -> Self {
        Network { weather, cuts: BTreeSet::new() }
    }

    /// Delays of the copies of one message; empty if it is lost.
    pub fn route(&self, rng: &mut Rng, from: NodeId, to: NodeId) -> Vec<Duration> {
        let weather = self.weather;
        if self.is_cut(from, to) || rng.chance_ppm(weather.loss_ppm) {
            return Vec::new();
        }
        let copies = if rng.chance_ppm(weather.duplicate_ppm) { 2 } else { 1 };
        (0..copies).map(|_| self.delay(rng)).collect()
    }

    fn delay(&self, rng: &mut Rng) -> Duration {
        let Weather { delay_min_us, delay_max_us, straggler_ppm, .. } = self.weather;
        if rng.chance_ppm(straggler_ppm) {
            return Duration::from_micros(rng.below(1_000_000));
        }
        Duration::from_micros(delay_min_us + rng.below(delay_max_us - delay_min_us + 1))
    }

    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.contains(&(from, to))
    }

    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
    }
}
