//! Floor 5: the command line.

pub mod cluster;
pub mod config_check;
pub mod exit;
pub mod start;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use exit::Exit;

#[derive(clap::Parser)]
#[command(name = "raftctl")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Run the agents of a configuration file in the foreground
    Start(start::StartArgs),
    /// A local cluster
    Cluster(cluster::ClusterArgs),
    /// Configuration files
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
}

#[derive(clap::Subcommand)]
enum ConfigVerb {
    /// Check configuration files
    Check(config_check::ConfigCheckArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = run(&Args::parse());
    let exit = result.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "raftctl: {error:#}");
        Exit::of(&error)
    });
    exit.into()
}

fn run(args: &Args) -> anyhow::Result<Exit> {
    let environment = cluster::Environment::of_process()?;
    let out = &mut io::stdout();
    match &args.verb {
        Verb::Start(args) => start::run(args, environment.agent.as_deref()),
        Verb::Cluster(args) => cluster::run(args, &environment, &Connecting, out),
        Verb::Config { verb: ConfigVerb::Check(args) } => {
            config_check::run(args, out, &mut io::stderr())
        }
    }
}

/// Knows only whether somebody listens.
struct Connecting;

impl cluster::Client for Connecting {
    fn status_of(&self, socket: &Path, _: Duration) -> anyhow::Result<serde_json::Value> {
        std::os::unix::net::UnixStream::connect(socket)?;
        anyhow::bail!("this client cannot ask")
    }

    fn transfer(&self, _: &Path, _: Option<&str>, _: Duration) -> anyhow::Result<String> {
        anyhow::bail!("this client cannot ask")
    }
}
