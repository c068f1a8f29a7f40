//! A socket as a source of frames, and how sockets are made.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream};

use super::frame::{self, Decoded, FrameError, FrameType, HEADER_BYTES};
use crate::limits;

/// Cuts what arrives on one socket into frames.
///
/// The buffer grows only when it is full of bytes that did arrive, so a claimed length costs its
/// sender as much as us; it shrinks again when it is empty and nothing more is there.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

/// Why no further frame comes.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("closed by the other side")]
    Closed,
    #[error("closed by the other side inside a frame, {missing} bytes short")]
    Torn { missing: usize },
    #[error("connection failed: {0}")]
    Io(io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl FrameReader {
    /// The next frame of at most `payload_max` bytes. May be dropped while it waits.
    pub(super) async fn next(
        &mut self,
        stream: &TcpStream,
        payload_max: usize,
    ) -> Result<(FrameType, &[u8]), ReadError> {
        let (kind, bytes) = loop {
            match frame::decode(&self.buffer[self.start..], payload_max)? {
                Decoded::Frame { kind, consumed, .. } => break (kind, consumed),
                Decoded::Incomplete { needed } => self.fill(stream, needed).await?,
            }
        };
        let frame = self.start..self.start + bytes;
        self.start = frame.end;
        Ok((kind, &self.buffer[frame][HEADER_BYTES..]))
    }

    /// Whether bytes have arrived that no frame has taken yet.
    pub(super) fn has_more(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// Reads once, at most up to a buffer that holds `needed` bytes.
    async fn fill(&mut self, stream: &TcpStream, needed: usize) -> Result<(), ReadError> {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.len() == self.buffer.capacity() {
            let doubled = (2 * self.buffer.capacity()).min(needed);
            let capacity = doubled.max(limits::CONNECTION_BUFFER_BYTES);
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
        loop {
            match stream.try_read_buf(&mut self.buffer) {
                Ok(0) if self.buffer.is_empty() => return Err(ReadError::Closed),
                Ok(0) => return Err(ReadError::Torn { missing: needed - self.buffer.len() }),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.buffer.is_empty() {
                        self.buffer.shrink_to(limits::CONNECTION_BUFFER_BYTES);
                    }
                    stream.readable().await.map_err(ReadError::Io)?;
                }
                Err(error) => return Err(ReadError::Io(error)),
            }
        }
    }

    /// Bytes of memory held.
    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

/// Connects to `address`. Small messages leave at once (`TCP_NODELAY`), and a connection whose
/// bytes are not acknowledged for `user_timeout` fails (tcp(7), `TCP_USER_TIMEOUT`).
pub(super) async fn connect(address: SocketAddr, user_timeout: Duration) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    let ms = u32::try_from(user_timeout.as_millis()).unwrap_or(u32::MAX);
    setsockopt(&socket, sockopt::TcpUserTimeout, &ms)?;
    let stream = socket.connect(address).await?;
    // A dial to a local port nobody listens on can be given that very port as its own and then
    // connects to itself (RFC 9293, 3.5, simultaneous open): nobody answered.
    if stream.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::message::{Entry, Message};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dialed = connect(address, Duration::from_millis(150)).await.unwrap();
        (dialed, listener.accept().await.unwrap().0)
    }

    fn frame(bytes: usize) -> Vec<u8> {
        let entries = vec![Entry { data: vec![5; bytes], ..Default::default() }];
        let mut out = Vec::new();
        let message = Message { entries, ..Default::default() };
        frame::encode_into(&mut out, FrameType::Message, &message);
        out
    }

    #[tokio::test]
    async fn a_claimed_length_costs_no_memory_and_a_real_one_is_given_back() {
        let (mut dialed, accepted) = pair().await;
        let mut reader = FrameReader::default();
        let large = frame(4 << 20);
        let max = limits::FRAME_PAYLOAD_MAX_BYTES;
        // The header of a large frame and a little of its payload.
        dialed.write_all(&large[..100]).await.unwrap();
        while reader.buffer.len() < 100 {
            reader.fill(&accepted, large.len()).await.unwrap();
        }
        assert_eq!(reader.capacity(), limits::CONNECTION_BUFFER_BYTES);
        let rest = large[100..].to_vec();
        let write = tokio::spawn(async move {
            dialed.write_all(&rest).await.unwrap();
            dialed
        });
        let (_, payload) = reader.next(&accepted, max).await.unwrap();
        assert_eq!(payload, &large[HEADER_BYTES..]);
        assert!(reader.capacity() <= large.len());

        let mut dialed = write.await.unwrap();
        // Nothing is there now: the reader gives the memory back, then waits.
        let waiting = reader.next(&accepted, max);
        tokio::select! {
            biased;
            _ = waiting => panic!("nothing was sent"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(reader.capacity(), limits::CONNECTION_BUFFER_BYTES);
        dialed.write_all(&frame(30)[..20]).await.unwrap();
        drop(dialed);
        let error = reader.next(&accepted, max).await.unwrap_err();
        assert!(matches!(error, ReadError::Torn { missing } if missing == frame(30).len() - 20));
    }

    #[tokio::test]
    async fn sockets_have_their_options() {
        use nix::sys::socket::getsockopt;
        let (dialed, _accepted) = pair().await;
        assert!(dialed.nodelay().unwrap());
        assert_eq!(getsockopt(&dialed, sockopt::TcpUserTimeout).unwrap(), 150);
    }
}
