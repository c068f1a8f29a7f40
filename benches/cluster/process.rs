//! What /proc says about a process, and how long it takes to run one.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::stats::Samples;

/// Time on a processor of all threads of `pid` that live now (`schedstat`, nanoseconds; the ticks
/// of `stat` are too coarse for an idle agent).
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
        nanoseconds += first.context("schedstat is not understood")?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// A memory field of `smaps_rollup` of `pid` (`Rss`, `Pss`), in MiB.
pub fn memory_mib(pid: u32, field: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("smaps_rollup of {pid} has no {field}"))? / 1024.0)
}

/// Size of a file, in MiB.
pub fn size_mib(path: &Path) -> Result<f64> {
    Ok(fs::metadata(path)?.len() as f64 / f64::from(1 << 20))
}

/// Wall time of running `program`, from before the spawn to its end.
pub fn run_times(program: &Path, arguments: &[&str], times: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..times {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let status = command.status().with_context(|| format!("cannot run {program:?}"))?;
        samples.push_since(began);
        if !status.success() {
            bail!("{} {} ended with {status}", program.display(), arguments.join(" "));
        }
    }
    Ok(samples)
}
