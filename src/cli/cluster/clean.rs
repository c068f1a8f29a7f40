//! `raftctl cluster clean`: removes what nodes that do not run have left.
//!
//! It removes only below the cluster's own directory, `FILE.d` beside the configuration. A
//! directory that the file puts elsewhere is named and left: a wrong line in a configuration must
//! not remove somebody's home.

use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context as _;

use super::place::LocalCluster;
use super::process::Found;
use crate::exit::Exit;

/// Removes the files of the nodes, or nothing if one of them runs.
pub(super) fn run(
    cluster: &LocalCluster,
    node: Option<&str>,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let nodes = cluster.nodes(node)?;
    for node in &nodes {
        let name = node.name();
        let running = match node.find()? {
            Found::Running(process) => Some(format!("process {}", process.pid())),
            Found::Gone(_) if UnixStream::connect(node.socket()).is_ok() => {
                Some(format!("it answers on {}", node.socket().display()))
            }
            Found::Gone(_) => None,
        };
        if let Some(how) = running {
            let message = format!(
                "{name} is running ({how}): expected it stopped before its files are removed; \
                 \"raftctl cluster stop {name}\" stops it"
            );
            return Err(Exit::Failure.because(message));
        }
    }
    let local = cluster.file.local_directory();
    for node in &nodes {
        let (name, directory) = (node.name(), node.directory());
        if remove(&directory).with_context(|| directory.display().to_string())? {
            writeln!(out, "{name}: removed {}", directory.display())?;
        } else {
            writeln!(out, "{name}: nothing to remove in {}", directory.display())?;
        }
        let own = &node.config.node;
        for elsewhere in [&own.state_directory, &own.runtime_directory] {
            if elsewhere.starts_with(&directory) || !elsewhere.exists() {
                continue;
            }
            let (path, local) = (elsewhere.display(), local.display());
            writeln!(out, "{name}: {path} is not below {local}, left as it is")?;
        }
    }
    // Goes only when it is empty, which is what is wanted.
    let _ = fs::remove_dir(local);
    Ok(Exit::Ok)
}

/// Whether there was anything. Symbolic links are removed, not followed.
fn remove(directory: &Path) -> io::Result<bool> {
    match fs::remove_dir_all(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
