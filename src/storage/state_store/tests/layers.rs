//! Ranges across the three layers: what is right is what a plain map would say.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::*;
use crate::core::kv::{Row, Table as _};
use crate::core::rng::Rng;

fn row(revision: Index) -> Row {
    Row { value: format!("v{revision}").into_bytes(), revision, created: 1 }
}

fn scan(
    layers: &Layers<'_>,
    from: Bound<&[u8]>,
    end: Option<&[u8]>,
    most: usize,
) -> Vec<(Vec<u8>, Row)> {
    let mut found = Vec::new();
    if most == 0 {
        return found;
    }
    let mut see = |key: &[u8], row: Row| {
        found.push((key.to_vec(), row));
        if found.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    layers.scan(from, end, &mut see).unwrap();
    found
}

#[test]
fn the_uppermost_layer_that_knows_a_key_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.redb");
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut model: BTreeMap<Vec<u8>, Row> = BTreeMap::new();
        let mut layers = [Changes::default(), Changes::default(), Changes::default()];
        for (depth, changes) in layers.iter_mut().enumerate() {
            for change in 0..rng.below(12) {
                let key = vec![b'a' + rng.below(8) as u8; 1 + rng.below(2) as usize];
                let revision = depth as Index * 100 + change + 1;
                let put = (rng.below(3) > 0).then(|| row(revision));
                match &put {
                    Some(row) => drop(model.insert(key.clone(), row.clone())),
                    None => drop(model.remove(&key)),
                }
                changes.rows.insert(key, put);
            }
        }
        let [lowest, flushing, mut active] = layers;
        let keys = lowest.rows.values().flatten().count() as u64;
        let database = Arc::new(database::create(&path, CACHE, &Head::default()).unwrap());
        let head = Head { keys, ..Head::default() };
        database::write(&path, &database, &head, &lowest).unwrap();
        let stored = StoredRows::open(&path, &database).unwrap();
        let layers = Layers { active: &mut active, flushing: Some(&flushing), stored: &stored };
        for key in (b'a'..=b'i').flat_map(|byte| [vec![byte], vec![byte; 2]]) {
            assert_eq!(layers.get(&key).unwrap().as_ref(), model.get(&key), "seed {seed}");
        }
        for _ in 0..40 {
            let key = |rng: &mut Rng| vec![b'a' + rng.below(9) as u8; rng.below(3) as usize];
            let (start, end) = (key(&mut rng), key(&mut rng));
            let from = match rng.below(3) {
                0 => Bound::Included(start.as_slice()),
                1 => Bound::Excluded(start.as_slice()),
                _ => Bound::Unbounded,
            };
            let end = (rng.below(2) == 0).then_some(end.as_slice());
            let most = rng.below(6) as usize;
            let inside = |key: &Vec<u8>| {
                let after = match from {
                    Bound::Included(start) => key.as_slice() >= start,
                    Bound::Excluded(start) => key.as_slice() > start,
                    Bound::Unbounded => true,
                };
                after && end.is_none_or(|end| key.as_slice() < end)
            };
            let expected = model.iter().filter(|(key, _)| inside(key)).take(most);
            let found = scan(&layers, from, end, most);
            assert!(found.iter().map(|(k, r)| (k, r)).eq(expected), "seed {seed} {from:?} {end:?}");
        }
    }
}

#[test]
fn memory_for_changes_is_counted_up_and_down() {
    let mut changes = Changes::default();
    let large = Row { value: vec![0; 1000], ..row(1) };
    changes.set(b"a", Some(large.clone()));
    let one = changes.bytes;
    assert!((1000..1500).contains(&one), "{one}");
    changes.set(b"a", Some(large.clone()));
    assert_eq!(changes.bytes, one);
    changes.set(b"a", None);
    assert_eq!(changes.bytes, one - 1000);
    changes.set(b"b", Some(large));
    assert_eq!(changes.bytes, 2 * one - 1000);
}
