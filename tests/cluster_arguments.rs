//! The arguments of `cluster`, `start` and `config check` below options that every verb has.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};
use raftctl::cli::cluster::{ClusterArgs, ClusterVerb};
use raftctl::cli::config_check::ConfigCheckArgs;
use raftctl::cli::start::StartArgs;
use raftctl::core::NodeName;

/// A program with `--config` and `-n, --node` for every verb, before or after it.
#[derive(Debug, Parser)]
struct Program {
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[arg(short, long, global = true)]
    node: Option<NodeName>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Start(StartArgs),
    Cluster(ClusterArgs),
    ConfigCheck(ConfigCheckArgs),
}

fn parse(line: &str) -> Program {
    Program::try_parse_from(line.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"))
}

#[test]
fn the_definitions_fit_together() {
    Program::command().debug_assert();
}

#[test]
fn the_configuration_may_stand_anywhere() {
    for line in [
        "raftctl --config f cluster stop n1",
        "raftctl cluster --config f stop n1",
        "raftctl cluster stop n1 --config f",
        "raftctl cluster stop --config f -- n1",
    ] {
        let Verb::Cluster(ClusterArgs { config, verb: ClusterVerb::Stop(which) }) =
            parse(line).verb
        else {
            panic!("{line}");
        };
        assert_eq!(config, Some(PathBuf::from("f")), "{line}");
        assert_eq!(which.node.unwrap().as_str(), "n1", "{line}");
    }
    for line in ["raftctl --config f start --node n1", "raftctl start --config f --node n1"] {
        let Verb::Start(args) = parse(line).verb else { panic!("{line}") };
        assert_eq!(args.config, Some(PathBuf::from("f")), "{line}");
        assert_eq!(args.node.unwrap().as_str(), "n1", "{line}");
    }
}

#[test]
fn lines_of_logs_are_counted_with_n() {
    let line = "raftctl cluster logs n1 -f -n 3";
    let Verb::Cluster(ClusterArgs { verb: ClusterVerb::Logs(args), .. }) = parse(line).verb else {
        panic!();
    };
    assert_eq!((args.lines, args.follow, args.node.unwrap().as_str()), (3, true, "n1"));
    assert!(Program::try_parse_from("raftctl cluster logs -n many".split(' ')).is_err());
}

#[test]
fn check_wants_a_file() {
    let Verb::ConfigCheck(args) = parse("raftctl config-check a b").verb else { panic!() };
    assert_eq!(args.files, ["a", "b"].map(PathBuf::from));
    assert!(Program::try_parse_from(["raftctl", "config-check"]).is_err());
}
