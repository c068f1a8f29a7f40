//! A journal of our own, seen by one agent only: its `/run` is another directory, and its standard
//! error is what `$JOURNAL_STREAM` names.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use nix::libc;
use raftctl::core::story::Kind;

use super::{AgentCommand, DEADLINE};

/// One message: its fields.
pub type Entry = BTreeMap<String, String>;

/// A journal that reads nothing until it is told to.
pub struct Journal {
    run: tempfile::TempDir,
    socket: UnixDatagram,
    entries: Option<Receiver<Entry>>,
}

impl Journal {
    pub fn new() -> Journal {
        let run = tempfile::tempdir().unwrap();
        let directory = run.path().join("systemd/journal");
        fs::create_dir_all(&directory).unwrap();
        let socket = UnixDatagram::bind(directory.join("socket")).unwrap();
        Journal { run, socket, entries: None }
    }

    /// What the agent writes to standard error all the same.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.stream()).unwrap()
    }

    fn stream(&self) -> PathBuf {
        self.run.path().join("stderr")
    }

    /// Makes this the journal of the agent that `command` starts.
    pub fn of(&self, command: AgentCommand) -> AgentCommand {
        let stream = File::create(self.stream()).unwrap();
        let found = stream.metadata().unwrap();
        let mut command = command.stderr(stream);
        let named = format!("{}:{}", found.dev(), found.ino());
        command.command.env("JOURNAL_STREAM", named);
        let run = CString::new(self.run.path().as_os_str().as_bytes()).unwrap();
        // SAFETY: unshare(2) and mount(2) may be called between fork and exec.
        unsafe {
            command.command.pre_exec(move || {
                let (none, root, target) = (std::ptr::null(), c"/".as_ptr(), c"/run".as_ptr());
                let private = libc::MS_REC | libc::MS_PRIVATE;
                if libc::unshare(libc::CLONE_NEWNS) < 0
                    || libc::mount(none, root, none, private, none.cast()) < 0
                    || libc::mount(run.as_ptr(), target, none, libc::MS_BIND, none.cast()) < 0
                {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        command
    }

    /// Reads from now on.
    pub fn read(&mut self) {
        let (sender, entries) = sync_channel(1 << 16);
        let socket = self.socket.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = vec![0; 1 << 20];
            while let Ok(length) = socket.recv(&mut bytes) {
                // Empty: somebody looks whether a journal is there.
                if length > 0 && sender.send(parse(&bytes[..length])).is_err() {
                    return;
                }
            }
        });
        self.entries = Some(entries);
    }

    /// Nobody listens on the socket any more.
    pub fn close(&self) {
        fs::remove_file(self.run.path().join("systemd/journal/socket")).unwrap();
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// The next message of this kind; those before it are passed over.
    #[track_caller]
    pub fn next(&self, kind: Kind) -> Entry {
        let entries = self.entries.as_ref().expect("read() comes first");
        let end = Instant::now() + DEADLINE;
        let mut passed = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(entry) = entries.recv_timeout(left) else {
                panic!("no {kind:?} after {passed:#?}");
            };
            if entry.get("MESSAGE_ID").is_some_and(|id| id == kind.id()) {
                return entry;
            }
            passed.push(entry["MESSAGE"].clone());
        }
    }
}

/// The native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).
fn parse(mut bytes: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let (name, value) = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                bytes = rest;
                (&line[..at], &line[at + 1..])
            }
            None => {
                let (length, rest) = rest.split_first_chunk::<8>().unwrap();
                let length = u64::from_le_bytes(*length) as usize;
                bytes = rest[length..].strip_prefix(b"\n").unwrap();
                (line, &rest[..length])
            }
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let before = entry.insert(text(name), text(value));
        assert_eq!(before, None, "{} is there twice", text(name));
    }
    assert!(bytes.is_empty(), "{bytes:?}");
    entry
}
