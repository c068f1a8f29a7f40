//! The socket under a connection that serves: what zbus 6.2.1 leaves unbounded is bounded here.
//!
//! zbus starts a task for each method call and accepts messages of 128 MiB. Here a message above
//! `limits::DBUS_MESSAGE_MAX_BYTES` is not even allocated: it ends a client's own connection, and
//! is thrown away on the one that all clients of the system bus share. So is one above
//! `limits::DBUS_SMALL_MESSAGE_MAX_BYTES` that is not for a method which takes a value, and of the
//! others there are few at a time ([`Places`]). The next call is not read
//! before one of [`Bounds::calls`] is answered, so that the rest waits in the kernel's buffer and
//! finally in the client or the bus; and who does not read is let go after
//! `limits::DBUS_WRITE_TIMEOUT`. Descriptors that a client attaches are closed by the kernel,
//! because they are never received.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zbus::Message;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;
use zbus::message::Type;

use super::KEY_VALUE_INTERFACE;
use crate::limits;

/// What one connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Calls that run at once.
    calls: usize,
    /// What becomes of a message that is too long.
    too_long: TooLong,
}

impl Bounds {
    /// For a client of the private socket.
    pub(super) const PRIVATE: Bounds =
        Bounds { calls: limits::DBUS_CALLS_PER_CONNECTION_MAX, too_long: TooLong::Close };

    /// For all clients of the system bus together.
    pub(super) const SYSTEM: Bounds =
        Bounds { calls: limits::SYSTEM_BUS_CALLS_MAX, too_long: TooLong::Skip };
}

/// What becomes of a message that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TooLong {
    /// It ends the connection of the client that sent it.
    Close,
    /// It is read and thrown away, unanswered.
    Skip,
}

/// Places for messages that are not small, shared by connections.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Places {
        Places(Arc::new(Semaphore::new(limits::DBUS_LARGE_MESSAGES_MAX)))
    }
}

/// A stream, with the bytes that were already read from it.
#[derive(Debug)]
pub(super) struct BoundedSocket {
    stream: UnixStream,
    early: Vec<u8>,
    bounds: Bounds,
    places: Places,
}

impl BoundedSocket {
    /// A socket over `stream`, whose first bytes are `early`.
    pub(super) fn new(
        stream: UnixStream,
        early: Vec<u8>,
        bounds: Bounds,
        places: Places,
    ) -> BoundedSocket {
        BoundedSocket { stream, early, bounds, places }
    }
}

impl Socket for BoundedSocket {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (read, write) = self.stream.into_split();
        let calls = Arc::new(Calls {
            free: Semaphore::new(self.bounds.calls),
            running: Mutex::new(VecDeque::new()),
        });
        let bytes = Bytes { stream: read, early: self.early };
        let (too_long, places) = (self.bounds.too_long, self.places);
        Split::new(
            Reader { bytes, calls: calls.clone(), too_long, places },
            Writer { stream: write, calls },
        )
    }
}

/// The calls that are running.
#[derive(Debug)]
struct Calls {
    free: Semaphore,
    /// Running calls that want no reply, or have a place.
    running: Mutex<VecDeque<Special>>,
}

/// A running call that is not like the others.
#[derive(Debug)]
struct Special {
    call: CallId,
    no_reply: bool,
    /// Given back when this is dropped.
    _place: Option<OwnedSemaphorePermit>,
}

/// Who called, on a bus, and the serial of the call: each caller counts for himself.
type CallId = (Option<String>, u32);

impl Calls {
    fn special(&self) -> std::sync::MutexGuard<'_, VecDeque<Special>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading half: one message at a time, if a call may run.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Bytes,
    calls: Arc<Calls>,
    too_long: TooLong,
    places: Places,
}

impl Reader {
    /// The start of the next message that is not too long, left in `received`.
    async fn next_header(&mut self, received: &mut Vec<u8>) -> zbus::Result<PrimaryHeader> {
        loop {
            while received.len() < PRIMARY_HEADER_BYTES {
                let mut chunk = [0; PRIMARY_HEADER_BYTES];
                let room = PRIMARY_HEADER_BYTES - received.len();
                let (read, _) = self.bytes.recvmsg(&mut chunk[..room]).await?;
                if read == 0 {
                    return Err(gone().into());
                }
                received.extend_from_slice(&chunk[..read]);
            }
            let header = PrimaryHeader::read(received);
            if header.total_bytes <= limits::DBUS_MESSAGE_MAX_BYTES as u64 {
                return Ok(header);
            }
            if self.too_long == TooLong::Close {
                return Err(zbus::Error::ExcessData);
            }
            self.skip(received, header.total_bytes).await?;
        }
    }

    /// Throws the next `count` bytes away.
    async fn skip(&mut self, received: &mut Vec<u8>, count: u64) -> zbus::Result<()> {
        let mut left = count - received.len().min(count as usize) as u64;
        received.drain(..received.len().min(count as usize));
        let mut chunk = [0; 4096];
        while left > 0 {
            let room = left.min(chunk.len() as u64) as usize;
            let (read, _) = self.bytes.recvmsg(&mut chunk[..room]).await?;
            if read == 0 {
                return Err(gone().into());
            }
            left -= read as u64;
        }
        Ok(())
    }
}

