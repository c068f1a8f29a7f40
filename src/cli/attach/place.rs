//! The files of attach and detach, below a root directory: written whole or not at all.
//!
//! Nothing is written through a symbolic link that leads out of the root, and nothing is removed
//! that attach did not write.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::dropin::{self, FILE_NAME};
use super::unit::UnitName;
use crate::cli::exit::Exit;
use crate::limits;

/// Where an administrator's units are.
const ADMINISTRATOR: &str = "etc/systemd/system";

/// Where `systemctl enable` and its runtime form leave links.
const LINKED: [&str; 2] = [ADMINISTRATOR, "run/systemd/system"];

/// A root directory: that of this host, or of an image.
#[derive(Clone, Debug)]
pub struct Place {
    root: PathBuf,
}

/// What is in the place of a drop-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Present {
    /// Nothing.
    Nothing,
    /// One that attach wrote.
    Ours(String),
    /// Something else.
    Foreign,
}

impl Place {
    /// Below `root`.
    pub fn new(root: &Path) -> Place {
        Place { root: root.to_owned() }
    }

    /// `path`, which is absolute, below the root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The drop-in of `unit`.
    pub fn dropin(&self, unit: &UnitName) -> PathBuf {
        self.path(ADMINISTRATOR).join(format!("{unit}.d")).join(FILE_NAME)
    }

    /// The link that starts `unit` with `target`.
    pub fn link(&self, target: &str, unit: &UnitName) -> PathBuf {
        self.path(ADMINISTRATOR).join(format!("{target}.wants")).join(unit.as_str())
    }

    /// What is in the place of the drop-in of `unit`.
    pub fn present(&self, unit: &UnitName) -> anyhow::Result<Present> {
        let path = self.dropin(unit);
        let opened = OpenOptions::new()
            .read(true)
            // Neither a link of somebody else nor a pipe that nobody writes.
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Present::Nothing),
            Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
                return Ok(Present::Foreign);
            }
            Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
        };
        let mut text = Vec::new();
        let read = file.take(limits::CONFIG_MAX_BYTES).read_to_end(&mut text);
        read.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(match String::from_utf8(text) {
            Ok(text) if dropin::is_ours(&text) => Present::Ours(text),
            _ => Present::Foreign,
        })
    }

    /// Where links start a unit of one of `names`: the units to which they belong, each with its
    /// directory.
    pub fn links(&self, names: &[String]) -> Vec<(String, PathBuf)> {
        let mut found = Vec::new();
        for directory in LINKED {
            let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
            for entry in entries {
                let file = entry.file_name();
                let Some(of) = file.to_str().and_then(|file| {
                    file.strip_suffix(".wants").or_else(|| file.strip_suffix(".requires"))
                }) else {
                    continue;
                };
                let has = |name: &&String| entry.path().join(name).symlink_metadata().is_ok();
                if names.iter().find(has).is_some() {
                    found.push((of.to_owned(), entry.path()));
                }
            }
        }
        found.sort();
        found
    }

    /// Writes `text` at `path`, mode 0644, at once: whoever reads sees the old file or the new one.
    pub fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        let directory = self.directory_for(path)?;
        let failed = || format!("cannot write {}", path.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = directory.join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&new);
        let written = (|| {
            let options = OpenOptions::new().write(true).create_new(true).mode(0o644).clone();
            let mut file = options.open(&new)?;
            file.write_all(text.as_bytes())?;
            // Whatever the umask: what starts at boot is no secret.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            file.set_permissions(mode)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            File::open(&directory)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written.with_context(failed)
    }

    /// Makes `path` a link to `to`; whether it was not one already.
    pub fn point(&self, path: &Path, to: &str) -> anyhow::Result<bool> {
        if fs::read_link(path).is_ok_and(|found| found == Path::new(to)) {
            return Ok(false);
        }
        let directory = self.directory_for(path)?;
        let new = directory.join(format!(".raftctl.{}", std::process::id()));
        let _ = fs::remove_file(&new);
        let made = symlink(to, &new).and_then(|()| fs::rename(&new, path));
        if made.is_err() {
            let _ = fs::remove_file(&new);
        }
        made.with_context(|| format!("cannot create {}", path.display()))?;
        Ok(true)
    }

    /// Removes `path`, and its directory if that is empty then; whether there was something.
    pub fn remove(&self, path: &Path) -> anyhow::Result<bool> {
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).context(format!("cannot remove {}", path.display())),
        }
        // It may hold what others put there.
        let _ = path.parent().map(fs::remove_dir);
        Ok(true)
    }

    /// The directory of `path`, made if necessary; nothing is made outside of the root.
    fn directory_for(&self, path: &Path) -> anyhow::Result<PathBuf> {
        let directory = path.parent().unwrap_or(&self.root);
        let failed = || format!("cannot create {}", directory.display());
        let root = self.root.canonicalize().with_context(failed)?;
        let exists = |path: &&Path| path.symlink_metadata().is_ok();
        let lowest = directory.ancestors().find(exists).unwrap_or(&self.root);
        let real = lowest.canonicalize().with_context(failed)?;
        if !real.starts_with(&root) {
            let (lowest, real) = (lowest.display(), real.display());
            let message = format!("{lowest} leads to {real}: expected a directory below --root");
            return Err(Exit::Failure.because(message));
        }
        fs::create_dir_all(directory).with_context(failed)?;
        Ok(directory.to_owned())
    }
}
