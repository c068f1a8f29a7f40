//! The file of one log segment: its name, its header, its size.
//!
//! A segment is named only after its header is durable, so a named segment with a broken header
//! is damage, never an interrupted start. The header carries what makes older segments
//! unnecessary (hard state, last and truncated positions) and where the segment before it ended.

use prost::Message as _;

use super::disk::DiskFile;
use super::log::LogError;
use super::record::{Position, u32_at};
use crate::core::Index;
use crate::core::message::HardState;

/// First block of a segment.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct Header {
    /// Position of the segment in the log, from 1; never used twice.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// Generation of the file's contents.
    #[prost(uint64, tag = "2")]
    pub salt: u64,
    /// Bytes of the file.
    #[prost(uint64, tag = "3")]
    pub capacity: u64,
    /// Where the records of the segment before this one ended; 0 if there was none.
    #[prost(uint64, tag = "4")]
    pub previous_end: u64,
    /// Crc of the last of them.
    #[prost(uint32, tag = "5")]
    pub previous_link: u32,
    /// Last index when the segment was started.
    #[prost(uint64, tag = "6")]
    pub last_index: Index,
    /// Hard state then.
    #[prost(message, optional, tag = "7")]
    pub hard_state: Option<HardState>,
    /// Truncated position then.
    #[prost(message, optional, tag = "8")]
    pub truncated: Option<Position>,
}

impl Header {
    /// The block to write, and its crc: the link of the first record.
    pub fn to_block(self) -> (Vec<u8>, u32) {
        let payload = self.encode_to_vec();
        let mut block = Vec::with_capacity(HEADER_BLOCK_BYTES as usize);
        block.extend_from_slice(&MAGIC);
        block.extend_from_slice(&FORMAT.to_le_bytes());
        block.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        block.extend_from_slice(&payload);
        let crc = crc32c::crc32c(&block);
        block.extend_from_slice(&crc.to_le_bytes());
        assert!(block.len() <= HEADER_BLOCK_BYTES as usize, "segment header outgrew its block");
        block.resize(HEADER_BLOCK_BYTES as usize, 0);
        (block, crc)
    }

    /// Reads and checks the header of the file `name`; also returns its crc.
    pub fn read(name: &str, file: &dyn DiskFile) -> Result<(Header, u32), LogError> {
        let io = |source| LogError::Io { operation: "read", file: name.to_owned(), source };
        let corrupt = |why: String| LogError::Corrupt { file: name.to_owned(), offset: 0, why };
        let len = file.len().map_err(io)?;
        if len < HEADER_BLOCK_BYTES {
            return Err(corrupt(format!("the file has {len} bytes, not even a header")));
        }
        let mut block = vec![0; HEADER_BLOCK_BYTES as usize];
        file.read_at(0, &mut block).map_err(io)?;
        if block[..8] != MAGIC {
            return Err(corrupt("it does not begin as a log segment".to_owned()));
        }
        let found = u32_at(&block, 8);
        if found > FORMAT {
            return Err(LogError::NewerFormat { file: name.to_owned(), found, supported: FORMAT });
        }
        let end = (u32_at(&block, 12) as usize).saturating_add(16);
        if end + 4 > block.len() || u32_at(&block, end) != crc32c::crc32c(&block[..end]) {
            return Err(corrupt("the checksum of the segment header does not match".to_owned()));
        }
        let header = Header::decode(&block[16..end])
            .map_err(|error| corrupt(format!("the segment header is not readable: {error}")))?;
        if segment_name(header.sequence) != name {
            return Err(corrupt(format!("the header is that of segment {}", header.sequence)));
        }
        if header.capacity != len {
            let expected = header.capacity;
            return Err(corrupt(format!("the file has {len} bytes, its header says {expected}")));
        }
        Ok((header, u32_at(&block, end)))
    }
}

/// The salt of segment `sequence`: different for every segment, and not to be guessed by whoever
/// chooses the entries' contents as long as `secret` is not known.
pub(super) fn salt(secret: u64, sequence: u64) -> u64 {
    // The finaliser of splitmix64 is a bijection: distinct sequences give distinct salts.
    let mut z = secret ^ sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Name of the segment file `sequence`.
pub(super) fn segment_name(sequence: u64) -> String {
    format!("segment-{sequence:016x}")
}

/// The sequence of a segment file's name.
pub(super) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-")?;
    let sequence = u64::from_str_radix(digits, 16).ok()?;
    (segment_name(sequence) == name).then_some(sequence)
}

/// The header has a block of the file system to itself.
pub(super) const HEADER_BLOCK_BYTES: u64 = 4096;
const MAGIC: [u8; 8] = *b"raftlog\n";
/// Version of headers and records; a newer one is refused.
const FORMAT: u32 = 1;
