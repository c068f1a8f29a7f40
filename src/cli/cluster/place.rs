//! Where a local cluster is: its configuration file and the files of each of its nodes.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::process::{self, Found};
use crate::cli::config_check;
use crate::config::{Config, ConfigFile};
use crate::exit::Exit;

/// A local cluster.
#[derive(Debug)]
pub struct LocalCluster {
    /// Absolute path of its configuration file.
    pub path: PathBuf,
    /// What the file says.
    pub file: ConfigFile,
}

/// One of its nodes.
#[derive(Clone, Copy, Debug)]
pub struct LocalNode<'c> {
    /// Its configuration.
    pub config: &'c Config,
    local: &'c Path,
}

/// Held while a command changes which processes run.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file does the same; nothing depends on it happening earlier.
        let _ = self.0.unlock();
    }
}

impl LocalCluster {
    /// Reads the configuration file at `path`.
    pub fn load(path: &Path) -> anyhow::Result<LocalCluster> {
        let file = config_check::load(path)?;
        Ok(LocalCluster { path: std::path::absolute(path)?, file })
    }

    /// The node called `name`, or all.
    pub fn nodes(&self, name: Option<&str>) -> anyhow::Result<Vec<LocalNode<'_>>> {
        let local = self.file.local_directory();
        let node = |config| LocalNode { config, local };
        match name {
            None => Ok(self.file.nodes().iter().map(node).collect()),
            Some(_) => match self.file.node(name) {
                Ok(config) => Ok(vec![node(config)]),
                Err(error) => Err(Exit::Usage.because(error.to_string())),
            },
        }
    }

    /// Keeps other cluster commands from the same file away. The lock is on the configuration file
    /// itself (flock(2)), so it leaves nothing behind.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let file = File::open(&self.path)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => {
                let path = self.path.display();
                let message = format!("{path}: another raftctl cluster command is at work on it");
                Err(Exit::Failure.because(message))
            }
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

impl LocalNode<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        self.config.node.name.as_str()
    }

    /// The directory of what this runner keeps about it.
    pub fn directory(&self) -> PathBuf {
        self.local.join(self.name())
    }

    /// What it writes to standard error.
    pub fn log(&self) -> PathBuf {
        self.directory().join("raftctld.log")
    }

    /// The log before the present one.
    pub fn old_log(&self) -> PathBuf {
        self.directory().join("raftctld.log.old")
    }

    /// Which process it is.
    pub fn pid_file(&self) -> PathBuf {
        self.directory().join("raftctld.pid")
    }

    /// Its private socket.
    pub fn socket(&self) -> PathBuf {
        self.config.node.socket()
    }

    /// Its process.
    pub fn find(&self) -> io::Result<Found> {
        let path = self.pid_file();
        process::find(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// Forgets its process.
    pub fn remove_pid_file(&self) -> io::Result<()> {
        match fs::remove_file(self.pid_file()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}
