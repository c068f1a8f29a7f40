//! Floor 5: the command line, an honest D-Bus client. It reads no state of its own, and shows
//! what the agents say.

pub mod args;
pub mod attach;
pub mod cluster;
pub mod config_check;
mod discover;
use crate::exit;
mod leader;
pub mod list;
pub mod monitor;
pub mod output;
mod service_manager;
pub mod start;
pub mod status;
mod takeover;
mod transfer;
mod version;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, ConfigVerb, Verb};
use cluster::{BusClient, ClusterVerb, Environment};
use discover::Found;
use exit::Exit;
use output::{Format, Progress, complain};

/// Runs the command line of this process; the result is its exit status.
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

/// Runs the command line `arguments`.
fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Also `--help`, which is no failure. Who reads it may be gone already.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    perform(&arguments).unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        Exit::of(&error)
    })
}

fn perform(arguments: &Arguments) -> anyhow::Result<Exit> {
    let global = &arguments.global;
    let format = Format::of_process(global);
    if arguments.version {
        return Ok(version::run(format)?);
    }
    let environment = Environment::of_process();
    let found = || Found::look(global, &environment, format);
    Ok(match &arguments.verb {
        None => status::run(&found()?, format, None)?,
        Some(Verb::Status { of }) => status::run(&found()?, format, of.as_ref())?,
        Some(Verb::List) => list::run(&found()?, format)?,
        Some(Verb::Monitor) => monitor::run(&found()?, format)?,
        Some(Verb::Transfer { to }) => transfer::run(&found()?, format, to.as_ref())?,
        Some(Verb::Takeover { force }) => takeover::run(found, format, *force)?,
        Some(Verb::Attach(args)) => attach::attach(args, global, format)?,
        Some(Verb::Detach(args)) => attach::detach(args, format)?,
        Some(Verb::Version) => version::run(format)?,
        Some(Verb::Start) => {
            let (config, agent) = (global.config.as_deref(), environment.agent.as_deref());
            start::run(config, global.node.as_ref(), agent)?
        }
        Some(Verb::Cluster { verb: ClusterVerb::Test }) if global.node.is_some() => {
            let message = "cluster test: expected no --node, it checks the whole cluster";
            return Err(Exit::Usage.because(message));
        }
        Some(Verb::Cluster { verb }) => {
            let environment = environment.with_config(global.config.clone());
            let cluster =
                |out: &mut dyn Write| cluster::run(verb, &environment, &BusClient, format, out);
            match verb {
                // These only show; the others have something to do whoever reads.
                ClusterVerb::Logs(_) => cluster(&mut io::stdout())?,
                _ => progressing(cluster)?,
            }
        }
        Some(Verb::Config { verb: ConfigVerb::Check(args) }) => {
            let mut err = Progress::new(io::stderr());
            progressing(|out| config_check::run(args, global.config.as_deref(), out, &mut err))?
        }
    })
}

/// Does `work` whoever reads standard output, and fails afterwards if it could not be written.
fn progressing(work: impl FnOnce(&mut dyn Write) -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    let mut out = Progress::new(io::stdout());
    let exit = work(&mut out)?;
    out.finish()?;
    Ok(exit)
}
