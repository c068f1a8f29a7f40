//! `[kv]`: how much the store holds, and how fast it is copied to a member that lags.

use super::reader::{Bad, Reader, Section};
use crate::limits;

/// `[kv]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kv {
    /// Bytes that the store may hold, within `limits::KV_QUOTA_LOWEST_BYTES` and `..._HIGHEST_...`.
    pub quota_bytes: u64,
    /// Bytes of a snapshot that are sent in a second, within `limits::KV_SNAPSHOT_RATE_LOWEST` and
    /// `..._HIGHEST`.
    pub snapshot_rate: u64,
}

impl Default for Kv {
    fn default() -> Kv {
        Kv { quota_bytes: limits::KV_QUOTA_BYTES, snapshot_rate: limits::KV_SNAPSHOT_RATE }
    }
}

/// Reads `[kv]`.
pub(super) fn kv(reader: &mut Reader, section: &Section) -> Result<Kv, Bad> {
    let quotas = (limits::KV_QUOTA_LOWEST_BYTES, limits::KV_QUOTA_HIGHEST_BYTES);
    let rates = (limits::KV_SNAPSHOT_RATE_LOWEST, limits::KV_SNAPSHOT_RATE_HIGHEST);
    let quota = size_within(reader, section, "quota", quotas);
    let rate = size_within(reader, section, "snapshot_rate", rates);
    let default = Kv::default();
    Ok(Kv {
        quota_bytes: quota?.unwrap_or(default.quota_bytes),
        snapshot_rate: rate?.unwrap_or(default.snapshot_rate),
    })
}

fn size_within(
    reader: &mut Reader,
    section: &Section,
    key: &'static str,
    (low, high): (u64, u64),
) -> Result<Option<u64>, Bad> {
    let Some(field) = reader.parsed(section, key, parse)? else { return Ok(None) };
    if !(low..=high).contains(&field.value) {
        let expected = format!("{} to {}", show(low), show(high));
        return Err(reader.refuse(&field.origin, expected));
    }
    Ok(Some(field.value))
}

/// Bytes, from a whole number and a unit.
fn parse(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].trim_start();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    // Not what `parse` allows beyond digits.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(*factor)
}

/// A size as it would be written in the file, in the largest unit that gives a whole number.
pub(super) fn show(bytes: u64) -> String {
    let whole = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    let (name, factor) = UNITS.iter().find(whole).unwrap_or(&("B", 1));
    format!("{}{name}", bytes / factor)
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_with_a_unit() {
        for (text, bytes) in [
            ("0B", 0),
            ("1B", 1),
            ("1536KiB", 3 << 19),
            ("256MiB", 256 << 20),
            ("4 GiB", 4 << 30),
            ("17179869183GiB", 17_179_869_183 << 30),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
            assert_eq!(parse(&show(bytes)), Some(bytes), "{text}");
        }
        let bad = ["", "MiB", "256", "256MB", "256M", "-1MiB", "+1MiB", "1.5GiB", "1 MiB ", "1mib"];
        for text in bad.into_iter().chain(["17179869184GiB", "99999999999999999999B", "é1B"]) {
            assert_eq!(parse(text), None, "{text}");
        }
        let shown = [1 << 20, 1536 << 10, 1000, 0, 3 << 30].map(show);
        assert_eq!(shown, ["1MiB", "1536KiB", "1000B", "0B", "3GiB"]);
    }
}
