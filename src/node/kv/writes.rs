//! The writes of this node that are under way.
//!
//! Each has a client's name of its own: this run and a slot. A slot has one write at a time and
//! numbers them, so a write that is sent twice is applied once, and one that was given up is
//! superseded by the next. A write is sent to one leader at a time, anew when there is another, and
//! now and then, for what is sent may be lost. Its answer is its own entry, applied here.
//!
//! Pure: who leads and what time it is are arguments.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::core::command::{Body, Command};
use crate::core::kv::{KvCommand, Operation, Outcome, Refusal, Written};
use crate::core::{Index, Instant, NodeId, Term, Token};
use crate::limits;
use crate::node::event::RequestId;

use super::request::KvError;

/// Whom writes are sent to: a leader, in its term.
pub(super) type Target = (Term, NodeId);

/// See the module.
pub(super) struct Writes {
    /// The name of this run, which begins the names of its clients.
    name: [u8; 16],
    quota_bytes: u64,
    free: Vec<u16>,
    sequences: Vec<u64>,
    under_way: BTreeMap<u16, Write>,
    bytes: usize,
    deadlines: BTreeSet<(Instant, u16)>,
    /// To be sent, oldest first, with their numbers: some may be over by now.
    unsent: VecDeque<(u16, u64)>,
    sent: BTreeSet<(Instant, u16)>,
    target: Option<Target>,
}

struct Write {
    request: RequestId,
    sequence: u64,
    token: Option<u64>,
    data: Vec<u8>,
    asked: Instant,
    deadline: Instant,
    /// When it is sent again, once it is sent.
    again: Option<Instant>,
    times: u32,
}

/// What became of a request.
pub(super) type Finished = (RequestId, Result<Written, KvError>);

impl Writes {
    pub(super) fn new(name: [u8; 16], quota_bytes: u64) -> Self {
        let slots = limits::KV_WRITES_UNDER_WAY as u16;
        Writes {
            name,
            quota_bytes,
            free: (0..slots).rev().collect(),
            sequences: vec![0; usize::from(slots)],
            under_way: BTreeMap::new(),
            bytes: 0,
            deadlines: BTreeSet::new(),
            unsent: VecDeque::new(),
            sent: BTreeSet::new(),
            target: None,
        }
    }

    /// Takes a write that has been checked. `since`: what is committed, as far as is known here.
    pub(super) fn take(
        &mut self,
        request: RequestId,
        (operation, token): (Operation, Option<Token>),
        since: Index,
        (asked, deadline): (Instant, Instant),
    ) -> Result<(), KvError> {
        let full = self.bytes >= limits::KV_WRITES_UNDER_WAY_BYTES;
        let slot = if full { None } else { self.free.pop() };
        let Some(slot) = slot else {
            return Err(KvError::Busy { most: limits::KV_WRITES_UNDER_WAY });
        };
        let sequence = &mut self.sequences[usize::from(slot)];
        *sequence += 1;
        let token = token.map(|token| token.0);
        let command = KvCommand {
            client: [&self.name[..], &slot.to_be_bytes()[..]].concat(),
            sequence: *sequence,
            since,
            token,
            quota_bytes: self.quota_bytes,
            clients_max: limits::KV_CLIENTS_MAX,
            operation: Some(operation),
        };
        let data = Command::from(Body::Kv(command)).to_bytes();
        self.bytes += data.len();
        let sequence = *sequence;
        let write =
            Write { request, sequence, token, data, asked, deadline, again: None, times: 0 };
        self.under_way.insert(slot, write);
        self.deadlines.insert((deadline, slot));
        self.unsent.push_back((slot, sequence));
        Ok(())
    }

    /// The slot of a client's name, if it is one of this run with that write under way.
    fn slot(&self, client: &[u8], sequence: u64) -> Option<u16> {
        let slot = client.strip_prefix(&self.name[..])?;
        let slot = u16::from_be_bytes(slot.try_into().ok()?);
        self.under_way.get(&slot).filter(|write| write.sequence == sequence).map(|_| slot)
    }

    /// How often this command was sent, if somebody here waits for it.
    pub(super) fn awaits(&self, command: &KvCommand) -> Option<u32> {
        let slot = self.slot(&command.client, command.sequence)?;
        Some(self.under_way[&slot].times)
    }

    /// What became of a command that somebody here may wait for.
    pub(super) fn answered(
        &mut self,
        (client, sequence): (&[u8], u64),
        outcome: Outcome,
    ) -> Option<Finished> {
        let slot = self.slot(client, sequence)?;
        let write = self.end(slot);
        let result = outcome.into_result().map_err(|refusal| match refusal {
            Refusal::Token => KvError::Token { given: write.token.unwrap_or_default() },
            Refusal::Quota => KvError::Quota { quota_bytes: self.quota_bytes },
            // Whether it was applied before is not known any more.
            Refusal::Forgotten | Refusal::Superseded | Refusal::Malformed => {
                KvError::Unknown { waited_ms: 0 }
            }
        });
        Some((write.request, result))
    }

