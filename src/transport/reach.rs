//! One dial: from a peer's address to a connection that has passed the handshake.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::frame::{self, FrameType};
use super::handshake::{Mismatch, Speaker};
use super::shared::Shared;
use super::stream::{FrameReader, ReadError, connect};
use super::wire::{ConnectionKind, Greeting, PayloadError, Refusal};
use crate::core::{Address, NodeId};
use crate::limits;

/// A connection that has passed the handshake.
pub(super) struct Outbound {
    pub stream: TcpStream,
    pub address: SocketAddr,
    pub speaker: Speaker,
    pub since: Instant,
    /// Encoded frames, of which the first `written` bytes are with the kernel.
    pub out: Vec<u8>,
    pub written: usize,
}

/// Why a dial did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("cannot resolve {host}: {error}")]
    Resolve { host: String, error: io::Error },
    #[error("{0}")]
    Connect(io::Error),
    #[error("no answer within {} ms", limits::HANDSHAKE_TIMEOUT.as_millis())]
    TooSlow,
    #[error("no answer to the handshake: {0}")]
    Read(#[from] ReadError),
    #[error("unreadable answer to the handshake: {0}")]
    Payload(#[from] PayloadError),
    #[error("answered the handshake with a frame of type {0:?}")]
    Unexpected(FrameType),
    #[error("refuses this node: {mismatch}")]
    Refused { mismatch: Mismatch, process: u64 },
    #[error("does not fit: {mismatch}")]
    Unfit { mismatch: Mismatch, process: u64 },
}

impl From<prost::DecodeError> for DialError {
    fn from(source: prost::DecodeError) -> Self {
        DialError::Payload(source.into())
    }
}

impl DialError {
    pub(super) fn mismatch(&self) -> Option<(&Mismatch, u64)> {
        match self {
            DialError::Refused { mismatch, process } | DialError::Unfit { mismatch, process } => {
                Some((mismatch, *process))
            }
            _ => None,
        }
    }

    /// Whether the other host itself said that nobody is there. Everything else, a shortage on this
    /// host for example, says nothing; then time decides.
    pub(super) fn is_rejection(&self) -> bool {
        match self {
            DialError::Connect(error) | DialError::Read(ReadError::Io(error)) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
            ),
            DialError::Read(ReadError::Closed | ReadError::Torn { .. }) => true,
            _ => false,
        }
    }
}

/// Dials a peer and passes the handshake. `hint` is where the peer was a moment ago; it is tried
/// without asking the resolver, which may take longer than the answer.
pub(super) async fn dial(
    shared: Arc<Shared>,
    peer: NodeId,
    kind: ConnectionKind,
    hint: Option<SocketAddr>,
) -> Result<Outbound, DialError> {
    let handshake = async {
        let (stream, address) = open(&shared, peer, kind, hint).await?;
        let (stream, speaker) = greet(&shared, peer, kind, stream).await?;
        let since = Instant::now();
        Ok(Outbound { stream, address, speaker, since, out: Vec::new(), written: 0 })
    };
    timeout(limits::HANDSHAKE_TIMEOUT, handshake).await.unwrap_or(Err(DialError::TooSlow))
}

async fn open(
    shared: &Shared,
    peer: NodeId,
    kind: ConnectionKind,
    hint: Option<SocketAddr>,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let user_timeout = match kind {
        ConnectionKind::Bulk => limits::BULK_STALL_MAX,
        // Below E (DESIGN 8), so that a dead path is noticed before elections depend on it.
        _ => Duration::from_millis(shared.identity.election_min_ms * 3 / 4),
    };
    let addresses = match hint {
        Some(address) => vec![address],
        None => resolve(&shared.peers[&peer].address).await?,
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in addresses {
        match connect(address, user_timeout).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = error,
        }
    }
    Err(DialError::Connect(last))
}

async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, DialError> {
    let (host, port) = (address.host(), address.port());
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let failed = |error| DialError::Resolve { host: host.to_owned(), error };
    Ok(lookup_host((host, port)).await.map_err(failed)?.collect())
}

async fn greet(
    shared: &Shared,
    peer: NodeId,
    kind: ConnectionKind,
    mut stream: TcpStream,
) -> Result<(TcpStream, Speaker), DialError> {
    let mut out = Vec::new();
    frame::encode_into(&mut out, FrameType::Hello, &shared.greeting(peer, kind));
    stream.write_all(&out).await.map_err(ReadError::Io)?;
    let mut reader = FrameReader::default();
    let max = limits::HANDSHAKE_PAYLOAD_MAX_BYTES;
    let (answer, payload) = reader.next(&stream, max).await?;
    let process = shared.identity.process;
    match answer {
        FrameType::Welcome => {
            let welcome: Greeting = prost::Message::decode(payload)?;
            match shared.admit(Some(peer), &welcome) {
                Ok(_) if reader.has_more() => Err(DialError::Unexpected(answer)),
                Ok(speaker) => Ok((stream, speaker)),
                Err(mismatch) => {
                    out.clear();
                    let refusal = mismatch.to_refusal(process);
                    frame::encode_into(&mut out, FrameType::Refused, &refusal);
                    let _ = stream.write_all(&out).await;
                    Err(DialError::Unfit { mismatch, process: welcome.process })
                }
            }
        }
        FrameType::Refused => {
            let refusal: Refusal = prost::Message::decode(payload)?;
            let mismatch = Mismatch::from_refusal(&refusal);
            Err(DialError::Refused { mismatch, process: refusal.process })
        }
        other => Err(DialError::Unexpected(other)),
    }
}
