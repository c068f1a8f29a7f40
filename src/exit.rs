//! Every exit status of `raftctl` and `raftctld`, and what it means.
//!
//! Scripts rely on these numbers: one is never given another meaning. Those of the agent follow
//! sysexits.h, so that they do not collide with the small ones of the command line.

use std::fmt::Write as _;
use std::process::ExitCode;

/// An exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done, and the answer is yes.
    Ok = 0,
    /// Failed, or the answer is no.
    Failure = 1,
    /// Wrong arguments, or a configuration that `raftctl` cannot use.
    Usage = 2,
    /// The node is not running or cannot be reached.
    NotRunning = 3,
    /// The node refuses this user, or only root can do it.
    NotPermitted = 4,
    /// The cluster has no leader or no quorum.
    NoLeader = 5,
    /// The deadline passed before the outcome was known.
    TimedOut = 6,
    /// A precondition of a write does not hold; nothing was written.
    Precondition = 7,
    /// The store is full or busy, or one of its verbs failed otherwise: 1 is "not found" there.
    StoreFailed = 8,
    /// `raftctld`: the state directory is corrupted (EX_DATAERR).
    StateCorrupt = 65,
    /// `raftctld`: an address or the private socket is in use or unavailable (EX_UNAVAILABLE).
    AddressUnavailable = 69,
    /// `raftctld`: the state or runtime directory cannot be created (EX_CANTCREAT).
    CannotCreate = 73,
    /// `raftctld`: reading or writing failed, for example on a full disk (EX_IOERR).
    Io = 74,
    /// `raftctld`: another process holds the state directory; try again later (EX_TEMPFAIL).
    Locked = 75,
    /// `raftctld`: the state directory has the format of a newer version (EX_PROTOCOL).
    NewerFormat = 76,
    /// `raftctld`: permission denied, or the state directory belongs to another node (EX_NOPERM).
    NoPermission = 77,
    /// `raftctld`: the configuration is missing or wrong (EX_CONFIG).
    Configuration = 78,
}

impl Exit {
    /// All statuses, in order, for the manual.
    pub const ALL: [Exit; 17] = [
        Exit::Ok,
        Exit::Failure,
        Exit::Usage,
        Exit::NotRunning,
        Exit::NotPermitted,
        Exit::NoLeader,
        Exit::TimedOut,
        Exit::Precondition,
        Exit::StoreFailed,
        Exit::StateCorrupt,
        Exit::AddressUnavailable,
        Exit::CannotCreate,
        Exit::Io,
        Exit::Locked,
        Exit::NewerFormat,
        Exit::NoPermission,
        Exit::Configuration,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The status with number `code`, if it is one of ours.
    pub fn from_code(code: i32) -> Option<Exit> {
        Exit::ALL.into_iter().find(|exit| i32::from(exit.code()) == code)
    }

    /// What it means, as a short phrase.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "success",
            Exit::Failure => "failed, or the answer is no: not found",
            Exit::Usage => "wrong arguments or a bad configuration",
            Exit::NotRunning => "the node is not running or cannot be reached",
            Exit::NotPermitted => "this user may not do it",
            Exit::NoLeader => "no leader or no quorum",
            Exit::TimedOut => "timed out; of a write the outcome is not known",
            Exit::Precondition => "a precondition does not hold; nothing was written",
            Exit::StoreFailed => {
                "the store is full or busy, or get, put, delete, keys or txn failed otherwise"
            }
            Exit::StateCorrupt => "the state directory is corrupted",
            Exit::AddressUnavailable => "an address is in use or unavailable",
            Exit::CannotCreate => "a directory cannot be created",
            Exit::Io => "reading or writing failed",
            Exit::Locked => "another process holds the state directory",
            Exit::NewerFormat => "the state directory has a newer format",
            Exit::NoPermission => "permission denied, or the state directory of another node",
            Exit::Configuration => "the configuration is missing or wrong",
        }
    }

    /// Whether `raftctld` alone has it; `raftctl start` passes it on.
    pub const fn is_of_agent(self) -> bool {
        self.code() >= Exit::StateCorrupt.code()
    }

    /// Those of the agent, or the other ones, one on each line with its meaning, for `--help`.
    pub fn table(of_agent: bool) -> String {
        let mut table = String::new();
        for exit in Exit::ALL.into_iter().filter(|exit| exit.is_of_agent() == of_agent) {
            writeln!(table, "  {:<2}  {}", exit.code(), exit.meaning())
                .expect("text can be written to");
        }
        table
    }

    /// Whether starting the agent again cannot help before somebody changes something.
    pub const fn is_permanent(self) -> bool {
        matches!(
            self,
            Exit::StateCorrupt
                | Exit::CannotCreate
                | Exit::NewerFormat
                | Exit::NoPermission
                | Exit::Configuration
        )
    }

    /// The status that `error` asks for: that of the [`Failure`] in its chain.
    pub fn of(error: &anyhow::Error) -> Exit {
        let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
        failure.map_or(Exit::Failure, |failure| failure.exit)
    }

    /// An error that ends the program with this status.
    pub fn because(self, message: impl Into<String>) -> anyhow::Error {
        Failure::new(self, message).into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a verb did not succeed: one line for people, one number for scripts.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The status.
    pub exit: Exit,
    /// What the user is told; empty if there is nobody to be told.
    pub message: String,
}

impl Failure {
    /// A failure with an exit status of its own.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_found_again() {
        assert!(Exit::ALL.windows(2).all(|w| w[0] < w[1]));
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(i32::from(exit.code())), Some(exit));
        }
        assert_eq!(Exit::from_code(64), None);
        assert_eq!(Exit::from_code(256), None);
    }

    #[test]
    fn the_tables_have_every_status_once() {
        let tables = Exit::table(false) + &Exit::table(true);
        assert_eq!(tables.lines().count(), Exit::ALL.len());
        assert!(tables.starts_with("  0   success\n  1   failed"), "{tables}");
        assert!(Exit::table(true).starts_with("  65  the state directory"), "{tables}");
    }

    #[test]
    fn an_error_keeps_its_status_under_context() {
        let error = Exit::NotRunning.because("n1 is not running").context("while asking");
        assert_eq!(Exit::of(&error), Exit::NotRunning);
        assert_eq!(Exit::of(&anyhow::anyhow!("other")), Exit::Failure);
    }
}
