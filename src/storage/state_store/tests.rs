//! The state database: what survives a kill, an install, and what is refused.

use super::*;
use crate::core::command::{Body, Bootstrap, Command, Member};

const CACHE: usize = 64 << 10;

/// A state that differs for every `id`.
fn state(id: u8) -> ClusterState {
    let members = vec![Member { id: 1, name: format!("n{id}"), ..Member::default() }];
    let command: Command = Body::Bootstrap(Bootstrap { cluster_id: vec![id; 16], members }).into();
    let mut state = ClusterState::default();
    state.apply(1, 1, &command);
    state
}

/// What a power cut now would leave, as far as the page cache tells: a copy of the file.
fn copy(path: &Path) -> PathBuf {
    let to = path.with_file_name("copy.redb");
    fs::copy(path, &to).unwrap();
    to
}

#[test]
fn a_new_database_is_empty_and_keeps_what_was_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let (mut store, stored) = StateStore::open(&path, CACHE).unwrap();
    assert_eq!(stored, StoredState::default());
    assert_eq!((store.applied(), store.flush().unwrap()), ((0, 0), 0));
    store.apply(&state(1), (5, 2)).unwrap();
    assert_eq!((store.applied(), store.durable_index()), ((5, 2), 0));
    assert_eq!(store.flush().unwrap(), 5);
    drop(store);
    let stored = StateStore::open(&path, CACHE).unwrap().1;
    assert_eq!(stored, StoredState { state: state(1), applied: (5, 2) });
}

#[test]
fn a_kill_goes_back_to_the_last_flush() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    for round in 1..=20_u8 {
        let index = u64::from(round) * 10;
        store.apply(&state(round), (index, 3)).unwrap();
        assert_eq!(store.flush().unwrap(), index);
        for more in 1..5 {
            store.apply(&state(100 + round), (index + more, 3)).unwrap();
        }
        let (mut revived, stored) = StateStore::open(copy(&path), CACHE).unwrap();
        assert_eq!(stored, StoredState { state: state(round), applied: (index, 3) });
        // The entries after it are applied again.
        revived.apply(&state(100 + round), (index + 1, 3)).unwrap();
        assert_eq!(revived.flush().unwrap(), index + 1);
    }
}

#[test]
fn a_snapshot_replaces_the_state_durably() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    store.apply(&state(1), (5, 2)).unwrap();
    let snapshot =
        Snapshot { index: 90, term: 4, data: state(9).to_bytes(), ..Snapshot::default() };
    let installed = store.install(&snapshot).unwrap();
    let expected = StoredState { state: state(9), applied: (90, 4) };
    assert_eq!((&installed, store.durable_index()), (&expected, 90));
    assert_eq!(StateStore::open(copy(&path), CACHE).unwrap().1, expected);
    store.apply(&state(10), (91, 4)).unwrap();
    assert_eq!(store.flush().unwrap(), 91);
    let bad = Snapshot { index: 95, term: 4, data: vec![0xff; 9], ..Snapshot::default() };
    let error = store.install(&bad).unwrap_err();
    assert!(matches!(error, StateStoreError::Snapshot { index: 95, .. }), "{error}");
    drop(store);
    assert_eq!(StateStore::open(&path, CACHE).unwrap().1.applied, (91, 4));
}

#[test]
fn an_interrupted_install_or_first_start_leaves_the_old_state() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    fs::write(unfinished(&path), "half a database").unwrap();
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    store.apply(&state(1), (5, 2)).unwrap();
    store.flush().unwrap();
    drop(store);
    fs::write(unfinished(&path), "half a database").unwrap();
    assert_eq!(StateStore::open(&path, CACHE).unwrap().1.applied, (5, 2));
    assert!(!unfinished(&path).exists());
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let _store = StateStore::open(&path, CACHE).unwrap().0;
    let error = StateStore::open(&path, CACHE).err().unwrap();
    assert!(matches!(error, StateStoreError::InUse { .. }), "{error}");
}

#[test]
fn a_damaged_file_is_refused_by_name_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    store.apply(&state(1), (5, 2)).unwrap();
    store.flush().unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    let mut broken = whole.clone();
    broken[..4096].fill(0xa5);
    for bytes in [&[][..], b"not a database", &whole[..3000], &whole[..whole.len() / 2], &broken] {
        fs::write(&path, bytes).unwrap();
        let error = StateStore::open(&path, CACHE).err().unwrap();
        assert!(
            matches!(error, StateStoreError::Corrupt { .. }),
            "{} bytes: {error:?}",
            bytes.len()
        );
        assert!(error.to_string().contains("cluster.redb"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    let missing = StateStore::open(dir.path().join("none/x.redb"), CACHE).err().unwrap();
    assert!(matches!(missing, StateStoreError::Io { .. }), "{missing}");
}

#[test]
fn a_flipped_bit_is_refused_or_harmless_never_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    for index in 1..=3 {
        store.apply(&state(index), (u64::from(index), 2)).unwrap();
        store.flush().unwrap();
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
    let mut refused = 0;
    for &at in used.iter().step_by(used.len() / 40 + 1) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        match StateStore::open(&path, CACHE) {
            // An older commit is what a crash may leave; the log still has what followed it.
            Ok((_, stored)) => assert_eq!(stored.state, state(stored.applied.0 as u8), "{at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
}
