//! Files waiting to become segments: preallocated ones and recycled ones, all of one size.
//!
//! A spare's contents mean nothing: zeros, or records of an earlier generation which the next
//! header's salt makes void.

use std::io;

use super::disk::{Disk, DiskFile};
use super::log::LogError;
use super::segment::segment_name;
use crate::limits;

/// The spare files of one log directory.
pub(super) struct Pool {
    bytes: u64,
    names: Vec<String>,
    /// A spare in the making, and how much of it is done.
    unfinished: Option<(Box<dyn DiskFile>, u64)>,
}

impl Pool {
    /// Sorts out what an earlier run left: whole spares are kept, the rest is removed.
    pub fn open(disk: &dyn Disk, bytes: u64) -> Result<Pool, LogError> {
        let mut pool = Pool { bytes, names: Vec::new(), unfinished: None };
        for name in disk.list().map_err(|e| io_error("list", &disk.location(), e))? {
            if name != UNFINISHED && !name.starts_with(SPARE_PREFIX) {
                continue;
            }
            let keep = name != UNFINISHED && pool.names.len() < limits::LOG_SPARE_SEGMENTS && {
                let file = disk.open(&name).map_err(|e| io_error("open", &name, e))?;
                file.len().map_err(|e| io_error("measure", &name, e))? == bytes
            };
            if keep {
                pool.names.push(name);
            } else {
                disk.remove(&name).map_err(|e| io_error("remove", &name, e))?;
            }
        }
        Ok(pool)
    }

    /// Whether the next segment costs no allocation.
    pub fn is_ready(&self) -> bool {
        !self.names.is_empty()
    }

    /// Makes a spare if there is none. On error nothing has changed.
    pub fn fill(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        while self.fill_step(disk)? {}
        Ok(())
    }

    /// Does at most `limits::LOG_ALLOCATE_STEP_BYTES` of what [`Pool::fill`] does; returns whether
    /// there is more to do. On error nothing has changed.
    pub fn fill_step(&mut self, disk: &dyn Disk) -> Result<bool, LogError> {
        if self.is_ready() {
            return Ok(false);
        }
        let failed = |operation, source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                LogError::NoSpace { directory: disk.location(), bytes: self.bytes, source }
            }
            _ => io_error(operation, UNFINISHED, source),
        };
        let (mut file, done) = match self.unfinished.take() {
            Some(unfinished) => unfinished,
            None => (create_anew(disk).map_err(|e| failed("create", e))?, 0),
        };
        let done = (done + limits::LOG_ALLOCATE_STEP_BYTES).min(self.bytes);
        if let Err(error) = file.allocate(done) {
            // Gives the space back; the error that matters is the first one.
            let _ = disk.remove(UNFINISHED);
            return Err(failed("allocate", error));
        }
        if done < self.bytes {
            self.unfinished = Some((file, done));
            return Ok(true);
        }
        let name = format!("{SPARE_PREFIX}new");
        disk.rename(UNFINISHED, &name).map_err(|e| failed("rename", e))?;
        self.names.push(name);
        Ok(false)
    }

    /// Opens the next spare, which stays one until [`Pool::taken`].
    pub fn peek(&self, disk: &dyn Disk) -> Result<(String, Box<dyn DiskFile>), LogError> {
        let name = self.names.last().expect("filled before").clone();
        let file = disk.open(&name).map_err(|e| io_error("open", &name, e))?;
        Ok((name, file))
    }

    /// The spare handed out by [`Pool::peek`] is now a segment.
    pub fn taken(&mut self) {
        self.names.pop();
    }

    /// Takes back the file of a segment that is no longer needed, durably: the name is gone from
    /// the log before anything may overwrite the contents, and before a newer one disappears.
    pub fn recycle(&mut self, disk: &dyn Disk, sequence: u64, bytes: u64) -> Result<(), LogError> {
        let name = segment_name(sequence);
        if bytes == self.bytes && self.names.len() < limits::LOG_SPARE_SEGMENTS {
            let spare = format!("{SPARE_PREFIX}{sequence:016x}");
            disk.rename(&name, &spare).map_err(|e| io_error("rename", &name, e))?;
            self.names.push(spare);
        } else {
            disk.remove(&name).map_err(|e| io_error("remove", &name, e))?;
        }
        disk.sync_dir().map_err(|source| LogError::Sync { file: disk.location(), source })
    }
}

/// A new file in the place of what an earlier attempt may have left.
fn create_anew(disk: &dyn Disk) -> io::Result<Box<dyn DiskFile>> {
    match disk.create(UNFINISHED) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(UNFINISHED)?;
            disk.create(UNFINISHED)
        }
        other => other,
    }
}

pub(super) fn io_error(operation: &'static str, file: &str, source: io::Error) -> LogError {
    LogError::Io { operation, file: file.to_owned(), source }
}

const SPARE_PREFIX: &str = "spare-";
/// A spare that is not wholly allocated yet.
const UNFINISHED: &str = "allocating";
