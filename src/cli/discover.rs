//! Finds the agents that run on this host, by their sockets.
//!
//! In this order: the runtime directory given by option or environment; the configuration file
//! given by option; `/run/raftctl`; and if no agent is there, the local cluster that `raftctl
//! cluster` would use here. A place that was given is the only one looked at.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::args::{Global, Json};
use super::cluster::{Environment, LocalCluster, LocalNode, within};
use super::exit::{Exit, Failure};
use super::output::{Format, complain};
use crate::core::NodeName;
use crate::dbus::client::{Client, ClientError, Target, block_on};
use crate::dbus::private::SOCKET_NAME;
use crate::limits;

/// Where systemd puts the runtime directories (`RuntimeDirectory=raftctl/%i`).
pub const SYSTEM_DIRECTORY: &str = "/run/raftctl";

/// A local agent: its node, or the name of its runtime directory where that is all that is known,
/// and its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Name of the node.
    pub name: String,
    /// Its private bus.
    pub socket: PathBuf,
}

impl Instance {
    /// A connection to it: on its socket, or where that is not for this user, over the system bus,
    /// where the agent decides call by call.
    pub async fn open(&self, interactive: bool) -> Result<Client, ClientError> {
        let timeout = limits::CLIENT_CALL_TIMEOUT;
        match Client::connect(&self.socket, timeout).await {
            Err(refused @ ClientError::NotPermitted { .. }) => {
                let target = Target::on_bus(&self.name, interactive);
                // Without the agent on the bus, the first answer is the one that tells.
                Client::open(&target, timeout).await.map_err(|_| refused)
            }
            other => other,
        }
    }
}

/// The agents there may be, in order of their names, and where that was looked up. A socket may
/// turn out to be stale.
#[derive(Debug)]
pub struct Found {
    instances: Vec<Instance>,
    place: String,
    /// What to do when nobody is there.
    advice: &'static str,
    /// The local cluster that was found without being asked for.
    unasked: Option<PathBuf>,
    /// Whether the user may be asked for a password.
    interactive: bool,
}

impl Found {
    /// Looks around. If that ends at the local cluster, standard error is told, unless legends or
    /// text are not wanted.
    pub fn look(
        global: &Global,
        environment: &Environment,
        format: Format,
    ) -> anyhow::Result<Found> {
        let found = Found::look_in(global, environment, Path::new(SYSTEM_DIRECTORY))?;
        if let Some(file) = &found.unasked
            && format.legend
            && format.json == Json::Off
            && found.instances.iter().any(is_alive)
        {
            let file = file.display();
            complain(&format!("no agent in {SYSTEM_DIRECTORY}, using the local cluster {file}"));
        }
        Ok(found)
    }

    fn look_in(global: &Global, environment: &Environment, system: &Path) -> anyhow::Result<Found> {
        let mut found = match (&global.runtime_directory, &global.config) {
            (Some(directory), _) => {
                let place = format!("{0}/{1} and {0}/*/{1}", directory.display(), SOCKET_NAME);
                Found {
                    instances: below(directory),
                    place,
                    advice: START_ONE,
                    unasked: None,
                    interactive: true,
                }
            }
            (None, Some(file)) => Found::in_file(file)?,
            (None, None) => Found::without_place(environment, system)?,
        };
        found.interactive = !global.no_ask_password;
        found.instances.sort_by(|a, b| a.name.cmp(&b.name));
        found.instances.truncate(limits::CLIENT_INSTANCES_MAX);
        let Some(node) = &global.node else { return Ok(found) };
        let named = |instance: &&Instance| instance.name == node.as_str();
        found.instances = match found.instances.iter().find(named) {
            Some(instance) => vec![instance.clone()],
            None => block_on(who_is(&found.instances, node.as_str())),
        };
        found.place += &format!(" for node {node}");
        Ok(found)
    }

    /// The nodes of a configuration file.
    fn in_file(file: &Path) -> anyhow::Result<Found> {
        let cluster = LocalCluster::load(file)?;
        let nodes = cluster.nodes(None)?;
        let instance =
            |node: &LocalNode| Instance { name: node.name().to_owned(), socket: node.socket() };
        let instances = nodes.iter().map(instance).collect();
        let place = format!("the sockets of {}", file.display());
        Ok(Found { instances, place, advice: START_ONE, unasked: None, interactive: true })
    }

