//! The socket of a connection, as hyper wants it; says 408 to a client whose request did not come.

use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;

use crate::limits;

/// A socket. When it is dropped [`Io::late`] says whether the client is told that it was too slow.
pub(super) struct Io {
    stream: TokioIo<TcpStream>,
    late: Arc<AtomicBool>,
    /// Something was read after the last answer.
    asked: bool,
}

impl Io {
    pub(super) fn new(stream: TcpStream) -> io::Result<Io> {
        stream.set_nodelay(true)?;
        let most = limits::HTTP_WRITE_TIMEOUT.as_millis() as u32;
        setsockopt(&stream.as_fd(), sockopt::TcpUserTimeout, &most)?;
        Ok(Io { stream: TokioIo::new(stream), late: Arc::default(), asked: false })
    }

    /// Whether the client was too slow; set by whoever finds out.
    pub(super) fn late(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.late)
    }
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.asked |= done.is_ready();
        done
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = false;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.asked = false;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if self.asked && self.late.load(Ordering::Relaxed) {
            // A client that does not take it is gone, or does not care.
            let _ = self.stream.inner().try_write(LATE);
        }
    }
}

const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";
