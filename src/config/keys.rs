//! Every section and key of the configuration file, as data.
//!
//! The check for unknown keys, the "expected ..." of messages and the manual page
//! raftctl.toml(5) all come from [`KEYS`]; a key that is not here does not exist.

mod kind;

pub use kind::Kind;

/// A section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Name, as in `[name]`.
    pub name: &'static str,
    /// One line for the manual.
    pub doc: &'static str,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The section it belongs to.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// The default, in words or as it would be written; `None`: the key is required or, for event
    /// scripts and the log file, nothing happens without it (`doc` says which).
    pub default: Option<&'static str>,
    /// One line for the manual.
    pub doc: &'static str,
}

impl Key {
    /// The key `name` of `section`.
    pub fn find(section: &str, name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.section == section && key.name == name)
    }
}

/// The sections this version knows.
pub const SECTIONS: &[Section] = &[
    Section { name: "node", doc: "This node; beside [nodes.NAME] tables, what they share." },
    Section { name: "nodes", doc: "Several local nodes in one file: [nodes.NAME] as [node]." },
    Section { name: "cluster", doc: "The cluster and its members; the same on every host." },
    Section { name: "raft", doc: "Timing of the election; the same on every host." },
    Section { name: "authority", doc: "How long this host may take to give up being active." },
    Section {
        name: "eligibility",
        doc: "When this host may be active, and how much it should be.",
    },
    Section { name: "health", doc: "A program that says whether this host is healthy." },
    Section { name: "events", doc: "Scripts that run when something happens to this node." },
    Section { name: "http", doc: "The store and the state of the node over HTTP." },
    Section { name: "kv", doc: "The store; the same on every host." },
    Section { name: "log", doc: "What the agent writes about itself, and where." },
];

/// Sections that later versions will know; refused until then, so that nobody believes they work.
pub const RESERVED: &[&str] = &["fence"];

