//! Floor 5: the command line, an honest D-Bus client. It reads no state of its own, and shows
//! what the agents say.

pub mod args;
pub mod attach;
pub mod cluster;
pub mod complete;
pub mod config_check;
mod discover;
pub mod doctor;
use crate::exit;
pub mod init;
pub mod kv;
mod leader;
pub mod list;
pub mod log_level;
pub mod monitor;
pub mod output;
mod pager;
mod password;
mod service_manager;
pub mod standing;
pub mod start;
pub mod status;
mod takeover;
mod transfer;
mod version;
pub mod wait;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use crate::core::NodeName;
use args::{Arguments, ConfigVerb, Global, Json, Verb};
use cluster::{BusClient, ClusterVerb, Environment};
use discover::Found;
use exit::Exit;
use output::{Format, Progress, complain};
use pager::Paging;

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
    let verb = arguments.verb.as_ref().unwrap_or(&Verb::Status { of: None });
    Ok(match verb {
        Verb::Attach(args) => attach::attach(args, global, format)?,
        Verb::Detach(args) => attach::detach(args, format)?,
        Verb::Init(args) => {
            let (mut input, mut out) = (io::stdin().lock(), io::stdout().lock());
            init::run(args, format, &mut input, &mut out)?
        }
        Verb::Doctor(args) => {
            let quiet = Format { legend: false, ..format };
            let found = || Found::look(global, &environment, quiet);
            doctor::run(args, global, found, (format, &Paging::of_process(global)))?
        }
        Verb::Complete(args) => offer(&args.words, global, &environment)?,
        Verb::Version => version::run(format)?,
        Verb::Start => {
            let (config, agent) = (global.config.as_deref(), environment.agent.as_deref());
            start::run(config, global.node.as_ref(), agent)?
        }
        Verb::Cluster { verb: ClusterVerb::Test } if global.node.is_some() => {
            let message = "cluster test: expected no --node, it checks the whole cluster";
            return Err(Exit::Usage.because(message));
        }
        Verb::Cluster { verb } => {
            let environment = environment.with_config(global.config.clone());
            let cluster =
                |out: &mut dyn Write| cluster::run(verb, &environment, &BusClient, format, out);
            match verb {
                // These only show; the others have something to do whoever reads.
                ClusterVerb::Logs(_) => cluster(&mut io::stdout())?,
                _ => progressing(cluster)?,
            }
        }
        Verb::Config { verb: ConfigVerb::Check(args) } => {
            let mut err = Progress::new(io::stderr());
            progressing(|out| config_check::run(args, global.config.as_deref(), out, &mut err))?
        }
        verb => ask(verb, global, &environment, format)?,
    })
}

/// The verbs for which an agent is asked.
fn ask(
    verb: &Verb,
    global: &Global,
    environment: &Environment,
    format: Format,
) -> anyhow::Result<Exit> {
    let found = || Found::look(global, environment, format);
    let paging = Paging::of_process(global);
    let own = |of: &Option<NodeName>| of.clone().or(global.node.clone());
    Ok(match verb {
        Verb::Status { of } => status::run(&found()?, (format, &paging), of.as_ref())?,
        Verb::List => list::run(&found()?, (format, &paging))?,
        Verb::Monitor(args) => monitor::run(&found()?, format, &args.events)?,
        Verb::Transfer { to } => transfer::run(&found()?, format, to.as_ref())?,
        Verb::Takeover { force } => takeover::run(found, format, *force)?,
        Verb::Maintenance { switch, of } => {
            standing::maintenance(&found()?, format, *switch, own(of).as_ref())?
        }
        Verb::Clear { of } => standing::clear(&found()?, format, own(of).as_ref())?,
        Verb::Pause => standing::pause(&found()?, format)?,
        Verb::Resume { force } => standing::resume(&found()?, format, *force)?,
        Verb::Wait(args) => {
            // Whatever agent runs here can tell about every node.
            let anywhere = Global { node: None, ..global.clone() };
            let found = || Found::look(&anywhere, environment, format);
            wait::run(found, format, args, global.node.as_ref())?
        }
        Verb::Get(args) => kv::get(found, format, args)?,
        Verb::Put(args) => kv::put(found, format, args)?,
        Verb::Delete(args) => kv::delete(found, format, args)?,
        Verb::Keys(args) => kv::keys(found, format, args)?,
        Verb::Txn(args) => kv::txn(found, format, args)?,
        Verb::LogLevel { level } => {
            log_level::run(&found()?, format, *level, global.node.as_ref())?
        }
        _ => unreachable!("the caller does the others"),
    })
}

/// Prints what can follow `words`, the command line that somebody is typing.
fn offer(words: &[String], global: &Global, environment: &Environment) -> anyhow::Result<Exit> {
    let chosen = complete::chosen(words);
    // Nobody is asked for a password because of a key that was pressed.
    let mut global = Global { json: Json::Short, no_ask_password: true, ..global.clone() };
    let path = |name| chosen.get(name).map(PathBuf::from);
    global.config = path("--config").or(global.config);
    global.runtime_directory = path("--runtime-directory").or(global.runtime_directory);
    let format = Format::of_process(&global);
    let found = || Found::look(&global, environment, format);
    let root = path("--root").unwrap_or_else(|| PathBuf::from("/"));
    let host = complete::Host { found: &found, root: &root };
    let command = <Arguments as clap::CommandFactory>::command();
    let lines = complete::candidates(command, words, &host);
    output::print(&lines.into_iter().map(|line| line + "\n").collect::<String>())?;
    Ok(Exit::Ok)
}

/// Does `work` whoever reads standard output, and fails afterwards if it could not be written.
fn progressing(work: impl FnOnce(&mut dyn Write) -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    let mut out = Progress::new(io::stdout());
    let exit = work(&mut out)?;
    out.finish()?;
    Ok(exit)
}
