//! A disk of its own for one directory of a host: it can fill up, hang, die, and lose what was not
//! synced when the power goes.

use std::ffi::c_ulong;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

use super::clock::wait_until;
use super::command::tool;

/// Size of the disk: some segments of the log fit.
const DISK_BYTES: u64 = 64 << 20;

/// Shuts the file system down (fs/ext4/ext4.h): every later operation fails with EIO.
const EXT4_IOC_SHUTDOWN: c_ulong = 0x8004_587d;
/// Without writing the journal of the file system.
const NO_LOG_FLUSH: u32 = 2;

/// A mounted ext4 in a file.
pub struct Disk {
    image: PathBuf,
    /// Where it is mounted outside of the host.
    mount: PathBuf,
}

/// A disk that hangs; ends when this goes, because a process that waits for it cannot be killed.
pub struct Hung<'a>(&'a Disk);

impl Disk {
    /// A new disk in `place`.
    pub fn new(place: &Path) -> Disk {
        let disk = Disk { image: place.join("disk.img"), mount: place.join("disk") };
        fs::create_dir(&disk.mount).unwrap();
        File::create(&disk.image).unwrap().set_len(DISK_BYTES).unwrap();
        // Nothing is kept back for root: full is full.
        tool(&["mkfs.ext4", "-q", "-m", "0", disk.image.to_str().unwrap()]);
        disk.mount();
        disk
    }

    /// The directory that the host sees.
    pub fn mounted(&self) -> &Path {
        &self.mount
    }

    /// Takes all space; later writes fail with ENOSPC.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let mut block = vec![0x5a_u8; 1 << 20];
        while !block.is_empty() {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    block.truncate(block.len() / 2);
                }
                Err(error) => panic!("{}: {error}", self.mount.display()),
            }
        }
        // Blocks are taken when data is written back: only then is it really full.
        let _ = file.sync_all();
    }

    /// Gives back what [`Disk::fill`] took.
    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Lets every write wait until the returned value goes.
    pub fn hang(&self) -> Hung<'_> {
        tool(&["fsfreeze", "-f", self.mount.to_str().unwrap()]);
        Hung(self)
    }

    /// From now on every operation fails with EIO, until [`Disk::replug`].
    pub fn die(&self) {
        let root = OpenOptions::new().read(true).open(&self.mount).unwrap();
        // SAFETY: the ioctl reads one 32-bit number.
        let done = unsafe {
            libc::ioctl(root.as_raw_fd(), EXT4_IOC_SHUTDOWN, std::ptr::from_ref(&NO_LOG_FLUSH))
        };
        Errno::result(done).unwrap();
    }

    /// Mounts it again, with what had reached it. Nobody uses it.
    pub fn replug(&self) {
        let mount = self.mount.to_str().unwrap();
        let device = tool(&["findmnt", "-no", "SOURCE", mount]);
        tool(&["umount", mount]);
        // The last user may still be on his way out.
        let device = Path::new("/sys/block").join(device.trim().trim_start_matches("/dev/"));
        let gone = || !device.join("loop/backing_file").exists();
        wait_until("the disk is not used any more", super::DEADLINE, gone);
        self.mount();
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }

    fn mount(&self) {
        // The device goes with the mount. What is not synced is not written for minutes.
        let options = "loop,commit=300";
        let (image, at) = (self.image.to_str().unwrap(), self.mount.to_str().unwrap());
        tool(&["mount", "-t", "ext4", "-o", options, image, at]);
    }
}

impl Drop for Hung<'_> {
    fn drop(&mut self) {
        tool(&["fsfreeze", "-u", self.0.mount.to_str().unwrap()]);
    }
}
