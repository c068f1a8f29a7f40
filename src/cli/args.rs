//! The command line as data: one definition yields parsing, help and, later, manual pages.
//!
//! Every verb has an example in its help; the exit statuses are in the help of the program.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::core::NodeName;

/// Runs any systemd unit on exactly one of several hosts: query and steer the agents.
///
/// Without a verb, shows the status of the cluster.
#[derive(Debug, Parser)]
#[command(name = "raftctl", after_help = EXIT_STATUSES, disable_help_subcommand = true)]
pub struct Arguments {
    /// Print the version and exit.
    #[arg(short = 'v', long)]
    pub version: bool,
    /// Options of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do; `status` if missing.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Options of every verb, before or after it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Talk to the agents of this configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Talk to the agents whose socket is DIR/bus or DIR/*/bus.
    #[arg(long, global = true, value_name = "DIR", env = "RAFTCTL_RUNTIME_DIRECTORY")]
    pub runtime_directory: Option<PathBuf>,
    /// Talk to the local agent of this node.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// Print JSON, on one line or indented.
    #[arg(long, global = true, value_name = "MODE", value_enum, default_value_t = Json::Off)]
    pub json: Json,
    /// Do not pipe output into a pager. Accepted for compatibility: there is none.
    #[arg(long, global = true)]
    pub no_pager: bool,
    /// Print neither column headers nor the footer.
    #[arg(long, global = true)]
    pub no_legend: bool,
}

/// Whether and how to print JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Json {
    /// All on one line.
    Short,
    /// Indented.
    Pretty,
    /// Text for people.
    Off,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Show the cluster and its nodes, or one node in detail.
    #[command(visible_alias = "state", after_help = STATUS_HELP)]
    Status {
        /// The node to show in detail; any member of the cluster.
        #[arg(value_name = "NODE")]
        of: Option<NodeName>,
    },
    /// List the agents running on this host.
    #[command(after_help = "Example:\n  raftctl list --json=pretty")]
    List,
    /// Follow changes of role and leader until interrupted.
    #[command(after_help = MONITOR_HELP)]
    Monitor,
    /// Hand leadership to another node.
    #[command(after_help = TRANSFER_HELP)]
    Transfer {
        /// Who shall lead; the node that is furthest along if missing.
        #[arg(value_name = "NODE")]
        to: Option<NodeName>,
    },
    /// Print the version.
    #[command(after_help = "Example:\n  raftctl version")]
    Version,
}

const EXIT_STATUSES: &str = "\
Exit statuses:
  0  success
  1  failure
  2  wrong usage
  3  no agent is running, or it does not answer
  4  not permitted
  5  the cluster has no leader
  6  timed out

Environment:
  RAFTCTL_RUNTIME_DIRECTORY  like --runtime-directory
  NO_COLOR                   no colours, whatever the terminal

Examples:
  raftctl                    show the cluster
  raftctl status n2          show one node in detail
  raftctl transfer n2        make n2 the leader";

const STATUS_HELP: &str = "\
The leader is marked with a star. A node that does not answer within 500 ms is shown as
unreachable. The exit status is 5 when the cluster has no leader.

Example:
  raftctl status --json=pretty n2";

const MONITOR_HELP: &str = "\
Prints the present state first, then one line (or one JSON object) for each change. When the
agent goes away it says so, and goes on when the agent is back.

Example:
  raftctl monitor --json=short | while read -r change; do logger \"$change\"; done";

const TRANSFER_HELP: &str = "\
The present leader hands over and the command returns when the new one leads. If the agent asked
does not lead, the leader's agent is asked when it runs on this host.

Example:
  raftctl transfer n2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn global_options_may_stand_on_both_sides_of_the_verb() {
        for line in [
            "raftctl --config f -n n1 --json=short status",
            "raftctl state --json short -n n1 --config f",
        ] {
            let parsed = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert!(matches!(parsed.verb, Some(Verb::Status { of: None })), "{line}");
            assert_eq!(parsed.global.config, Some(PathBuf::from("f")), "{line}");
            assert_eq!(parsed.global.node, Some("n1".parse().unwrap()), "{line}");
            assert_eq!(parsed.global.json, Json::Short, "{line}");
        }
    }

    #[test]
    fn a_wrong_argument_is_named_with_its_value_and_what_was_expected() {
        let line = ["raftctl", "status", "N_1"];
        let error = Arguments::try_parse_from(line).unwrap_err().to_string();
        for part in ["NODE", "N_1", "lower-case letter"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