    fn without_place(environment: &Environment, system: &Path) -> anyhow::Result<Found> {
        let instances = below(system);
        if !instances.iter().any(is_alive)
            && let Some(file) = environment.local_cluster()
        {
            let found = Found::in_file(&file)?;
            let place = format!("{}/*/{SOCKET_NAME} and {}", system.display(), found.place);
            return Ok(Found { place, advice: START_LOCAL, unasked: Some(file), ..found });
        }
        let place = format!("{}/*/{SOCKET_NAME}", system.display());
        Ok(Found { instances, place, advice: START_ONE, unasked: None, interactive: true })
    }

    /// All of them.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The agent of node `name`, if it may be here.
    pub fn named(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.name == name)
    }

    /// Whether the user may be asked for a password.
    pub fn interactive(&self) -> bool {
        self.interactive
    }

    /// A connection to `instance`.
    pub async fn open(&self, instance: &Instance) -> Result<Client, ClientError> {
        instance.open(self.interactive).await
    }

    /// The agent that verbs about one host are for: that of `node`, or the only one.
    pub async fn only(&self, node: Option<&NodeName>, command: &str) -> Result<Client, Failure> {
        let instance = match (node, self.instances.as_slice()) {
            (Some(node), _) => match self.named(node.as_str()) {
                Some(instance) => instance,
                None => return Err(self.elsewhere(node, command).await),
            },
            (None, [only]) => only,
            (None, []) => return Err(self.nobody()),
            (None, several) => {
                let names: Vec<_> = several.iter().map(|one| one.name.as_str()).collect();
                let names = names.join(", ");
                let message = format!("several agents run here, {names}: expected NODE");
                return Err(Failure::new(Exit::Usage, message));
            }
        };
        self.open(instance).await.map_err(|error| match error {
            ClientError::NotRunning { .. } => self.nobody(),
            other => other.into(),
        })
    }

    /// That `node` is not on this host, and where it is.
    async fn elsewhere(&self, node: &NodeName, command: &str) -> Failure {
        let Ok(client) = self.connect(None).await else { return self.nobody() };
        let Ok(state) = client.describe().await else { return self.nobody() };
        match state.members.iter().find(|member| member.name == node.as_str()) {
            Some(member) => Failure::new(
                Exit::Failure,
                format!(
                    "node {node} runs on another host: run `{command}` there ({})",
                    member.address
                ),
            ),
            None => {
                let names: Vec<_> = state.members.iter().map(|m| m.name.as_str()).collect();
                let message = format!("no node {node} in cluster {}", state.cluster_name);
                Failure::new(Exit::Usage, format!("{message}: expected {}", names.join(", ")))
            }
        }
    }

    /// A connection to the first one that answers, the one called `first` before all others.
    pub async fn connect(&self, first: Option<&str>) -> Result<Client, Failure> {
        let preferred = self.instances.iter().filter(|i| Some(i.name.as_str()) == first);
        let others = self.instances.iter().filter(|i| Some(i.name.as_str()) != first);
        // One that hangs shall not keep us from those that do not.
        let patience = match self.instances.len() {
            1 => limits::CLIENT_CALL_TIMEOUT,
            _ => limits::REMOTE_STATUS_TIMEOUT,
        };
        let mut refused = None;
        for instance in preferred.chain(others) {
            match within("the greeting", patience, self.open(instance)).await {
                Ok(client) => return Ok(client),
                Err(ClientError::NotRunning { .. }) => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.map_or_else(|| self.nobody(), Failure::from))
    }

    /// That no agent is running, and what to do.
    pub fn nobody(&self) -> Failure {
        let Found { place, advice, .. } = self;
        let message = format!("no agent is running: looked at {place}; {advice}");
        Failure::new(Exit::NotRunning, message)
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

/// Whether somebody listens there, be it for others only.
fn is_alive(instance: &Instance) -> bool {
    match UnixStream::connect(&instance.socket) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

const START_ONE: &str =
    "start one with `raftctl start --config FILE` or `systemctl start raftctl@NODE`";
const START_LOCAL: &str = "start the local cluster with `raftctl cluster start`";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use super::*;

    /// A directory for agents of the system in `run`, and a working directory in `work`.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Place {
            let place = Place(tempfile::tempdir().unwrap());
            fs::create_dir_all(place.0.path().join("run/s1")).unwrap();
            fs::create_dir_all(place.0.path().join("work/.raftctl")).unwrap();
            place
        }

        fn made_file(&self) -> PathBuf {
            self.0.path().join("work/.raftctl/cluster.toml")
        }

        fn look(&self, edit: impl FnOnce(&mut Global)) -> anyhow::Result<Found> {
            let environment = Environment {
                config: None,
                agent: None,
                directory: self.0.path().join("work"),
                patience: Duration::ZERO,
            };
            let mut global = Global {
                config: None,
                runtime_directory: None,
                node: None,
                json: Json::Off,
                no_pager: false,
                no_ask_password: false,
                no_legend: false,
            };
            edit(&mut global);
            Found::look_in(&global, &environment, &self.0.path().join("run"))
        }
    }

    fn names(found: &Found) -> Vec<&str> {
        found.instances.iter().map(|instance| instance.name.as_str()).collect()
    }

    const TWO: &str = "[cluster.members]\nb = \"127.0.0.1:2\"\na = \"127.0.0.1:1\"\n\
                       [nodes.a]\n[nodes.b]\n";

    #[test]
    fn the_local_cluster_is_used_when_the_system_has_no_agent() {
        let place = Place::new();
        let found = place.look(|_| {}).unwrap();
        assert!(found.instances.is_empty() && found.unasked.is_none());
        assert!(found.nobody().message.contains("raftctl@NODE"));

        fs::write(place.made_file(), TWO).unwrap();
        let found = place.look(|_| {}).unwrap();
        assert_eq!(names(&found), ["a", "b"]);
        assert_eq!(found.unasked, Some(place.made_file()));
        let sockets = place.made_file().with_extension("d");
        assert_eq!(found.instances[0].socket, sockets.join("a/run/bus"));
        let message = found.nobody().message;
        assert!(message.contains("cluster.toml; start the local cluster"), "{message}");

        // A socket that a dead agent left behind is no agent; one that is listened on is.
        let socket = place.0.path().join("run/s1/bus");
        drop(UnixListener::bind(&socket).unwrap());
        assert_eq!(names(&place.look(|_| {}).unwrap()), ["a", "b"]);
        fs::remove_file(&socket).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let found = place.look(|_| {}).unwrap();
        assert_eq!((names(&found), &found.unasked), (vec!["s1"], &None));
    }

    #[test]
    fn a_given_place_is_the_only_one() {
        let place = Place::new();
        fs::write(place.made_file(), TWO).unwrap();
        let run = place.0.path().join("run");
        let found = place.look(|global| global.runtime_directory = Some(run)).unwrap();
        assert_eq!((names(&found), &found.unasked), (vec![], &None));

        let file = place.0.path().join("one.toml");
        fs::write(
            &file,
            "node.name = \"n\"\nnode.runtime_directory = \"r\"\ncluster.members.n = \"h:1\"",
        )
        .unwrap();
        let found = place.look(|global| global.config = Some(file.clone())).unwrap();
        assert_eq!((names(&found), &found.unasked), (vec!["n"], &None));
        assert_eq!(found.instances[0].socket, place.0.path().join("r/bus"));

        let found = place.look(|global| {
            (global.config, global.node) = (Some(place.made_file()), Some("b".parse().unwrap()));
        });
        assert_eq!(names(&found.unwrap()), ["b"]);
    }

    #[test]
    fn a_bad_file_is_wrong_usage_and_says_what_is_wrong() {
        let place = Place::new();
        fs::write(place.made_file(), "[cluster]\nmember = 1\n").unwrap();
        for edit in [
            |_: &mut Global| {},
            |global: &mut Global| {
                global.config = Some("/nowhere/x.toml".into());
            },
        ] {
            let error = place.look(edit).unwrap_err();
            assert_eq!(Exit::of(&error), Exit::Usage);
            let text = error.to_string();
            assert!(text.contains("member") || text.contains("No such file"), "{text}");
        }
    }
}
