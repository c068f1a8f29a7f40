//! The event scripts of this agent: what is configured, and what they are told.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;

use super::standing::Loaded;
use super::{further, host};
use crate::config::Config;
use crate::core::authority::Timing;
use crate::events::{Backend, Occurrence, Scripts, ScriptsConfig};
use crate::node::event::Consequence;
use crate::node::handle::NodeHandle;
use crate::node::metrics::Metrics;
use crate::node::status::NodeStatus;
use crate::systemd::host::HostHandle;

/// What the scripts depend on that no file can change while the agent runs.
pub(super) struct Running {
    /// Who runs them.
    backend: Backend,
    /// When a demotion is fenced.
    fence_after: Option<Duration>,
    /// Where it is counted how they end.
    metrics: Arc<Metrics>,
}

impl Running {
    pub(super) fn of(
        config: &Config,
        timing: &Timing,
        on_host: Option<&HostHandle>,
        metrics: &Arc<Metrics>,
    ) -> Running {
        Running {
            metrics: Arc::clone(metrics),
            backend: host::scripts_backend(config, on_host),
            fence_after: host::fence_after(config, timing),
        }
    }
}

/// What the scripts of this node are.
pub(super) fn config_of(config: &Config, running: &Running) -> ScriptsConfig {
    ScriptsConfig {
        scripts: config.events.scripts.clone(),
        timeout: config.events.timeout,
        kill_after: config.events.kill_after,
        demote_timeout: config.authority.demote_timeout,
        fence_after: running.fence_after,
        backend: running.backend.clone(),
        metrics: Arc::clone(&running.metrics),
        cluster: config.cluster.name.clone(),
        node: config.node.name.to_string(),
    }
}

/// A consequence as the scripts are told.
pub(super) fn occurrence(consequence: &Consequence, status: &NodeStatus) -> Occurrence {
    let leader = status.leader_member();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Occurrence {
        number: consequence.number,
        event: consequence.script.event,
        planned: consequence.planned,
        role: consequence.script.role,
        old_role: consequence.script.old_role,
        leader: leader.map(|m| m.name.to_string()),
        leader_address: leader.map(|m| m.address.to_string()),
        term: consequence.term,
        token: consequence.token.map(|t| t.0),
        reason: consequence.reason,
        timestamp_usec: since_epoch.as_micros() as u64,
    }
}

/// Tells the scripts of further events, until the task is aborted or the node has stopped.
pub(super) fn tell_further(
    config: &Config,
    scripts: &Arc<Scripts>,
    standing: &Loaded,
    handle: NodeHandle,
) -> JoinHandle<()> {
    let scripts = Arc::clone(scripts);
    let directory = config.node.state_directory.clone();
    let told = further::Told::nothing(directory, standing.maintenance());
    tokio::spawn(further::follow(handle, told, move |what| scripts.submit_further(what)))
}
