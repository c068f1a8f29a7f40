//! The only way the log touches files: one directory, flat names, a handful of operations.
//!
//! Each operation is one step as far as a crash is concerned: it happened or it did not, and what
//! was not synced may be lost, whole or by sectors. [`super::SimDisk`] takes that literally.
//! Durability is explicit: `sync_data` for bytes, `sync_dir` for names. Nothing is retried.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::FallocateFlags;

/// One directory of files. Names are plain file names, never paths.
pub trait Disk: Send {
    /// Makes an empty file; `AlreadyExists` if there is one of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, replacing what had that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all creations, renames and removals so far durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// All names, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Where this is, for messages.
    fn location(&self) -> String;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send {
    /// Grows the file to `len` bytes with *written* zeros and syncs it, metadata included, so that
    /// later `sync_data` calls have no metadata to write.
    fn allocate(&mut self, len: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset` (bytes from the start).
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Fills `bytes` from `offset`; `UnexpectedEof` if the file is shorter.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// Makes all bytes written so far durable. After an error nothing is known about them, and
    /// calling again proves nothing (fsync(2), "NOTES" on EIO).
    fn sync_data(&mut self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the length is zero.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A directory of the file system.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// The existing directory `root`.
    pub fn new(root: impl Into<PathBuf>) -> RealDisk {
        RealDisk { root: root.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        assert!(!name.is_empty() && !name.contains('/'), "{name:?} is not a file name");
        self.root.join(name)
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Box::new(RealFile { file: options.open(self.path(name))? }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(name))?;
        Ok(Box::new(RealFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_directory(&self.root)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }
}

/// Makes the names in a directory durable (fsync(2): a new file needs an fsync of its directory).
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn allocate(&mut self, len: u64) -> io::Result<()> {
        let mut at = self.len()?;
        let [from, wanted] = [at, len.saturating_sub(at)].map(i64::try_from);
        let (from, wanted) = (from.map_err(io::Error::other)?, wanted.map_err(io::Error::other)?);
        if wanted == 0 {
            return Ok(());
        }
        // fallocate(2) asks for the space in one piece and fails early when there is none; file
        // systems without it get the space from the zeros below.
        match nix::fcntl::fallocate(&self.file, FallocateFlags::empty(), from, wanted) {
            Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Written zeros: an extent that is merely allocated is converted at its first write, and
        // the fdatasync after that write would have to commit the file system's journal.
        let zeros = vec![0; ZERO_CHUNK_BYTES.min(usize::try_from(wanted).unwrap_or(usize::MAX))];
        while at < len {
            let part = zeros.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
            self.file.write_all_at(&zeros[..part], at)?;
            at += part as u64;
        }
        self.file.sync_all()
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Bytes of zeros written at a time while preallocating.
const ZERO_CHUNK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_created_once_written_listed_renamed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path());
        let mut file = disk.create("b").unwrap();
        assert_eq!(disk.create("b").err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        file.allocate(7).unwrap();
        file.allocate(ZERO_CHUNK_BYTES as u64 + 5).unwrap();
        file.allocate(9).unwrap();
        assert_eq!(file.len().unwrap(), ZERO_CHUNK_BYTES as u64 + 5);
        file.write_at(3, b"abc").unwrap();
        file.sync_data().unwrap();
        disk.create("a").unwrap();
        disk.rename("b", "c").unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(disk.list().unwrap(), ["a", "c"]);
        let mut bytes = [9; 5];
        disk.open("c").unwrap().read_at(2, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0abc\0");
        let past = disk.open("a").unwrap().read_at(0, &mut bytes).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
        disk.remove("a").unwrap();
        assert_eq!(disk.open("a").err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
