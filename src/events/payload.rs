//! What a script is told: thirteen facts, as environment and as JSON on standard input.
//!
//! In the JSON object every value is a string, exactly the one in the environment: a token has 64
//! bits, and a number of JavaScript has 53. (`journalctl --output=json` does the same.) A fact that
//! is not known is the empty string.

use std::time::Duration;

use super::{EventName, Occurrence};
use crate::limits::EVENT_REASON_MAX_CHARS;

/// Program search path of every script. The agent's own is not passed on.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Locale of every script.
const LANG: &str = "C.UTF-8";

/// Sequence number of what no event of the same run of the agent comes after. Exact as a number of
/// JavaScript.
const LAST_SEQUENCE: u64 = (1 << 53) - 1;

/// How many facts there are.
pub(super) const FACTS: usize = 13;

/// What a reason may have beside letters, digits and spaces: nothing that means something to a
/// shell.
pub(super) const REASON_SIGNS: &str = ",.:-_/";

/// Whether a reason may have this character.
pub(super) fn is_of_reason(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ' ' || REASON_SIGNS.contains(c)
}

/// A reason of ours as the scripts are told: whatever it says, it must not keep them from running.
fn plain(reason: &str) -> String {
    let reason = reason.trim_start_matches('-').chars().take(EVENT_REASON_MAX_CHARS);
    reason.map(|c| if is_of_reason(c) { c } else { '_' }).collect()
}

/// An occurrence with the number that tells its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    /// Rises with every event of one run of the agent; events that were replaced leave gaps.
    pub(super) sequence: u64,
    /// Number of the first consequence that its scripts stand for: its own, or that of a demotion
    /// which it replaced.
    pub(super) stands_for: u64,
    /// What happened.
    pub(super) occurrence: Occurrence,
}

/// What one script is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub(super) facts: [(&'static str, String); FACTS],
}

impl Payload {
    /// The facts for the script of `event` (which may be `change`), to be ended at `deadline`
    /// after 1970.
    pub(super) fn new(
        told: &Numbered,
        event: &str,
        cluster: &str,
        node: &str,
        deadline: Duration,
    ) -> Payload {
        let what = &told.occurrence;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let facts = [
            ("EVENT", event.to_owned()),
            ("ROLE", what.role.to_owned()),
            ("OLD_ROLE", what.old_role.to_owned()),
            ("CLUSTER", cluster.to_owned()),
            ("NODE", node.to_owned()),
            ("LEADER", text(&what.leader)),
            ("LEADER_ADDRESS", text(&what.leader_address)),
            ("TERM", what.term.to_string()),
            ("TOKEN", what.token.map(|token| token.to_string()).unwrap_or_default()),
            ("SEQUENCE", told.sequence.to_string()),
            ("REASON", plain(what.reason)),
            ("TIMESTAMP_USEC", what.timestamp_usec.to_string()),
            ("DEADLINE_USEC", deadline.as_micros().to_string()),
        ];
        Payload { facts }
    }

    /// The facts of the demotion of a node whose agent has ended, for the script of `follower`;
    /// what runs after the agent tells them. `now` and `deadline` are after 1970.
    pub fn of_ended_agent(
        cluster: &str,
        node: &str,
        token: Option<u64>,
        now: Duration,
        deadline: Duration,
    ) -> Payload {
        let event = EventName::Follower;
        let occurrence = Occurrence {
            number: 0,
            planned: false,
            event,
            role: event.as_str(),
            old_role: EventName::Leader.as_str(),
            leader: None,
            leader_address: None,
            // Not known; the token is what tells activations apart.
            term: 0,
            token,
            reason: "the agent has ended",
            timestamp_usec: now.as_micros() as u64,
        };
        let told = Numbered { sequence: LAST_SEQUENCE, stands_for: 0, occurrence };
        Payload::new(&told, event.as_str(), cluster, node, deadline)
    }

    /// The arguments of every script: event, role, cluster.
    pub fn arguments(&self) -> [&str; 3] {
        [0, 1, 3].map(|at| self.facts[at].1.as_str())
    }

    /// The whole environment.
    pub fn environment(&self) -> impl Iterator<Item = (String, &str)> {
        let fixed = [("PATH", PATH), ("LANG", LANG)];
        let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value));
        let facts = self.facts.iter();
        fixed.chain(facts.map(|(name, value)| (format!("RAFTCTL_{name}"), value.as_str())))
    }

    /// The JSON object, in one line.
    pub fn input(&self) -> Vec<u8> {
        let entries = self.facts.iter();
        let entries = entries.map(|(name, value)| (name.to_lowercase(), value.as_str().into()));
        let object: serde_json::Map<String, serde_json::Value> = entries.collect();
        let mut text = serde_json::Value::Object(object).to_string();
        text.push('\n');
        text.into_bytes()
    }
}
