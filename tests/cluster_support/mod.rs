//! What the tests of local processes share: a directory with a configuration and an agent.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory with `c.toml` and `raftctld`.
pub struct Scene {
    pub directory: TempDir,
}

impl Scene {
    /// Nodes n1 to n`count`; the agent is `script`.
    pub fn new(count: usize, script: &str) -> Scene {
        let scene = Scene { directory: tempfile::tempdir().unwrap() };
        let mut text = String::from("[cluster.members]\n");
        for at in 1..=count {
            text += &format!("n{at} = \"127.0.0.1:{at}\"\n");
        }
        for at in 1..=count {
            text += &format!("[nodes.n{at}]\n");
        }
        fs::write(scene.config(), text).unwrap();
        fs::write(scene.agent(), script).unwrap();
        fs::set_permissions(scene.agent(), fs::Permissions::from_mode(0o755)).unwrap();
        scene
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("c.toml")
    }

    pub fn agent(&self) -> PathBuf {
        self.path().join("raftctld")
    }
}
