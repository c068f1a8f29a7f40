//! The standing of a host on disk: maintenance, failures of members, the last hold-down. One small
//! file of JSON in the state directory, `standing.json`, that an operator can read.
//!
//! Guarantees that it is whole or not there. What cannot be read is an error, and not a host in
//! good standing: whoever reads it decides.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::small_file;
use crate::core::standing::{Failure, HoldDown};
use crate::limits;

/// Name of the file in the state directory.
pub const STANDING_FILE: &str = "standing.json";

/// What outlives the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether an operator has taken the host out of service.
    pub maintenance: bool,
    /// What its members did.
    pub hold_down: HoldDown,
}

#[derive(Serialize, Deserialize)]
struct Record {
    maintenance: bool,
    #[serde(default)]
    hold_downs: u32,
    #[serde(default)]
    held_down_since_usec: u64,
    #[serde(default)]
    held_down_until_usec: u64,
    #[serde(default)]
    failures: Vec<FailureRecord>,
}

#[derive(Serialize, Deserialize)]
struct FailureRecord {
    unit: String,
    when_usec: u64,
}

impl Standing {
    /// The standing that `directory` tells of; a good one if there is no file.
    pub fn read(directory: &Path) -> io::Result<Standing> {
        let path = directory.join(STANDING_FILE);
        let Some(record) = small_file::read::<Record>(&path, limits::STANDING_RECORD_MAX_BYTES)?
        else {
            return Ok(Standing::default());
        };
        let failure = |f: FailureRecord| Failure { unit: f.unit, when_usec: f.when_usec };
        let hold_down = HoldDown {
            failures: record.failures.into_iter().map(failure).collect(),
            times: record.hold_downs,
            begun_usec: record.held_down_since_usec,
            until_usec: record.held_down_until_usec,
        };
        Ok(Standing { maintenance: record.maintenance, hold_down })
    }

    /// Writes it; durable when this returns.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let HoldDown { failures, times, begun_usec, until_usec } = &self.hold_down;
        let failure = |f: &Failure| FailureRecord { unit: f.unit.clone(), when_usec: f.when_usec };
        let record = Record {
            maintenance: self.maintenance,
            hold_downs: *times,
            held_down_since_usec: *begun_usec,
            held_down_until_usec: *until_usec,
            failures: failures.iter().map(failure).collect(),
        };
        small_file::write(directory, STANDING_FILE, &record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_none_is_a_good_one() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Standing::read(directory.path()).unwrap(), Standing::default());
        let failures = vec![Failure { unit: "web.service".to_owned(), when_usec: 7 }];
        let hold_down = HoldDown { failures, times: 2, begun_usec: 5, until_usec: 9 };
        let standing = Standing { maintenance: true, hold_down };
        standing.write(directory.path()).unwrap();
        assert_eq!(Standing::read(directory.path()).unwrap(), standing);
        // By hand, with the one thing that matters, or with more than this version knows.
        for text in ["{\"maintenance\":true}", "{ \"maintenance\": true, \"colour\": [1] }\n"] {
            std::fs::write(directory.path().join(STANDING_FILE), text).unwrap();
            let read = Standing::read(directory.path()).unwrap();
            assert_eq!(read, Standing { maintenance: true, ..Standing::default() });
        }
        // What was left half-way is in nobody's way.
        let half = directory.path().join(format!("{STANDING_FILE}.new"));
        std::fs::write(&half, "{\"mainten").unwrap();
        standing.write(directory.path()).unwrap();
        assert_eq!(Standing::read(directory.path()).unwrap(), standing);
        assert!(!half.exists());
    }

    #[test]
    fn damaged_files_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let endless = " ".repeat(limits::STANDING_RECORD_MAX_BYTES as usize + 1);
        let negative = "{\"maintenance\":false,\"held_down_until_usec\":-1}";
        for text in ["", "{}", "[]", "\0\0", "{\"maintenance\":1}", negative, &endless] {
            std::fs::write(directory.path().join(STANDING_FILE), text).unwrap();
            Standing::read(directory.path()).unwrap_err();
        }
        std::fs::remove_file(directory.path().join(STANDING_FILE)).unwrap();
        std::fs::create_dir(directory.path().join(STANDING_FILE)).unwrap();
        Standing::read(directory.path()).unwrap_err();
        Standing::default().write(directory.path()).unwrap_err();
    }
}
