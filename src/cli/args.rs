//! The command line as data: one definition yields parsing, help and, later, manual pages.
//!
//! Every verb has an example in its help; the exit statuses are in the help of the program.

mod help;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::attach::{AttachArgs, DetachArgs};
use super::cluster::ClusterVerb;
use super::complete::CompleteArgs;
use super::config_check::ConfigCheckArgs;
use super::doctor::DoctorArgs;
use super::exit::Exit;
use super::init::InitArgs;
use super::kv::{DeleteArgs, GetArgs, KeysArgs, PutArgs, TxnArgs};
use super::log_level::Level;
use super::monitor::MonitorArgs;
use super::standing::Switch;
use super::wait::WaitArgs;
use crate::core::NodeName;
use help::*;

/// Runs any systemd unit on exactly one of several hosts: query and steer the agents.
///
/// Without a verb, shows the status of the cluster.
#[derive(Debug, Parser)]
#[command(name = "raftctl", after_help = program_help(), disable_help_subcommand = true)]
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
    /// The agents of this configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The agents whose socket is DIR/bus or DIR/*/bus.
    #[arg(long, global = true, value_name = "DIR", env = "RAFTCTL_RUNTIME_DIRECTORY")]
    pub runtime_directory: Option<PathBuf>,
    /// Only the local agent of this node.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// Print JSON, on one line or indented. Verbs that do something and only say how it goes
    /// (start, stop and the like) print text all the same.
    #[arg(long, global = true, value_name = "MODE", value_enum, default_value_t = Json::Off)]
    pub json: Json,
    /// Do not pipe output into a pager.
    #[arg(long, global = true)]
    pub no_pager: bool,
    /// Do not ask for a password where root or the group raftctl would not be asked.
    #[arg(long, global = true)]
    pub no_ask_password: bool,
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
    Monitor(MonitorArgs),
    /// Hand leadership to another node.
    #[command(after_help = TRANSFER_HELP)]
    Transfer {
        /// Who shall lead; the node that is furthest along if missing.
        #[arg(value_name = "NODE")]
        to: Option<NodeName>,
    },
    /// Let another node become active although the active one cannot say that it has stopped.
    #[command(after_help = TAKEOVER_HELP)]
    Takeover {
        /// The host of the active node is known to be down.
        #[arg(long)]
        force: bool,
    },
    /// Take a host out of service, or put it back: it hands over, and does not become active.
    #[command(after_help = MAINTENANCE_HELP)]
    Maintenance {
        /// Whether it is out of service.
        #[arg(value_enum, value_name = "on|off")]
        switch: Switch,
        /// The node; if missing, the only one of this host.
        #[arg(value_name = "NODE")]
        of: Option<NodeName>,
    },
    /// Pause the cluster: what is active stays so, and nothing else becomes active.
    #[command(after_help = PAUSE_HELP)]
    Pause,
    /// Let a paused cluster go on.
    #[command(after_help = RESUME_HELP)]
    Resume {
        /// Without the word of the active node: its host is known to be down.
        #[arg(long)]
        force: bool,
    },
    /// Forget that units of a host have failed, and end its hold-down.
    #[command(after_help = "Example:\n  raftctl clear n1")]
    Clear {
        /// The node; if missing, the only one of this host.
        #[arg(value_name = "NODE")]
        of: Option<NodeName>,
    },
    /// Wait until the cluster or a node is as wanted.
    #[command(after_help = WAIT_HELP)]
    Wait(WaitArgs),
    /// Print the value of a key of the replicated store.
    #[command(after_help = GET_HELP)]
    Get(GetArgs),
    /// Write a key of the replicated store.
    #[command(after_help = PUT_HELP)]
    Put(PutArgs),
    /// Delete a key of the replicated store, or keys by their beginning.
    #[command(after_help = DELETE_HELP)]
    Delete(DeleteArgs),
    /// List the keys of the replicated store.
    #[command(after_help = KEYS_HELP)]
    Keys(KeysArgs),
    /// Compare and write several keys of the replicated store at once.
    #[command(after_help = TXN_HELP)]
    Txn(TxnArgs),
    /// Show or change how much the agent logs.
    #[command(after_help = LEVEL_HELP)]
    LogLevel {
        /// From now on, until it is reloaded or started again.
        #[arg(value_enum, value_name = "LEVEL")]
        level: Option<Level>,
    },
    /// Make a unit of this host a member: it runs where the node is active, and nowhere else.
    #[command(after_help = ATTACH_HELP)]
    Attach(AttachArgs),
    /// Undo attach.
    #[command(after_help = DETACH_HELP)]
    Detach(DetachArgs),
    /// Write the configuration of this host's node.
    #[command(after_help = INIT_HELP)]
    Init(InitArgs),
    /// Check whether this host is fit for its node.
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArgs),
    /// Run the agents of a configuration file in the foreground.
    #[command(after_help = START_HELP)]
    Start,
    /// Run a whole cluster on this host, for development and for trying things.
    #[command(after_help = CLUSTER_HELP, disable_help_subcommand = true)]
    Cluster {
        /// What to do with it.
        #[command(subcommand)]
        verb: ClusterVerb,
    },
    /// Check configuration files.
    #[command(after_help = CONFIG_HELP, disable_help_subcommand = true)]
    Config {
        /// What to do with them.
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Say what can follow, for the completion of shells.
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
    /// Print the version.
    #[command(after_help = "Example:\n  raftctl version")]
    Version,
}

