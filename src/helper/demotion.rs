//! The event file of a demotion that the agent itself cannot report any more.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::core::role::EventName;

/// Writes the event file of the follower script.
pub(super) fn write(config: &Config, token: &str, most: Duration) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let facts = [
        ("event", "follower".to_owned()),
        ("role", "follower".to_owned()),
        ("old_role", "leader".to_owned()),
        ("cluster", config.cluster.name.clone()),
        ("node", config.node.name.to_string()),
        ("leader", String::new()),
        ("leader_address", String::new()),
        ("term", "0".to_owned()),
        ("token", token.to_owned()),
        ("sequence", LAST.to_string()),
        ("reason", "the agent has ended".to_owned()),
        ("timestamp_usec", now.as_micros().to_string()),
        ("deadline_usec", (now + most).as_micros().to_string()),
    ];
    let object: serde_json::Map<String, serde_json::Value> =
        facts.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let text = serde_json::Value::Object(object).to_string() + "\n";
    let path = config.node.runtime_directory.join(name(EventName::Follower));
    let new = path.with_extension("json.new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}

/// Removes every event file: a start that comes late runs nothing.
pub(super) fn withdraw(directory: &Path) {
    for event in EventName::ALL {
        let path = directory.join(name(event));
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}, ignoring", path.display());
        }
    }
}

fn name(event: EventName) -> String {
    format!("event-{event}.json")
}

/// No event of that run comes after it. Exact as a number of JavaScript.
const LAST: u64 = (1 << 53) - 1;
