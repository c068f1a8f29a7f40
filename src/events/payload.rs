//! What a script is told: thirteen facts, as environment and as JSON on standard input.
//!
//! In the JSON object every value is a string, exactly the one in the environment: a token has 64
//! bits, and a number of JavaScript has 53. (`journalctl --output=json` does the same.) A fact that
//! is not known is the empty string.

use std::time::Duration;

use super::Occurrence;

/// Program search path of every script. The agent's own is not passed on.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Locale of every script.
const LANG: &str = "C.UTF-8";

/// An occurrence with the number that tells its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    /// Rises with every event of one run of the agent; events that were replaced leave gaps.
    pub(super) sequence: u64,
    /// What happened.
    pub(super) occurrence: Occurrence,
}

/// What one script is told.
pub(super) struct Payload {
    facts: [(&'static str, String); 13],
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
            ("REASON", what.reason.to_owned()),
            ("TIMESTAMP_USEC", what.timestamp_usec.to_string()),
            ("DEADLINE_USEC", deadline.as_micros().to_string()),
        ];
        Payload { facts }
    }

    /// The whole environment.
    pub(super) fn environment(&self) -> impl Iterator<Item = (String, &str)> {
        let fixed = [("PATH", PATH), ("LANG", LANG)];
        let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value));
        let facts = self.facts.iter();
        fixed.chain(facts.map(|(name, value)| (format!("RAFTCTL_{name}"), value.as_str())))
    }

    /// The JSON object, in one line.
    pub(super) fn input(&self) -> Vec<u8> {
        let entries = self.facts.iter();
        let entries = entries.map(|(name, value)| (name.to_lowercase(), value.as_str().into()));
        let object: serde_json::Map<String, serde_json::Value> = entries.collect();
        let mut text = serde_json::Value::Object(object).to_string();
        text.push('\n');
        text.into_bytes()
    }
}
