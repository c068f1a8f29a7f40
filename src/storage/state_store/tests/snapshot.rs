//! Snapshots: a view that stands still, rows that arrive in pieces, and what is not believed.

use super::incoming::{ARRIVING, OPENED};
use super::*;

/// A store with `count` rows at index `count`, all durable, and more that are not.
fn full(path: &Path, count: Index) -> StateStore {
    let mut store = StateStore::open(path, CACHE).unwrap().0;
    store.apply(entries(state(1), (0, 2))).unwrap();
    for index in 1..=count {
        let client = vec![b'c', (index % 3) as u8];
        let command = KvCommand { client, sequence: index, ..put(&format!("k{index:05}"), "v") };
        write(&mut store, index, command);
    }
    store.flush().unwrap();
    store
}

/// All pieces of a view after a key, and the sum of all rows.
fn pieces(view: &View, after: Option<&[u8]>, max_bytes: usize) -> (Vec<Piece>, RowSum) {
    let mut sum = view.sum_through(after).unwrap();
    let mut found: Vec<Piece> = Vec::new();
    loop {
        let last = found.last().and_then(|piece: &Piece| piece.last.as_deref()).or(after);
        let piece = view.rows_after(last, max_bytes, &mut sum).unwrap();
        if piece.last.is_none() {
            assert!(piece.rows.is_empty());
            return (found, sum);
        }
        found.push(piece);
    }
}

fn message(header: &SnapshotHeader) -> Snapshot {
    let SnapshotHeader { index, term, .. } = *header;
    Snapshot { index, term, data: header.state.clone(), ..Snapshot::default() }
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_in_pieces_makes_the_same_store() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = to.path().join("cluster.redb");
    let mut sender = full(&from.path().join("cluster.redb"), 300);
    let view = sender.view().unwrap();
    let header = view.header().clone();
    assert_eq!((header.index, header.term, header.keys), (300, 2, 300));
    for max_bytes in [1, 100, 1 << 20] {
        let mut store = StateStore::open(&path, CACHE).unwrap().0;
        let mut incoming = Incoming::begin(&path, header.clone()).unwrap();
        let (pieces, sum) = pieces(&view, None, max_bytes);
        assert_eq!(pieces.len() == 1, max_bytes > 100_000, "{}", pieces.len());
        for piece in &pieces {
            incoming.add(&piece.rows).unwrap();
            assert_eq!(incoming.last_key(), piece.last.as_deref());
        }
        assert_eq!(incoming.so_far(), sum);
        assert_eq!(incoming.finish(sum).unwrap(), header);
        let stored = store.install(&message(&header)).unwrap();
        let expected = StoredState { state: sender_state(), applied: (300, 2) };
        assert_eq!(stored, expected);
        assert_eq!(names(to.path()), ["cluster.redb"]);
        assert_eq!(rows(&mut store), rows(&mut sender));
        assert_eq!((store.counts(), &store.clients), (sender.counts(), &sender.clients));
        // It goes on, and survives a restart.
        write(&mut store, 301, put("later", "1"));
        store.flush().unwrap();
        drop(store);
        let (mut store, stored) = StateStore::open(&path, CACHE).unwrap();
        assert_eq!((stored.applied.0, rows(&mut store).len()), (301, 301));
        drop(store);
        fs::remove_file(&path).unwrap();
    }
}

fn sender_state() -> ClusterState {
    state(1)
}

#[test]
fn a_view_stands_still_while_writes_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = full(&dir.path().join("cluster.redb"), 200);
    write(&mut store, 201, put("not durable yet", "1"));
    let view = store.view().unwrap();
    let (before, sum) = pieces(&view, None, 500);
    assert_eq!((view.header().index, sum.keys), (200, 200));
    let reader = std::thread::spawn(move || {
        let again = (0..20).map(|_| pieces(&view, None, 500)).collect::<Vec<_>>();
        (view, again)
    });
    for index in 202..500 {
        write(&mut store, index, put(&format!("k{:05}", index - 201), &"w".repeat(300)));
        if index % 30 == 0 {
            store.flush().unwrap();
        }
    }
    let (view, again) = reader.join().unwrap();
    assert!(again.iter().all(|found| *found == (before.clone(), sum)));
    // Even when a snapshot takes the place of the database, or that is closed.
    let newer = Snapshot { index: 900, term: 3, data: state(2).to_bytes(), ..Snapshot::default() };
    store.install(&newer).unwrap();
    assert_eq!(rows(&mut store), []);
    drop(store);
    assert_eq!(pieces(&view, None, 500), (before, sum));
}

#[test]
fn what_arrived_before_a_restart_is_not_sent_again() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = to.path().join("cluster.redb");
    let sender = full(&from.path().join("cluster.redb"), 300);
    let view = sender.view().unwrap();
    let (all, sum) = pieces(&view, None, 1000);
    let mut incoming = Incoming::begin(&path, view.header().clone()).unwrap();
    for piece in &all[..all.len() / 2] {
        incoming.add(&piece.rows).unwrap();
    }
    incoming.commit().unwrap();
    let committed = incoming.last_key().map(<[u8]>::to_vec);
    incoming.add(&all[all.len() / 2].rows).unwrap();
    drop(incoming);
    let mut incoming = Incoming::resume(&path, 299).unwrap().unwrap();
    assert_eq!(incoming.header(), view.header());
    assert!(committed.is_some() && incoming.last_key() == committed.as_deref());
    let (rest, whole) = pieces(&view, incoming.last_key(), 700);
    assert_eq!(whole, sum);
    for piece in &rest {
        incoming.add(&piece.rows).unwrap();
    }
    incoming.finish(whole).unwrap();
    // A restart between its end and its installation: nothing is left to be sent.
    let incoming = Incoming::resume(&path, 299).unwrap().unwrap();
    assert_eq!(incoming.so_far(), sum);
    assert_eq!(pieces(&view, incoming.last_key(), 700), (vec![], sum));
    let header = incoming.finish(sum).unwrap();
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    store.install(&message(&header)).unwrap();
    assert_eq!(store.counts().keys, 300);
    assert!(Incoming::resume(&path, 300).unwrap().is_none());
}

