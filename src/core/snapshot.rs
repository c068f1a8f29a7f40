//! The payload of a Raft snapshot: the state of the cluster, and whether rows travel beside it.
//!
//! The rows of the store are too many for one message; they are sent before it, and the message
//! says only that they are part of the snapshot. What says so stands behind the encoded state, with
//! a tag that no field of the state has: a reader of the state skips it, as earlier versions do.

use prost::Message as _;

/// What stands behind the state.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Mark {
    /// Whether the snapshot has more than the state of the cluster.
    #[prost(bool, tag = "1000")]
    has_rows: bool,
}

/// The payload of a snapshot of `state`, an encoded [`super::state::ClusterState`].
pub fn payload(mut state: Vec<u8>, has_rows: bool) -> Vec<u8> {
    Mark { has_rows }.encode(&mut state).expect("a vector grows as needed");
    state
}

/// Whether the snapshot with this payload has rows, without which it must not be installed.
pub fn has_rows(payload: &[u8]) -> bool {
    Mark::decode(payload).is_ok_and(|mark| mark.has_rows)
}

#[cfg(test)]
mod tests {
    use super::super::state::ClusterState;
    use super::*;

    #[test]
    fn the_mark_is_not_in_the_way_of_the_state() {
        let state = ClusterState::default();
        for rows in [false, true] {
            let payload = payload(state.to_bytes(), rows);
            assert_eq!(has_rows(&payload), rows);
            assert_eq!(ClusterState::from_bytes(&payload), Ok(state.clone()));
        }
        assert_eq!(payload(b"x".to_vec(), false), b"x");
        assert!(!has_rows(b"\xff\xff\xff"));
    }
}
