//! The state directory of one node: its format, whose it is, and the lock that makes it one
//! process's.
//!
//! ```text
//! format      "raftctl-state 1"
//! node        name, cluster and incarnation, one per line
//! release-key 32 random bytes: see [`super::release_key`]
//! lock        flocked while an agent runs; holds its process id
//! log/        segments of the Raft log
//! state/      the database of the applied state
//! ```
//!
//! Every file is written under another name, synced and renamed; `node` comes last, so a directory
//! without it was never used and is completed at the next start. Nothing is overwritten, ever: a
//! directory that does not fit is refused with what to do about it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::disk::sync_directory;
use super::release_key::ReleaseKey;
use crate::core::{Incarnation, NodeName};

/// An open and locked state directory; the lock goes with the value, or with the process.
#[derive(Debug)]
pub struct StateDir {
    root: PathBuf,
    incarnation: Incarnation,
    is_new: bool,
    release_key: ReleaseKey,
    _lock: Flock<File>,
}

/// Why a state directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Something else has that name.
    #[error("{} is not a directory; name another state directory, or move it away", path.display())]
    NotADirectory {
        /// What is in the way.
        path: PathBuf,
    },
    /// This user may not write there.
    #[error(
        "{} cannot be written; mount it writable and give it to the user that runs the agent",
        path.display()
    )]
    ReadOnly {
        /// What could not be read or written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file system is full.
    #[error("no space left for {}; free some", path.display())]
    NoSpace {
        /// What could not be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process uses it.
    #[error(
        "state directory {} is in use by {}; stop that agent first",
        path.display(),
        by.map_or("another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process, if it said who it is.
        by: Option<u32>,
    },
    /// It belongs to another node or cluster.
    #[error(
        "state directory {} belongs to {found}, not to {wanted}; correct the configuration, or \
         name another directory",
        path.display()
    )]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// Whose it is: node and cluster.
        found: String,
        /// Whose it should be: node and cluster.
        wanted: String,
    },
    /// A newer version wrote it.
    #[error(
        "state directory {} has format {found}, this version knows {supported}; upgrade raftctl",
        path.display()
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known one.
        supported: u32,
    },
    /// One of its files is not what it should be.
    #[error(
        "{} is damaged: {why}; restore the directory, or remove it and let the node join anew",
        file.display()
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Anything else the system refused.
    #[error("{} failed: {operation}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl StateDir {
    /// Opens the state directory of node `name` in the cluster named `cluster`, and makes it if
    /// there is none; then `fresh`, 16 random bytes, becomes its incarnation.
    pub fn open(
        root: impl Into<PathBuf>,
        name: &NodeName,
        cluster: &str,
        fresh: Incarnation,
    ) -> Result<StateDir, StateDirError> {
        let root = root.into();
        make_directory(&root)?;
        // Before the lock: a directory of a newer format may lock in another way, and one that is
        // not ours must not even get a lock file.
        let is_known = check_format(&root)?;
        if !is_known {
            check_is_empty(&root)?;
        }
        let lock = lock(&root)?;
        if !is_known {
            write_new(&root, FORMAT_FILE, format!("{FORMAT_WORD} {FORMAT}\n").as_bytes())?;
        }
        make_directory(&root.join(LOG_DIRECTORY))?;
        make_directory(&root.join(STATE_DIRECTORY))?;
        let wanted = Identity { node: name.as_str(), cluster, incarnation: fresh };
        let (incarnation, is_new) = match read_text(&root.join(NODE_FILE))? {
            Some(text) => {
                let incarnation = wanted.check(&root, &text)?;
                check_log_is_there(&root)?;
                (incarnation, false)
            }
            None => {
                check_unused(&root)?;
                write_new(&root, NODE_FILE, wanted.to_text().as_bytes())?;
                (fresh, true)
            }
        };
        let release_key = ReleaseKey::open(&root, name)?;
        Ok(StateDir { root, incarnation, is_new, release_key, _lock: lock })
    }

    /// Random identity of this directory, drawn when it was made.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether this call made it.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// What its releases are made with.
    pub fn release_key(&self) -> &ReleaseKey {
        &self.release_key
    }

    /// Where the log's segments are.
    pub fn log_directory(&self) -> PathBuf {
        self.root.join(LOG_DIRECTORY)
    }

    /// The database of the applied state.
    pub fn database_path(&self) -> PathBuf {
        self.root.join(STATE_DIRECTORY).join(DATABASE_FILE)
    }
}

