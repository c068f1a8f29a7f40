//! The state database: what survives a kill, an install, and what is refused.

use std::{fs, io};

use super::*;
use crate::core::command::{Body, Bootstrap, Command, Member};
use crate::core::kv::{Awaited, KvCommand, Operation, Outcome, Put};

mod layers;
mod model;
mod snapshot;

const CACHE: usize = 64 << 10;

/// A state that differs for every `id`.
fn state(id: u8) -> ClusterState {
    let members = vec![Member { id: 1, name: format!("n{id}"), ..Member::default() }];
    let command: Command = Body::Bootstrap(Bootstrap { cluster_id: vec![id; 16], members }).into();
    let mut state = ClusterState::default();
    state.apply(1, 1, &command);
    state
}

/// Entries up to `applied`, none of them a write.
fn entries(state: ClusterState, applied: (Index, Term)) -> Work {
    Work { state: Some(state.into()), applied, ..Work::default() }
}

fn put(key: &str, value: &str) -> KvCommand {
    let operation = Some(Operation::Put(Put { key: key.into(), value: value.into() }));
    KvCommand { quota_bytes: 1 << 30, clients_max: 3, operation, ..KvCommand::default() }
}

/// One write at `index`; its outcome.
fn write(store: &mut StateStore, index: Index, command: KvCommand) -> Outcome {
    let committed = Committed { index, token: None, command, awaited: Awaited::Yes };
    let work = Work { commands: vec![committed], applied: (index, 2), state: None };
    let [answered] = store.apply(work).unwrap().try_into().unwrap();
    assert_eq!(answered.index, index);
    answered.outcome
}

/// All rows with their revisions, page by page.
fn rows(store: &mut StateStore) -> Vec<(Vec<u8>, kv::Row)> {
    let mut query = Query { is_prefix: true, most: 7, ..Query::default() };
    let mut found = Vec::new();
    loop {
        let page = store.read(&query).unwrap();
        found.extend(page.rows);
        if !page.more {
            return found;
        }
        query.after = found.last().map(|(key, _)| key.clone());
    }
}

fn value(store: &mut StateStore, key: &str) -> Option<Vec<u8>> {
    let page = store.read(&Query { key: key.into(), ..Query::default() }).unwrap();
    page.rows.into_iter().next().map(|(_, row)| row.value)
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
    store.apply(entries(state(1), (5, 2))).unwrap();
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
        store.apply(entries(state(round), (index, 3))).unwrap();
        assert_eq!(store.flush().unwrap(), index);
        for more in 1..5 {
            store.apply(entries(state(100 + round), (index + more, 3))).unwrap();
        }
        let (mut revived, stored) = StateStore::open(copy(&path), CACHE).unwrap();
        assert_eq!(stored, StoredState { state: state(round), applied: (index, 3) });
        // The entries after it are applied again.
        revived.apply(entries(state(100 + round), (index + 1, 3))).unwrap();
        assert_eq!(revived.flush().unwrap(), index + 1);
    }
}

