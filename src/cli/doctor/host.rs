//! What the kernel and the disk of this host say: how long a write takes, and how good the clock
//! is.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::Check;
use crate::limits;

/// How long a synced write takes in `directory`, against how long a leader may be silent.
pub fn disk(directory: &Path, election_min: Duration) -> Check {
    const CHECK: &str = "disk";
    let exists = |path: &&Path| path.is_dir();
    let Some(place) = directory.ancestors().find(exists) else {
        return Check::warn(CHECK, format!("no directory {}", directory.display()), "create it");
    };
    let mut times = match write_often(place) {
        Ok(times) => times,
        Err(error) => {
            let found = format!("cannot write to {}: {error}", place.display());
            return match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    Check::warn(CHECK, found, "run raftctl doctor as root to measure it")
                }
                _ => Check::fail(CHECK, found, "free space, or repair the file system"),
            };
        }
    };
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    let shown = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let found = format!(
        "a synced write takes {} (p50), {} (p99) in {}",
        shown(p50),
        shown(p99),
        place.display()
    );
    // Every commit waits for one; a leader whose disk is silent for so long loses its followers.
    match p99 {
        slow if slow >= election_min => Check::fail(
            CHECK,
            found,
            "use another disk for the state directory, or raise [raft] election_min",
        ),
        slow if slow >= election_min / 4 => {
            Check::warn(CHECK, found, "give the state directory a disk with less other work")
        }
        _ => Check::ok(CHECK, found),
    }
}

/// How long each of some synced writes of one page takes.
fn write_often(directory: &Path) -> std::io::Result<Vec<Duration>> {
    let path = directory.join(format!(".raftctl-doctor.{}", std::process::id()));
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = opened?;
    // Removed at once: nothing is left behind, however this ends.
    fs::remove_file(&path)?;
    let page = [0x5a; 4096];
    let end = Instant::now() + limits::DOCTOR_DISK_TIME;
    let mut times = Vec::new();
    while times.len() < limits::DOCTOR_DISK_WRITES && (times.is_empty() || Instant::now() < end) {
        let begun = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// The smallest of `times` that `percent` of them do not exceed.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    let at = (times.len() * percent).div_ceil(100).max(1) - 1;
    times.get(at).copied().unwrap_or_default()
}

/// Which hardware the clock of this host comes from.
pub fn clock_source() -> Check {
    const DIRECTORY: &str = "/sys/devices/system/clocksource/clocksource0";
    let read = |name: &str| fs::read_to_string(format!("{DIRECTORY}/{name}"));
    match read("current_clocksource") {
        Ok(current) => judge_clock(current.trim()),
        Err(error) => Check::warn("clock", format!("not known: {error}"), "mount /sys"),
    }
}

fn judge_clock(current: &str) -> Check {
    let found = format!("the clock comes from {current}");
    let slow = ["hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies"];
    match slow.contains(&current) {
        true => Check::warn(
            "clock",
            found,
            "the kernel distrusts the processor's clock: `journalctl -k -g clocksource` says why",
        ),
        false => Check::ok("clock", found),
    }
}

/// How much the clock is corrected: leases allow for a drift of 1 %.
pub fn clock_rate() -> Check {
    let read = |clock| clock_gettime(clock).map(Duration::from);
    match (read(ClockId::CLOCK_MONOTONIC), read(ClockId::CLOCK_MONOTONIC_RAW)) {
        (Ok(corrected), Ok(raw)) => judge_rate(corrected, raw),
        _ => Check::warn("clock rate", "not known", "see clock_gettime(2)"),
    }
}

fn judge_rate(corrected: Duration, raw: Duration) -> Check {
    const CHECK: &str = "clock rate";
    let ppm = (corrected.as_secs_f64() / raw.as_secs_f64().max(1.0) - 1.0) * 1e6;
    let found = format!("corrected by {ppm:.0} ppm since boot");
    match ppm.abs() {
        // Half of what the bounds of an activation allow for.
        far if far > 5000.0 => Check::fail(
            CHECK,
            found,
            "do not run an active node here before the clock is right: leases allow for 1 %",
        ),
        off if off > 500.0 => {
            Check::warn(CHECK, found, "see that one time service steers the clock: timedatectl")
        }
        _ => Check::ok(CHECK, found),
    }
}

/// Whether pages can go to a swap device, and whether those of the agent are kept from it.
pub fn swap(swaps: &str, locked: Option<&str>) -> Check {
    const CHECK: &str = "memory";
    // The first line has the titles (proc_swaps(5)).
    let devices = swaps.lines().skip(1).filter(|line| !line.trim().is_empty()).count();
    let locked_kb = locked.and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    match (devices, locked_kb) {
        (0, _) => Check::ok(CHECK, "there is no swap"),
        (_, Some(kb)) if kb > 0 => Check::ok(CHECK, format!("the agent has locked {kb} kB")),
        (_, Some(_)) => Check::warn(
            CHECK,
            "the agent's memory may be swapped out",
            "LimitMEMLOCK=infinity in the unit of the agent, or swapoff",
        ),
        (_, None) => {
            Check::warn(CHECK, "there is swap, and no agent to look at", "start the agent")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Result;
    use super::*;

    #[test]
    fn clocks_are_judged() {
        assert_eq!(judge_clock("tsc").result, Result::Ok);
        assert_eq!(judge_clock("kvm-clock").result, Result::Ok);
        assert_eq!(judge_clock("hpet").result, Result::Warn);
        let hours = |hours: f64| Duration::from_secs_f64(hours * 3600.0);
        for (corrected, expected) in [
            (1.0, Result::Ok),
            (1.000_6, Result::Warn),
            (0.999_4, Result::Warn),
            (1.01, Result::Fail),
        ] {
            assert_eq!(judge_rate(hours(corrected), hours(1.0)).result, expected, "{corrected}");
        }
        assert_eq!(judge_rate(Duration::ZERO, Duration::ZERO).result, Result::Fail);
    }

    #[test]
    fn percentiles_are_of_what_there_is() {
        let ms = Duration::from_millis;
        let mut times: Vec<_> = (1..=100).rev().map(ms).collect();
        assert_eq!((percentile(&mut times, 50), percentile(&mut times, 99)), (ms(50), ms(99)));
        assert_eq!(percentile(&mut [ms(7)], 99), ms(7));
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }

    #[test]
    fn swap_matters_where_memory_is_not_locked() {
        let none = "Filename Type Size Used Priority\n";
        let one = format!("{none}/dev/sda2 partition 1 0 -2\n");
        assert_eq!(swap(none, None).result, Result::Ok);
        assert_eq!(swap(&one, Some("Name: x\nVmLck:\t    4096 kB\n")).result, Result::Ok);
        assert_eq!(swap(&one, Some("VmLck:\t 0 kB\n")).result, Result::Warn);
        assert_eq!(swap(&one, Some("VmLck: what\n")).result, Result::Warn);
        assert_eq!(swap(&one, None).result, Result::Warn);
    }

    #[test]
    fn the_disk_is_measured_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let check = disk(&directory.path().join("not/yet"), Duration::from_secs(60));
        assert_eq!(check.result, Result::Ok, "{check:?}");
        assert!(check.found.contains("p99"), "{check:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let check = disk(directory.path(), Duration::ZERO);
        assert_eq!(check.result, Result::Fail, "{check:?}");
    }
}
