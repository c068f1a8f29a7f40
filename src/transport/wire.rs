//! The payloads: what peers say to each other, and how much of it is believed.
//!
//! Pure. [`weigh`] looks at an encoded Raft message before it is decoded, so that a small frame
//! cannot be turned into a large value; what the message says is judged by `consensus`.
//! A tag, once used, is never given to another field; unknown fields are skipped.

use prost::Message as _;

use crate::core::command::Release;
use crate::core::kv::KvFrame;
use crate::core::message::{Entry, Message};
use crate::core::release::ReleaseOutcome;
use crate::limits;

/// The protocol versions this program speaks: from, to. The handshake takes the highest that both
/// sides speak. Version 2 has `Standing`, version 3 `Kv` and the rows of snapshots.
pub const PROTOCOL_VERSIONS: (u32, u32) = (1, 3);

/// The lowest version whose speakers take a `Standing`.
pub(super) const PROTOCOL_STANDING: u32 = 2;

/// The lowest version whose speakers take a `Kv`.
pub(super) const PROTOCOL_KV: u32 = 3;

/// The two connections that a node dials to each peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConnectionKind {
    /// Not set, or of a newer version: refused.
    Unknown = 0,
    /// Heartbeats, votes and everything small.
    Control = 1,
    /// Appends and snapshots.
    Bulk = 2,
}

/// Payload of `Hello` and `Welcome`: who speaks, and to whom. Nothing in it is believed before
/// [`super::handshake::check`] has seen it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Greeting {
    /// Lowest protocol version spoken.
    #[prost(uint32, tag = "1")]
    pub protocol_min: u32,
    /// Highest protocol version spoken.
    #[prost(uint32, tag = "2")]
    pub protocol_max: u32,
    /// Name of the cluster, from the configuration.
    #[prost(string, tag = "3")]
    pub cluster_name: String,
    /// Identity of the cluster, empty while the sender does not know it.
    #[prost(bytes = "vec", tag = "4")]
    pub cluster_id: Vec<u8>,
    /// Digest of the configured member list.
    #[prost(bytes = "vec", tag = "5")]
    pub bootstrap: Vec<u8>,
    /// Name of the sender.
    #[prost(string, tag = "6")]
    pub node: String,
    /// Number of the sender.
    #[prost(uint64, tag = "7")]
    pub id: u64,
    /// Name of the node it believes to speak to.
    #[prost(string, tag = "8")]
    pub receiver: String,
    /// Incarnation the sender expects of the receiver, empty for any. A receiver that has another
    /// one can refuse at once.
    #[prost(bytes = "vec", tag = "9")]
    pub receiver_incarnation: Vec<u8>,
    /// Incarnation of the sender.
    #[prost(bytes = "vec", tag = "10")]
    pub incarnation: Vec<u8>,
    /// Random number of this run of the sender's agent.
    #[prost(fixed64, tag = "11")]
    pub process: u64,
    /// The sender's E, in milliseconds.
    #[prost(uint64, tag = "12")]
    pub election_min_ms: u64,
    /// Which connection this is.
    #[prost(enumeration = "ConnectionKind", tag = "13")]
    pub kind: i32,
    /// Version of the sender's program; for the log only.
    #[prost(string, tag = "14")]
    pub version: String,
}

/// Payload of `Refused`: what does not fit, as the refusing side sees it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Refusal {
    /// What was compared, as words.
    #[prost(string, tag = "1")]
    pub what: String,
    /// The value of the side that refuses.
    #[prost(string, tag = "2")]
    pub ours: String,
    /// The value of the side that is refused.
    #[prost(string, tag = "3")]
    pub theirs: String,
    /// Random number of this run of the refusing agent.
    #[prost(fixed64, tag = "4")]
    pub process: u64,
}

/// Payload of `StatusRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusRequest {
    /// Chosen by the asking side.
    #[prost(uint64, tag = "1")]
    pub request: u64,
}

/// Payload of `StatusReply`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusReply {
    /// Number of the request.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// The status as JSON text.
    #[prost(string, tag = "2")]
    pub status: String,
}

/// Payload of `Standing`: what a node says about itself. The newest word counts.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Standing {
    /// Whether it may be active.
    #[prost(bool, tag = "1")]
    pub eligible: bool,
    /// How much it should be preferred; more is better.
    #[prost(uint32, tag = "2")]
    pub priority: u32,
}

/// Payload of `Announce`. Its sender is not a member's agent but what runs after one (DESIGN 5.9):
/// nothing is believed of it but what the secret proves.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Announce {
    /// Protocol version of the sender.
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    /// Name of the cluster, from the configuration.
    #[prost(string, tag = "2")]
    pub cluster_name: String,
    /// Name of the node it believes to speak to.
    #[prost(string, tag = "3")]
    pub receiver: String,
    /// What is released, with the secret.
    #[prost(message, optional, tag = "4")]
    pub release: Option<Release>,
}

