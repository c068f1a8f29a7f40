//! Floor 5: the helper. One program for the three things that the unprivileged agent cannot do
//! itself, each started by a unit of ours: as root by `raftctl-event@` and `raftctl-fence@`, and
//! after the agent, as its user, by `raftctl@`.
//!
//! Guarantees: a verb gets one argument, which follows a grammar BEFORE anything is opened; there
//! is no option, since the agent chooses the instance name of a unit and so the argument. Every
//! path is fixed here or comes from a file that only root can write.
//!
//! Does not: decide when something happens (the agent, or systemd, starts the unit), or, as root,
//! read its environment.

mod announce;
mod configuration;
mod demotion;
pub mod event;
pub mod fence;
pub mod release;
mod trust;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::str::FromStr;

use crate::exit::{Exit, Failure};
use crate::log;

const USAGE: &str = "\
Usage: raftctl-helper VERB ARGUMENT

Started by units of raftctl. There is no reason to call it by hand.

Verbs:
  event NODE:EVENT   run the event script of a node
  release NODE       after its agent: stop what ran, say that it has stopped
  fence NODE         kill what did not stop in time
";

/// Runs the verb of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut words: Vec<&str> = Vec::new();
    for argument in &arguments {
        match argument.to_str() {
            Some(word) => words.push(word),
            None => return complain("", &usage(format!("argument {argument:?} is not text"))),
        }
    }
    if let ["--help"] = words[..] {
        let _ = write!(std::io::stdout(), "{USAGE}\nExit statuses:\n{}", statuses());
        return Exit::Ok.into();
    }
    match dispatch(&words) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => complain(&words.join(" "), &failure),
    }
}

/// One verb, one argument.
fn dispatch(words: &[&str]) -> Result<(), Failure> {
    match words {
        ["event", instance] => event::run(&argument(instance)?),
        ["release", node] => release::run(&argument(node)?),
        ["fence", node] => fence::run(&argument(node)?),
        ["event" | "release" | "fence", ..] => Err(usage("expected exactly one argument")),
        [verb, ..] => Err(usage(format!("unknown verb {verb:?}, expected event, release, fence"))),
        [] => Err(usage("no verb, expected event, release or fence")),
    }
}

/// The argument, which follows its grammar.
fn argument<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: T::Err| usage(error.to_string()))
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

fn statuses() -> String {
    Exit::table(false) + &Exit::table(true)
}

fn complain(what: &str, failure: &Failure) -> ExitCode {
    let prefix = log::error_prefix();
    for line in failure.message.lines() {
        let _ = writeln!(std::io::stderr(), "{prefix}raftctl-helper {what}: {line}");
    }
    failure.exit.into()
}
