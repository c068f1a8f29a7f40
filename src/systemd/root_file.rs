//! Reads files that decide what runs as root, and refuses those that somebody else could have
//! written.
//!
//! Guarantees that what is returned came from a regular file of root in a directory of root, both
//! writable by root only, and that reading it can neither hang nor fill the memory. It says nothing
//! about directories above, which are the administrator's.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::limits;

/// Who may own what is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(u32);

impl Owner {
    /// Root: what programs that run as root expect.
    pub const ROOT: Owner = Owner(0);

    /// The user of this process, for tests of such programs.
    pub fn this_process() -> Owner {
        Owner(nix::unistd::geteuid().as_raw())
    }
}

/// Why a file is not trusted, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RootFileError {
    /// The system refuses.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said; part of the message, which may be all that is seen.
        source: io::Error,
    },
    /// Something else has that name.
    #[error("{} is {found}: expected {expected}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user {found}: expected root as its owner", path.display())]
    Foreign {
        /// The file or its directory.
        path: PathBuf,
        /// Its owner.
        found: u32,
    },
    /// Others may write it.
    #[error("{} has mode {mode:04o}: expected that only root can write it", path.display())]
    Writable {
        /// The file or its directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Reads a configuration file; one byte more than `limits::CONFIG_MAX_BYTES` at most, which is
/// enough for the parser to refuse it.
pub fn read(path: &Path, owner: Owner) -> Result<Vec<u8>, RootFileError> {
    let failed = |source: io::Error| RootFileError::Io { path: path.to_owned(), source };
    let kind = |found| {
        let expected = "a regular file";
        RootFileError::Kind { path: path.to_owned(), found, expected }
    };
    check_directory(path.parent().unwrap_or(Path::new("/")), owner)?;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        // open(2): the last element is a symbolic link; somebody else could own what it names.
        Some(nix::libc::ELOOP) => kind("a symbolic link"),
        // open(2): a socket.
        Some(nix::libc::ENXIO) => kind("a socket"),
        _ => failed(error),
    })?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(kind(if found.is_dir() { "a directory" } else { "a device or pipe" }));
    }
    check_owner(path, &found, owner)?;
    let mut bytes = Vec::new();
    file.take(limits::CONFIG_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Whoever can write the directory can exchange the file.
fn check_directory(path: &Path, owner: Owner) -> Result<(), RootFileError> {
    let failed = |source| RootFileError::Io { path: path.to_owned(), source };
    let found = File::open(path).and_then(|file| file.metadata()).map_err(failed)?;
    check_owner(path, &found, owner)
}

fn check_owner(
    path: &Path,
    found: &std::fs::Metadata,
    Owner(owner): Owner,
) -> Result<(), RootFileError> {
    let path = || path.to_owned();
    if found.uid() != owner {
        return Err(RootFileError::Foreign { path: path(), found: found.uid() });
    }
    // The group root has no members that are not root (group(5)).
    let others = if found.gid() == 0 { 0o002 } else { 0o022 };
    if found.mode() & others != 0 {
        return Err(RootFileError::Writable { path: path(), mode: found.mode() & 0o7777 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn refusal(path: &Path) -> String {
        read(path, Owner::this_process()).unwrap_err().to_string()
    }

    #[test]
    fn what_others_could_have_written_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n1.toml");
        std::fs::write(&path, "x").unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&path, 0o640);
        assert_eq!(read(&path, Owner::this_process()).unwrap(), b"x");
        mode(&path, 0o646);
        assert!(refusal(&path).contains("n1.toml has mode 0646: expected that only root"));
        mode(&path, 0o600);
        mode(directory.path(), 0o777);
        assert!(refusal(&path).ends_with("has mode 0777: expected that only root can write it"));
        mode(directory.path(), 0o700);
        let stranger = Owner(Owner::this_process().0 + 1);
        let error = read(&path, stranger).unwrap_err().to_string();
        assert!(error.contains("belongs to user"), "{error}");
    }

    #[test]
    fn what_is_not_a_file_is_refused_and_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        symlink("loop.toml", at("loop.toml")).unwrap();
        assert!(refusal(&at("loop.toml")).contains("is a symbolic link: expected a regular"));
        nix::unistd::mkfifo(&at("pipe.toml"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(refusal(&at("pipe.toml")).contains("is a device or pipe: expected a regular"));
        std::fs::create_dir(at("directory.toml")).unwrap();
        assert!(refusal(&at("directory.toml")).contains("is a directory"));
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.toml")).unwrap();
        assert!(refusal(&at("socket.toml")).contains("is a socket"));
        assert!(refusal(&at("absent.toml")).contains("cannot read"));
    }

    #[test]
    fn a_huge_file_is_read_to_the_limit_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("huge.toml");
        let file = File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        let bytes = read(&path, Owner::this_process()).unwrap();
        assert_eq!(bytes.len() as u64, limits::CONFIG_MAX_BYTES + 1);
    }
}