#[test]
fn a_snapshot_replaces_the_state_durably() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    store.apply(entries(state(1), (5, 2))).unwrap();
    let snapshot =
        Snapshot { index: 90, term: 4, data: state(9).to_bytes(), ..Snapshot::default() };
    let installed = store.install(&snapshot).unwrap();
    let expected = StoredState { state: state(9), applied: (90, 4) };
    assert_eq!((&installed, store.durable_index()), (&expected, 90));
    assert_eq!(StateStore::open(copy(&path), CACHE).unwrap().1, expected);
    store.apply(entries(state(10), (91, 4))).unwrap();
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
    fs::write(beside(&path, UNFINISHED), "half a database").unwrap();
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    store.apply(entries(state(1), (5, 2))).unwrap();
    store.flush().unwrap();
    drop(store);
    fs::write(beside(&path, UNFINISHED), "half a database").unwrap();
    assert_eq!(StateStore::open(&path, CACHE).unwrap().1.applied, (5, 2));
    assert!(!beside(&path, UNFINISHED).exists());
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
    store.apply(entries(state(1), (5, 2))).unwrap();
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
        store.apply(entries(state(index), (u64::from(index), 2))).unwrap();
        write(&mut store, u64::from(index), put("key", &format!("value {index}")));
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
            Ok((mut store, stored)) => {
                let index = stored.applied.0;
                assert_eq!(stored.state, state(index as u8), "{at}");
                let expected = format!("value {index}").into_bytes();
                assert_eq!(value(&mut store, "key"), Some(expected), "{at}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_database_from_before_there_were_rows_opens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    // As the first versions wrote it: one table, one row of three fields.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Row {
        #[prost(uint64, tag = "1")]
        index: Index,
        #[prost(uint64, tag = "2")]
        term: Term,
        #[prost(bytes = "vec", tag = "3")]
        state: Vec<u8>,
    }
    use prost::Message as _;
    let row = Row { index: 5, term: 2, state: state(1).to_bytes() }.encode_to_vec();
    let bytes = [&crc32c::crc32c(&row).to_le_bytes(), row.as_slice()].concat();
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("cluster");
    transaction.open_table(table).unwrap().insert("applied", bytes.as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);

    let (mut store, stored) = StateStore::open(&path, CACHE).unwrap();
    assert_eq!(stored, StoredState { state: state(1), applied: (5, 2) });
    assert_eq!((rows(&mut store), store.counts()), (vec![], Counts::default()));
    assert_eq!(store.view().unwrap().header().keys, 0);
    write(&mut store, 6, put("a", "1"));
    assert_eq!(store.flush().unwrap(), 6);
    drop(store);
    let (mut store, stored) = StateStore::open(&path, CACHE).unwrap();
    assert_eq!(stored, StoredState { state: state(1), applied: (6, 2) });
    assert_eq!(value(&mut store, "a"), Some(b"1".to_vec()));
}

#[test]
fn a_write_that_is_sent_again_after_a_restart_still_applies_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    let first = KvCommand { client: b"c".to_vec(), sequence: 1, ..put("a", "1") };
    let answer = write(&mut store, 1, first.clone());
    write(&mut store, 2, put("a", "2"));
    store.flush().unwrap();
    drop(store);
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    assert_eq!(store.counts().clients, 1);
    assert_eq!(write(&mut store, 3, first), answer);
    assert_eq!(value(&mut store, "a"), Some(b"2".to_vec()));
}

#[test]
fn the_quota_holds_over_a_restart_and_clears_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    let small = |command: KvCommand| KvCommand { quota_bytes: 200, ..command };
    assert!(write(&mut store, 1, small(put("a", &"x".repeat(150)))).result().is_ok());
    store.flush().unwrap();
    let counts = store.counts();
    assert_eq!((counts.keys, counts.bytes), (1, 1 + 150 + kv::ROW_OVERHEAD_BYTES));
    drop(store);
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    assert_eq!(store.counts(), counts);
    let refused = write(&mut store, 2, small(put("b", "1")));
    assert_eq!(refused.result(), Err(kv::Refusal::Quota));
    assert!(write(&mut store, 3, small(put("a", "y"))).result().is_ok());
    assert!(write(&mut store, 4, small(put("b", "1"))).result().is_ok());
}

