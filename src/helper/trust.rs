//! Whether only root can change a file: the file itself, every directory on the way to it, and
//! every symbolic link there.
//!
//! Once that holds for a path nobody but root can make it lead elsewhere, so it may be opened or
//! executed afterwards. Access control lists are covered: what they grant beyond the owner is
//! limited by the group bits of the mode (acl(5)).

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::limits::SCRIPT_LINKS_MAX;

/// Who may own what root relies on: root, and, for tests, one other user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust {
    /// The other user's number.
    pub(super) owner: u32,
}

impl Trust {
    /// Whether only trusted users can change the regular file that `path` leads to.
    pub(super) fn file(self, path: &Path) -> Result<(), TrustError> {
        let (at, found) = self.walk(path)?;
        if !found.is_file() {
            return Err(TrustError::NotAFile { path: at });
        }
        self.check(&at, &found, false)
    }

    /// Whether only trusted users can change what is in the directory that `path` leads to.
    pub(super) fn directory(self, path: &Path) -> Result<(), TrustError> {
        let (at, found) = self.walk(path)?;
        if !found.is_dir() {
            return Err(TrustError::NotADirectory { path: at });
        }
        self.check(&at, &found, false)
    }

    /// Whether `found`, which was found at `path`, can be changed by trusted users only.
    /// `may_be_sticky`: of a directory that everybody may write to, but only change entries of
    /// their own (`/tmp`).
    pub(super) fn check(
        self,
        path: &Path,
        found: &Metadata,
        may_be_sticky: bool,
    ) -> Result<(), TrustError> {
        let (owner, mode) = (found.uid(), found.mode() & 0o7777);
        let is_closed = found.is_symlink() || mode & 0o022 == 0;
        let is_sticky = may_be_sticky && found.is_dir() && mode & 0o1000 != 0;
        if (owner == 0 || owner == self.owner) && (is_closed || is_sticky) {
            return Ok(());
        }
        Err(TrustError::Open { path: path.to_owned(), owner, mode })
    }

    /// Goes from `/` to where `path` leads; says where that is.
    fn walk(self, path: &Path) -> Result<(PathBuf, Metadata), TrustError> {
        if !path.is_absolute() {
            return Err(TrustError::Relative { path: path.to_owned() });
        }
        let look = |at: &Path| {
            let found = fs::symlink_metadata(at);
            found.map_err(|source| TrustError::Look { path: at.to_owned(), source })
        };
        let mut ahead = Vec::new();
        push(&mut ahead, path);
        let mut at = PathBuf::from("/");
        let mut found = look(&at)?;
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if !found.is_dir() {
                return Err(TrustError::NotADirectory { path: at });
            }
            // The last directory holds the file itself: no stickiness there.
            self.check(&at, &found, !ahead.is_empty())?;
            if name == ".." {
                at.pop();
                found = look(&at)?;
                continue;
            }
            let next = at.join(&name);
            let entry = look(&next)?;
            if !entry.is_symlink() {
                (at, found) = (next, entry);
                continue;
            }
            self.check(&next, &entry, false)?;
            links += 1;
            if links > SCRIPT_LINKS_MAX {
                return Err(TrustError::Links { path: path.to_owned(), most: SCRIPT_LINKS_MAX });
            }
            let target = fs::read_link(&next);
            let target = target.map_err(|source| TrustError::Look { path: next, source })?;
            if target.is_absolute() {
                at = PathBuf::from("/");
                found = look(&at)?;
            }
            push(&mut ahead, &target);
        }
        Ok((at, found))
    }
}

/// Puts the names of `path` onto the stack, the first on top.
fn push(ahead: &mut Vec<OsString>, path: &Path) {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    let names: Vec<OsString> = names.collect();
    ahead.extend(names.into_iter().rev());
}

/// Somebody else than root could change it, or it is not there.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Wrong owner or mode.
    #[error(
        "{path:?} belongs to user {owner} and has mode {mode:04o}, expected it to belong to root \
         (user 0) and to be writable by nobody else (mode {:04o})",
        mode & !0o022
    )]
    Open {
        /// What.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// Nobody knows from where it would be looked up.
    #[error("{path:?} is relative, expected an absolute path")]
    Relative {
        /// What.
        path: PathBuf,
    },
    /// A device, a directory, ...
    #[error("{path:?} is not a regular file")]
    NotAFile {
        /// What.
        path: PathBuf,
    },
    /// Something else is in the way.
    #[error("{path:?} is not a directory")]
    NotADirectory {
        /// What.
        path: PathBuf,
    },
    /// A loop, perhaps.
    #[error("{path:?} leads through more than {most} symbolic links")]
    Links {
        /// What.
        path: PathBuf,
        /// The limit.
        most: usize,
    },
    /// It is not there, for example.
    #[error("cannot look at {path:?}")]
    Look {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
