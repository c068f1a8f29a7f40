//! One record of a log segment: framing, checksum and the chain that ties it to its neighbours.
//!
//! ```text
//! 0  tag      u32  low half of the segment's salt
//! 4  crc      u32  CRC32C over salt, offset in the file, and everything from byte 8 on
//! 8  len      u32  payload bytes
//! 12 kind     u8   what the payload is
//! 13 flags    u8   1: last record of its batch
//! 14 zero     u16
//! 16 link     u32  crc of the record before it in the segment, of the header for the first
//! 20 durable  u32  every byte below this offset was durable when the record was written
//! 24 payload, then zeros up to a multiple of 8
//! ```
//!
//! Little-endian. Salt and offset make a record valid in one generation of one file at one place
//! only, so what a recycled file still holds is never taken for new. `link` makes it valid only
//! after exactly the records it was written after. `durable` lets a later record testify that an
//! earlier, damaged one had been synced. This module frames and checks; what a damaged record
//! means is decided by `recovery`.

use std::io;

use prost::Message as _;

use super::disk::DiskFile;
use crate::core::message::{Entry, HardState};
use crate::core::{Index, Term};

/// What one record says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    Entry(&'a Entry),
    HardState(HardState),
    /// Entries up to here are no longer needed.
    Truncate(Position),
    /// The log was replaced by a snapshot at this position.
    Install(Position),
}

/// An index and the term of the entry there.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct Position {
    #[prost(uint64, tag = "1")]
    pub index: Index,
    #[prost(uint64, tag = "2")]
    pub term: Term,
}

/// Term and index of an entry without its data: same tags, so decoding skips the rest.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct EntryHead {
    #[prost(uint64, tag = "1")]
    pub term: Term,
    #[prost(uint64, tag = "2")]
    pub index: Index,
}

pub(super) const KIND_ENTRY: u8 = 1;
pub(super) const KIND_HARD_STATE: u8 = 2;
pub(super) const KIND_TRUNCATE: u8 = 3;
pub(super) const KIND_INSTALL: u8 = 4;

impl Body<'_> {
    fn kind(&self) -> u8 {
        match self {
            Body::Entry(_) => KIND_ENTRY,
            Body::HardState(_) => KIND_HARD_STATE,
            Body::Truncate(_) => KIND_TRUNCATE,
            Body::Install(_) => KIND_INSTALL,
        }
    }

    fn payload_bytes(&self) -> usize {
        match self {
            Body::Entry(entry) => entry.encoded_len(),
            Body::HardState(hard_state) => hard_state.encoded_len(),
            Body::Truncate(position) | Body::Install(position) => position.encoded_len(),
        }
    }

    /// Bytes the record takes in the file, padding included.
    pub fn record_bytes(&self) -> u64 {
        padded(HEADER_BYTES + self.payload_bytes()) as u64
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let done = match self {
            Body::Entry(entry) => entry.encode(into),
            Body::HardState(hard_state) => hard_state.encode(into),
            Body::Truncate(position) | Body::Install(position) => position.encode(into),
        };
        done.expect("a vector grows");
    }
}

/// Where a record goes: everything its frame depends on besides its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub salt: u64,
    /// Offset of the record in the file.
    pub offset: u64,
    pub link: u32,
    pub durable: u64,
    /// Whether it ends its batch.
    pub last: bool,
}

/// Appends the record to `into` and returns its crc, the link of the next record.
pub(super) fn encode(body: &Body<'_>, place: &Place, into: &mut Vec<u8>) -> u32 {
    let start = into.len();
    let len = u32::try_from(body.payload_bytes()).expect("bounded by the segment");
    let durable = u32::try_from(place.durable).expect("bounded by the segment");
    into.extend_from_slice(&tag(place.salt).to_le_bytes());
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&len.to_le_bytes());
    into.extend_from_slice(&[body.kind(), u8::from(place.last) * FLAG_LAST, 0, 0]);
    into.extend_from_slice(&place.link.to_le_bytes());
    into.extend_from_slice(&durable.to_le_bytes());
    body.encode(into);
    let crc = checksum(place.salt, place.offset, &into[start + 8..]);
    into[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    into.resize(start + padded(into.len() - start), 0);
    crc
}

