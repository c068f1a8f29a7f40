//! A disk in memory that forgets what was not synced: for the simulator and the crash tests.
//!
//! Deterministic: one seed decides everything. What it models:
//!
//! - bytes: unsynced writes are remembered by sector of 512 bytes; a power cut keeps, loses or
//!   tears each sector on its own, so later writes may survive earlier ones;
//! - lengths: an unsynced growth may be undone;
//! - names: unsynced creations, renames and removals survive as a prefix (an ordered journal) or
//!   as any subset;
//! - errors: the n-th writing call as a crash point, a failing sync after which the bytes look
//!   written but are not (as Linux does), no space, read-only, and a sync that lies.
//!
//! A tear keeps a prefix of the new sector; sectors that were not being written keep their bytes.
//! It does not model bit rot by itself ([`SimDisk::corrupt`] does, on demand) or time.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use content::Content;

use super::disk::{Disk, DiskFile};
use crate::core::rng::Rng;

/// Handle to a simulated disk; clones see the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    shared: Arc<Mutex<Inner>>,
}

#[derive(Clone, Debug)]
struct Inner {
    random: Rng,
    /// Raised at every restart; files opened before it are dead.
    epoch: u64,
    next_file: u64,
    files: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending_names: Vec<NameOp>,
    writes: u64,
    fail_after: Option<u64>,
    fail_sync: Option<u64>,
    crashed: bool,
    full: bool,
    read_only: bool,
    skip_sync: bool,
}

#[derive(Clone, Debug)]
enum NameOp {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

impl SimDisk {
    /// An empty disk whose crashes are decided by `seed`.
    pub fn new(seed: u64) -> SimDisk {
        let inner = Inner {
            random: Rng::new(seed),
            epoch: 0,
            next_file: 0,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            writes: 0,
            fail_after: None,
            fail_sync: None,
            crashed: false,
            full: false,
            read_only: false,
            skip_sync: false,
        };
        SimDisk { shared: Arc::new(Mutex::new(inner)) }
    }

    /// A copy that shares nothing with this one; its crashes are decided by `seed`. Files opened
    /// on the original stay with the original.
    pub fn fork(&self, seed: u64) -> SimDisk {
        let mut inner = self.lock().clone();
        inner.random = Rng::new(seed);
        SimDisk { shared: Arc::new(Mutex::new(inner)) }
    }

    /// Power cut and restart: each unsynced sector, length and name is kept, lost or torn. Open
    /// files are dead; the crash point and injected sync error are cleared.
    pub fn crash(&mut self) {
        let inner = &mut *self.lock();
        inner.resolve_names();
        let random = &mut inner.random;
        inner.files.values_mut().for_each(|content| content.resolve(random));
        inner.restart();
    }

    /// The process dies and restarts, the kernel lives: nothing is lost and nothing becomes
    /// durable. Open files are dead.
    pub fn kill(&mut self) {
        self.lock().restart();
    }

    /// Crash point: the `n`-th call that writes from now on (1 is the next) does not happen, and
    /// it and every later call of any kind fails until [`SimDisk::crash`] or [`SimDisk::kill`].
    /// Calls that write: create, allocate, write, rename, remove, and both syncs.
    pub fn fail_after(&mut self, n: u64) {
        assert!(n > 0, "crash points count from 1");
        let inner = &mut *self.lock();
        inner.fail_after = Some(inner.writes + n);
    }

    /// Calls that write so far.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Whether the crash point was reached.
    pub fn is_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// The `n`-th `sync_data` or `sync_dir` from now on (1 is the next) fails with EIO, and the
    /// bytes it should have written never become durable unless they are written again.
    pub fn fail_sync(&mut self, n: u64) {
        assert!(n > 0, "syncs count from 1");
        self.lock().fail_sync = Some(n);
    }

    /// Whether there is no space left: creating, allocating and growing fail with ENOSPC.
    pub fn set_full(&mut self, full: bool) {
        self.lock().full = full;
    }

    /// Whether every call that writes fails with EROFS.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.lock().read_only = read_only;
    }

    /// Mutation: both syncs report success and do nothing. A test that still passes is worthless.
    pub fn skip_sync(&mut self, skip: bool) {
        self.lock().skip_sync = skip;
    }

    /// Bit rot: xors `mask` into the byte at `offset` of the file `name`, durably.
    pub fn corrupt(&mut self, name: &str, offset: u64, mask: u8) {
        let inner = &mut *self.lock();
        let id = inner.names[name];
        let content = inner.files.get_mut(&id).expect("every name has a file");
        let at = usize::try_from(offset).expect("offset fits");
        content.corrupt(at, mask);
    }

