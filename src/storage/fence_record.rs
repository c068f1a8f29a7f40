//! What is known of the last fence of a node, in two small files of its state directory.
//!
//! `last-fence.json` says what was ended by force. The service manager reboots a host without a
//! word, so `reboot-expected.json` is written BEFORE that, by the agent and by the fence helper,
//! and names the boot that is about to end: found in a later boot, it was the reboot.
//!
//! Guarantees that a file is whole or not there, and that no link in a directory that is not
//! trusted leads a writer elsewhere. Takes no part in any decision: only people read it.

use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::small_file;
use crate::limits;

/// Name of the record in the state directory.
pub const RECORD_FILE: &str = "last-fence.json";

/// Name of the note in the state directory.
pub const EXPECTED_FILE: &str = "reboot-expected.json";

/// Name of the note of the fence that was told last, in the state directory.
pub const TOLD_FILE: &str = "fence-told.json";

/// Which fence was told.
#[derive(Serialize, Deserialize)]
struct ToldFence {
    when_usec: u64,
}

/// Whether the fence of `when_usec` is told for the first time; from then on it is not.
pub fn told_first(directory: &Path, when_usec: u64) -> io::Result<bool> {
    let most = limits::FENCE_RECORD_MAX_BYTES;
    // One that cannot be read is written anew.
    let told = small_file::read::<ToldFence>(&directory.join(TOLD_FILE), most).unwrap_or_default();
    if told.is_some_and(|told| told.when_usec == when_usec) {
        return Ok(false);
    }
    small_file::write(directory, TOLD_FILE, &ToldFence { when_usec })?;
    Ok(true)
}

/// The last fence of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRecord {
    /// When it began, in microseconds since 1970.
    pub when_usec: u64,
    /// `kill` or `reboot`.
    pub what: String,
    /// Why.
    pub why: String,
    /// The units that were killed.
    pub killed: Vec<String>,
    /// The units that still had processes at the end.
    pub left: Vec<String>,
}

/// A reboot that the service manager is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedReboot {
    /// The boot that is about to end.
    pub boot_id: String,
    /// When that was seen, in microseconds since 1970.
    pub when_usec: u64,
    /// Why.
    pub why: String,
}

impl FenceRecord {
    /// The word for processes that were killed.
    pub const KILL: &str = "kill";

    /// The word for a host that was rebooted.
    pub const REBOOT: &str = "reboot";

    /// The record in `directory`, if there is one.
    pub fn read(directory: &Path) -> io::Result<Option<FenceRecord>> {
        small_file::read(&directory.join(RECORD_FILE), limits::FENCE_RECORD_MAX_BYTES)
    }

    /// Writes the record where the owner of `directory` can read it.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        small_file::write(directory, RECORD_FILE, self)
    }
}

impl ExpectedReboot {
    /// Writes the note.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        small_file::write(directory, EXPECTED_FILE, self)
    }

    /// The reboot is not to be expected any more.
    pub fn withdraw(directory: &Path) -> io::Result<()> {
        small_file::remove(&directory.join(EXPECTED_FILE))
    }

    /// Whether there is a note of an earlier boot: then it becomes the record, and is returned. A
    /// note of the boot `now` stays, since the reboot may still come.
    pub fn came_true(directory: &Path, now: &str) -> io::Result<Option<FenceRecord>> {
        let path = directory.join(EXPECTED_FILE);
        let most = limits::FENCE_RECORD_MAX_BYTES;
        let Some(note) = small_file::read::<ExpectedReboot>(&path, most)? else {
            return Ok(None);
        };
        if note.boot_id == now {
            return Ok(None);
        }
        // What was killed, and what survived that, just before.
        let before = FenceRecord::read(directory).unwrap_or_default();
        let before = before.filter(|r| r.when_usec + SAME_FENCE_USEC >= note.when_usec);
        let (killed, left) = before.map(|r| (r.killed, r.left)).unwrap_or_default();
        let ExpectedReboot { when_usec, why, .. } = note;
        let what = FenceRecord::REBOOT.to_owned();
        let record = FenceRecord { when_usec, what, why, killed, left };
        record.write(directory)?;
        ExpectedReboot::withdraw(directory)?;
        Ok(Some(record))
    }
}

/// Names this boot of the kernel, as systemd's specifier `%b` does. Not every sandbox has it.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID_FILE)?.replace('-', "").trim_end().to_owned())
}

/// Random, drawn at each boot (random(4)).
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// How much earlier than the note a record of the same fence may have been written.
const SAME_FENCE_USEC: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn note(boot: &str) -> ExpectedReboot {
        ExpectedReboot { boot_id: boot.to_owned(), when_usec: 5_000_000, why: "slow".to_owned() }
    }

    fn kill(when_usec: u64) -> FenceRecord {
        let text = str::to_owned;
        let (what, why) = (text("kill"), text("slow"));
        FenceRecord { when_usec, what, why, killed: vec![text("a")], left: vec![text("b")] }
    }

    #[test]
    fn a_note_becomes_the_record_only_in_a_later_boot() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert_eq!(ExpectedReboot::came_true(directory, "1").unwrap(), None);
        kill(5_000_100).write(directory).unwrap();
        note("1").write(directory).unwrap();
        assert_eq!(ExpectedReboot::came_true(directory, "1").unwrap(), None);
        assert_eq!(FenceRecord::read(directory).unwrap(), Some(kill(5_000_100)));
        let reboot = FenceRecord { what: "reboot".to_owned(), ..kill(5_000_000) };
        let found = ExpectedReboot::came_true(directory, "2").unwrap();
        assert_eq!(found.as_ref(), Some(&reboot), "with what was killed in vain");
        assert_eq!(FenceRecord::read(directory).unwrap(), Some(reboot));
        assert_eq!(ExpectedReboot::came_true(directory, "3").unwrap(), None, "only once");
        // What an earlier fence killed has nothing to do with it.
        kill(1_000).write(directory).unwrap();
        note("1").write(directory).unwrap();
        let found = ExpectedReboot::came_true(directory, "2").unwrap().unwrap();
        assert!(found.killed.is_empty() && found.left.is_empty(), "{found:?}");
    }

    #[test]
    fn a_note_that_was_withdrawn_means_nothing() {
        let directory = tempfile::tempdir().unwrap();
        ExpectedReboot::withdraw(directory.path()).unwrap();
        note("1").write(directory.path()).unwrap();
        ExpectedReboot::withdraw(directory.path()).unwrap();
        assert_eq!(ExpectedReboot::came_true(directory.path(), "2").unwrap(), None);
        assert_eq!(FenceRecord::read(directory.path()).unwrap(), None);
    }

    #[test]
    fn what_is_not_a_record_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{}", "[1]", "\0"] {
            std::fs::write(directory.path().join(RECORD_FILE), text).unwrap();
            FenceRecord::read(directory.path()).unwrap_err();
        }
        let endless = " ".repeat(limits::FENCE_RECORD_MAX_BYTES as usize * 2);
        std::fs::write(directory.path().join(RECORD_FILE), endless).unwrap();
        FenceRecord::read(directory.path()).unwrap_err();
    }
}