struct Identity<'a> {
    node: &'a str,
    cluster: &'a str,
    incarnation: Incarnation,
}

impl Identity<'_> {
    fn to_text(&self) -> String {
        let Identity { node, cluster, incarnation } = self;
        format!("node {node}\ncluster {cluster}\nincarnation {incarnation}\n")
    }

    /// The incarnation in `text`, if it is about the same node and cluster.
    fn check(&self, root: &Path, text: &str) -> Result<Incarnation, StateDirError> {
        let field = |word: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let value = lines.find(|(key, _)| *key == word).map(|(_, value)| value);
            value.ok_or_else(|| corrupt(root, NODE_FILE, format!("it has no line {word:?}")))
        };
        let (node, cluster) = (field("node")?, field("cluster")?);
        let incarnation = field("incarnation")?
            .parse()
            .map_err(|error| corrupt(root, NODE_FILE, format!("{error}")))?;
        if (node, cluster) != (self.node, self.cluster) {
            let found = format!("node {node:?} of cluster {cluster:?}");
            let wanted = format!("node {:?} of cluster {:?}", self.node, self.cluster);
            return Err(StateDirError::OtherNode { path: root.to_owned(), found, wanted });
        }
        Ok(incarnation)
    }
}

/// Whether the format file is there; an error if it is not to be trusted.
fn check_format(root: &Path) -> Result<bool, StateDirError> {
    let Some(text) = read_text(&root.join(FORMAT_FILE))? else { return Ok(false) };
    let version = text.strip_suffix('\n').and_then(|line| line.split_once(' '));
    let found = match version {
        Some((FORMAT_WORD, number)) => number.parse().ok(),
        _ => None,
    };
    match found {
        Some(FORMAT) => Ok(true),
        Some(found) if found > FORMAT => {
            let path = root.to_owned();
            Err(StateDirError::NewerFormat { path, found, supported: FORMAT })
        }
        _ => Err(corrupt(root, FORMAT_FILE, format!("expected \"{FORMAT_WORD} {FORMAT}\""))),
    }
}

/// A directory without a format file must be empty, but for the traces of an interrupted start.
fn check_is_empty(root: &Path) -> Result<(), StateDirError> {
    let entries = fs::read_dir(root).map_err(|e| refused("list", root, e))?;
    for entry in entries {
        let name = entry.map_err(|e| refused("list", root, e))?.file_name();
        let name = name.to_string_lossy();
        if name != LOCK_FILE && name != temporary(FORMAT_FILE) && name != "lost+found" {
            let why = format!("it is missing, although the directory has {name:?}");
            return Err(corrupt(root, FORMAT_FILE, why));
        }
    }
    Ok(())
}

/// Before the node file is written nothing can have been; anything else has lost it.
fn check_unused(root: &Path) -> Result<(), StateDirError> {
    for directory in [LOG_DIRECTORY, STATE_DIRECTORY] {
        let path = root.join(directory);
        let mut entries = fs::read_dir(&path).map_err(|e| refused("list", &path, e))?;
        if entries.next().is_some() {
            let why = format!("it is missing, although {directory:?} is not empty");
            return Err(corrupt(root, NODE_FILE, why));
        }
    }
    Ok(())
}

