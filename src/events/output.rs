//! What a script prints: the beginning is kept, the rest is read and counted.
//!
//! Standard output and standard error are one pipe, so their lines stay in the order of writing.
//! The pipe is always read, since a script must not block on a reader that has seen enough.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::limits::{SCRIPT_DRAIN_MAX_BYTES, SCRIPT_OUTPUT_MAX_BYTES, SCRIPT_READ_BYTES};

/// The read end of a script's output.
pub(super) struct Output {
    /// `None` after the last writer has closed its end.
    pipe: Option<pipe::Receiver>,
    chunk: Box<[u8]>,
    kept: Vec<u8>,
    discarded_bytes: u64,
}

impl Output {
    /// Takes the read end of a pipe.
    pub(super) fn new(read_end: OwnedFd) -> io::Result<Output> {
        let pipe = pipe::Receiver::from_owned_fd(read_end)?;
        let chunk = vec![0; SCRIPT_READ_BYTES].into_boxed_slice();
        Ok(Output { pipe: Some(pipe), chunk, kept: Vec::new(), discarded_bytes: 0 })
    }

    /// Whether there may be more to come.
    pub(super) fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Waits for output and takes one chunk of it. Cancel safe.
    pub(super) async fn read(&mut self) {
        let Some(pipe) = self.pipe.as_mut() else { return std::future::pending().await };
        match pipe.read(&mut self.chunk).await {
            Ok(0) | Err(_) => self.pipe = None,
            Ok(count) => self.keep(count),
        }
    }

    /// Takes what is in the pipe now, and waits for nothing: after the script has exited, only
    /// processes that it left behind can still write.
    pub(super) fn drain(&mut self) {
        let mut rest = SCRIPT_DRAIN_MAX_BYTES;
        while let Some(pipe) = self.pipe.as_ref() {
            // Past tokio's readiness, which may not have heard yet of the last bytes.
            match nix::unistd::read(pipe, &mut self.chunk) {
                Err(Errno::EINTR) => continue,
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    self.keep(count);
                    rest = rest.saturating_sub(count);
                    if rest == 0 {
                        return;
                    }
                }
            }
        }
    }

    /// What was kept, and how many bytes were not.
    pub(super) fn into_parts(self) -> (Vec<u8>, u64) {
        (self.kept, self.discarded_bytes)
    }

    fn keep(&mut self, count: usize) {
        let room = SCRIPT_OUTPUT_MAX_BYTES - self.kept.len();
        let taken = count.min(room);
        self.kept.extend_from_slice(&self.chunk[..taken]);
        self.discarded_bytes += (count - taken) as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn drain_takes_what_is_there_and_waits_for_nothing() {
        let (read_end, mut write_end) = io::pipe().unwrap();
        let mut output = Output::new(read_end.into()).unwrap();
        write_end.write_all(b"last words").unwrap();
        output.drain();
        assert!(output.is_open(), "the writer is still there");
        assert_eq!(output.into_parts(), (b"last words".to_vec(), 0));
    }

    #[tokio::test]
    async fn the_beginning_is_kept_and_the_rest_counted() {
        let (read_end, mut write_end) = io::pipe().unwrap();
        let mut output = Output::new(read_end.into()).unwrap();
        write_end.write_all(&vec![b'a'; SCRIPT_OUTPUT_MAX_BYTES - 1]).unwrap();
        write_end.write_all(b"bcd").unwrap();
        drop(write_end);
        while output.is_open() {
            output.read().await;
        }
        let (kept, discarded) = output.into_parts();
        assert_eq!((kept.len(), discarded), (SCRIPT_OUTPUT_MAX_BYTES, 2));
        assert!(kept.ends_with(b"ab"));
    }
}
