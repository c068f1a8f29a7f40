//! Whether a database is whole, found out BEFORE redb opens the file: to open one is to repair it,
//! which writes. Here redb sees the file through a sheet that takes what it writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use redb::StorageBackend;

use super::database::{self, builder};
use super::error::{StateStoreError, database_error, io_error};
use crate::limits;

/// Refuses a damaged database. It may be repaired under the sheet; what matters is that it can be,
/// and what is read then. Leaves the file as it is, and no memory behind.
pub(super) fn examine(path: &Path) -> Result<(), StateStoreError> {
    let file = File::open(path).map_err(|e| io_error(path, "open", e))?;
    let length = file.metadata().map_err(|e| io_error(path, "examine", e))?.len();
    if length > limits::STATE_EXAMINED_MAX_BYTES {
        return Ok(());
    }
    let covered = Covered { file, sheet: Mutex::new(Sheet { length, pages: BTreeMap::new() }) };
    // An empty file would be made a database.
    if length == 0 {
        return Err(super::error::corrupt(path, "it is empty".to_owned()));
    }
    let builder = builder(limits::STATE_CACHE_BYTES);
    let mut database = builder.create_with_backend(covered).map_err(|e| database_error(path, e))?;
    database::read(path, &database)?;
    database.check_integrity().map_err(|e| database_error(path, e))?;
    Ok(())
}

/// A file that is only read, under a sheet that takes what is written.
#[derive(Debug)]
struct Covered {
    file: File,
    sheet: Mutex<Sheet>,
}

#[derive(Debug)]
struct Sheet {
    length: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

const PAGE: usize = 4096;

impl Covered {
    fn sheet(&self) -> MutexGuard<'_, Sheet> {
        self.sheet.lock().expect("nobody panics with it")
    }

    /// Reads what the file has, and zeros after its end.
    fn beneath(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < out.len() {
            match self.file.read_at(&mut out[done..], offset + done as u64) {
                Ok(0) => {
                    out[done..].fill(0);
                    return Ok(());
                }
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The parts of `length` bytes at `offset`, page by page: number, where in the page, where in the
/// bytes, how many.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % PAGE as u64) as usize;
        let part = (PAGE - within).min(length - done);
        let found = (at / PAGE as u64, within, done, part);
        done += part;
        (part > 0).then_some(found)
    })
}

impl StorageBackend for Covered {
    fn len(&self) -> io::Result<u64> {
        Ok(self.sheet().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let sheet = self.sheet();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > sheet.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.beneath(offset, out)?;
        if sheet.pages.is_empty() {
            return Ok(());
        }
        for (page, within, at, part) in parts(offset, out.len()) {
            if let Some(page) = sheet.pages.get(&page) {
                out[at..at + part].copy_from_slice(&page[within..within + part]);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.sheet().length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut sheet = self.sheet();
        for (page, within, at, part) in parts(offset, data.len()) {
            if !sheet.pages.contains_key(&page) {
                let mut bytes = Box::new([0; PAGE]);
                self.beneath(page * PAGE as u64, bytes.as_mut_slice())?;
                sheet.pages.insert(page, bytes);
            }
            let covered = sheet.pages.get_mut(&page).expect("it is there now");
            covered[within..within + part].copy_from_slice(&data[at..at + part]);
        }
        Ok(())
    }
}
