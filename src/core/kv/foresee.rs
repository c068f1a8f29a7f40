//! What a committed write comes to, where that is certain before it is applied to the rows: a put
//! without a condition, by a client that sends it for the first time, into a store with room for
//! it. Such a write may be acknowledged as soon as it is committed.
//!
//! Guarantees that what is foreseen is what [`super::apply`] makes of it; whoever applies it holds
//! it against that ([`super::Awaited::answer`]). Where it cannot be told it is not foreseen.

use std::collections::VecDeque;

use super::command::{Change, KvCommand, Operation, Outcome, Put, Written};
use super::table::row_size;
use crate::core::{Index, Token};
use crate::limits;

/// How large the store may be at most by the time it has applied what was handed to it.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// Its size, as far as it has applied; `None`: not known.
    bytes: Option<u64>,
    /// What it says of indexes up to here is of no use.
    void: Index,
    /// By how much it may grow with what it has not applied yet, up to each index.
    ahead: VecDeque<(Index, u64)>,
    growth: u64,
}

impl Room {
    /// The store has applied everything up to `applied`, and has that size.
    pub fn applied(&mut self, applied: Index, bytes: u64) {
        if applied <= self.void {
            return;
        }
        self.bytes = Some(bytes);
        while let Some((_, growth)) = self.ahead.pop_front_if(|(index, _)| *index <= applied) {
            self.growth -= growth;
        }
    }

    /// A snapshot of `index` replaces everything.
    pub fn replaced(&mut self, index: Index) {
        *self = Room { void: index, ..Room::default() };
    }

    /// A command is handed to the store; call it for each of them, in order.
    pub fn hand_over(&mut self, index: Index, command: &KvCommand) {
        let growth = growth(command);
        if growth > 0 {
            self.ahead.push_back((index, growth));
            self.growth = self.growth.saturating_add(growth);
        }
    }

    /// What becomes of `command`, which was handed over last, at `index`, with that token in
    /// force; `first`: it is nowhere else in the log. `None`: that depends.
    pub fn foresee(
        &self,
        index: Index,
        token: Option<Token>,
        command: &KvCommand,
        first: bool,
    ) -> Option<Outcome> {
        let bytes = self.bytes?;
        let remembered = index.saturating_sub(command.since) <= u64::from(limits::KV_CLIENTS_MAX);
        let allowed = command.token.is_none_or(|given| token.is_some_and(|t| t.0 == given));
        let fits = bytes.saturating_add(self.growth) <= command.quota_bytes;
        let certain = first && remembered && allowed && fits;
        let plain = matches!(command.operation, Some(Operation::Put(_)));
        (certain && plain).then(|| foreseen(index))
    }
}

/// What a put that is done comes to.
pub(super) fn foreseen(index: Index) -> Outcome {
    Outcome::written(Written { revision: index, succeeded: true, ..Written::default() })
}

/// By how many bytes a command lets the store grow at most.
fn growth(command: &KvCommand) -> u64 {
    let of = |put: &Put| row_size(&put.key, &put.value);
    match &command.operation {
        Some(Operation::Put(put)) => of(put),
        Some(Operation::Txn(txn)) => {
            let steps = txn.then.iter().chain(&txn.otherwise);
            let grows = steps.map(|step| match &step.change {
                Some(Change::Put(put)) => of(put),
                _ => 0,
            });
            grows.sum()
        }
        Some(Operation::Delete(_) | Operation::DeletePrefix(_)) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kv::Delete;

    const INDEX: Index = 100_000;

    fn put(bytes: usize) -> KvCommand {
        let put = Put { key: b"k".to_vec(), value: vec![0; bytes] };
        KvCommand {
            client: b"c".to_vec(),
            sequence: 1,
            since: INDEX - 1,
            quota_bytes: 1000,
            operation: Some(Operation::Put(put)),
            ..KvCommand::default()
        }
    }

    fn room(bytes: u64) -> Room {
        let mut room = Room::default();
        room.applied(INDEX - 1, bytes);
        room
    }

    fn foresee(room: &mut Room, command: &KvCommand) -> Option<Outcome> {
        room.hand_over(INDEX, command);
        room.foresee(INDEX, Some(Token(7)), command, true)
    }

    #[test]
    fn a_plain_put_with_room_is_foreseen() {
        let outcome = foresee(&mut room(0), &put(10)).unwrap();
        assert_eq!(outcome.result().unwrap().revision, INDEX);
    }

    #[test]
    fn what_depends_is_not() {
        assert_eq!(foresee(&mut Room::default(), &put(10)), None, "the size is not known");
        let room = || room(0);
        assert_eq!(room().foresee(INDEX, None, &put(10), false), None, "it may be a second time");
        let delete = Some(Operation::Delete(Delete { key: b"k".to_vec() }));
        let delete = KvCommand { operation: delete, ..put(1) };
        assert_eq!(foresee(&mut room(), &delete), None, "how many are deleted");
        let deposed = KvCommand { token: Some(6), ..put(1) };
        assert_eq!(foresee(&mut room(), &deposed), None, "another token is in force");
        assert!(foresee(&mut room(), &KvCommand { token: Some(7), ..put(1) }).is_some());
        let since = INDEX - u64::from(limits::KV_CLIENTS_MAX);
        assert!(foresee(&mut room(), &KvCommand { since, ..put(1) }).is_some());
        let old = KvCommand { since: since - 1, ..put(1) };
        assert_eq!(foresee(&mut room(), &old), None, "its client may be forgotten");
    }

    /// What is on its way counts as if every row of it were new, until it is applied.
    #[test]
    fn the_quota_is_never_promised_twice() {
        let size = row_size(b"k", &[0; 400]);
        let mut room = room(1000 - 2 * size);
        assert!(foresee(&mut room, &put(400)).is_some());
        room.hand_over(INDEX + 1, &put(400));
        assert!(room.foresee(INDEX + 1, None, &put(400), true).is_some());
        room.hand_over(INDEX + 2, &put(0));
        assert_eq!(room.foresee(INDEX + 2, None, &put(0), true), None);
        // The first two wrote the same key.
        room.applied(INDEX + 1, 1000 - size);
        room.hand_over(INDEX + 3, &put(0));
        assert!(room.foresee(INDEX + 3, None, &put(0), true).is_some());
        room.replaced(INDEX + 4);
        room.applied(INDEX + 3, 0);
        assert_eq!(foresee(&mut room, &put(0)), None, "what was before the snapshot");
        room.applied(INDEX + 5, 0);
        assert!(foresee(&mut room, &put(0)).is_some());
    }
}
