//! `raftctl get`, `put`, `delete`, `keys` and `txn`: the replicated store, for shell scripts and
//! for people who look.
//!
//! Guarantees that bytes stay bytes: a value is written as it was read and printed as it is, and a
//! key may be any bytes. The exit status tells what happened; that of 1 means "not found" here and
//! nothing else. Retries nothing: the agent does, until the deadline.

mod read;
mod text;
mod txn;
mod write;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::Duration;

use super::exit::{Exit, Failure};
use crate::dbus::client::ClientError;
use crate::limits;

pub use read::{get, keys};
pub use txn::{Script, run as txn};
pub use write::{delete, put};

/// Arguments of `get`.
#[derive(Clone, Debug, clap::Args)]
pub struct GetArgs {
    /// The key.
    #[arg(value_name = "KEY")]
    pub key: OsString,
    /// Print the revision of the last write in place of the value.
    #[arg(long)]
    pub revision: bool,
    /// How it is read.
    #[command(flatten)]
    pub read: ReadArgs,
    /// How keys are written.
    #[command(flatten)]
    pub keys: HexArgs,
}

/// Arguments of `put`.
#[derive(Clone, Debug, clap::Args)]
pub struct PutArgs {
    /// The key.
    #[arg(value_name = "KEY")]
    pub key: OsString,
    /// The value; - for what is on standard input.
    #[arg(value_name = "VALUE", required_unless_present = "file", conflicts_with = "file")]
    pub value: Option<OsString>,
    /// The value is what is in FILE.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Only if the key does not exist.
    #[arg(long, conflicts_with = "if_revision")]
    pub if_absent: bool,
    /// Only if the key was last written at revision N.
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArgs,
    /// How keys are written.
    #[command(flatten)]
    pub keys: HexArgs,
}

/// Arguments of `delete`.
#[derive(Clone, Debug, clap::Args)]
pub struct DeleteArgs {
    /// The key; with --prefix, how the keys begin.
    #[arg(value_name = "KEY", required_unless_present = "all", conflicts_with = "all")]
    pub key: Option<OsString>,
    /// Delete all keys that begin with KEY.
    #[arg(long, conflicts_with_all = ["all", "if_revision"])]
    pub prefix: bool,
    /// Delete all keys there are.
    #[arg(long, conflicts_with = "if_revision")]
    pub all: bool,
    /// Only if the key was last written at revision N.
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArgs,
    /// How keys are written.
    #[command(flatten)]
    pub keys: HexArgs,
}

/// Arguments of `keys`.
#[derive(Clone, Debug, clap::Args)]
pub struct KeysArgs {
    /// Only keys that begin with PREFIX.
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub prefix: OsString,
    /// Print the values, too.
    #[arg(long)]
    pub values: bool,
    /// At most N of them; if there are more, standard error says so.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Only keys after KEY.
    #[arg(long, value_name = "KEY")]
    pub after: Option<OsString>,
    /// How it is read.
    #[command(flatten)]
    pub read: ReadArgs,
    /// How keys are written.
    #[command(flatten)]
    pub keys: HexArgs,
}

/// Arguments of `txn`.
#[derive(Clone, Debug, clap::Args)]
pub struct TxnArgs {
    /// What to do, in lines; standard input if missing or -.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// Options of what reads.
#[derive(Clone, Debug, clap::Args)]
pub struct ReadArgs {
    /// What the agent has, without asking the leader: it may be old.
    #[arg(long)]
    pub stale: bool,
    /// How long to wait for a leader, for example 30s; at most 1min.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub timeout: Duration,
}

/// Options of what writes.
#[derive(Clone, Debug, clap::Args)]
pub struct WriteArgs {
    /// Only if TOKEN is that of the activation in force; in an event script, $RAFTCTL_TOKEN.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<u64>,
    /// How long to wait for the outcome, for example 30s; at most 1min.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub timeout: Duration,
}

/// How keys are written on the command line.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct HexArgs {
    /// Keys are in hexadecimal, as arguments and in what is printed as text.
    #[arg(long)]
    pub hex: bool,
}

