//! The bytes of one simulated file, and what a power cut makes of them.

use std::collections::BTreeMap;

use crate::core::rng::Rng;

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// What the running system reads.
    pub bytes: Vec<u8>,
    durable_len: usize,
    pending: BTreeMap<usize, Sector>,
}

#[derive(Clone, Debug)]
struct Sector {
    /// Durable content first, then one per unsynced write, newest last.
    versions: Vec<[u8; SECTOR_BYTES]>,
    /// A sync failed on it: it reads as written, and no later sync will write it.
    stuck: bool,
}

impl Content {
    /// Durable zeros up to `len`.
    pub fn allocate(&mut self, len: usize) {
        if len > self.bytes.len() {
            self.bytes.resize(len, 0);
            self.durable_len = len;
        }
    }

    /// A sync that succeeds.
    pub fn sync(&mut self) {
        self.pending.retain(|_, sector| sector.stuck);
        self.durable_len = self.bytes.len();
    }

    /// A sync that failed: what it should have written never becomes durable by itself.
    pub fn fail_sync(&mut self) {
        self.pending.values_mut().for_each(|sector| sector.stuck = true);
    }

    /// Flips bits for good.
    pub fn corrupt(&mut self, at: usize, mask: u8) {
        self.bytes[at] ^= mask;
        if let Some(sector) = self.pending.get_mut(&(at / SECTOR_BYTES)) {
            sector.versions.iter_mut().for_each(|v| v[at % SECTOR_BYTES] ^= mask);
        }
    }

    pub fn write(&mut self, offset: usize, new: &[u8]) {
        if new.is_empty() {
            return;
        }
        let end = offset + new.len();
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        let sectors = offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES;
        for at in sectors.clone() {
            let before = self.sector(at);
            let new = Sector { versions: vec![before], stuck: false };
            self.pending.entry(at).or_insert(new);
        }
        self.bytes[offset..end].copy_from_slice(new);
        for at in sectors {
            let after = self.sector(at);
            let sector = self.pending.get_mut(&at).expect("inserted above");
            sector.stuck = false;
            if sector.versions.len() == SECTOR_VERSIONS_MAX {
                sector.versions.pop();
            }
            sector.versions.push(after);
        }
    }

    fn sector(&self, at: usize) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        let from = (at * SECTOR_BYTES).min(self.bytes.len());
        let to = (from + SECTOR_BYTES).min(self.bytes.len());
        sector[..to - from].copy_from_slice(&self.bytes[from..to]);
        sector
    }

    /// Power cut.
    pub fn resolve(&mut self, random: &mut Rng) {
        if self.bytes.len() > self.durable_len && random.below(2) == 0 {
            self.bytes.truncate(self.durable_len);
        }
        for (at, sector) in std::mem::take(&mut self.pending) {
            let chosen = sector.after_power_cut(random);
            let from = (at * SECTOR_BYTES).min(self.bytes.len());
            let to = (from + SECTOR_BYTES).min(self.bytes.len());
            self.bytes[from..to].copy_from_slice(&chosen[..to - from]);
        }
        self.durable_len = self.bytes.len();
    }
}

impl Sector {
    fn after_power_cut(&self, random: &mut Rng) -> [u8; SECTOR_BYTES] {
        let newest = self.versions.len() - 1;
        let version = random.below(newest as u64 + 1) as usize;
        match random.below(4) {
            0 => self.versions[newest],
            1 => self.versions[0],
            2 => self.versions[version],
            _ => {
                let mut torn = self.versions[version];
                let next = &self.versions[(version + 1).min(newest)];
                let cut = random.below(SECTOR_BYTES as u64) as usize;
                torn[..cut].copy_from_slice(&next[..cut]);
                torn
            }
        }
    }
}

/// What a device writes whole or not at all, give or take a tear.
const SECTOR_BYTES: usize = 512;

/// Unsynced versions remembered of one sector. At the limit: the newest replaces the one before.
const SECTOR_VERSIONS_MAX: usize = 4;
