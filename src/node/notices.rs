//! Word of a commit for followers that do not wait for it.
//!
//! The engine tells every follower at once what is committed, in an append without entries, which
//! the follower answers: on a busy leader two wake-ups for each peer and each commit, at the moment
//! when clients have their answers and ask again. What the next append says anyway is held here for
//! a moment. It goes at once to a follower that has sent writes or questions lately, and to all of
//! them when a term begins or the state of the cluster changes.
//!
//! Only a delay: nothing relies on when a follower hears of a commit, and the last word is never
//! dropped but for a newer one.

use std::collections::BTreeMap;

use super::event::Effect;
use super::machine::StateMachine;
use super::node::Node;
use crate::core::message::{Kind, Message};
use crate::core::{Instant, NodeId};
use crate::limits;

/// See the module.
#[derive(Default)]
pub(super) struct Notices {
    held: BTreeMap<NodeId, Message>,
    due: Option<Instant>,
    /// When a follower wanted something of this leader.
    asked: BTreeMap<NodeId, Instant>,
}

impl Notices {
    /// When something is to be sent.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// A follower has sent writes or a question.
    pub(super) fn asked(&mut self, peer: NodeId, now: Instant) {
        self.asked.insert(peer, now);
        if self.held.contains_key(&peer) {
            self.hurry(now);
        }
    }

    /// What is held does not wait any longer.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due = self.due.map(|due| due.min(now));
    }

    /// Takes out of `messages` what may wait.
    fn hold(&mut self, now: Instant, messages: &mut Vec<Message>) {
        for message in messages.iter().filter(|message| message.kind() == Kind::Append) {
            self.held.remove(&NodeId(message.to));
        }
        let waits = |message: &mut Message| {
            let asked = self.asked.get(&NodeId(message.to));
            let lately = asked.is_some_and(|at| now < *at + limits::NOTICE_ASKED_LATELY);
            message.kind() == Kind::Append && message.entries.is_empty() && !lately
        };
        for notice in messages.extract_if(.., waits) {
            self.due.get_or_insert(now + limits::NOTICE_DELAY);
            self.held.insert(NodeId(notice.to), notice);
        }
        if self.held.is_empty() {
            self.due = None;
        }
    }

    /// What is to be sent now.
    fn take_due(&mut self, now: Instant) -> BTreeMap<NodeId, Message> {
        match self.due.take_if(|due| *due <= now) {
            Some(_) => std::mem::take(&mut self.held),
            None => BTreeMap::new(),
        }
    }
}

impl<M: StateMachine> Node<M> {
    /// Takes out of `messages`, which are to leave now, what may wait.
    pub(super) fn hold_notices(&mut self, messages: &mut Vec<Message>) {
        self.notices.hold(self.now, messages);
    }

    /// Sends what has waited long enough.
    pub(super) fn send_notices(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.leads() {
            self.notices = Notices::default();
        }
        effects.extend(self.notices.take_due(now).into_values().map(Effect::Send));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::message::Entry;

    fn append(to: u64, commit: u64, entries: usize) -> Message {
        let entries = vec![Entry::default(); entries];
        Message { kind: Kind::Append as i32, to, commit, entries, ..Message::default() }
    }

    const NOW: Instant = Instant::from_millis(1_000);

    fn due(notices: &mut Notices, at: Instant) -> Vec<(u64, u64)> {
        notices.take_due(at).into_values().map(|message| (message.to, message.commit)).collect()
    }

    #[test]
    fn word_of_a_commit_waits_for_the_next_append_and_not_for_long() {
        let mut notices = Notices::default();
        let later = NOW + limits::NOTICE_DELAY / 2;
        let end = NOW + limits::NOTICE_DELAY;
        let heartbeat = Message { kind: Kind::Heartbeat as i32, to: 2, ..Message::default() };
        let mut messages = vec![append(2, 5, 0), append(3, 5, 0), heartbeat.clone()];
        notices.hold(NOW, &mut messages);
        assert_eq!(messages, [heartbeat], "nothing else waits");
        assert_eq!(due(&mut notices, later), []);
        // A newer word takes the place of the older one, and does not put it off.
        let mut messages = vec![append(2, 6, 0), append(3, 6, 1)];
        notices.hold(later, &mut messages);
        assert_eq!(messages, [append(3, 6, 1)]);
        assert_eq!(notices.deadline(), Some(end));
        assert_eq!(due(&mut notices, end), [(2, 6)]);
        assert_eq!((notices.deadline(), due(&mut notices, end)), (None, vec![]));
    }

    #[test]
    fn who_waits_for_it_hears_at_once() {
        let mut notices = Notices::default();
        notices.asked(NodeId(3), NOW);
        let mut messages = vec![append(2, 5, 0), append(3, 5, 0)];
        notices.hold(NOW, &mut messages);
        assert_eq!(messages, [append(3, 5, 0)]);
        notices.asked(NodeId(2), NOW);
        assert_eq!(due(&mut notices, NOW), [(2, 5)]);
        let mut messages = vec![append(3, 5, 0)];
        notices.hold(NOW + limits::NOTICE_ASKED_LATELY, &mut messages);
        assert_eq!(messages, [], "that was long ago");
    }
}