/// Every value is findable in the file, so a bit of it can be flipped there.
#[test]
fn a_damaged_row_is_refused_at_the_start_and_noticed_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    for index in 1..=50 {
        write(&mut store, index, put(&format!("k{index}"), &format!("<value {index}>")));
    }
    store.flush().unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let needle = b"<value 17>";
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(needle)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + 2] ^= 1;
    }
    fs::write(&path, &bytes).unwrap();
    let error = StateStore::open(&path, CACHE).err().unwrap();
    assert!(matches!(error, StateStoreError::Corrupt { .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    // As when it is damaged later, or too large to be examined.
    let database = Arc::new(database::open(&path, CACHE).unwrap());
    let stored = StoredRows::open(&path, &database).unwrap();
    assert!(stored.get(b"k16").unwrap().is_some());
    let error = stored.get(b"k17").unwrap_err();
    assert!(error.to_string().contains("the checksum of the row k17"), "{error}");
}

#[test]
fn a_row_that_is_missing_from_the_count_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    write(&mut store, 1, put("a", "1"));
    store.head.keys += 1;
    let error = store.flush().unwrap_err();
    assert!(error.to_string().contains("has 1 rows, expected 2"), "{error}");
}

#[test]
fn a_flush_says_when_it_is_over_and_the_store_goes_on_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    assert!(!store.begin_flush(Box::new(|| panic!("nothing has changed"))));
    write(&mut store, 1, put("a", "1"));
    let (said, over) = std::sync::mpsc::sync_channel(1);
    assert!(store.begin_flush(Box::new(move || said.send(()).unwrap())));
    assert!(!store.begin_flush(Box::new(|| panic!("one goes on"))));
    write(&mut store, 2, put("a", "2"));
    write(&mut store, 3, put("b", "1"));
    assert_eq!(value(&mut store, "a"), Some(b"2".to_vec()));
    over.recv().unwrap();
    assert_eq!(store.end_flush().unwrap(), 1);
    assert_eq!((store.applied().0, store.durable_index()), (3, 1));
    let mut killed = StateStore::open(copy(&path), CACHE).unwrap().0;
    assert_eq!((killed.applied().0, value(&mut killed, "a")), (1, Some(b"1".to_vec())));
    assert_eq!(value(&mut store, "a"), Some(b"2".to_vec()));
    assert_eq!(store.flush().unwrap(), 3);
}

#[test]
fn what_changes_faster_than_it_is_written_waits_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    let large = "x".repeat(limits::KV_VALUE_MAX_BYTES);
    let mut index = 0;
    while store.changes.bytes <= limits::STATE_CHANGES_BYTES {
        assert!(!store.is_full());
        index += 1;
        write(&mut store, index, put(&format!("k{index}"), &large));
    }
    assert!(store.is_full());
    assert!(store.begin_flush(Box::new(|| {})));
    while store.durable_index() == 0 {
        index += 1;
        write(&mut store, index, put(&format!("k{index}"), &large));
        assert!(store.changes.bytes <= limits::STATE_CHANGES_MAX_BYTES);
    }
    assert_eq!((store.durable_index(), store.changes.bytes), (index, 0));
    assert_eq!(store.end_flush().unwrap(), index);
    assert_eq!(rows(&mut store).len() as u64, index);
}

/// A file that cannot grow beyond `room`.
#[derive(Debug)]
struct Full {
    file: redb::backends::FileBackend,
    room: u64,
}

impl redb::StorageBackend for Full {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset + data.len() as u64 > self.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[test]
fn a_full_disk_fails_the_flush_and_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    write(&mut store, 1, put("a", "1"));
    store.flush().unwrap();
    drop(store);
    let room = fs::metadata(&path).unwrap().len();
    let mut store = StateStore::open(copy(&path), CACHE).unwrap().0;
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let full = Full { file: redb::backends::FileBackend::new(file).unwrap(), room };
    let database = Arc::new(database::builder(CACHE).create_with_backend(full).unwrap());
    store.rows = StoredRows::open(&path, &database).unwrap();
    store.database = database;
    let large = "x".repeat(limits::KV_VALUE_MAX_BYTES);
    for index in 2..10 {
        write(&mut store, index, put(&format!("k{index}"), &large));
    }
    let (said, over) = std::sync::mpsc::sync_channel(1);
    assert!(store.begin_flush(Box::new(move || said.send(()).unwrap())));
    over.recv().unwrap();
    let error = store.end_flush().unwrap_err();
    assert!(matches!(error, StateStoreError::NoSpace { .. }), "{error:?}");
    assert_eq!(store.durable_index(), 1);
    drop(store);
    let (mut store, stored) = StateStore::open(&path, CACHE).unwrap();
    assert_eq!(stored.applied, (1, 2));
    assert_eq!(rows(&mut store).len(), 1);
}
