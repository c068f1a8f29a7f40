//! The frame: how one payload is cut out of a stream of bytes.
//!
//! Pure functions over byte slices. Whatever the bytes are, [`decode`] answers with a frame, with
//! the number of bytes it still needs, or with an error; it never panics and never allocates.
//! What a payload means is the business of [`super::wire`].
//!
//! ```text
//! 0        4       5      6          8        12
//! | length | version | type | reserved | CRC32C | payload (length bytes) |
//! ```
//!
//! Numbers are big-endian. The checksum covers the eight bytes before it and the payload.

use crate::limits;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 12;

/// Version of this header. It changes only with the header itself; what the payloads may say is
/// negotiated by the handshake.
pub const FRAME_VERSION: u8 = 1;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum FrameType {
    /// The dialer introduces itself.
    Hello = 1,
    /// The acceptor takes the connection.
    Welcome = 2,
    /// Either side does not take it, and says why.
    Refused = 3,
    /// A Raft message.
    Message = 4,
    /// A question for the receiver's own status.
    StatusRequest = 5,
    /// The answer, on the answerer's own connection.
    StatusReply = 6,
    /// A peer says that an activation of its own is released.
    Release = 7,
    /// First on a connection, in place of a greeting: an invocation is released, proven by its
    /// secret.
    Announce = 8,
    /// The answer; nothing follows it.
    Announced = 9,
    /// Whether the sender may be active, and how much it is preferred.
    Standing = 10,
    /// Writes for the leader's store, questions for an index, and answers.
    Kv = 11,
    /// A snapshot is offered.
    SnapshotOffer = 12,
    /// Some of its rows.
    SnapshotPiece = 13,
    /// What the receiver has of it.
    SnapshotReport = 14,
}

impl FrameType {
    fn from_byte(byte: u8) -> Option<FrameType> {
        Some(match byte {
            1 => FrameType::Hello,
            2 => FrameType::Welcome,
            3 => FrameType::Refused,
            4 => FrameType::Message,
            5 => FrameType::StatusRequest,
            6 => FrameType::StatusReply,
            7 => FrameType::Release,
            8 => FrameType::Announce,
            9 => FrameType::Announced,
            10 => FrameType::Standing,
            11 => FrameType::Kv,
            12 => FrameType::SnapshotOffer,
            13 => FrameType::SnapshotPiece,
            14 => FrameType::SnapshotReport,
            _ => return None,
        })
    }
}

/// What the start of the input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole frame, which takes `consumed` bytes.
    Frame {
        /// What the payload is.
        kind: FrameType,
        /// The payload.
        payload: &'a [u8],
        /// Bytes to skip to reach the next frame.
        consumed: usize,
    },
    /// The start of a frame. Nothing can be said before `needed` bytes (counted from the start of
    /// the input) are there.
    Incomplete {
        /// Always more than the input has.
        needed: usize,
    },
}

/// Bytes that are not a frame. The stream cannot be used after one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Refused before anything is allocated for it.
    #[error("frame payload of {length} bytes, expected at most {max}")]
    TooLarge {
        /// What the header claims.
        length: usize,
        /// What is accepted here.
        max: usize,
    },
    /// Another header layout, or no frame at all.
    #[error("frame version {found}, expected {FRAME_VERSION}")]
    Version {
        /// What the header claims.
        found: u8,
    },
    /// A payload that this version does not know.
    #[error("frame type {found}, expected 1 to 14")]
    Type {
        /// What the header claims.
        found: u8,
    },
    /// The reserved bits are zero in this version.
    #[error("reserved frame bits {found:#06x}, expected none set")]
    Reserved {
        /// What the header has there.
        found: u16,
    },
    /// The bytes changed on their way.
    #[error("frame checksum {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// Of the bytes that arrived.
        expected: u32,
        /// What the header says.
        found: u32,
    },
}

/// Appends one frame to `out`.
///
/// # Panics
///
/// If the payload is larger than [`limits::FRAME_PAYLOAD_MAX_BYTES`]: the caller checks before.
pub fn encode_into(out: &mut Vec<u8>, kind: FrameType, payload: &impl prost::Message) {
    let length = payload.encoded_len();
    assert!(length <= limits::FRAME_PAYLOAD_MAX_BYTES, "frame payload of {length} bytes");
    let start = out.len();
    out.reserve(HEADER_BYTES + length);
    out.extend_from_slice(&(length as u32).to_be_bytes());
    out.extend_from_slice(&[FRAME_VERSION, kind as u8, 0, 0, 0, 0, 0, 0]);
    payload.encode(out).expect("a vector grows as needed");
    let (header, payload) = out[start..].split_at_mut(HEADER_BYTES);
    assert_eq!(payload.len(), length, "encoded length differs from the announced one");
    let sum = crc32c::crc32c_append(crc32c::crc32c(&header[..8]), payload);
    header[8..].copy_from_slice(&sum.to_be_bytes());
}

/// Reads the frame at the start of `input`, whose payload may have up to `payload_max` bytes.
///
/// The header is checked as soon as it is there, before a single byte of payload is waited for.
pub fn decode(input: &[u8], payload_max: usize) -> Result<Decoded<'_>, FrameError> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(Decoded::Incomplete { needed: HEADER_BYTES });
    };
    let [l0, l1, l2, l3, version, kind, r0, r1, c0, c1, c2, c3] = *header;
    if version != FRAME_VERSION {
        return Err(FrameError::Version { found: version });
    }
    let kind = FrameType::from_byte(kind).ok_or(FrameError::Type { found: kind })?;
    let reserved = u16::from_be_bytes([r0, r1]);
    if reserved != 0 {
        return Err(FrameError::Reserved { found: reserved });
    }
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length > payload_max {
        return Err(FrameError::TooLarge { length, max: payload_max });
    }
    let Some(payload) = rest.get(..length) else {
        return Ok(Decoded::Incomplete { needed: HEADER_BYTES + length });
    };
    let found = u32::from_be_bytes([c0, c1, c2, c3]);
    let expected = crc32c::crc32c_append(crc32c::crc32c(&header[..8]), payload);
    if found != expected {
        return Err(FrameError::Checksum { expected, found });
    }
    Ok(Decoded::Frame { kind, payload, consumed: HEADER_BYTES + length })
}

#[cfg(test)]
mod tests;