/// The verbs of `config`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigVerb {
    /// Say of each file whether an agent can use it, and if not, where and why.
    #[command(after_help = CHECK_HELP)]
    Check(ConfigCheckArgs),
}

fn program_help() -> String {
    let statuses = Exit::table(false);
    format!(
        "\
Where agents are looked for:
  --runtime-directory, else --config, else /run/raftctl. If no agent is there, the local cluster
  that \"raftctl cluster\" would use here; standard error says so, unless with --no-legend or
  --json.

Exit statuses:
{statuses}  \"raftctl start\" passes on the higher ones of its agents, see raftctld --help

Environment:
  RAFTCTL_RUNTIME_DIRECTORY  like --runtime-directory
  RAFTCTL_CLUSTER_CONFIG     configuration file of the local cluster
  RAFTCTLD                   the agent that \"start\" and \"cluster start\" run
  SYSTEMD_PAGER, PAGER       the pager; empty or \"cat\": none. SYSTEMD_LESS: options of less
  SYSTEMD_COLORS             1 or 0: colours or none, whatever the terminal
  NO_COLOR                   no colours, unless SYSTEMD_COLORS is set

Examples:
  raftctl                    show the cluster
  raftctl status n2          show one node in detail
  raftctl transfer n2        make n2 the leader
  raftctl cluster start      start a cluster here"
    )
}

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
    fn every_verb_has_an_example() {
        fn look(command: &clap::Command, path: &str) -> usize {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("\n  {path}")), "{path}: {help}");
            let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
            1 + verbs.map(|verb| look(verb, &format!("{path} {}", verb.get_name()))).sum::<usize>()
        }
        let command = <Arguments as clap::CommandFactory>::command();
        assert_eq!(look(&command, "raftctl"), 34);
    }

    fn parse(line: &str) -> Arguments {
        let parsed = Arguments::try_parse_from(line.split(' '));
        parsed.unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_configuration_is_one_option_wherever_it_stands() {
        for line in [
            "raftctl --config f cluster stop n1",
            "raftctl cluster --config f stop n1",
            "raftctl cluster stop n1 --config f",
            "raftctl cluster stop --config f -- n1",
            "raftctl --config f --node n1 cluster stop",
            "raftctl -n n2 --config f cluster stop n1",
        ] {
            let Arguments { global, verb, .. } = parse(line);
            let Some(Verb::Cluster { verb: ClusterVerb::Stop(which) }) = verb else {
                panic!("{line}");
            };
            assert_eq!(global.config, Some(PathBuf::from("f")), "{line}");
            assert_eq!(which.node.unwrap().as_str(), "n1", "{line}");
        }
        for line in [
            "raftctl --config f start --node n1",
            "raftctl start -n n1 --config f",
            "raftctl --config f config check -n n1",
            "raftctl config --config f check --node n1",
        ] {
            let Global { config, node, .. } = parse(line).global;
            assert_eq!(config, Some(PathBuf::from("f")), "{line}");
            assert_eq!(node.unwrap().as_str(), "n1", "{line}");
        }
    }

    #[test]
    fn lines_of_logs_are_counted_with_n() {
        let parsed = parse("raftctl cluster logs n1 -f -n 3");
        let Some(Verb::Cluster { verb: ClusterVerb::Logs(args) }) = parsed.verb else { panic!() };
        assert_eq!((args.lines, args.follow, args.node.unwrap().as_str()), (3, true, "n1"));
        let wrong = "raftctl cluster logs -n many".split(' ');
        assert!(Arguments::try_parse_from(wrong).is_err());
    }

    #[test]
    fn files_to_check_are_arguments() {
        let parsed = parse("raftctl config check a b");
        let Some(Verb::Config { verb: ConfigVerb::Check(args) }) = parsed.verb else { panic!() };
        assert_eq!(args.files, ["a", "b"].map(PathBuf::from));
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
