//! Floor 0: the configuration file, from text to checked values.
//!
//! Parsers take `&str`; someone else opens the file. A [`Config`] is valid: names and addresses
//! follow their grammars, the node is a member, the timing fits together, paths are resolved. Past
//! this module there is no unchecked value. Every refusal says file, line, column, the value and
//! what was expected, and one run reports all that it can find.
//!
//! It does not look at the file system: whether a script exists or a directory can be written is
//! for those who use it.

mod authority;
mod difference;
mod digest;
mod error;
mod events;
mod http;
mod interpret;
pub mod keys;
mod kv;
mod nodes;
mod reader;
mod standing;
mod timing;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use difference::Difference;
pub use error::{ConfigError, ConfigErrors, Problem, SelectError};
pub use events::EventName;
pub use http::Http;
pub use kv::Kv;
pub use standing::{Eligibility, Health};

use crate::core::{Address, NodeId, NodeName};
use crate::limits;

/// File name of the private D-Bus socket in the runtime directory.
pub const SOCKET_NAME: &str = "bus";

/// The clock of elections: their durations are multiples of it.
pub const TICK: Duration = Duration::from_millis(10);

/// Everything one agent needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// The cluster it belongs to.
    pub cluster: Cluster,
    /// Timing of the election.
    pub raft: Raft,
    /// How long this host may take to give up, and who enforces it.
    pub authority: Authority,
    /// When this host may be active, and how much it should be.
    pub eligibility: Eligibility,
    /// What says whether this host is healthy.
    pub health: Health,
    /// Event scripts.
    pub events: Events,
    /// Who may use the agent over HTTP, and where.
    pub http: Http,
    /// How much the store holds.
    pub kv: Kv,
    /// What the agent writes about itself.
    pub log: Log,
}

/// `[node]`, or one of `[nodes.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its number in the member list.
    pub id: NodeId,
    /// Where the other members reach it; as written in the member list.
    pub address: Address,
    /// What it binds; a host name is resolved by whoever binds it.
    pub listen: Address,
    /// Where log, vote and state are kept.
    pub state_directory: PathBuf,
    /// Where the private socket is.
    pub runtime_directory: PathBuf,
}

impl Node {
    /// The private D-Bus socket; fits into `limits::SOCKET_PATH_MAX_BYTES`.
    pub fn socket(&self) -> PathBuf {
        self.runtime_directory.join(SOCKET_NAME)
    }
}

/// `[cluster]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name; follows the grammar of node names.
    pub name: String,
    /// 1 to `limits::MEMBERS_MAX` members, sorted by name, numbered from 1 in that order.
    pub members: Vec<Member>,
}

impl Cluster {
    /// The member called `name`.
    pub fn member(&self, name: &NodeName) -> Option<&Member> {
        self.members.iter().find(|m| m.name == *name)
    }
}

/// One member of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number: the position in the list sorted by name, from 1.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where the others reach it.
    pub address: Address,
}

/// `[raft]`. All are multiples of [`TICK`], and
/// `3 * heartbeat <= election_min`, `1.5 * election_min <= election_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raft {
    /// Pause between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// Silence after which a leader counts as lost (E of the design).
    pub election_min: Duration,
    /// Latest moment for a follower to ask for votes.
    pub election_max: Duration,
}

/// `[authority]`: D, W and G of the design, in whole milliseconds, with
/// `2 * (grace + TICK) <= watchdog` and `election_min <= watchdog`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// How long the leader target may take to stop (D).
    pub demote_timeout: Duration,
    /// `WatchdogSec=` of the agent (W).
    pub watchdog: Duration,
    /// How long after the end of its lease an agent may take to have the stop acknowledged (G).
    pub grace: Duration,
    /// What happens when the leader target has not stopped after `demote_timeout`.
    pub on_demote_timeout: OnDemoteTimeout,
    /// Who enforces all this; `None`: whoever started the agent tells.
    pub enforcement: Option<Enforcement>,
}

/// What happens when the leader target has not stopped in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDemoteTimeout {
    /// Nothing: nobody else is promoted until it has stopped, or an operator says so.
    None,
    /// Its processes are killed.
    Kill,
    /// The host is rebooted, at once.
    Reboot,
}