    /// The outcomes of the writes whose deadline has come.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Finished> {
        let mut finished = Vec::new();
        while let Some(&(deadline, slot)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            let write = self.end(slot);
            finished.push((write.request, Err(write.given_up(now))));
        }
        finished
    }

    /// The node stops: nothing is sent any more.
    pub(super) fn stop(&mut self, now: Instant) -> Vec<Finished> {
        let slots: Vec<u16> = self.under_way.keys().copied().collect();
        let stopped = |write: Write| match write.times {
            0 => (write.request, Err(KvError::Stopping)),
            _ => (write.request, Err(write.given_up(now))),
        };
        slots.into_iter().map(|slot| stopped(self.end(slot))).collect()
    }

    fn end(&mut self, slot: u16) -> Write {
        let write = self.under_way.remove(&slot).expect("it is under way");
        self.deadlines.remove(&(write.deadline, slot));
        if let Some(again) = write.again {
            self.sent.remove(&(again, slot));
        }
        self.bytes -= write.data.len();
        self.free.push(slot);
        write
    }

    /// From now on writes go to `target`; what went to another is sent again.
    pub(super) fn aim(&mut self, target: Option<Target>) {
        if self.target != target {
            self.target = target;
            self.send_all_again();
        }
    }

    /// Nothing that was sent can be relied on.
    pub(super) fn send_all_again(&mut self) {
        for (_, slot) in std::mem::take(&mut self.sent) {
            self.unsend(slot);
        }
    }

    /// What has waited too long is sent again.
    pub(super) fn send_late_again(&mut self, now: Instant) {
        while let Some(&(again, slot)) = self.sent.first() {
            if again > now {
                break;
            }
            self.sent.pop_first();
            self.unsend(slot);
        }
    }

    fn unsend(&mut self, slot: u16) {
        let write = self.under_way.get_mut(&slot).expect("it is under way");
        write.again = None;
        self.unsent.push_back((slot, write.sequence));
    }

    /// Whether something is to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The next writes to send, up to [`limits::KV_BATCH_BYTES`] of them or one; they count as sent
    /// when [`Writes::sent`] is told.
    pub(super) fn batch(&mut self) -> (Vec<u16>, Vec<Vec<u8>>) {
        let (mut slots, mut data) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        while let Some(&(slot, sequence)) = self.unsent.front() {
            let write = self.under_way.get(&slot).filter(|write| write.sequence == sequence);
            if let Some(write) = write {
                bytes += write.data.len();
                if bytes > limits::KV_BATCH_BYTES && !slots.is_empty() {
                    break;
                }
                slots.push(slot);
                data.push(write.data.clone());
            }
            self.unsent.pop_front();
        }
        (slots, data)
    }

    /// These went out.
    pub(super) fn sent(&mut self, now: Instant, slots: &[u16]) {
        for slot in slots {
            let write = self.under_way.get_mut(slot).expect("it is under way");
            let again = now + limits::KV_RESEND * (1 << write.times.min(6));
            write.times += 1;
            write.again = Some(again);
            self.sent.insert((again, *slot));
        }
    }

    /// These did not.
    pub(super) fn unsent(&mut self, slots: &[u16]) {
        for slot in slots.iter().rev() {
            self.unsent.push_front((*slot, self.under_way[slot].sequence));
        }
    }

    /// When something is to be done about them.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, u16)>| set.first().map(|(at, _)| *at);
        first(&self.deadlines).into_iter().chain(first(&self.sent)).min()
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }
}

impl Write {
    /// What is said of it when nobody waits any longer.
    fn given_up(&self, now: Instant) -> KvError {
        let waited_ms = (now - self.asked).as_millis() as u64;
        match self.times {
            0 => KvError::Unavailable { waited_ms },
            _ => KvError::Unknown { waited_ms },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kv::Put;

    fn take(writes: &mut Writes, request: u64, bytes: usize) -> Result<(), KvError> {
        let put = Put { key: b"k".to_vec(), value: vec![0; bytes] };
        let times = (Instant(0), Instant(1));
        writes.take(RequestId(request), (Operation::Put(put), None), 0, times)
    }

    #[test]
    fn a_write_that_is_refused_for_its_bytes_takes_no_place() {
        let mut writes = Writes::new([1; 16], 1);
        let most = limits::KV_WRITES_UNDER_WAY as u64;
        let large = limits::KV_VALUE_MAX_BYTES;
        let taken = (0..2 * most).filter(|at| take(&mut writes, *at, large).is_ok()).count();
        assert!(taken < limits::KV_WRITES_UNDER_WAY, "{taken}");
        assert_eq!(writes.expired(Instant(1)).len(), taken);
        for request in 0..most {
            assert_eq!(take(&mut writes, request, 1), Ok(()));
        }
        assert!(matches!(take(&mut writes, most, 1), Err(KvError::Busy { .. })));
    }
}