#[async_trait]
impl ReadHalf for Reader {
    /// Bytes of the handshake, where it is not ours.
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.bytes.recvmsg(buffer).await
    }

    async fn receive_message(
        &mut self,
        seq: u64,
        already_received_bytes: &mut Vec<u8>,
        already_received_fds: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        let calls = Arc::clone(&self.calls);
        let permit = calls.free.acquire().await.map_err(|_| gone())?;
        let (header, place, message) = loop {
            let header = self.next_header(already_received_bytes).await?;
            // BEFORE its bytes are allocated.
            let place = match header.is_small() {
                true => None,
                false => {
                    Some(Arc::clone(&self.places.0).acquire_owned().await.map_err(|_| gone())?)
                }
            };
            // zbus replies to some of the calls that want no reply, not to all. Here each gets one,
            // which the writer keeps to itself, so that every call is counted to its end.
            already_received_bytes[2] &= !NO_REPLY_EXPECTED;
            let bytes = &mut *already_received_bytes;
            let message = self.bytes.receive_message(seq, bytes, already_received_fds).await?;
            match place.is_none() || may_be_large(&message) {
                true => break (header, place, message),
                false if self.too_long == TooLong::Close => return Err(zbus::Error::ExcessData),
                false => {}
            }
        };
        if message.message_type() == Type::MethodCall {
            // Given back by the writer, when the reply goes out.
            permit.forget();
            if header.no_reply || place.is_some() {
                let sender = message.header().sender().map(ToString::to_string);
                let call = (sender, message.primary_header().serial_num().get());
                let special = Special { call, no_reply: header.no_reply, _place: place };
                self.calls.special().push_back(special);
            }
        }
        Ok(message)
    }
}

/// The bytes of the stream, for the message parser of zbus.
#[derive(Debug)]
struct Bytes {
    stream: OwnedReadHalf,
    early: Vec<u8>,
}

#[async_trait]
impl ReadHalf for Bytes {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.early[..count]);
            self.early.drain(..count);
            return Ok((count, Vec::new()));
        }
        Ok((self.stream.read(buffer).await?, Vec::new()))
    }
}

/// The writing half.
#[derive(Debug)]
pub(super) struct Writer {
    stream: OwnedWriteHalf,
    calls: Arc<Calls>,
}

#[async_trait]
impl WriteHalf for Writer {
    async fn send_message(&mut self, message: &Message) -> zbus::Result<()> {
        let mut wanted = true;
        if matches!(message.message_type(), Type::MethodReturn | Type::Error) {
            self.calls.free.add_permits(1);
            let header = message.header();
            let to = header.destination().map(|name| name.as_str());
            let serial = header.reply_serial().map(|serial| serial.get());
            let is_this = |Special { call: (sender, of), .. }: &Special| {
                sender.as_deref() == to && Some(*of) == serial
            };
            let mut special = self.calls.special();
            if let Some(at) = special.iter().position(is_this) {
                wanted = special.remove(at).is_none_or(|call| !call.no_reply);
            }
        }
        if !wanted {
            return Ok(());
        }
        let sent = self.stream.write_all(message.data().bytes());
        match tokio::time::timeout(limits::DBUS_WRITE_TIMEOUT, sent).await {
            Ok(Ok(())) => Ok(()),
            // Part of the message may be out: nothing sensible can follow it.
            Ok(Err(error)) => self.give_up(error).await,
            Err(_) => self.give_up(io::ErrorKind::TimedOut.into()).await,
        }
    }

    async fn sendmsg(&mut self, buffer: &[u8], _fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.stream.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        let stream: &UnixStream = self.stream.as_ref();
        nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(stream),
            nix::sys::socket::Shutdown::Both,
        )?;
        Ok(())
    }
}

impl Writer {
    /// Shuts the socket down, which ends the reading half too.
    async fn give_up(&mut self, error: io::Error) -> zbus::Result<()> {
        // The calls that still run find the socket shut; there is nobody left to tell.
        let _ = self.close().await;
        Err(error.into())
    }
}

/// The fixed start of a message and the length of its header fields (D-Bus specification,
/// "Message Format").
struct PrimaryHeader {
    total_bytes: u64,
    no_reply: bool,
}

impl PrimaryHeader {
    /// Reads at least [`PRIMARY_HEADER_BYTES`]. A wrong byte order is left to the message parser.
    fn read(bytes: &[u8]) -> PrimaryHeader {
        let big_endian = bytes[0] == b'B';
        let number = |at: usize| {
            let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            u64::from(if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
        };
        let (body, fields) = (number(4), number(12));
        let header = (PRIMARY_HEADER_BYTES as u64 + fields).next_multiple_of(8);
        PrimaryHeader { total_bytes: header + body, no_reply: bytes[2] & NO_REPLY_EXPECTED != 0 }
    }

    fn is_small(&self) -> bool {
        self.total_bytes <= limits::DBUS_SMALL_MESSAGE_MAX_BYTES as u64
    }
}

/// Whether a message is a call of a method that takes a value, and says so in full. What another
/// method makes of many bytes could take far more memory than these.
fn may_be_large(message: &Message) -> bool {
    let header = message.header();
    let interface = header.interface().map(|name| name.as_str());
    let member = header.member().map(|name| name.as_str());
    message.message_type() == Type::MethodCall
        && interface == Some(KEY_VALUE_INTERFACE)
        && matches!(member, Some("Put" | "Txn"))
}

const PRIMARY_HEADER_BYTES: usize = 16;
const NO_REPLY_EXPECTED: u8 = 1;

fn gone() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