/// Every key.
pub const KEYS: &[Key] = &[
    key("node", "name", Kind::Name, None, "Name of this node, one of the members. Required."),
    key(
        "node",
        "address",
        Kind::Address,
        Some("this member's address in the list"),
        "Where the other members reach this node; equals its address in the list.",
    ),
    key(
        "node",
        "listen",
        Kind::Address,
        Some("the address"),
        "Address to bind, when it differs from the one the others connect to.",
    ),
    key(
        "node",
        "state_directory",
        Kind::Path,
        Some("/var/lib/raftctl/NAME; with [nodes.NAME], FILE.d/NAME/state beside the file"),
        "Where the log, the vote and the replicated state are kept. Beside [nodes.NAME] tables, \
         the parent of one directory for each node.",
    ),
    key(
        "node",
        "runtime_directory",
        Kind::Path,
        Some("/run/raftctl/NAME; with [nodes.NAME], FILE.d/NAME/run beside the file"),
        "Where the private socket is. Beside [nodes.NAME] tables, the parent of one directory \
         for each node.",
    ),
    key("cluster", "name", Kind::Name, Some("main"), "Name of the cluster."),
    key(
        "cluster",
        "members",
        Kind::Members,
        None,
        "The 1 to 7 members by name, each with its address. Required.",
    ),
    key(
        "raft",
        "heartbeat",
        Kind::Duration,
        Some("a fifth of election_min, which is 40ms"),
        "Pause between two heartbeats of the leader; a multiple of 10ms.",
    ),
    key(
        "raft",
        "election_min",
        Kind::Duration,
        Some("200ms"),
        "Silence after which a leader counts as lost; 50ms to 60s, a multiple of 10ms, at least \
         three heartbeats.",
    ),
    key(
        "raft",
        "election_max",
        Kind::Duration,
        Some("twice election_min, which is 400ms"),
        "Latest moment for a follower to ask for votes; at least one and a half times \
         election_min, at most 10min, a multiple of 10ms.",
    ),
    key(
        "authority",
        "demote_timeout",
        Kind::Duration,
        Some("1500ms"),
        "How long raftctl-leader@NAME.target may take to stop when this node loses its authority; \
         500ms to 10min. The others wait for it before one of them becomes active.",
    ),
    key(
        "authority",
        "watchdog",
        Kind::Duration,
        Some("500ms, or two and a half times election_min if that is longer"),
        "How long the agent may be stuck before systemd kills it, which stops the target too; \
         100ms to 5min, at least election_min and twice the sum of grace and 10ms.",
    ),
    key(
        "authority",
        "grace",
        Kind::Duration,
        Some("100ms"),
        "How long after losing its authority the agent may take to have the stop of the target \
         acknowledged before it is killed; 10ms to 1min.",
    ),
    key(
        "authority",
        "on_demote_timeout",
        Kind::OnDemoteTimeout,
        Some("kill"),
        "What happens to a target that has not stopped after demote_timeout: its processes are \
         killed, the host is rebooted, or nothing; then no other node becomes active.",
    ),
    key(
        "authority",
        "enforcement",
        Kind::Enforcement,
        Some("systemd if it started the agent, none otherwise"),
        "Who stops the target when the agent cannot.",
    ),
    key(
        "eligibility",
        "priority",
        Kind::Number,
        Some("100"),
        "How much this node should be preferred when a leader is elected; 0 to 1000, the highest \
         first.",
    ),
    key(
        "eligibility",
        "preempt",
        Kind::Flag,
        Some("false"),
        "Whether this node, while it is active, hands over to an eligible one with a higher \
         priority.",
    ),
    key(
        "eligibility",
        "eligible_while",
        Kind::Units,
        Some("none"),
        "Units without which this host may not be active: each has to be active or reloading; at \
         most 16. They must run whether or not this node is active.",
    ),
    key(
        "eligibility",
        "failures",
        Kind::Number,
        Some("3"),
        "How many failures of units that join raftctl-leader@NAME.target, within window, make this \
         node hand over and hold it down; 1 to 100.",
    ),
    key(
        "eligibility",
        "window",
        Kind::Duration,
        Some("10min"),
        "How long such a failure counts; 1s to 24h.",
    ),
    key(
        "eligibility",
        "hold_down",
        Kind::Duration,
        Some("1min"),
        "How long a node that is held down may not be active; doubled each time that it happens \
         again soon; 1s to 24h. \"raftctl clear\" ends it.",
    ),
    key(
        "eligibility",
        "hold_down_max",
        Kind::Duration,
        Some("1h, or hold_down if that is longer"),
        "How long that may become; at least hold_down, at most 24h.",
    ),
    key(
        "health",
        "command",
        Kind::Command,
        None,
        "Program, by its absolute path, and arguments; exit status 0 says that this host is \
         healthy. It runs as the agent's user and in its sandbox. None by default.",
    ),
    key(
        "health",
        "interval",
        Kind::Duration,
        Some("5s"),
        "From one start of the command to the next; 100ms to 1h.",
    ),
    key(
        "health",
        "timeout",
        Kind::Duration,
        Some("5s, or interval if that is shorter"),
        "How long the command may run before it is killed, which counts as a failure; at least \
         10ms, at most interval.",
    ),
    key(
        "health",
        "rise",
        Kind::Number,
        Some("2"),
        "Successes in a row after which an unhealthy host counts as healthy; 1 to 100. The first \
         result after the start of the agent decides alone, and until then this host may not be \
         active.",
    ),
    key(
        "health",
        "fall",
        Kind::Number,
        Some("3"),
        "Failures in a row after which a healthy host counts as unhealthy; 1 to 100.",
    ),
    script("leader", "Script that runs when this node becomes leader. None by default."),
    script("follower", "Script that runs when this node becomes follower. None by default."),
    script("candidate", "Script that runs when this node becomes candidate. None by default."),
    script("learner", "Script that runs when this node becomes learner. None by default."),
    script("change", "Script that runs for every one of these four. None by default."),
    script("active", "Script that runs when this node has become active. None by default."),
    script("released", "Script that runs when this node is active no longer. None by default."),
    script("quorum-lost", "Script that runs when no quorum is heard any more. None by default."),
    script("quorum-regained", "Script that runs when a quorum is heard again. None by default."),
    script("fenced", "Script that runs when something was ended by force. None by default."),
    script("maintenance", "Script that runs when maintenance begins or ends. None by default."),
    key(
        "events",
        "timeout",
        Kind::Duration,
        Some("30s"),
        "How long a script may run before its process group gets SIGTERM; at most 24h.",
    ),
    key(
        "events",
        "kill_after",
        Kind::Duration,
        Some("5s"),
        "How long after SIGTERM the group gets SIGKILL; at most 24h.",
    ),
    key(
        "http",
        "listen",
        Kind::Address,
        None,
        "Address to serve HTTP on. Off by default. One that is not of the loopback interface needs \
         a token. Several local nodes need one each, in [nodes.NAME.http].",
    ),
    key(
        "http",
        "token_file",
        Kind::Path,
        Some("the credential http-token, if systemd passes one"),
        "File with the token that clients have to show; its first line, of 16 to 512 characters. \
         Read at the start and at each reload.",
    ),
    key(
        "http",
        "allow_origins",
        Kind::Origins,
        Some("none"),
        "Web pages whose scripts may use it (CORS), by their origins; at most 16.",
    ),
    key(
        "http",
        "connections",
        Kind::Number,
        Some("1024"),
        "Connections that are open at once; 1 to 8192. One more is told to try again, and closed.",
    ),
    key(
        "http",
        "rate",
        Kind::Number,
        Some("100000"),
        "Requests a second that one client address may make, as many at once; 1 to 1000000.",
    ),
    key(
        "kv",
        "quota",
        Kind::Size,
        Some("256MiB"),
        "How much the store may hold, keys and values and 32 bytes for each of them; 1MiB to 8GiB. \
         A write that would grow it beyond that is refused, by the quota of the node that was asked.",
    ),
    key(
        "kv",
        "snapshot_rate",
        Kind::Size,
        Some("32MiB"),
        "How much of the store is sent in a second to a member that has been away for too long to \
         be given the log; 64KiB to 1GiB.",
    ),
    key("log", "level", Kind::Level, Some("info"), "The least important level that is written."),
    key("log", "file", Kind::Path, None, "File to append to. Standard error by default."),
    key("log", "format", Kind::Format, Some("text"), "One line of text or of JSON for each event."),
];

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Key {
    Key { section, name, kind, default, doc }
}

const fn script(name: &'static str, doc: &'static str) -> Key {
    key("events", name, Kind::Path, None, doc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EventName;

    #[test]
    fn every_key_is_once_in_a_known_section() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(SECTIONS.iter().any(|s| s.name == key.section), "{key:?}");
            assert!(key.doc.ends_with('.'), "{key:?}");
            let same = |k: &Key| (k.section, k.name) == (key.section, key.name);
            assert!(!KEYS[..at].iter().any(same), "{key:?} twice");
        }
    }

    #[test]
    fn every_event_has_a_key() {
        for event in EventName::ALL {
            assert!(Key::find("events", event.as_str()).is_some(), "{event}");
        }
    }

    #[test]
    fn reserved_sections_are_not_known() {
        assert!(RESERVED.iter().all(|r| SECTIONS.iter().all(|s| s.name != *r)));
    }
}
