//! The only place that orders persist, sync, send, apply and publish.
//!
//! One turn of the replica becomes effects in this order: what may leave at once; the write; what
//! must wait for it (released by [`Flush::persisted`]); entries to apply. The replica's fields say
//! BEFORE and AFTER; nothing else in the tree decides about order.

use std::collections::VecDeque;

use crate::consensus::Output;
use crate::core::message::{Entry, Message, Snapshot};

use super::event::Effect;

/// Turns that were handed to the disk and are not durable yet.
#[derive(Default)]
pub(super) struct Flush {
    waiting: VecDeque<Turn>,
    writes: usize,
}

struct Turn {
    number: u64,
    /// Whether this turn has a write of its own; one without is durable when those before it are.
    writes: bool,
    send_after: Vec<Message>,
    snapshot: Option<Snapshot>,
}

/// What became durable.
#[derive(Default)]
pub(super) struct Released {
    /// Highest turn that is durable now.
    pub number: Option<u64>,
    /// The newest snapshot among those turns; install it BEFORE anything is applied.
    pub snapshot: Option<Snapshot>,
}

impl Flush {
    /// Writes under way.
    pub(super) fn writes_waiting(&self) -> usize {
        self.writes
    }

    /// Orders one turn. Returns what to apply AFTER the effects pushed here, and whether the turn
    /// needs no write and may be released at once.
    pub(super) fn turn(&mut self, output: Output, effects: &mut Vec<Effect>) -> Vec<Entry> {
        effects.extend(output.send_now.into_iter().map(Effect::Send));
        let number = output.number;
        let writes = output.persist.is_some();
        let mut snapshot = None;
        if let Some(persist) = output.persist {
            snapshot = persist.snapshot.clone();
            effects.push(Effect::Persist { number, persist });
        }
        effects.extend(output.fetches.into_iter().map(Effect::Fetch));
        let newer = self.waiting.back().is_none_or(|turn| turn.number < number);
        if newer {
            self.writes += usize::from(writes);
            self.waiting.push_back(Turn {
                number,
                writes,
                send_after: output.send_after,
                snapshot,
            });
        }
        output.committed
    }

    /// The writes of the turns up to `number` are durable: releases what waited for them.
    pub(super) fn persisted(&mut self, number: u64, effects: &mut Vec<Effect>) -> Released {
        let mut released = Released::default();
        while let Some(turn) = self.waiting.front() {
            if turn.writes && turn.number > number {
                break;
            }
            let turn = self.waiting.pop_front().expect("just seen");
            self.writes -= usize::from(turn.writes);
            effects.extend(turn.send_after.into_iter().map(Effect::Send));
            released.number = Some(turn.number);
            released.snapshot = turn.snapshot.or(released.snapshot);
        }
        released
    }
}
