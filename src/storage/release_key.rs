//! The key from which the secrets of releases are derived: the file `release-key` of a state
//! directory, 32 random bytes for its owner only.
//!
//! Owns the file and the question on which machine it is. Guarantees: the key is durable before it
//! is used, and never changes while the directory lives. Does not do: any announcement.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use nix::fcntl::Flock;

use super::state_dir::{StateDirError, corrupt, lock, refused, write_new};
use crate::core::secret::{self, Key};
use crate::core::{Invocation, MachineId, NodeName};

/// See the module. Shows nothing of itself.
pub struct ReleaseKey {
    key: Key,
    machine: [u8; 16],
}

impl fmt::Debug for ReleaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReleaseKey")
    }
}

impl ReleaseKey {
    /// Reads the key of the directory `root` of node `node`; `None` if there is none.
    pub fn read(root: &Path, node: &NodeName) -> Result<Option<ReleaseKey>, StateDirError> {
        let Some(key) = read(root)? else { return Ok(None) };
        Ok(Some(ReleaseKey::on(machine_id(Path::new(MACHINE_ID_FILE)), key, node)))
    }

    /// Keeps every agent from the directory `root`, for as long as the value lives.
    ///
    /// # Errors
    /// [`StateDirError::Locked`] while an agent uses it.
    pub fn claim(root: &Path) -> Result<Claim, StateDirError> {
        Ok(Claim { _lock: lock(root)? })
    }

    /// Reads the key, and makes it if there is none. The directory is locked by the caller.
    pub(super) fn open(root: &Path, node: &NodeName) -> Result<ReleaseKey, StateDirError> {
        if let Some(key) = ReleaseKey::read(root, node)? {
            return Ok(key);
        }
        let mut key = [0; 32];
        let path = root.join(KEY_FILE);
        getrandom::fill(&mut key).map_err(|e| refused("draw", &path, io::Error::other(e)))?;
        write_new(root, KEY_FILE, &key)?;
        Ok(ReleaseKey::on(machine_id(Path::new(MACHINE_ID_FILE)), key, node))
    }

    fn on(machine_id: Option<MachineId>, key: Key, node: &NodeName) -> ReleaseKey {
        let machine = match machine_id {
            Some(machine_id) => secret::machine_identity(machine_id, node),
            None => secret::identity_without_machine(&key),
        };
        ReleaseKey { key, machine }
    }

    /// This node on this machine. A host without machine-id (no systemd) is known by its state
    /// directory.
    pub fn machine(&self) -> [u8; 16] {
        self.machine
    }

    /// The key itself, for who derives many secrets from it.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The secret that releases `invocation`.
    pub fn secret(&self, invocation: Invocation) -> [u8; 32] {
        secret::release_secret(&self.key, &self.machine, invocation)
    }
}

/// No agent uses the directory while this lives.
#[derive(Debug)]
pub struct Claim {
    _lock: Flock<File>,
}

fn read(root: &Path) -> Result<Option<Key>, StateDirError> {
    let path = root.join(KEY_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused("open", &path, error)),
    };
    let mut bytes = Vec::new();
    let read = file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|e| refused("read", &path, e))?;
    let wrong = |_| corrupt(root, KEY_FILE, format!("expected {KEY_BYTES} bytes"));
    Key::try_from(bytes.as_slice()).map(Some).map_err(wrong)
}

/// The identity of this machine; `None` where it has none (yet).
fn machine_id(file: &Path) -> Option<MachineId> {
    std::fs::read_to_string(file).ok()?.trim_end().parse().ok()
}

const KEY_BYTES: usize = size_of::<Key>();
/// Name of the file in the state directory.
pub const KEY_FILE: &str = "release-key";
/// machine-id(5).
const MACHINE_ID_FILE: &str = "/etc/machine-id";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn node() -> NodeName {
        "n1".parse().unwrap()
    }

    const RUN: Invocation = Invocation([5; 16]);

    #[test]
    fn the_key_is_made_once_and_for_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        assert!(ReleaseKey::read(root.path(), &node()).unwrap().is_none());
        let first = ReleaseKey::open(root.path(), &node()).unwrap();
        let mode = root.path().join(KEY_FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let again = ReleaseKey::open(root.path(), &node()).unwrap();
        let read = ReleaseKey::read(root.path(), &node()).unwrap().unwrap();
        for same in [again, read] {
            assert_eq!(same.secret(RUN), first.secret(RUN));
            assert_eq!(same.machine(), first.machine());
        }
        let other = tempfile::tempdir().unwrap();
        let other = ReleaseKey::open(other.path(), &node()).unwrap();
        assert_ne!(other.secret(RUN), first.secret(RUN));
        assert_eq!(format!("{first:?}"), "ReleaseKey");
    }

    #[test]
    fn a_directory_in_use_cannot_be_claimed() {
        let root = tempfile::tempdir().unwrap();
        let claim = ReleaseKey::claim(root.path()).unwrap();
        let second = ReleaseKey::claim(root.path()).unwrap_err();
        assert!(matches!(second, StateDirError::Locked { .. }), "{second}");
        drop(claim);
        ReleaseKey::claim(root.path()).unwrap();
    }

    #[test]
    fn a_key_of_another_size_is_damage() {
        let root = tempfile::tempdir().unwrap();
        for bytes in [0, 31, 33, 5000] {
            std::fs::write(root.path().join(KEY_FILE), vec![7; bytes]).unwrap();
            let error = ReleaseKey::open(root.path(), &node()).unwrap_err();
            assert!(error.to_string().contains("expected 32 bytes"), "{error}");
        }
    }

    /// Where a state directory is copied to, it speaks in another name.
    #[test]
    fn a_moved_directory_has_other_secrets() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("machine-id");
        let here = |text: &str| {
            std::fs::write(&file, text).unwrap();
            ReleaseKey::on(machine_id(&file), [1; 32], &node())
        };
        let (a, b) = (here(&format!("{:032x}\n", 1)), here(&format!("{:032x}\n", 2)));
        assert_ne!(a.machine(), b.machine());
        assert_ne!(a.secret(RUN), b.secret(RUN));
        // No machine-id yet (systemd writes this word on the first boot), or none at all.
        let unknown = here("uninitialized\n");
        std::fs::remove_file(&file).unwrap();
        let missing = ReleaseKey::on(machine_id(&file), [1; 32], &node());
        assert_eq!(unknown.machine(), missing.machine());
        assert_ne!(unknown.machine(), a.machine());
    }
}