impl OnDemoteTimeout {
    /// All of them, the mildest first.
    pub const ALL: [OnDemoteTimeout; 3] =
        [OnDemoteTimeout::None, OnDemoteTimeout::Kill, OnDemoteTimeout::Reboot];

    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            OnDemoteTimeout::None => "none",
            OnDemoteTimeout::Kill => "kill",
            OnDemoteTimeout::Reboot => "reboot",
        }
    }
}

/// Who stops the leader target when the agent does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// systemd, by watchdog, `BindsTo=` and the fence.
    Systemd,
    /// Nobody.
    None,
}

/// `[events]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// The scripts, as resolved paths; they need not exist.
    pub scripts: BTreeMap<EventName, PathBuf>,
    /// How long a script may run before SIGTERM; more than zero.
    pub timeout: Duration,
    /// How long after SIGTERM it gets SIGKILL; more than zero.
    pub kill_after: Duration,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is written.
    pub level: LogLevel,
    /// Where to.
    pub target: LogTarget,
    /// In which form.
    pub format: LogFormat,
}

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is wrong, and survived.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// All levels, the most important first.
    pub const ALL: [LogLevel; 5] =
        [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

    /// The word in the file, which is also the one of tracing.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// A file, appended to; all nodes of one configuration file share it.
    File(PathBuf),
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object for each line.
    Json,
}

impl Config {
    /// Digest of the cluster name and the member list, the same on every member that was given the
    /// same cluster: 128-bit FNV-1a over the names and addresses, sorted by name, each followed by
    /// a zero byte. The spelling of addresses does not count. Stable between versions.
    pub fn bootstrap_digest(&self) -> [u8; 16] {
        digest::bootstrap_digest(&self.cluster)
    }
}

/// A whole file: one node, or several local ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    file: String,
    local_directory: PathBuf,
    nodes: Vec<Config>,
}

impl ConfigFile {
    /// Reads the text of a configuration file. `file` is how messages call it, and its stem names
    /// the directory of several local nodes; relative paths are relative to `base`, which should
    /// be absolute.
    pub fn parse(text: &str, file: &str, base: &Path) -> Result<ConfigFile, ConfigErrors> {
        let stem = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
        let local_directory = base.join(format!("{stem}.d"));
        let nodes = interpret::interpret(text, file, base, &local_directory)?;
        assert!(!nodes.is_empty(), "a file without a node is refused");
        Ok(ConfigFile { file: file.to_owned(), local_directory, nodes })
    }

    /// As [`ConfigFile::parse`], for bytes that may not be text. The caller may stop reading after
    /// `limits::CONFIG_MAX_BYTES + 1` bytes.
    pub fn parse_bytes(bytes: &[u8], file: &str, base: &Path) -> Result<ConfigFile, ConfigErrors> {
        let problem = match std::str::from_utf8(bytes) {
            _ if bytes.len() as u64 > limits::CONFIG_MAX_BYTES => {
                (0, Problem::TooLarge { limit: limits::CONFIG_MAX_BYTES })
            }
            Ok(text) => return ConfigFile::parse(text, file, base),
            Err(e) => (e.valid_up_to(), Problem::NotText { byte: bytes[e.valid_up_to()] }),
        };
        let before = String::from_utf8_lossy(&bytes[..problem.0]);
        let (line, column) = reader::position(&before, before.len());
        let file = file.to_owned();
        Err(ConfigErrors::new(vec![ConfigError { file, line, column, problem: problem.1 }]))
    }

    /// The nodes it describes, at least one, sorted by name.
    pub fn nodes(&self) -> &[Config] {
        &self.nodes
    }

    /// The node called `name`, or the only one.
    pub fn node(&self, name: Option<&str>) -> Result<&Config, SelectError> {
        let file = || self.file.clone();
        match (name, self.nodes.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(SelectError::Ambiguous { file: file(), nodes: self.names() }),
            (Some(name), nodes) => {
                let found = nodes.iter().find(|c| c.node.name.as_str() == name);
                let missing = || SelectError::NotHere {
                    file: file(),
                    name: name.to_owned(),
                    nodes: self.names(),
                };
                found.ok_or_else(missing)
            }
        }
    }

    /// How messages call the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// `BASE/STEM.d`: where the local nodes of this file keep what is not configured elsewhere.
    pub fn local_directory(&self) -> &Path {
        &self.local_directory
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.nodes.iter().map(|c| c.node.name.as_str()).collect();
        names.join(", ")
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
