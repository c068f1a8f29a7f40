//! Tests of the frame codec.

use super::*;
use crate::core::message::{Entry, Kind, Message};

const MAX: usize = 1 << 16;

fn message(bytes: usize) -> Message {
    let entry = Entry { term: 3, index: 8, data: vec![7; bytes] };
    Message {
        kind: Kind::Append as i32,
        to: 1,
        from: 2,
        entries: vec![entry],
        ..Default::default()
    }
}

fn frame(bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(&mut out, FrameType::Message, &message(bytes));
    out
}

/// Sets the checksum right, so that a test reaches what comes after it.
fn seal(bytes: &mut [u8]) {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[HEADER_BYTES..]);
    bytes[8..12].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn frames_follow_one_another_in_a_stream() {
    let mut stream = Vec::new();
    for bytes in [0, 1, 1000] {
        encode_into(&mut stream, FrameType::Message, &message(bytes));
    }
    let mut rest = stream.as_slice();
    for bytes in [0, 1, 1000] {
        let Ok(Decoded::Frame { kind, payload, consumed }) = decode(rest, MAX) else {
            panic!("no frame of {bytes} bytes")
        };
        assert_eq!(kind, FrameType::Message);
        assert_eq!(<Message as prost::Message>::decode(payload).unwrap(), message(bytes));
        rest = &rest[consumed..];
    }
    assert_eq!(rest.len(), 0);
}

#[test]
fn every_prefix_of_a_frame_says_how_much_is_missing() {
    let whole = frame(300);
    for cut in 0..whole.len() {
        let needed = if cut < HEADER_BYTES { HEADER_BYTES } else { whole.len() };
        assert_eq!(decode(&whole[..cut], MAX), Ok(Decoded::Incomplete { needed }), "{cut}");
    }
}

#[test]
fn a_claimed_length_is_refused_before_its_payload_is_waited_for() {
    let mut header = frame(1)[..HEADER_BYTES].to_vec();
    header[..4].copy_from_slice(&(MAX as u32 + 1).to_be_bytes());
    let error = decode(&header, MAX).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { length: MAX + 1, max: MAX });
    header[..4].copy_from_slice(&(MAX as u32).to_be_bytes());
    assert_eq!(decode(&header, MAX), Ok(Decoded::Incomplete { needed: HEADER_BYTES + MAX }));
}

#[test]
fn each_field_of_the_header_is_checked() {
    let with = |at: usize, value: u8| {
        let mut bytes = frame(5);
        bytes[at] = value;
        seal(&mut bytes);
        decode(&bytes, MAX).map(|_| ())
    };
    assert_eq!(with(4, FRAME_VERSION), Ok(()));
    assert_eq!(with(4, 2), Err(FrameError::Version { found: 2 }));
    assert_eq!(with(5, 0), Err(FrameError::Type { found: 0 }));
    assert_eq!(with(5, 15), Err(FrameError::Type { found: 15 }));
    assert_eq!(with(6, 1), Err(FrameError::Reserved { found: 0x100 }));
    assert_eq!(with(7, 1), Err(FrameError::Reserved { found: 1 }));
}

#[test]
fn any_changed_bit_is_noticed() {
    let whole = frame(40);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let decoded = decode(&bytes, MAX);
        // A larger length waits for bytes that do not come; nothing is ever taken for a frame.
        assert!(!matches!(decoded, Ok(Decoded::Frame { .. })), "bit {bit}: {decoded:?}");
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    let whole = frame(64);
    let mut bytes = [0; 128];
    for round in 0..100_000 {
        let length = random.usize(..bytes.len());
        random.fill(&mut bytes[..length]);
        if round % 2 == 0 && length >= HEADER_BYTES {
            // Half of them start like a frame, so that the later checks are reached as well.
            bytes[..8].copy_from_slice(&whole[..8]);
            bytes[3] = random.u8(..128);
            if round % 4 == 0 {
                seal(&mut bytes[..length]);
            }
        }
        match decode(&bytes[..length], MAX) {
            Ok(Decoded::Frame { payload, consumed, .. }) => {
                assert_eq!(consumed, HEADER_BYTES + payload.len());
                assert!(consumed <= length);
                let _ = crate::transport::wire::weigh(payload);
                let _ = crate::transport::wire::read_message(payload);
            }
            Ok(Decoded::Incomplete { needed }) => assert!(needed > length),
            Err(_) => {}
        }
    }
}
