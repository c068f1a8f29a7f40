//! The store on the private bus: methods, options, errors, sizes, properties.

mod dbus_support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dbus_support::store::{FakeStore, keys};
use dbus_support::{DEADLINE, FakeNode, leader_of_three};
use raftctl::dbus::client::{Client, ClientError, KvRow, KvTxnArguments};
use raftctl::dbus::key_value::{Bytes, ReadOptions, StepTuple, TxnDetails, WriteOptions};
use raftctl::dbus::{KEY_VALUE_INTERFACE, ROOT_PATH};
use raftctl::limits;
use raftctl::node::handle::Request;
use raftctl::node::kv::KvError;
use raftctl::node::store::StoreStatus;
use tokio::sync::watch;
use zbus::{Connection, OwnedVariant, Variant, connection};

/// An agent whose node answers from memory, and a client.
struct Scene {
    store: Arc<Mutex<FakeStore>>,
    client: Client,
    socket: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Scene {
        let mut node = FakeNode::new(leader_of_three());
        let status = StoreStatus { keys: 3, bytes: 400, quota_bytes: 5000, ..Default::default() };
        let travels = watch::channel(Arc::default()).1;
        node.handle = node.handle.with_store(watch::channel(Arc::new(status)).1, travels);
        let directory = tempfile::tempdir().unwrap();
        let (socket, _) = node.serve(directory.path());
        let store = Arc::new(Mutex::new(FakeStore::default()));
        let answers = store.clone();
        tokio::spawn(async move {
            while let Some(request) = node.requests.recv().await {
                let Request::Kv(request) = request else { panic!("{request:?}") };
                answers.lock().unwrap().answer(request);
            }
        });
        let client = Client::connect(&socket, DEADLINE).await.unwrap();
        Scene { store, client, socket, _directory: directory }
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> u64 {
        self.client.kv_put(key, value, &WriteOptions::default()).await.unwrap()
    }

    async fn get(&self, key: &[u8]) -> Option<KvRow> {
        self.client.kv_get(key, &ReadOptions::default()).await.unwrap().0
    }

    fn asked(&self) -> String {
        self.store.lock().unwrap().asked.last().cloned().unwrap()
    }
}

async fn raw(socket: &Path) -> Connection {
    let stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    connection::Builder::unix_stream(stream).p2p().build().await.unwrap()
}

/// The name of the error without its prefix, and the text.
fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (String, String) {
    match result {
        Err(ClientError::Refused { name, message }) => (name, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn bytes_come_back_as_they_were_put() {
    let scene = Scene::start().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let long: Vec<u8> = every_byte.iter().copied().cycle().take(1 << 20).collect();
    for value in [every_byte.clone(), Vec::new(), long] {
        let revision = scene.put(&every_byte, &value).await;
        let row = scene.get(&every_byte).await.unwrap();
        assert!(row.value == value, "{} bytes", value.len());
        assert_eq!((row.key, row.revision), (every_byte.clone(), revision));
    }
    assert_eq!(scene.get(b"other").await, None);
    let too_long = vec![7; (1 << 20) + 1];
    let put = scene.client.kv_put(b"k", &too_long, &WriteOptions::default()).await;
    let (name, text) = refused(put);
    assert_eq!(name, "InvalidArgument");
    assert!(text.contains("1048577") && text.contains("1048576"), "{text}");
}

#[tokio::test]
async fn a_key_is_deleted_once() {
    let scene = Scene::start().await;
    scene.put(b"k", b"v").await;
    let options = WriteOptions::default();
    assert!(scene.client.kv_delete(b"k", &options).await.unwrap().0);
    assert!(!scene.client.kv_delete(b"k", &options).await.unwrap().0);
    for key in keys(3) {
        scene.put(&key, b"").await;
    }
    let (deleted, more, revision) =
        scene.client.kv_delete_prefix(b"many/", &options).await.unwrap();
    assert_eq!((deleted, more), (3, false));
    assert!(revision > 100);
}

#[tokio::test]
async fn a_range_goes_on_where_it_stopped() {
    let scene = Scene::start().await;
    let all = keys(limits::KV_PAGE_ROWS_MAX + 1);
    for key in &all {
        scene.put(key, key).await;
    }
    scene.put(b"other", b"").await;
    let mut options = ReadOptions { limit: Some(2), ..ReadOptions::default() };
    let (rows, more, details) = scene.client.kv_range(b"many/", &options).await.unwrap();
    assert_eq!((rows.len(), more, details.age_usec), (2, true, Some(0)));
    assert_eq!((rows[1].key.as_slice(), &rows[1].value), (all[1].as_slice(), &all[1]));
    (options.limit, options.keys_only) = (None, Some(true));
    let (mut seen, mut pages) = (rows.into_iter().map(|row| row.key).collect::<Vec<_>>(), 1);
    loop {
        options.after = seen.last().cloned().map(Bytes);
        let (rows, more, _) = scene.client.kv_range(b"many/", &options).await.unwrap();
        assert!(rows.iter().all(|row| row.value.is_empty()));
        seen.extend(rows.into_iter().map(|row| row.key));
        pages += 1;
        if !more {
            break;
        }
    }
    assert_eq!((seen, pages), (all, 2));
}

#[tokio::test]
async fn large_pages_are_whole() {
    let scene = Scene::start().await;
    let value = vec![0xee; 1 << 20];
    for key in keys(5) {
        scene.put(&key, &value).await;
    }
    let (rows, more, _) = scene.client.kv_range(b"", &ReadOptions::default()).await.unwrap();
    assert_eq!((rows.len(), more), (3, true));
    assert!(rows.iter().all(|row| row.value == value));
}

#[tokio::test]
async fn options_reach_the_node() {
    let scene = Scene::start().await;
    let stale = Some("stale".to_owned());
    let options =
        ReadOptions { consistency: stale, timeout_usec: Some(1_500_000), ..ReadOptions::default() };
    let (_, details) = scene.client.kv_get(b"k", &options).await.unwrap();
    assert_eq!(details.age_usec, Some(250_000));
    let asked = scene.asked();
    assert!(asked.contains("Stale") && asked.contains("within: 1.4"), "{asked}");
    let options = WriteOptions {
        token: Some(42),
        timeout_usec: Some(2_000_000),
        forward: Some(false),
        ..WriteOptions::default()
    };
    scene.client.kv_put(b"k", b"v", &options).await.unwrap();
    let asked = scene.asked();
    for part in ["Token(42)", "within: 2s", "forward: false"] {
        assert!(asked.contains(part), "{asked}");
    }
    scene.client.kv_put(b"k", b"v", &WriteOptions::default()).await.unwrap();
    let asked = scene.asked();
    for part in ["token: None", "within: 10s", "forward: true"] {
        assert!(asked.contains(part), "{asked}");
    }
}

#[tokio::test]
async fn a_write_is_done_only_if_the_key_is_as_wanted() {
    let scene = Scene::start().await;
    let at = |revision| WriteOptions { if_revision: Some(revision), ..WriteOptions::default() };
    let first = scene.client.kv_put(b"k", b"1", &at(0)).await.unwrap();
    let (name, text) = refused(scene.client.kv_put(b"k", b"2", &at(0)).await);
    assert_eq!(name, "PreconditionFailed");
    assert!(text.contains("exists"), "{text}");
    let second = scene.client.kv_put(b"k", b"2", &at(first)).await.unwrap();
    let (name, text) = refused(scene.client.kv_delete(b"k", &at(first)).await);
    assert_eq!(name, "PreconditionFailed");
    assert!(text.contains(&first.to_string()), "{text}");
    assert_eq!(scene.get(b"k").await.unwrap().value, b"2");
    assert!(scene.client.kv_delete(b"k", &at(second)).await.unwrap().0);
}

fn step(what: &str, key: &str, value: &str) -> StepTuple {
    let bytes = |text: &str| Bytes(text.as_bytes().to_vec());
    (what.to_owned(), bytes(key), bytes(value))
}

#[tokio::test]
async fn a_transaction_does_one_of_two_lists() {
    let scene = Scene::start().await;
    let lock = KvTxnArguments {
        compare: vec![(Bytes(b"lock".to_vec()), "absent".to_owned(), Bytes::default(), 0)],
        then: vec![step("put", "lock", "n1"), step("get", "lock", "")],
        otherwise: vec![step("get", "lock", ""), step("get", "none", "")],
    };
    let options = WriteOptions::default();
    let done = scene.client.kv_txn(&lock, &options).await.unwrap();
    assert!(done.succeeded);
    let row = done.reads[0].as_ref().unwrap();
    assert_eq!((row.value.as_slice(), row.revision), (&b"n1"[..], done.revision));
    let done = scene.client.kv_txn(&lock, &options).await.unwrap();
    assert!(!done.succeeded);
    assert_eq!(done.reads[0].as_ref().unwrap().value, b"n1");
    assert_eq!(done.reads[1], Err(b"none".to_vec()));
    let held = (Bytes(b"lock".to_vec()), "value".to_owned(), Bytes(b"n1".to_vec()), 0);
    let release = KvTxnArguments {
        compare: vec![held],
        then: vec![step("delete", "lock", ""), step("delete-prefix", "x", "")],
        otherwise: vec![],
    };
    let done = scene.client.kv_txn(&release, &options).await.unwrap();
    let TxnDetails { deleted, more, reads_forgotten } = done.details;
    assert_eq!((done.succeeded, deleted, more), (true, Some(1), Some(false)));
    assert_eq!(reads_forgotten, Some(false));
}

#[tokio::test]
async fn each_failure_has_its_name() {
    let scene = Scene::start().await;
    let waited_ms = 10;
    let leader = Some("n2".to_owned());
    for (error, expected, part) in [
        (KvError::Token { given: 7 }, "TokenMismatch", "token 7"),
        (KvError::Quota { quota_bytes: 99 }, "QuotaExceeded", "99 bytes"),
        (KvError::Busy { most: 8 }, "Busy", "at most 8"),
        (KvError::NotLeader { leader }, "NotLeader", "n2"),
        (KvError::Unavailable { waited_ms }, "Unavailable", "nothing was written"),
        (KvError::Unknown { waited_ms }, "OutcomeUnknown", "may or may not"),
        (KvError::Stopping, "Stopping", "stopping"),
    ] {
        scene.store.lock().unwrap().refuses = Some(error);
        let (name, text) = refused(scene.client.kv_put(b"k", b"v", &WriteOptions::default()).await);
        assert_eq!(name, expected);
        assert!(text.contains(part), "{text}");
        let (name, _) = refused(scene.client.kv_get(b"k", &ReadOptions::default()).await);
        assert_eq!(name, expected);
    }
    scene.store.lock().unwrap().refuses = None;
    let (name, _) = refused(scene.client.kv_get(b"", &ReadOptions::default()).await);
    assert_eq!(name, "InvalidArgument");
    let other = WriteOptions { token: Some(41), ..WriteOptions::default() };
    let (name, _) = refused(scene.client.kv_put(b"k", b"v", &other).await);
    assert_eq!(name, "TokenMismatch");
}

/// An option that is not known may be a condition: it is never passed over.
#[tokio::test]
async fn options_that_are_not_understood_are_refused() {
    let scene = Scene::start().await;
    let connection = raw(&scene.socket).await;
    for (method, name, value) in [
        ("Get", "tokn", Variant::from(1_u64)),
        ("Get", "consistency", Variant::from("newest")),
        ("Get", "limit", Variant::from(1_u32)),
        ("Get", "timeout_usec", Variant::from(61_000_000_u64)),
        ("Get", "timeout_usec", Variant::from("1s")),
        ("Delete", "if_absent", Variant::from(true)),
        ("Delete", "token", Variant::from("42")),
        ("DeletePrefix", "if_revision", Variant::from(1_u64)),
    ] {
        let body = (Bytes(b"k".to_vec()), HashMap::from([(name, value)]));
        let interface = Some(KEY_VALUE_INTERFACE);
        let call = connection.call_method(None::<&str>, ROOT_PATH, interface, method, &body);
        let answer = tokio::time::timeout(DEADLINE, call).await.unwrap();
        let (error, text) = refused(answer.map_err(ClientError::from));
        assert!(["InvalidArgument", "InvalidArgs"].contains(&&*error), "{name}: {error} {text}");
        let part = if text.contains("signature") { "expected a value" } else { name };
        assert!(text.contains(part), "{method} {name}: {text}");
    }
    assert_eq!(scene.store.lock().unwrap().asked, Vec::<String>::new());
}

#[tokio::test]
async fn properties_tell_how_full_it_is() {
    let scene = Scene::start().await;
    let connection = raw(&scene.socket).await;
    let properties = Some("org.freedesktop.DBus.Properties");
    let body = (KEY_VALUE_INTERFACE,);
    let call = connection.call_method(None::<&str>, ROOT_PATH, properties, "GetAll", &body);
    let answer = tokio::time::timeout(DEADLINE, call).await.unwrap().unwrap().body();
    let all: HashMap<String, OwnedVariant> = answer.deserialize().unwrap();
    let mut shown: Vec<_> =
        all.iter().map(|(name, value)| name.clone() + "=" + &value.to_string()).collect();
    shown.sort();
    assert_eq!(shown, ["Bytes=uint64 400", "Keys=uint64 3", "QuotaBytes=uint64 5000"]);
}