#[test]
fn what_is_stale_or_not_readable_is_not_resumed_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.redb");
    assert!(Incoming::resume(&path, 0).unwrap().is_none());
    let header = SnapshotHeader { index: 9, term: 1, ..SnapshotHeader::default() };
    drop(Incoming::begin(&path, header.clone()).unwrap());
    assert!(Incoming::resume(&path, 9).unwrap().is_none(), "not newer");
    assert_eq!(names(dir.path()), [""; 0]);
    Incoming::begin(&path, header.clone()).unwrap().finish(RowSum::default()).unwrap();
    assert!(Incoming::resume(&path, 9).unwrap().is_none(), "not newer");
    assert_eq!(names(dir.path()), [""; 0]);
    for name in [ARRIVING, RECEIVED] {
        fs::write(beside(&path, name), "half a database").unwrap();
        assert!(Incoming::resume(&path, 0).unwrap().is_none());
        assert_eq!(names(dir.path()), [""; 0]);
    }
    // redb has panicked on it.
    drop(Incoming::begin(&path, header).unwrap());
    fs::rename(beside(&path, ARRIVING), beside(&path, OPENED)).unwrap();
    assert!(Incoming::resume(&path, 0).unwrap().is_none());
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn rows_that_do_not_fit_are_the_senders_fault() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = to.path().join("cluster.redb");
    let sender = full(&from.path().join("cluster.redb"), 20);
    let view = sender.view().unwrap();
    let (all, sum) = pieces(&view, None, 1);
    let begin = || Incoming::begin(&path, view.header().clone()).unwrap();
    let says = |error: IncomingError, what: &str| {
        let text = error.to_string();
        assert!(matches!(error, IncomingError::Unusable { index: 20, .. }), "{text}");
        assert!(text.contains(what), "{text}");
    };
    let mut incoming = begin();
    incoming.add(&all[1].rows).unwrap();
    says(incoming.add(&all[0].rows).unwrap_err(), "k00001 is not in order");
    let mut incoming = begin();
    incoming.add(&all[0].rows).unwrap();
    says(incoming.add(&all[0].rows).unwrap_err(), "not in order");
    says(begin().add(&[0x7f; 9]).unwrap_err(), "not readable");
    says(begin().add(&[0]).unwrap_err(), "not in order");
    let cut = &all[0].rows[..all[0].rows.len() - 1];
    says(begin().add(cut).unwrap_err(), "not readable");
    let fewer = SnapshotHeader { keys: 1, ..view.header().clone() };
    let mut incoming = Incoming::begin(&path, fewer).unwrap();
    incoming.add(&all[0].rows).unwrap();
    says(incoming.add(&all[1].rows).unwrap_err(), "more than the 1 rows");
    // One is missing, although all that came was good.
    let mut incoming = begin();
    for piece in &all[1..] {
        incoming.add(&piece.rows).unwrap();
    }
    says(incoming.finish(sum).unwrap_err(), "expected");
    assert_eq!(names(to.path()), [""; 0]);
    let odd = SnapshotHeader { state: vec![0xff; 9], ..view.header().clone() };
    says(Incoming::begin(&path, odd).err().unwrap(), "its state is not readable");
    let odd = SnapshotHeader { clients: vec![0xff; 9], ..view.header().clone() };
    says(Incoming::begin(&path, odd).err().unwrap(), "its clients are not readable");
}

#[test]
fn an_interrupted_installation_leaves_the_old_store_and_can_go_on() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = to.path().join("cluster.redb");
    let sender = full(&from.path().join("cluster.redb"), 20);
    let view = sender.view().unwrap();
    let mut store = StateStore::open(&path, CACHE).unwrap().0;
    write(&mut store, 1, put("old", "1"));
    store.flush().unwrap();
    let (all, sum) = pieces(&view, None, 100);
    let mut incoming = Incoming::begin(&path, view.header().clone()).unwrap();
    for piece in &all {
        incoming.add(&piece.rows).unwrap();
    }
    let header = incoming.finish(sum).unwrap();
    // Killed before the rename: the old store serves, and the snapshot is still there.
    drop(store);
    let (mut store, stored) = StateStore::open(&path, CACHE).unwrap();
    assert_eq!((stored.applied, rows(&mut store).len()), ((1, 2), 1));
    // Another one than the one that has arrived.
    let other = Snapshot { index: 15, term: 2, ..message(&header) };
    assert_eq!(store.install(&other).unwrap().applied, (15, 2));
    assert_eq!(rows(&mut store), []);
    // A flush that goes on meanwhile is over before.
    write(&mut store, 16, put("lost", "1"));
    assert!(store.begin_flush(Box::new(|| {})));
    write(&mut store, 17, put("lost", "2"));
    assert_eq!(store.install(&message(&header)).unwrap().applied, (20, 2));
    assert_eq!((store.durable_index(), rows(&mut store).len()), (20, 20));
    assert_eq!(store.flush().unwrap(), 20);
}
