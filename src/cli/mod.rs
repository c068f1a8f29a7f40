//! Floor 5: the command line, an honest D-Bus client. It reads no state of its own, and shows
//! what the agents say.

pub mod args;
pub mod cluster;
pub mod config_check;
mod discover;
pub mod exit;
pub mod list;
pub mod monitor;
pub mod output;
pub mod start;
pub mod status;
mod transfer;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Verb};
use discover::{ConfigInstances, Found};
use output::{Failure, Format, exit as code};

/// Runs the command line of this process; the result is its exit status.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os(), None))
}

/// Runs the command line `arguments`; `config` finds the agents of a configuration file.
fn run(arguments: impl IntoIterator<Item = OsString>, config: Option<ConfigInstances>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Also `--help`, which is no failure. Who reads it may be gone already.
            let _ = error.print();
            return if error.use_stderr() { code::USAGE } else { code::OK };
        }
    };
    match perform(&arguments, config) {
        Ok(status) => status,
        Err(Failure { message, status }) => {
            if !message.is_empty() {
                eprintln!("raftctl: {message}");
            }
            status
        }
    }
}

fn perform(arguments: &Arguments, config: Option<ConfigInstances>) -> Result<u8, Failure> {
    let format = Format::of_process(&arguments.global);
    if arguments.version {
        return version::run(format);
    }
    let found = || Found::look(&arguments.global, config);
    match &arguments.verb {
        None => status::run(&found()?, format, None),
        Some(Verb::Status { of }) => status::run(&found()?, format, of.as_ref()),
        Some(Verb::List) => list::run(&found()?, format),
        Some(Verb::Monitor) => monitor::run(&found()?, format),
        Some(Verb::Transfer { to }) => transfer::run(&found()?, format, to.as_ref()),
        Some(Verb::Version) => version::run(format),
    }
}
