//! Finds the agents that run on this host, by their sockets.
//!
//! In this order: the runtime directory given by option or environment, the configuration file
//! given by option, `/run/raftctl`. A place that was given is the only one looked at.

use std::path::{Path, PathBuf};

use super::args::Global;
use super::output::{Failure, exit};
use crate::dbus::client::{Client, ClientError, block_on};
use crate::dbus::private::SOCKET_NAME;
use crate::limits;

/// Where systemd puts the runtime directories (`RuntimeDirectory=raftctl/%i`).
pub const SYSTEM_DIRECTORY: &str = "/run/raftctl";

/// A local agent: the name of its runtime directory, which is that of its node, and its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Name of the node.
    pub name: String,
    /// Its private bus.
    pub socket: PathBuf,
}

/// Reads the nodes of a configuration file and their sockets; the error is one line.
pub type ConfigInstances = fn(&Path) -> Result<Vec<Instance>, String>;

/// The agents there may be, in order of their names, and where that was looked up. A socket may
/// turn out to be stale.
#[derive(Debug)]
pub struct Found {
    instances: Vec<Instance>,
    place: String,
}

impl Found {
    /// Looks around.
    pub fn look(global: &Global, config: Option<ConfigInstances>) -> Result<Found, Failure> {
        let (mut instances, place) = match (&global.runtime_directory, &global.config) {
            (Some(directory), _) => {
                let place = format!("{0}/{1} and {0}/*/{1}", directory.display(), SOCKET_NAME);
                (below(directory), place)
            }
            (None, Some(file)) => {
                let unread = || Failure::new(exit::USAGE, "--config: no reader for such files");
                let found = config.ok_or_else(unread)?(file);
                (found.map_err(|error| Failure::new(exit::USAGE, error))?, format!("{file:?}"))
            }
            (None, None) => {
                let place = format!("{SYSTEM_DIRECTORY}/*/{SOCKET_NAME}");
                (below(Path::new(SYSTEM_DIRECTORY)), place)
            }
        };
        instances.sort_by(|a, b| a.name.cmp(&b.name));
        instances.truncate(limits::CLIENT_INSTANCES_MAX);
        let Some(node) = &global.node else { return Ok(Found { instances, place }) };
        let place = format!("{place} for node {node}");
        let named = |instance: &&Instance| instance.name == node.as_str();
        let instances = match instances.iter().find(named) {
            Some(instance) => vec![instance.clone()],
            None => block_on(who_is(&instances, node.as_str())),
        };
        Ok(Found { instances, place })
    }

    /// All of them.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The agent of node `name`, if it may be here.
    pub fn named(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.name == name)
    }

    /// A connection to the first one that answers, the one called `first` before all others.
    pub async fn connect(&self, first: Option<&str>) -> Result<Client, Failure> {
        let preferred = self.instances.iter().filter(|i| Some(i.name.as_str()) == first);
        let others = self.instances.iter().filter(|i| Some(i.name.as_str()) != first);
        let mut refused = None;
        for instance in preferred.chain(others) {
            match Client::connect(&instance.socket, limits::CLIENT_CALL_TIMEOUT).await {
                Ok(client) => return Ok(client),
                Err(ClientError::NotRunning { .. }) => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.map_or_else(|| self.nobody(), Failure::from))
    }

    /// That no agent is running, and what to do.
    pub fn nobody(&self) -> Failure {
        let message = format!(
            "no agent is running: looked at {}; start one with `raftctl start --config FILE` or \
             `systemctl start raftctl@NODE`",
            self.place
        );
        Failure::new(exit::NOT_RUNNING, message)
    }
}

/// The instances that say that they are node `name`, for runtime directories of another name.
async fn who_is(instances: &[Instance], name: &str) -> Vec<Instance> {
    for instance in instances {
        let client = Client::connect(&instance.socket, limits::CLIENT_CALL_TIMEOUT).await;
        let Ok(client) = client else { continue };
        if client.describe().await.is_ok_and(|status| status.name == name) {
            return vec![Instance { name: name.to_owned(), socket: instance.socket.clone() }];
        }
    }
    Vec::new()
}

/// `directory/bus` and `directory/*/bus`.
fn below(directory: &Path) -> Vec<Instance> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let subdirectories = entries.map(|entry| entry.path());
    let directories = std::iter::once(directory.to_owned()).chain(subdirectories);
    directories
        .filter_map(|directory| {
            let name = directory.file_name()?.to_str()?.to_owned();
            let socket = directory.join(SOCKET_NAME);
            socket.symlink_metadata().is_ok().then_some(Instance { name, socket })
        })
        .collect()
}
