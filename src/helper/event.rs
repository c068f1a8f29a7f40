//! `event NODE:EVENT`: runs one event script as root.
//!
//! Two sources, and they are not equal. The configuration says *which* program runs: only root can
//! change it, the program, or anything on the way to both, or nothing runs. The event file says
//! *what happened*: the unprivileged agent writes it, so it is taken for hostile. Whoever controls
//! the agent chooses values of thirteen known variables, each within its grammar, and nothing else:
//! no program, no argument, no other variable, no file of somebody else.
//!
//! It becomes the script (execve(2)), so that systemd watches the script and nothing of ours is
//! between the two.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use nix::fcntl::OFlag;

use super::trust::{Trust, TrustError};
use crate::config::{Config, ConfigErrors, ConfigFile, SelectError};
use crate::core::NodeName;
use crate::core::role::EventName;
use crate::events::event_file::{self, EventFileError, Expected};
use crate::events::payload::{PATH, Payload};
use crate::events::{ScriptError, program};
use crate::exit::{Exit, Failure};
use crate::limits;

/// Instance of `raftctl-event@.service`: whose event, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The node.
    pub node: NodeName,
    /// The event.
    pub event: EventName,
}

impl FromStr for Instance {
    type Err = InvalidInstance;

    fn from_str(text: &str) -> Result<Instance, InvalidInstance> {
        let bad = || InvalidInstance { text: text.to_owned() };
        let (node, event) = text.split_once(':').ok_or_else(bad)?;
        let (node, event) = (node.parse(), event.parse());
        Ok(Instance { node: node.map_err(|_| bad())?, event: event.map_err(|_| bad())? })
    }
}

/// The text is not `NODE:EVENT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance {text:?} is not valid: expected NODE:EVENT, for example n1:follower")]
pub struct InvalidInstance {
    /// What was given.
    pub text: String,
}

/// Where configurations are, and who may own them. Not an option of the program: it always uses
/// [`Places::system`].
#[derive(Clone, Debug)]
pub struct Places<'p> {
    /// The directory of `NODE.toml`.
    pub etc: &'p Path,
    /// A user who is trusted as root is.
    pub owner: u32,
}

impl Places<'static> {
    /// Those of a host.
    pub fn system() -> Places<'static> {
        Places { etc: Path::new("/etc/raftctl"), owner: 0 }
    }
}

/// Becomes the script; returns only if that is not possible.
pub(super) fn run(instance: &Instance) -> Result<(), Failure> {
    let refused = |error: EventError| {
        let exit = error.exit();
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Failure::new(exit, message)
    };
    let (mut command, script) = prepare(&Places::system(), instance).map_err(refused)?;
    let error = command.exec();
    Err(refused(program::explain(&script, error).into()))
}

/// The call of the script of `instance`, and its path.
///
/// # Errors
/// If anything is not as it has to be; nothing was run.
pub fn prepare(places: &Places, instance: &Instance) -> Result<(Command, PathBuf), EventError> {
    let trust = Trust { owner: places.owner };
    let config = read_config(places, trust, &instance.node)?;
    let script = config.events.scripts.get(&instance.event);
    let script = script.ok_or(EventError::NoScript(instance.event))?.clone();
    trust.file(&script)?;
    let interpreter = program::interpreter(&script, PATH)?;
    if let Some(node) = &interpreter {
        trust.file(node)?;
    }
    let payload = read_event(&config, instance)?;
    let command = program::command(&script, interpreter.as_deref(), &payload)?;
    Ok((command, script))
}

/// The configuration of `node`, which only root can have written.
fn read_config(places: &Places, trust: Trust, node: &NodeName) -> Result<Config, EventError> {
    let path = places.etc.join(format!("{node}.toml"));
    trust.directory(places.etc)?;
    let (file, found) = open(&path)?;
    if !found.is_file() {
        return Err(TrustError::NotAFile { path }.into());
    }
    trust.check(&path, &found, false)?;
    let bytes = read(file, limits::CONFIG_MAX_BYTES, &path)?;
    let file = ConfigFile::parse_bytes(&bytes, &path.to_string_lossy(), places.etc)?;
    Ok(file.node(Some(node.as_str()))?.clone())
}

/// What the agent says has happened. Its directory belongs to it, so nothing there is trusted; that
/// nobody else's file is read keeps secrets of others out of messages.
fn read_event(config: &Config, instance: &Instance) -> Result<Payload, EventError> {
    let directory = &config.node.runtime_directory;
    let path = event_file::path(directory, instance.event);
    let (_, home) = open(directory)?;
    let (file, found) = open(&path)?;
    if !found.is_file() || found.nlink() != 1 || found.uid() != home.uid() {
        let owner = found.uid();
        return Err(EventError::NotTheAgents { path, owner, expected: home.uid() });
    }
    let bytes = read(file, limits::SCRIPT_INPUT_MAX_BYTES as u64, &path)?;
    let expected =
        Expected { event: instance.event, node: &config.node.name, cluster: &config.cluster.name };
    event_file::parse(&bytes, expected).map_err(|source| EventError::Event { path, source })
}

/// Opens for reading without following a link at the end, and without waiting for anybody.
fn open(path: &Path) -> Result<(File, Metadata), EventError> {
    let failed = |source| EventError::Open { path: path.to_owned(), source };
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = file.map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    Ok((file, found))
}

/// The content, and one byte more than `most` if there is more.
fn read(file: File, most: u64, path: &Path) -> Result<Vec<u8>, EventError> {
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|source| EventError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Why no script was run.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Somebody else than root could change it.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The configuration is that of another node.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Nothing is configured.
    #[error("no script for event {0} is configured")]
    NoScript(EventName),
    /// The script, or its call.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// A file cannot be opened.
    #[error("cannot open {path:?}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not a file, or not one of the agent.
    #[error(
        "event file {path:?} belongs to user {owner}, expected a regular file without other names \
         that belongs to user {expected}, as its directory does"
    )]
    NotTheAgents {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The owner of its directory.
        expected: u32,
    },
    /// The agent would not write this.
    #[error("event file {path:?}")]
    Event {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: EventFileError,
    },
}

impl EventError {
    /// The exit status.
    pub fn exit(&self) -> Exit {
        match self {
            EventError::Trust(TrustError::Look { .. })
            | EventError::Config(_)
            | EventError::Select(_)
            | EventError::NoScript(_)
            | EventError::Script(_) => Exit::Configuration,
            EventError::Trust(_) | EventError::NotTheAgents { .. } | EventError::Event { .. } => {
                Exit::NoPermission
            }
            EventError::Open { .. } | EventError::Read { .. } => Exit::Io,
        }
    }
}