/// Payload of `Announced`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Announced {
    /// What this node has to say about it.
    #[prost(enumeration = "ReleaseOutcome", tag = "1")]
    pub outcome: i32,
}

/// A payload that cannot be used. The connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not what the frame's type announces.
    #[error("payload is not what the frame type announces")]
    Malformed(#[from] prost::DecodeError),
    /// Its fields cannot be told apart.
    #[error("payload ends inside a field or has a field of unknown form")]
    Field,
    /// Would take far more memory than it has bytes.
    #[error("message with more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are accepted.
        max: usize,
    },
}

/// Bytes that the Raft message in `payload` will take in memory once decoded, about.
///
/// Walks over the fields without keeping anything. Refuses a message whose decoded form would be
/// much larger than its encoded one: entries without end, or a list of members without end.
pub fn weigh(payload: &[u8]) -> Result<usize, PayloadError> {
    let mut entries = 0;
    let mut members = 0;
    let mut rest = payload;
    while let Some((tag, body)) = next_field(&mut rest)? {
        match tag {
            TAG_ENTRIES => entries += 1,
            TAG_SNAPSHOT => members += member_bytes(body)?,
            _ => {}
        }
    }
    let max = limits::MESSAGE_ENTRIES_MAX;
    if entries > max {
        return Err(PayloadError::TooMany { what: "entries", max });
    }
    let max = 2 * limits::MEMBERS_MAX * VARINT_MAX_BYTES;
    if members > max {
        return Err(PayloadError::TooMany { what: "bytes of member numbers", max });
    }
    Ok(payload.len() + entries * size_of::<Entry>())
}

/// Decodes what a peer says about the store; refuses lists that would take far more memory than
/// they have bytes.
pub fn read_kv(payload: &[u8]) -> Result<KvFrame, PayloadError> {
    let (mut items, mut rest) = (0, payload);
    while next_field(&mut rest)?.is_some() {
        items += 1;
    }
    let max = limits::KV_FRAME_ITEMS_MAX;
    if items > max {
        return Err(PayloadError::TooMany { what: "writes and answers", max });
    }
    Ok(KvFrame::decode(payload)?)
}

/// Decodes a Raft message that [`weigh`] has accepted.
pub fn read_message(payload: &[u8]) -> Result<Message, PayloadError> {
    Ok(Message::decode(payload)?)
}

fn member_bytes(mut snapshot: &[u8]) -> Result<usize, PayloadError> {
    let mut bytes = 0;
    while let Some((tag, list)) = next_field(&mut snapshot)? {
        if tag == TAG_SNAPSHOT_VOTERS || tag == TAG_SNAPSHOT_LEARNERS {
            // A list that is not packed comes as one field without a body for each number.
            bytes += list.len().max(1);
        }
    }
    Ok(bytes)
}

/// Takes the next field off `rest`: its tag and, if it is of the form that has one, its body.
/// (protobuf.dev, "Encoding", "Message Structure")
fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Option<(u64, &'a [u8])>, PayloadError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let key = next_varint(rest)?;
    let mut body_bytes = 0;
    let skipped_bytes = match key & 7 {
        0 => {
            next_varint(rest)?;
            0
        }
        1 => 8,
        2 => {
            body_bytes = usize::try_from(next_varint(rest)?).map_err(|_| PayloadError::Field)?;
            0
        }
        5 => 4,
        // 3 and 4 are groups, which no version of ours sends.
        _ => return Err(PayloadError::Field),
    };
    let (body, after) = rest.split_at_checked(body_bytes).ok_or(PayloadError::Field)?;
    *rest = after.get(skipped_bytes..).ok_or(PayloadError::Field)?;
    Ok(Some((key >> 3, body)))
}

fn next_varint(rest: &mut &[u8]) -> Result<u64, PayloadError> {
    let mut value = 0;
    for (at, &byte) in rest.iter().enumerate().take(VARINT_MAX_BYTES) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *rest = &rest[at + 1..];
            return Ok(value);
        }
    }
    Err(PayloadError::Field)
}

/// Longest encoding of a number of 64 bits.
const VARINT_MAX_BYTES: usize = 10;

// Tags of `core::message::Message` and `core::message::Snapshot`; a test holds them to it.
const TAG_ENTRIES: u64 = 7;
const TAG_SNAPSHOT: u64 = 10;
const TAG_SNAPSHOT_VOTERS: u64 = 3;
const TAG_SNAPSHOT_LEARNERS: u64 = 4;

#[cfg(test)]
mod tests;
