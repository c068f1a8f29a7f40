//! The store against a simple model, and one test for each rule.

use std::collections::BTreeMap;

use super::*;
use crate::core::rng::Rng;
use crate::core::{Index, Token};
use crate::limits;

/// A store in memory.
#[derive(Clone, Default)]
struct Store {
    table: MemoryTable,
    size: u64,
    keys: i64,
    clients: Clients,
    index: Index,
    token: Option<Token>,
}

impl Store {
    fn apply(&mut self, command: &KvCommand) -> Outcome {
        self.index += 1;
        let context = Context { index: self.index, token: self.token };
        let Ok(applied) =
            apply(&mut self.table, &mut self.size, &mut self.clients, context, command);
        self.keys += applied.keys;
        assert_eq!(self.keys, self.table.0.len() as i64);
        assert_eq!(self.size, self.table.0.iter().map(|(key, row)| row.size(key)).sum::<u64>());
        applied.outcome
    }

    fn value(&self, key: &str) -> Option<&[u8]> {
        self.table.0.get(key.as_bytes()).map(|row| row.value.as_slice())
    }
}

fn command(operation: Operation) -> KvCommand {
    let (quota_bytes, clients_max) = (1 << 20, 3);
    KvCommand { quota_bytes, clients_max, operation: Some(operation), ..KvCommand::default() }
}

fn put(key: &str, value: &str) -> KvCommand {
    command(Operation::Put(Put { key: key.into(), value: value.into() }))
}

fn delete(key: &str) -> KvCommand {
    command(Operation::Delete(Delete { key: key.into() }))
}

fn txn(compare: Vec<Compare>, then: Vec<Change>, otherwise: Vec<Change>) -> KvCommand {
    let steps = |changes: Vec<Change>| {
        changes.into_iter().map(|change| Step { change: Some(change) }).collect()
    };
    let (then, otherwise) = (steps(then), steps(otherwise));
    command(Operation::Txn(Txn { compare, then, otherwise }))
}

fn compare(key: &str, condition: Condition) -> Compare {
    Compare { key: key.into(), condition: Some(condition) }
}

fn from(client: &str, sequence: u64, since: Index, command: KvCommand) -> KvCommand {
    KvCommand { client: client.into(), sequence, since, ..command }
}

#[test]
fn a_revision_is_the_index_of_the_write_and_creation_survives_writes() {
    let mut store = Store::default();
    store.apply(&put("a", "1"));
    store.apply(&put("b", "1"));
    assert_eq!(store.apply(&put("a", "2")).result().unwrap().revision, 3);
    let row = get(&store.table, b"a").unwrap().unwrap();
    assert_eq!((row.revision, row.created, row.value.as_slice()), (3, 1, b"2".as_slice()));
    assert_eq!(store.apply(&delete("a")).result().unwrap().deleted, 1);
    assert_eq!(store.apply(&delete("a")).result().unwrap().deleted, 0);
    store.apply(&put("a", "3"));
    assert_eq!(get(&store.table, b"a").unwrap().unwrap().created, 6);
}

#[test]
fn a_write_that_is_sent_again_applies_once_and_gets_the_same_answer() {
    let mut store = Store::default();
    let first = from("c", 1, 0, put("a", "1"));
    let answer = store.apply(&first);
    store.apply(&put("a", "2"));
    assert_eq!(store.apply(&first), answer);
    assert_eq!(store.value("a"), Some(b"2".as_slice()));
    store.apply(&from("c", 2, 0, put("a", "3")));
    assert_eq!(store.apply(&first).result(), Err(Refusal::Superseded));
    // A refusal is remembered too: what was said to be refused never takes effect later.
    let refused = KvCommand { token: Some(9), ..from("c", 3, 0, put("a", "4")) };
    assert_eq!(store.apply(&refused).result(), Err(Refusal::Token));
    store.token = Some(Token(9));
    assert_eq!(store.apply(&refused).result(), Err(Refusal::Token));
    assert_eq!(store.value("a"), Some(b"3".as_slice()));
}

#[test]
fn a_forgotten_client_is_refused_unless_its_command_is_new() {
    let mut store = Store::default();
    let old = from("old", 1, 0, put("a", "1"));
    store.apply(&old);
    for client in ["x", "y", "z"] {
        store.apply(&from(client, 1, store.index, put(client, "1")));
    }
    assert_eq!(store.clients.len(), 3);
    store.apply(&put("a", "2"));
    assert_eq!(store.apply(&old).result(), Err(Refusal::Forgotten));
    assert_eq!(store.value("a"), Some(b"2".as_slice()));
    let new = from("old", 2, store.index, put("a", "3"));
    assert!(store.apply(&new).result().is_ok());
    let read = Clients::from_bytes(&store.clients.to_bytes()).unwrap();
    assert_eq!(read, store.clients);
}

