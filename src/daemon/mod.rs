//! Floor 5: the agent, put together. Reads the configuration, opens the state, binds the sockets,
//! starts disk, transport, driver, scripts and private bus, and takes them down again on SIGTERM.
//!
//! Owns the process: its exit status, its signals, its log. Decides nothing about the cluster.

mod buses;
mod enforcement;
mod error;
mod further;
mod host;
mod http;
mod logging;
mod memory;
mod publish;
mod reload;
mod scripts;
mod setup;
mod standing;
mod supervisor;
mod units;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::config::{Config, ConfigFile};
use crate::exit::Exit;
use crate::limits;
use crate::log;
use crate::systemd::listen::{self, RaftSocket};
use error::SetupError;

/// The raftctl agent: elects one leader among several hosts and acts on the outcome.
#[derive(Clone, Debug, Parser)]
#[command(name = "raftctld", version, after_help = after_help())]
struct Arguments {
    /// The configuration file; see raftctl.toml(5).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Which node of the file to be, if it describes several.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Read and check the configuration, then exit.
    #[arg(long)]
    check: bool,
}

/// The definition of its command line, for the manual.
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// The end of `--help`.
fn after_help() -> String {
    let statuses = Exit::table(true);
    format!(
        "Signals:\n  SIGTERM, SIGINT   hand over leadership if held, then exit 0\n  \
         SIGHUP            read the configuration again; [events], [health], log level and \
         most\n                    of [eligibility] and [http] take effect\n\n\
         Exit statuses:\n  0   stopped as asked, or the configuration is good\n{statuses}\n\
         Example:\n  raftctld --config /etc/raftctl/n1.toml"
    )
}

/// Runs the agent of this process until it is asked to stop.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let config = match read_config(&arguments) {
        Ok(config) => config,
        Err(text) => return complain(&text, Exit::Configuration),
    };
    if arguments.check {
        let (file, name) = (arguments.config.display(), &config.node.name);
        let (count, cluster) = (config.cluster.members.len(), &config.cluster.name);
        let line = format!("{file}: ok: node {name} of {count} in cluster {cluster}");
        let _ = writeln!(std::io::stdout(), "{line}");
        return Exit::Ok.into();
    }
    // BEFORE any thread: this reads and changes the environment.
    let run = |passed| run(&config, passed, &arguments);
    match listen::take().map_err(SetupError::Passed).and_then(run) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            let exit = error.exit();
            complain(&format!("{:#}", anyhow::Error::new(error)), exit)
        }
    }
}

fn complain(text: &str, exit: Exit) -> ExitCode {
    let prefix = log::error_prefix();
    for line in text.lines() {
        let _ = writeln!(std::io::stderr(), "{prefix}raftctld: {line}");
    }
    exit.into()
}

/// The configuration of the node to be, or what to tell the operator.
fn read_config(arguments: &Arguments) -> Result<Config, String> {
    use std::io::Read as _;
    let path = &arguments.config;
    let name = path.display().to_string();
    let cannot = |e: std::io::Error| format!("cannot read configuration {name:?}: {e}");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(limits::CONFIG_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    let absolute = std::path::absolute(path).map_err(cannot)?;
    let base = absolute.parent().unwrap_or_else(|| std::path::Path::new("/"));
    let file = ConfigFile::parse_bytes(&bytes, &name, base).map_err(|e| e.to_string())?;
    let config = file.node(arguments.node.as_deref()).map_err(|e| e.to_string())?;
    Ok(config.clone())
}

/// A file that would outgrow `LimitFSIZE=` is to be an error of that write, not the end without a
/// word that SIGXFSZ brings (setrlimit(2)). A handler that does nothing, because an ignored signal
/// would stay ignored in event scripts (execve(2)).
fn survive_file_size_limit() -> Result<(), SetupError> {
    extern "C" fn nothing(_: nix::libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing, so it may interrupt everything.
    let set = unsafe { sigaction(Signal::SIGXFSZ, &action) };
    set.map(drop).map_err(|errno| SetupError::System(errno.into()))
}

fn run(
    config: &Config,
    passed: Option<RaftSocket>,
    arguments: &Arguments,
) -> Result<(), SetupError> {
    survive_file_size_limit()?;
    let log = logging::start(config)?;
    if host::is_service() {
        memory::lock();
    }
    let prepared = setup::prepare(config, passed)?;
    let arguments = arguments.clone();
    let read: reload::Read = Arc::new(move || read_config(&arguments));
    let result = setup::serve(config, prepared, read, log.level.clone());
    drop(log);
    result
}