/// A record whose checksum holds at its place. Whether it belongs to the chain is another matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub kind: u8,
    pub last: bool,
    pub link: u32,
    pub durable: u64,
    pub crc: u32,
    /// Offset of the next record.
    pub end: u64,
    pub payload: &'a [u8],
}

/// The record at `offset`, or `None` if there is no valid one.
pub(super) fn read<'a>(
    window: &'a mut Window<'_>,
    salt: u64,
    offset: u64,
) -> io::Result<Option<Record<'a>>> {
    let Some(header) = window.get(offset, HEADER_BYTES as u64)? else { return Ok(None) };
    if u32_at(header, 0) != tag(salt) {
        return Ok(None);
    }
    let bytes = HEADER_BYTES as u64 + u64::from(u32_at(header, 8));
    let Some(record) = window.get(offset, bytes)? else { return Ok(None) };
    let crc = u32_at(record, 4);
    if crc != checksum(salt, offset, &record[8..]) {
        return Ok(None);
    }
    let end = offset + bytes.next_multiple_of(ALIGN as u64);
    Ok(Some(Record {
        kind: record[12],
        last: record[13] & FLAG_LAST != 0,
        link: u32_at(record, 16),
        durable: u64::from(u32_at(record, 20)),
        crc,
        end,
        payload: &record[HEADER_BYTES..],
    }))
}

/// The first offset at or after `from` where a record of this generation may start.
pub(super) fn find_tag(window: &mut Window<'_>, salt: u64, from: u64) -> io::Result<Option<u64>> {
    let wanted = tag(salt);
    let mut at = from.next_multiple_of(ALIGN as u64);
    while at + HEADER_BYTES as u64 <= window.len() {
        let step = (window.len() - at).min(WINDOW_BYTES as u64);
        let Some(bytes) = window.get(at, step)? else { return Ok(None) };
        if let Some(found) = bytes.chunks_exact(ALIGN).position(|c| u32_at(c, 0) == wanted) {
            return Ok(Some(at + (found * ALIGN) as u64));
        }
        at += step - step % ALIGN as u64;
    }
    Ok(None)
}

/// A file read through a sliding buffer: one system call per `WINDOW_BYTES`, not per record.
pub(super) struct Window<'f> {
    file: &'f dyn DiskFile,
    len: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl<'f> Window<'f> {
    /// A window on the first `len` bytes of `file`.
    pub fn new(file: &'f dyn DiskFile, len: u64) -> Window<'f> {
        Window { file, len, start: 0, buffer: Vec::new() }
    }

    /// Bytes visible through it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// `count` bytes at `offset`, or `None` if the file ends before.
    pub fn get(&mut self, offset: u64, count: u64) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(count).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let held = self.start..self.start + self.buffer.len() as u64;
        if offset < held.start || offset + count > held.end {
            let size = count.max(WINDOW_BYTES as u64).min(self.len - offset);
            self.buffer.resize(usize::try_from(size).map_err(io::Error::other)?, 0);
            self.start = offset;
            self.file.read_at(offset, &mut self.buffer)?;
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.buffer[from..from + count as usize]))
    }
}

fn tag(salt: u64) -> u32 {
    salt as u32
}

fn checksum(salt: u64, offset: u64, bytes: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&salt.to_le_bytes());
    place[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), bytes)
}

/// Four little-endian bytes at `at`; the caller has checked the length.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 24;
/// Records start at multiples of this.
pub(super) const ALIGN: usize = 8;
const FLAG_LAST: u8 = 1;
/// Bytes read at a time.
pub(super) const WINDOW_BYTES: usize = 64 << 10;