#[test]
fn a_token_keeps_a_deposed_holder_out() {
    let mut store = Store { token: Some(Token(7)), ..Store::default() };
    let with = |token| KvCommand { token: Some(token), ..put("a", "1") };
    assert_eq!(store.apply(&with(6)).result(), Err(Refusal::Token));
    assert!(store.apply(&with(7)).result().is_ok());
    store.token = None;
    assert_eq!(store.apply(&with(7)).result(), Err(Refusal::Token));
    assert!(store.apply(&put("a", "2")).result().is_ok());
}

#[test]
fn a_full_store_takes_what_does_not_grow_it_and_clears_by_itself() {
    let mut store = Store::default();
    let small = |command: KvCommand| KvCommand { quota_bytes: 100, ..command };
    assert!(store.apply(&small(put("a", &"x".repeat(60)))).result().is_ok());
    assert_eq!(store.apply(&small(put("b", "1"))).result(), Err(Refusal::Quota));
    let grows = txn(
        vec![],
        vec![
            Change::Put(Put { key: "a".into(), value: "y".into() }),
            Change::Put(Put { key: "b".into(), value: "x".repeat(90).into() }),
        ],
        vec![],
    );
    assert_eq!(store.apply(&small(grows)).result(), Err(Refusal::Quota));
    assert_eq!(store.value("a").unwrap().len(), 60, "all or nothing");
    assert!(store.apply(&small(put("a", &"y".repeat(60)))).result().is_ok());
    assert!(store.apply(&small(put("a", "z"))).result().is_ok());
    assert!(store.apply(&small(put("b", "1"))).result().is_ok());
    assert!(store.apply(&small(delete("a"))).result().is_ok());
}

#[test]
fn a_transaction_compares_then_does_one_of_two_lists() {
    let mut store = Store::default();
    let key = |key: &str| Get { key: key.into() };
    let lock = txn(
        vec![compare("lock", Condition::Exists(false))],
        vec![Change::Put(Put { key: "lock".into(), value: "me".into() }), Change::Get(key("lock"))],
        vec![Change::Get(key("lock"))],
    );
    let first = store.apply(&lock);
    let first = first.result().unwrap();
    assert!(first.succeeded && first.reads[0].value == b"me" && first.reads[0].revision == 1);
    let second = store.apply(&lock);
    let second = second.result().unwrap();
    assert!(!second.succeeded && second.reads[0].exists);
    for (condition, holds) in [
        (Condition::Revision(1), true),
        (Condition::Revision(2), false),
        (Condition::Value("me".into()), true),
        (Condition::Value("you".into()), false),
        (Condition::Exists(true), true),
    ] {
        let asked = txn(vec![compare("lock", condition)], vec![], vec![]);
        assert_eq!(store.apply(&asked).result().unwrap().succeeded, holds);
    }
    let absent = txn(vec![compare("none", Condition::Revision(0))], vec![], vec![]);
    assert!(store.apply(&absent).result().unwrap().succeeded);
    let unknown = txn(vec![Compare { key: "lock".into(), condition: None }], vec![], vec![]);
    assert_eq!(store.apply(&unknown).result(), Err(Refusal::Malformed));
}

#[test]
fn a_prefix_is_deleted_in_pieces() {
    let mut store = Store::default();
    for at in 0..5 {
        store.apply(&put(&format!("p/{at}"), "x"));
    }
    store.apply(&put("q", "x"));
    let prefix = || DeletePrefix { prefix: "p/".into(), most: 3 };
    let answer = store.apply(&command(Operation::DeletePrefix(prefix())));
    assert_eq!(answer.result().map(|w| (w.deleted, w.more)), Ok((3, true)));
    let answer = store.apply(&command(Operation::DeletePrefix(prefix())));
    assert_eq!(answer.result().map(|w| (w.deleted, w.more)), Ok((2, false)));
    assert_eq!(store.value("q"), Some(b"x".as_slice()));
    // What the same transaction has put or removed counts as it is.
    let put = |key: &str| Change::Put(Put { key: key.into(), value: "y".into() });
    let answer = store.apply(&txn(
        vec![],
        vec![
            put("p/a"),
            put("p/b"),
            Change::Delete(Delete { key: "p/a".into() }),
            Change::DeletePrefix(prefix()),
        ],
        vec![],
    ));
    assert_eq!(answer.result().map(|w| (w.deleted, w.more)), Ok((2, false)));
    assert_eq!(store.table.0.len(), 1);
}

#[test]
fn a_range_comes_in_pages() {
    let mut store = Store::default();
    for at in 0..7 {
        store.apply(&put(&format!("p/{at}"), "value"));
    }
    store.apply(&put("p0", "after"));
    let mut query = Query { key: "p/".into(), is_prefix: true, most: 3, ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let page = page(&store.table, &Range::from(&query)).unwrap();
        assert!(page.rows.len() <= 3);
        query.after = page.rows.last().map(|(key, _)| key.clone());
        seen.extend(page.rows);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen.len(), 7);
    let names = Query { keys_only: true, after: None, most: 0, ..query };
    let page = page(&store.table, &Range::from(&names)).unwrap();
    assert!(page.rows.len() == 7 && page.rows.iter().all(|(_, row)| row.value.is_empty()));
}

