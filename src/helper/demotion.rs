//! The event file of a demotion that the agent itself cannot report any more.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::core::role::EventName;
use crate::events::event_file;
use crate::events::payload::Payload;

/// Writes the event file of the follower script, which may take `most`. `token` is as the agent
/// wrote it.
pub(super) fn write(config: &Config, token: &str, most: Duration) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (cluster, node) = (&config.cluster.name, config.node.name.as_str());
    let payload = Payload::of_ended_agent(cluster, node, token.parse().ok(), now, now + most);
    event_file::write(&config.node.runtime_directory, EventName::Follower, &payload)
}

/// Removes every event file: a start that comes late runs nothing.
pub(super) fn withdraw(directory: &Path) {
    for event in EventName::ALL {
        if let Err(error) = event_file::remove(directory, event) {
            let path = event_file::path(directory, event);
            tracing::warn!("cannot remove {}: {error}, ignoring", path.display());
        }
    }
}
