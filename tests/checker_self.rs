//! The checker can say no: histories that nobody could have seen, and many that somebody could.

#[path = "checker_support/mod.rs"]
mod checker_support;

use std::collections::BTreeMap;

use checker_support::store::{Call, Keys, Return, check_final, check_store};
use checker_support::{Model as _, Operation};
use raftctl::core::rng::Rng;

fn operation(call: Call, called: u64, result: Return, returned: u64) -> Operation<Keys> {
    Operation { client: 0, call, called, returned: Some((result, returned)) }
}

fn unknown(call: Call, called: u64) -> Operation<Keys> {
    Operation { client: 0, call, called, returned: None }
}

fn found(value: Option<u64>) -> Return {
    Return::Found(vec![value])
}

#[test]
fn a_stale_read_is_seen() {
    let history = [
        operation(Call::Put(1, 10), 0, Return::Done, 1),
        operation(Call::Put(1, 11), 2, Return::Done, 3),
        operation(Call::Get(1), 4, found(Some(10)), 5),
    ];
    let text = check_store(&history).unwrap_err().text;
    assert!(text.contains("Get(1)"), "{text}");
    // At the same time as the write either value is right.
    let history = [
        operation(Call::Put(1, 10), 0, Return::Done, 1),
        operation(Call::Put(1, 11), 2, Return::Done, 6),
        operation(Call::Get(1), 3, found(Some(11)), 4),
        operation(Call::Get(1), 3, found(Some(10)), 5),
    ];
    assert!(check_store(&history).is_ok());
    // But nobody goes back.
    let history = [
        operation(Call::Put(1, 10), 0, Return::Done, 1),
        operation(Call::Put(1, 11), 2, Return::Done, 9),
        operation(Call::Get(1), 3, found(Some(11)), 4),
        operation(Call::Get(1), 5, found(Some(10)), 6),
    ];
    assert!(check_store(&history).is_err());
}

#[test]
fn a_write_that_applies_twice_is_seen() {
    let history = [
        operation(Call::Put(1, 10), 0, Return::Done, 1),
        operation(Call::Put(1, 11), 2, Return::Done, 3),
        operation(Call::Get(1), 4, found(Some(11)), 5),
        operation(Call::Get(1), 6, found(Some(10)), 7),
    ];
    assert!(check_store(&history).is_err());
    // One whose outcome is not known may come late, but only once.
    let once = [
        unknown(Call::Put(1, 10), 0),
        operation(Call::Put(1, 11), 2, Return::Done, 3),
        operation(Call::Get(1), 4, found(Some(11)), 5),
        operation(Call::Get(1), 6, found(Some(10)), 7),
        operation(Call::Put(1, 12), 8, Return::Done, 9),
        operation(Call::Get(1), 10, found(Some(12)), 11),
    ];
    assert!(check_store(&once).is_ok());
    let mut twice = once.to_vec();
    twice.push(operation(Call::Get(1), 12, found(Some(10)), 13));
    assert!(check_store(&twice).is_err());
}

#[test]
fn a_lost_write_is_seen() {
    let history = [
        operation(Call::Put(1, 10), 0, Return::Done, 1),
        operation(Call::Put(2, 20), 0, Return::Done, 1),
        unknown(Call::Put(1, 11), 2),
    ];
    let at_the_end = |one, two| check_final(&history, &BTreeMap::from([(1, one), (2, two)]), 9);
    assert!(at_the_end(10, 20).is_ok() && at_the_end(11, 20).is_ok());
    assert!(at_the_end(12, 20).is_err());
    assert!(check_final(&history, &BTreeMap::from([(1, 10)]), 9).is_err());
}

#[test]
fn a_swap_that_two_won_is_seen() {
    let swap = |new| Call::Swap(1, None, new);
    let both = [
        operation(swap(10), 0, Return::Swapped(true), 9),
        operation(swap(11), 0, Return::Swapped(true), 9),
    ];
    assert!(check_store(&both).is_err());
    let one = [
        operation(swap(10), 0, Return::Swapped(true), 9),
        operation(swap(11), 0, Return::Swapped(false), 9),
    ];
    assert!(check_store(&one).is_ok());
}