#[test]
fn prefixes_of_the_highest_byte_have_no_end() {
    let mut store = Store::default();
    for key in [vec![0xff], vec![0xff, 0xff], vec![0xfe, 0xff], vec![0xff, 0x01]] {
        store.apply(&command(Operation::Put(Put { key, value: vec![] })));
    }
    let all = |prefix: Vec<u8>| {
        let query = Query { key: prefix, is_prefix: true, ..Query::default() };
        page(&store.table, &Range::from(&query)).unwrap().rows.len()
    };
    let counts = [vec![0xff], vec![0xff, 0xff], vec![0xfe], vec![]].map(all);
    assert_eq!(counts, [3, 1, 1, 4]);
}

#[test]
fn what_is_too_long_or_says_nothing_is_refused_before() {
    assert_eq!(check(&put("", "1")), Err(Invalid::EmptyKey));
    assert!(check(&put(&"k".repeat(1025), "1")).unwrap_err().to_string().contains("1025 bytes"));
    let large = "v".repeat(limits::KV_VALUE_MAX_BYTES);
    assert_eq!(check(&put("k", &large)), Ok(()));
    assert!(check(&put("k", &(large + "v"))).is_err());
    assert!(check(&KvCommand::default()).is_err());
    assert!(check(&txn(vec![Compare::default()], vec![], vec![])).is_err());
    let many = vec![Change::Get(Get { key: "k".into() }); limits::KV_TXN_STEPS_MAX + 1];
    assert!(check(&txn(vec![], many, vec![])).is_err());
}

#[test]
fn a_transaction_reads_and_carries_no_more_than_its_answer_and_its_entry_hold() {
    let gets = |count| vec![Change::Get(Get { key: "k".into() }); count];
    let most = limits::KV_TXN_GETS_MAX;
    // Only one of the branches is carried out.
    assert_eq!(check(&txn(vec![], gets(most), gets(most))), Ok(()));
    let found = most + 1;
    assert_eq!(check(&txn(vec![], gets(found), vec![])), Err(Invalid::TooManyGets { found, most }));
    assert_eq!(check(&txn(vec![], vec![], gets(found))), Err(Invalid::TooManyGets { found, most }));
    let longest = most * (limits::KV_KEY_MAX_BYTES + limits::KV_VALUE_MAX_BYTES) / 3 * 4;
    assert!(longest < 16 << 20, "{longest}");

    let half = vec![0; limits::KV_VALUE_MAX_BYTES / 2];
    let compare = |value| Compare { key: "k".into(), condition: Some(Condition::Value(value)) };
    let put = |value| vec![Change::Put(Put { key: "k".into(), value })];
    let whole = txn(vec![compare(half.clone())], put(half.clone()), vec![]);
    assert_eq!(check(&whole), Ok(()));
    let beyond = txn(vec![compare(half.clone()), compare(vec![0])], put(half), vec![]);
    assert!(matches!(check(&beyond), Err(Invalid::TooLong { .. })));
}

/// Random commands give what a plain map gives, and any two stores agree.
#[test]
fn random_commands_agree_with_a_model() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let (mut store, mut twin) = (Store::default(), Store::default());
        let mut model: BTreeMap<String, String> = BTreeMap::new();
        for _ in 0..200 {
            let key = format!("{}{}", ["a", "b/", "c"][rng.below(3) as usize], rng.below(4));
            let value = rng.below(9).to_string();
            let asked = match rng.below(4) {
                0 => {
                    model.remove(&key);
                    delete(&key)
                }
                1 => {
                    model.retain(|key, _| !key.starts_with("b/"));
                    let (prefix, most) = ("b/".into(), 100);
                    command(Operation::DeletePrefix(DeletePrefix { prefix, most }))
                }
                2 => {
                    let holds = model.get(&key) == Some(&value);
                    let new = Change::Put(Put { key: key.clone().into(), value: "new".into() });
                    let condition = Condition::Value(value.clone().into());
                    let asked = txn(
                        vec![compare(&key, condition)],
                        vec![new],
                        vec![Change::Delete(Delete { key: key.clone().into() })],
                    );
                    if holds {
                        model.insert(key, "new".to_owned());
                    } else {
                        model.remove(&key);
                    }
                    asked
                }
                _ => {
                    model.insert(key.clone(), value.clone());
                    put(&key, &value)
                }
            };
            assert_eq!(store.apply(&asked), twin.apply(&asked));
        }
        let rows = store.table.0.iter().map(|(key, row)| (key.clone(), row.value.clone()));
        let model = model.into_iter().map(|(key, value)| (key.into_bytes(), value.into_bytes()));
        assert!(rows.eq(model), "seed {seed}");
        assert_eq!(store.table, twin.table);
    }
}
