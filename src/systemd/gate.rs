//! The gate: the file that `ConditionPathExists=` of the leader target asks for (DESIGN 6).
//!
//! While it is not there, PID 1 does not start the target, however late a start job runs and
//! whoever asked for it. It is closed in the very call that gives the order to stop, and opened by
//! the task that carries out an order to start, unless a newer order was given in between: both
//! look at the same number under the same lock. On tmpfs, so no call here waits for a disk.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::{Instant, Token};

/// Name of the gate in the runtime directory.
pub(super) const GATE_FILE: &str = "active";

/// Name of the mark beside the gate: the token of the last activation. It stays when the gate is
/// closed, and goes with the directory, so it says whether this run was ever active.
pub(super) const MARK_FILE: &str = "activated";

/// Where `raftctl-helper release` finds when to start the fence.
pub(super) const FENCE_AT_FILE: &str = "fence-at";

/// Where the gate is written before it is put in its place.
const NEW_FILE: &str = ".active.new";

/// The gate file, and the number of the newest order.
#[derive(Debug)]
pub(super) struct Gate {
    file: PathBuf,
    new: PathBuf,
    mark: PathBuf,
    newest: Mutex<u64>,
}

impl Gate {
    /// The gate in `runtime_directory`, closed: a process that starts has no authority.
    pub(super) fn new(runtime_directory: &Path) -> io::Result<Gate> {
        let gate = Gate {
            file: runtime_directory.join(GATE_FILE),
            new: runtime_directory.join(NEW_FILE),
            mark: runtime_directory.join(MARK_FILE),
            newest: Mutex::new(0),
        };
        gate.remove()?;
        Ok(gate)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.file
    }

    /// An order to start was given: the gate is opened when it is carried out.
    pub(super) fn ordered_start(&self, number: u64) {
        *self.lock() = number;
    }

    /// An order to stop was given: closes the gate.
    pub(super) fn ordered_stop(&self, number: u64) -> io::Result<()> {
        let mut newest = self.lock();
        *newest = number;
        self.remove()
    }

    /// Opens the gate for order `number`; `false` if there is a newer one.
    pub(super) fn open(&self, number: u64, token: Token) -> io::Result<bool> {
        let newest = self.lock();
        if *newest != number {
            return Ok(false);
        }
        // BEFORE the gate: without it nobody would look for what has to be released.
        fs::write(&self.mark, format!("{}\n", token.0))?;
        let mut file = fs::File::create(&self.new)?;
        writeln!(file, "{}", token.0)?;
        fs::rename(&self.new, &self.file)?;
        Ok(true)
    }

    /// Closes the gate if order `number` is still the newest; then it stays closed.
    pub(super) fn close(&self, number: u64) -> io::Result<()> {
        let newest = self.lock();
        if *newest == number { self.remove() } else { Ok(()) }
    }

    /// Keeps the time of the fence (CLOCK_BOOTTIME, nanoseconds) for what runs after this process.
    pub(super) fn fence_at(&self, at: Option<Instant>) -> io::Result<()> {
        let file = self.file.with_file_name(FENCE_AT_FILE);
        match at {
            Some(at) => fs::write(file, format!("{}\n", at.0)),
            None => remove(&file),
        }
    }

    /// Whether it is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        matches!(fs::symlink_metadata(&self.file), Err(e) if e.kind() == io::ErrorKind::NotFound)
    }

    fn remove(&self) -> io::Result<()> {
        remove(&self.file)
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        // A number is whole even if its writer panicked.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_order_keeps_the_gate_closed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(GATE_FILE), "left over").unwrap();
        let gate = Gate::new(directory.path()).unwrap();
        assert!(gate.is_closed(), "a left-over gate is removed");

        gate.ordered_start(1);
        assert!(gate.open(1, Token(42)).unwrap());
        assert_eq!(fs::read_to_string(gate.path()).unwrap(), "42\n");

        gate.ordered_stop(2).unwrap();
        assert!(gate.is_closed());
        let mark = fs::read_to_string(directory.path().join(MARK_FILE)).unwrap();
        assert_eq!(mark, "42\n", "it was active once");
        assert!(!gate.open(1, Token(42)).unwrap(), "order 1 is obsolete");
        assert!(gate.is_closed());

        gate.ordered_start(3);
        assert!(gate.open(3, Token(43)).unwrap());
        gate.close(1).unwrap();
        assert!(!gate.is_closed(), "what an obsolete order does changes nothing");
        gate.close(3).unwrap();
        assert!(gate.is_closed());
    }

    #[test]
    fn a_gate_that_cannot_be_removed_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let gate = Gate::new(directory.path()).unwrap();
        fs::create_dir(gate.path()).unwrap();
        assert!(gate.ordered_stop(1).is_err());
        assert!(!gate.is_closed());
    }
}