    /// The bytes of a file as the running system sees them.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.lock();
        let id = inner.names.get(name)?;
        inner.files.get(id).map(|content| content.bytes.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.lock().expect("no holder of the disk panics")
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let inner = &mut *self.lock();
        inner.writing()?;
        if inner.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if inner.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = inner.next_file;
        inner.next_file += 1;
        inner.files.insert(id, Content::default());
        inner.names.insert(name.to_owned(), id);
        inner.pending_names.push(NameOp::Create(name.to_owned(), id));
        Ok(Box::new(SimFile { disk: self.clone(), id, epoch: inner.epoch }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.lock();
        inner.reading()?;
        let id = *inner.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), id, epoch: inner.epoch }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let inner = &mut *self.lock();
        inner.writing()?;
        let id = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), id);
        inner.pending_names.push(NameOp::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let inner = &mut *self.lock();
        inner.writing()?;
        inner.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        inner.pending_names.push(NameOp::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let inner = &mut *self.lock();
        inner.writing()?;
        inner.sync_may_fail()?;
        if !inner.skip_sync {
            inner.durable_names = inner.names.clone();
            inner.pending_names.clear();
            inner.drop_unnamed();
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let inner = self.lock();
        inner.reading()?;
        Ok(inner.names.keys().cloned().collect())
    }

    fn location(&self) -> String {
        "simulated disk".to_owned()
    }
}

struct SimFile {
    disk: SimDisk,
    id: u64,
    epoch: u64,
}

impl SimFile {
    fn check(&self, inner: &Inner) -> io::Result<()> {
        if inner.epoch == self.epoch && inner.files.contains_key(&self.id) {
            return Ok(());
        }
        Err(io::Error::other("file was opened before the simulated crash"))
    }
}

impl DiskFile for SimFile {
    fn allocate(&mut self, len: u64) -> io::Result<()> {
        let inner = &mut *self.disk.lock();
        self.check(inner)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let result = inner.writing();
        let full = inner.full;
        let cut = inner.random.below(len as u64 + 1) as usize;
        let content = inner.files.get_mut(&self.id).expect("checked");
        if let Err(error) = result {
            // A crash in the middle of many writes leaves a part of the length.
            if inner.crashed {
                content.bytes.resize(cut.max(content.bytes.len()), 0);
            }
            return Err(error);
        }
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.allocate(len);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let inner = &mut *self.disk.lock();
        self.check(inner)?;
        inner.writing()?;
        let full = inner.full;
        let content = inner.files.get_mut(&self.id).expect("checked");
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        if full && offset + bytes.len() > content.bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.write(offset, bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let inner = self.disk.lock();
        self.check(&inner)?;
        inner.reading()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let content = inner.files.get(&self.id).expect("checked");
        let from = content.bytes.get(offset..offset.saturating_add(bytes.len()));
        bytes.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let inner = &mut *self.disk.lock();
        self.check(inner)?;
        inner.writing()?;
        let failed = inner.sync_may_fail();
        let skip = inner.skip_sync;
        let content = inner.files.get_mut(&self.id).expect("checked");
        if failed.is_err() {
            content.fail_sync();
        } else if !skip {
            content.sync();
        }
        failed
    }

    fn len(&self) -> io::Result<u64> {
        let inner = self.disk.lock();
        self.check(&inner)?;
        inner.reading()?;
        Ok(inner.files.get(&self.id).expect("checked").bytes.len() as u64)
    }
}

impl Inner {
    fn reading(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("simulated crash")) } else { Ok(()) }
    }

    fn writing(&mut self) -> io::Result<()> {
        self.reading()?;
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.writes += 1;
        self.crashed = self.fail_after == Some(self.writes);
        self.reading()
    }

    fn sync_may_fail(&mut self) -> io::Result<()> {
        self.fail_sync = self.fail_sync.map(|left| left - 1);
        if self.fail_sync == Some(0) {
            self.fail_sync = None;
            return Err(io::Error::other("simulated input/output error"));
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.epoch += 1;
        self.crashed = false;
        self.fail_after = None;
        self.fail_sync = None;
    }

    fn resolve_names(&mut self) {
        let ops = std::mem::take(&mut self.pending_names);
        let ordered = self.random.below(2) == 0;
        let prefix = self.random.below(ops.len() as u64 + 1) as usize;
        let names = &mut self.durable_names;
        for (at, op) in ops.into_iter().enumerate() {
            let kept = if ordered { at < prefix } else { self.random.below(2) == 0 };
            match op {
                _ if !kept => {}
                NameOp::Create(name, id) => {
                    names.insert(name, id);
                }
                NameOp::Rename(from, to) => {
                    if let Some(id) = names.remove(&from) {
                        names.insert(to, id);
                    }
                }
                NameOp::Remove(name) => {
                    names.remove(&name);
                }
            }
        }
        self.names = self.durable_names.clone();
        self.drop_unnamed();
    }

    /// Files without a name that nothing can bring back are gone. (Their open handles fail; the
    /// log never uses a removed file.)
    fn drop_unnamed(&mut self) {
        let (names, durable) = (&self.names, &self.durable_names);
        let named = |id: &u64| names.values().chain(durable.values()).any(|named| named == id);
        self.files.retain(|id, _| named(id));
    }
}

mod content;