impl HexArgs {
    /// The bytes of a key or prefix.
    fn read(self, text: &OsString) -> anyhow::Result<Vec<u8>> {
        let bytes = match self.hex {
            false => text.clone().into_vec(),
            true => text::unhex(text.as_bytes()).ok_or_else(|| {
                Exit::Usage.because(format!("{text:?}: expected hexadecimal digits, in pairs"))
            })?,
        };
        let (length, most) = (bytes.len(), limits::KV_KEY_MAX_BYTES);
        if length > most {
            let message = format!("key of {length} bytes, expected at most {most}");
            return Err(Exit::Usage.because(message));
        }
        Ok(bytes)
    }

    /// The bytes of a key.
    fn key(self, text: &OsString) -> anyhow::Result<Vec<u8>> {
        match self.read(text)? {
            empty if empty.is_empty() => Err(Exit::Usage.because("empty key, expected a key")),
            key => Ok(key),
        }
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let expected = "expected a time such as 30s, at most 1min";
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; {expected}"))?;
    match time.is_zero() || time > limits::KV_DEADLINE_MAX {
        true => Err(expected.to_owned()),
        false => Ok(time),
    }
}

fn usec(time: Duration) -> Option<u64> {
    Some(time.as_micros() as u64)
}

/// The failure of a read.
fn of_read(error: ClientError) -> Failure {
    not_found_is_no_failure(error.into())
}

/// The failure of a write: whoever does not hear its outcome does not know it.
fn of_write(error: ClientError) -> Failure {
    let unknown = matches!(error, ClientError::TimedOut { .. } | ClientError::Closed);
    let failure = not_found_is_no_failure(error.into());
    if !unknown {
        return failure;
    }
    let message = format!("{}; the write may or may not take effect", failure.message);
    Failure::new(Exit::TimedOut, message)
}

/// The same, with a status other than that of "not found".
fn not_found_is_no_failure(failure: Failure) -> Failure {
    match failure.exit {
        Exit::Failure => Failure { exit: Exit::StoreFailed, ..failure },
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_was_not_answered_may_have_been_done() {
        let timed_out = ClientError::TimedOut { call: "Put", waited_ms: 5 };
        for error in [timed_out, ClientError::Closed] {
            let failure = of_write(error);
            assert_eq!(failure.exit, Exit::TimedOut);
            assert!(failure.message.contains("may or may not"), "{failure}");
        }
        assert_eq!(of_read(ClientError::Closed).exit, Exit::NotRunning);
    }

    #[test]
    fn every_refusal_has_its_status_and_none_is_not_found() {
        let refused =
            |name: &str| ClientError::Refused { name: name.to_owned(), message: String::new() };
        for (name, expected) in [
            ("TokenMismatch", Exit::Precondition),
            ("PreconditionFailed", Exit::Precondition),
            ("Unavailable", Exit::NoLeader),
            ("OutcomeUnknown", Exit::TimedOut),
            ("QuotaExceeded", Exit::StoreFailed),
            ("Busy", Exit::StoreFailed),
            ("LimitsExceeded", Exit::StoreFailed),
            ("SomethingNew", Exit::StoreFailed),
            ("InvalidArgument", Exit::Usage),
            ("AccessDenied", Exit::NotPermitted),
            ("Stopping", Exit::NotRunning),
        ] {
            assert_eq!(of_write(refused(name)).exit, expected, "{name}");
            assert_eq!(of_read(refused(name)).exit, expected, "{name}");
        }
    }

    #[test]
    fn keys_may_be_hexadecimal() {
        let (hex, plain) = (HexArgs { hex: true }, HexArgs { hex: false });
        assert_eq!(hex.key(&"00fF0a".into()).unwrap(), [0, 255, 10]);
        assert_eq!(plain.key(&"00".into()).unwrap(), b"00");
        for wrong in ["0", "0g", "é", ""] {
            assert!(hex.key(&wrong.into()).is_err(), "{wrong}");
        }
        assert!(plain.key(&"x".repeat(1025).into()).is_err());
        assert!(plain.read(&"".into()).unwrap().is_empty());
    }

    #[test]
    fn a_timeout_is_some_time_and_not_too_much() {
        assert_eq!(timeout("1500ms").unwrap(), Duration::from_millis(1500));
        assert_eq!(timeout("1min").unwrap(), limits::KV_DEADLINE_MAX);
        for wrong in ["0s", "61s", "soon", ""] {
            assert!(timeout(wrong).is_err(), "{wrong}");
        }
    }
}