#[test]
fn a_torn_transaction_is_seen() {
    let write = operation(Call::PutAll(vec![(1, 10), (2, 20)]), 0, Return::Done, 5);
    let read = |one, two| operation(Call::GetAll(vec![1, 2]), 1, Return::Found(vec![one, two]), 2);
    assert!(check_store(&[write.clone(), read(Some(10), Some(20))]).is_ok());
    assert!(check_store(&[write.clone(), read(None, None)]).is_ok());
    assert!(check_store(&[write, read(Some(10), None)]).is_err());
}

#[test]
fn a_swap_that_compares_one_key_and_writes_another_is_followed() {
    let swap = |old, new| Call::SwapAll(vec![(1, old)], vec![(2, new)]);
    let history = |second| {
        [
            operation(Call::Put(1, 10), 0, Return::Done, 1),
            operation(swap(Some(10), 20), 2, Return::Swapped(true), 3),
            operation(Call::Get(2), 4, found(second), 5),
            operation(Call::DeleteAll(vec![1, 2, 3]), 6, Return::Deleted(2), 7),
        ]
    };
    assert!(check_store(&history(Some(20))).is_ok());
    assert!(check_store(&history(None)).is_err());
    let mut less = history(Some(20));
    less[3].returned = Some((Return::Deleted(1), 7));
    assert!(check_store(&less).is_err());
}

/// Keys are taken apart only where nothing is about both: each of these alone is possible.
#[test]
fn keys_that_belong_together_are_checked_together() {
    let history = [
        operation(Call::PutAll(vec![(1, 10), (2, 20)]), 0, Return::Done, 1),
        operation(Call::PutAll(vec![(2, 21), (3, 30)]), 2, Return::Done, 3),
        operation(Call::GetAll(vec![1, 3]), 0, Return::Found(vec![None, Some(30)]), 9),
    ];
    assert!(check_store(&history[..2]).is_ok());
    assert!(check_store(&history).is_err());
}

/// Histories of a store that is correct are accepted; the same with one result exchanged are
/// nearly always refused.
#[test]
fn random_histories_of_a_correct_store_are_accepted() {
    let mut refused = 0;
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut history = correct(&mut rng);
        assert!(check_store(&history).is_ok(), "seed {seed}");
        let reads = |o: &Operation<Keys>| matches!(o.returned, Some((Return::Found(_), _)));
        let at: Vec<usize> = (0..history.len()).filter(|at| reads(&history[*at])).collect();
        let at = at[rng.below(at.len() as u64) as usize];
        history[at].returned.as_mut().unwrap().0 = found(Some(999_999));
        refused += u32::from(check_store(&history).is_err());
    }
    assert_eq!(refused, 300);
}

/// What eight clients see of a correct store: each operation takes effect at one moment.
fn correct(rng: &mut Rng) -> Vec<Operation<Keys>> {
    let mut free = [0; 8];
    let mut planned = Vec::new();
    for value in 0..200 {
        let client = rng.below(8) as usize;
        let called = free[client] + rng.below(10);
        let moment = called + 1 + rng.below(20);
        let returned = moment + 1 + rng.below(20);
        free[client] = returned + 1;
        let key = rng.below(3) as u32;
        let call = match rng.below(6) {
            0..=2 => Call::Get(key),
            3 => Call::Delete(key),
            4 => Call::Swap(key, (rng.below(2) == 0).then(|| rng.below(value + 1)), value),
            _ => Call::Put(key, value),
        };
        let is_lost = rng.below(20) == 0 && !matches!(call, Call::Get(_));
        planned.push((moment, client, called, returned, call, is_lost));
    }
    planned.sort_by_key(|(moment, client, ..)| (*moment, *client));
    let mut state = BTreeMap::new();
    let mut history = Vec::new();
    for (_, client, called, returned, call, is_lost) in planned {
        if is_lost && rng.below(2) == 0 {
            history.push(Operation { client, call, called, returned: None });
            continue;
        }
        let result = match &call {
            Call::Get(key) => found(state.get(key).copied()),
            Call::Swap(key, old, _) => Return::Swapped(state.get(key) == old.as_ref()),
            Call::Delete(key) => Return::Deleted(state.contains_key(key).into()),
            _ => Return::Done,
        };
        state = Keys::step(&state, &call, Some(&result)).expect("it is what a correct store says");
        let returned = (!is_lost).then_some((result, returned));
        history.push(Operation { client, call, called, returned });
    }
    history
}