/// The log is older than the database. One that is gone took the vote with it: with an empty one in
/// its place, this node could vote twice in one term (Raft thesis, 3.4).
fn check_log_is_there(root: &Path) -> Result<(), StateDirError> {
    let database = root.join(STATE_DIRECTORY).join(DATABASE_FILE);
    if !database.try_exists().map_err(|e| refused("examine", &database, e))? {
        return Ok(());
    }
    let path = root.join(LOG_DIRECTORY);
    for entry in fs::read_dir(&path).map_err(|e| refused("list", &path, e))? {
        let name = entry.map_err(|e| refused("list", &path, e))?.file_name();
        if super::segment::parse_name(&name.to_string_lossy()).is_some() {
            return Ok(());
        }
    }
    let why = format!("it has no segment, although there is {STATE_DIRECTORY}/{DATABASE_FILE}");
    Err(corrupt(root, LOG_DIRECTORY, why))
}

pub(super) fn lock(root: &Path) -> Result<Flock<File>, StateDirError> {
    let path = root.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(|e| refused("open", &path, e))?;
    // flock(2): goes with the open file description, so a crash releases it and a copy of the
    // process id left in the file is no obstacle.
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => {
            let pid = format!("{:<11}\n", std::process::id());
            file.write_all_at(pid.as_bytes(), 0).map_err(|e| refused("write", &path, e))?;
            Ok(file)
        }
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            let by = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            Err(StateDirError::Locked { path: root.to_owned(), by })
        }
        Err((_, errno)) => Err(refused("lock", &path, errno.into())),
    }
}

fn make_directory(path: &Path) -> Result<(), StateDirError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(StateDirError::NotADirectory { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused("examine", path, error)),
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directory(parent)?;
    }
    let made = fs::DirBuilder::new().mode(0o700).create(path);
    made.map_err(|e| refused("create", path, e))?;
    sync_parent(path)
}

/// Writes a file that appears whole or not at all.
pub(super) fn write_new(root: &Path, name: &str, content: &[u8]) -> Result<(), StateDirError> {
    let (path, unfinished) = (root.join(name), root.join(temporary(name)));
    let write = || {
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    write().map_err(|e| refused("write", &path, e))?;
    sync_parent(&path)
}

fn sync_parent(path: &Path) -> Result<(), StateDirError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    sync_directory(parent).map_err(|e| refused("sync", parent, e))
}

/// The text of a small file, `None` if there is no such file.
fn read_text(path: &Path) -> Result<Option<String>, StateDirError> {
    let corrupt = |why: String| StateDirError::Corrupt { file: path.to_owned(), why };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused("examine", path, error)),
        Ok(found) if !found.is_file() => return Err(corrupt("it is not a file".to_owned())),
        Ok(found) if found.len() > TEXT_MAX_BYTES => {
            return Err(corrupt(format!("it has {} bytes", found.len())));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|e| refused("read", path, e))?;
    String::from_utf8(bytes).map(Some).map_err(|_| corrupt("it is not text".to_owned()))
}

pub(super) fn refused(operation: &'static str, path: &Path, source: io::Error) -> StateDirError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StateDirError::ReadOnly { path, source }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StateDirError::NoSpace { path, source }
        }
        io::ErrorKind::NotADirectory => StateDirError::NotADirectory { path },
        _ => StateDirError::Io { operation, path, source },
    }
}

pub(super) fn corrupt(root: &Path, file: &str, why: String) -> StateDirError {
    StateDirError::Corrupt { file: root.join(file), why }
}

fn temporary(name: &str) -> String {
    format!("{name}.new")
}

const FORMAT: u32 = 1;
const FORMAT_WORD: &str = "raftctl-state";
const FORMAT_FILE: &str = "format";
const NODE_FILE: &str = "node";
const LOCK_FILE: &str = "lock";
const LOG_DIRECTORY: &str = "log";
const STATE_DIRECTORY: &str = "state";
const DATABASE_FILE: &str = "cluster.redb";
/// A format or node file is far smaller; anything larger is not one.
const TEXT_MAX_BYTES: u64 = 4096;

#[cfg(test)]
mod tests;
