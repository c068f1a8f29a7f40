//! Rows as bytes: in the database with a checksum each, in a piece of a snapshot many at a time.
//!
//! redb trusts its pages once they were written and does not read their checksums again; so every
//! row has one of its own, over its key as well.

use crate::core::kv::Row;

/// One row of a piece of a snapshot, which has many of them in order, each after its length.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EncodedRow {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    #[prost(uint64, tag = "4")]
    pub created: u64,
}

/// Checksum and counts of rows, in the order of their keys: what two ends of a snapshot compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSum {
    /// CRC32C of all rows, however they were cut into pieces.
    pub crc: u32,
    /// How many.
    pub keys: u64,
    /// Their bytes, as the quota counts them.
    pub bytes: u64,
}

impl RowSum {
    pub(super) fn add(&mut self, key: &[u8], row: &Row) {
        let mut crc = self.crc;
        for number in [key.len() as u64, row.value.len() as u64, row.revision, row.created] {
            crc = crc32c::crc32c_append(crc, &number.to_le_bytes());
        }
        crc = crc32c::crc32c_append(crc, key);
        self.crc = crc32c::crc32c_append(crc, &row.value);
        self.keys += 1;
        self.bytes += row.size(key);
    }
}

/// Checksum, revision, creation, value.
pub(super) fn encode(key: &[u8], row: &Row) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + row.value.len());
    bytes.extend_from_slice(&[0; CRC_BYTES]);
    bytes.extend_from_slice(&row.revision.to_le_bytes());
    bytes.extend_from_slice(&row.created.to_le_bytes());
    bytes.extend_from_slice(&row.value);
    let crc = checksum(key, &bytes[CRC_BYTES..]);
    bytes[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The row, unless it is damaged or another key's.
pub(super) fn decode(key: &[u8], bytes: &[u8]) -> Option<Row> {
    let (crc, rest) = bytes.split_first_chunk::<CRC_BYTES>()?;
    if *crc != checksum(key, rest).to_le_bytes() {
        return None;
    }
    let (revision, rest) = rest.split_first_chunk::<8>()?;
    let (created, value) = rest.split_first_chunk::<8>()?;
    let (revision, created) = (u64::from_le_bytes(*revision), u64::from_le_bytes(*created));
    Some(Row { value: value.to_vec(), revision, created })
}

fn checksum(key: &[u8], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), rest)
}

const CRC_BYTES: usize = 4;
const HEAD_BYTES: usize = CRC_BYTES + 8 + 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_and_any_flipped_bit_is_seen() {
        let row = Row { value: b"value".to_vec(), revision: 7, created: 3 };
        let bytes = encode(b"key", &row);
        assert_eq!(decode(b"key", &bytes), Some(row));
        assert_eq!(decode(b"kez", &bytes), None);
        for at in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[at / 8] ^= 1 << (at % 8);
            assert_eq!(decode(b"key", &broken), None, "bit {at}");
        }
        for length in 0..bytes.len() {
            assert_eq!(decode(b"key", &bytes[..length]), None, "{length} bytes");
        }
    }
}
