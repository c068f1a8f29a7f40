//! The lane: what waits for one outgoing connection, and what its dialer is asked to do.
//!
//! Owns the bounded queue between the driver and one dialer. [`Lane::push`] never waits: a message
//! that finds no room, or no connection and no dial under way, is dropped, for Raft sends what
//! still matters again. What the node says about itself is not dropped: it has a place of its own,
//! where the newest word replaces the one before. Exactly one task, the dialer, takes things out.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use prost::Message as _;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::frame::{self, FrameType, HEADER_BYTES};
use super::snapshot::{PROTOCOL_SNAPSHOT, SnapshotFrame};
use super::wire::{PROTOCOL_KV, PROTOCOL_STANDING, Standing, StatusReply, StatusRequest};
use crate::core::command::Release;
use crate::core::kv::KvFrame;
use crate::core::message::Message;
use crate::limits;

/// What is sent to a peer after the handshake.
#[derive(Debug)]
pub(super) enum Outgoing {
    Message(Message),
    StatusRequest(StatusRequest),
    StatusReply(StatusReply),
    Release(Release),
    Kv(KvFrame),
    Snapshot(SnapshotFrame),
}

impl Outgoing {
    /// The lowest protocol version whose speakers take it.
    fn protocol(&self) -> u32 {
        match self {
            Outgoing::Kv(_) => PROTOCOL_KV,
            Outgoing::Snapshot(_) => PROTOCOL_SNAPSHOT,
            _ => 0,
        }
    }

    fn payload_bytes(&self) -> usize {
        match self {
            Outgoing::Message(message) => message.size_bytes(),
            Outgoing::StatusRequest(request) => request.encoded_len(),
            Outgoing::StatusReply(reply) => reply.encoded_len(),
            Outgoing::Release(release) => release.encoded_len(),
            Outgoing::Kv(frame) => frame.encoded_len(),
            Outgoing::Snapshot(frame) => frame.payload_bytes(),
        }
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Outgoing::Message(message) => frame::encode_into(out, FrameType::Message, message),
            Outgoing::StatusRequest(request) => {
                frame::encode_into(out, FrameType::StatusRequest, request);
            }
            Outgoing::StatusReply(reply) => frame::encode_into(out, FrameType::StatusReply, reply),
            Outgoing::Release(release) => frame::encode_into(out, FrameType::Release, release),
            Outgoing::Kv(kv) => frame::encode_into(out, FrameType::Kv, kv),
            Outgoing::Snapshot(frame) => frame.encode_into(out),
        }
    }
}

/// What became of something pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Queued,
    /// Dropped: as many messages or bytes wait as may wait.
    Full,
    /// Dropped: neither connected nor connecting; by the time it could go it would be stale.
    Unreachable,
    /// Dropped: the receiver would refuse it.
    TooLarge,
    /// Dropped: the receiver's version does not know it.
    TooNew,
}

/// What the dialer is asked to do; taken all at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signals {
    /// The peer is alive: do not wait for the end of a back-off.
    pub wake: bool,
    /// Prove the peer anew, unless the connection was made after this moment.
    pub redial: Option<Instant>,
    /// The peer is not who we thought: give the connection up and start again.
    pub discard: bool,
    /// Write what is queued, then end.
    pub close: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    inner: Mutex<Inner>,
    changed: Notify,
    payload_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<(Outgoing, usize)>,
    bytes: usize,
    open: bool,
    signals: Signals,
    /// Version that the present connection speaks; 0 before the first.
    protocol: u32,
    /// The standing that waits to be said.
    standing: Option<Standing>,
}

impl Lane {
    /// An empty lane, closed until its dialer opens it, for payloads up to `payload_max` bytes.
    pub(super) fn new(payload_max: usize) -> Lane {
        Lane { inner: Mutex::default(), changed: Notify::new(), payload_max }
    }

    /// Queues `item`, or drops it and says why.
    pub(super) fn push(&self, item: Outgoing) -> Pushed {
        let payload_bytes = item.payload_bytes();
        if payload_bytes > self.payload_max {
            return Pushed::TooLarge;
        }
        let bytes = HEADER_BYTES + payload_bytes;
        let mut inner = self.lock();
        if !inner.open {
            return Pushed::Unreachable;
        }
        if matches!(item, Outgoing::Snapshot(_)) && (1..PROTOCOL_SNAPSHOT).contains(&inner.protocol)
        {
            return Pushed::TooNew;
        }
        let full_bytes = inner.bytes + bytes > limits::PEER_QUEUE_BYTES;
        if full_bytes || inner.queue.len() >= limits::PEER_QUEUE_MESSAGES {
            return Pushed::Full;
        }
        inner.bytes += bytes;
        inner.queue.push_back((item, bytes));
        drop(inner);
        self.changed.notify_one();
        Pushed::Queued
    }

    /// A new connection stands; which version it speaks, and which standing there is to say.
    pub(super) fn connected(&self, protocol: u32, standing: Option<Standing>) {
        let mut inner = self.lock();
        inner.protocol = protocol;
        inner.standing = standing.filter(|_| protocol >= PROTOCOL_STANDING);
    }

    /// The newest standing, for the present connection; the next one will ask for it.
    pub(super) fn offer(&self, standing: Standing) {
        let mut inner = self.lock();
        if inner.protocol >= PROTOCOL_STANDING {
            inner.standing = Some(standing);
            drop(inner);
            self.changed.notify_one();
        }
    }

    /// Changes what the dialer is asked to do, and wakes it.
    pub(super) fn signal(&self, change: impl FnOnce(&mut Signals)) {
        change(&mut self.lock().signals);
        self.changed.notify_one();
    }

    /// Takes what the dialer was asked to do.
    pub(super) fn take_signals(&self) -> Signals {
        std::mem::take(&mut self.lock().signals)
    }

    /// Something was pushed or signalled since the last call. Only the dialer waits here.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// From now on things may be queued.
    pub(super) fn open(&self) {
        self.lock().open = true;
    }

    /// From now on nothing may be queued. Returns how many queued ones were dropped.
    pub(super) fn shut(&self) -> usize {
        let mut inner = self.lock();
        inner.open = false;
        inner.bytes = 0;
        // A queue that was once long does not keep its memory.
        std::mem::take(&mut inner.queue).len()
    }

    /// Appends queued frames to `out` until it holds [`limits::WRITE_BATCH_BYTES`] or the queue is
    /// empty. Returns how many.
    pub(super) fn encode_batch(&self, out: &mut Vec<u8>) -> usize {
        let mut count = 0;
        if let Some(standing) = self.lock().standing.take() {
            frame::encode_into(out, FrameType::Standing, &standing);
            count += 1;
        }
        while out.len() < limits::WRITE_BATCH_BYTES {
            let next = {
                let mut inner = self.lock();
                let next = inner.queue.pop_front();
                inner.bytes -= next.as_ref().map_or(0, |(_, bytes)| *bytes);
                next.map(|next| (next, inner.protocol))
            };
            let Some(((item, bytes), protocol)) = next else { break };
            if protocol < item.protocol() {
                continue; // The other side would close the connection.
            }
            let before = out.len();
            item.encode_into(out);
            assert_eq!(out.len() - before, bytes, "a frame has the size it was queued with");
            count += 1;
        }
        count
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::message::{Entry, Kind};

    fn message(bytes: usize) -> Outgoing {
        let entries = vec![Entry { term: 1, index: 1, data: vec![0; bytes] }];
        Outgoing::Message(Message { kind: Kind::Append as i32, entries, ..Default::default() })
    }

    #[test]
    fn both_bounds_hold_and_room_comes_back() {
        let lane = Lane::new(limits::FRAME_PAYLOAD_MAX_BYTES);
        assert_eq!(lane.push(message(1)), Pushed::Unreachable);
        lane.open();
        for _ in 0..limits::PEER_QUEUE_MESSAGES {
            assert_eq!(lane.push(message(1)), Pushed::Queued);
        }
        assert_eq!(lane.push(message(1)), Pushed::Full);
        assert_eq!(lane.shut(), limits::PEER_QUEUE_MESSAGES);

        lane.open();
        let large = limits::PEER_QUEUE_BYTES / 5;
        assert_eq!(lane.push(message(limits::FRAME_PAYLOAD_MAX_BYTES)), Pushed::TooLarge);
        let pushed: Vec<_> = (0..5).map(|_| lane.push(message(large))).collect();
        assert_eq!(pushed[..4], [Pushed::Queued; 4]);
        assert_eq!(pushed[4], Pushed::Full);
        let mut out = Vec::new();
        assert_eq!(lane.encode_batch(&mut out), 1);
        assert_eq!(lane.push(message(large)), Pushed::Queued);
    }

    #[test]
    fn queued_frames_leave_in_batches_and_in_order() {
        let lane = Lane::new(limits::FRAME_PAYLOAD_MAX_BYTES);
        lane.open();
        for bytes in 0..100 {
            assert_eq!(lane.push(message(bytes * 30)), Pushed::Queued);
        }
        let (mut out, mut count, mut batches) = (Vec::new(), 0, 0);
        while count < 100 {
            let mut batch = Vec::new();
            count += lane.encode_batch(&mut batch);
            batches += 1;
            out.extend(batch);
        }
        assert_eq!(batches, out.len().div_ceil(limits::WRITE_BATCH_BYTES));
        let (mut rest, mut last) = (out.as_slice(), 0);
        while let Ok(frame::Decoded::Frame { consumed, .. }) = frame::decode(rest, usize::MAX) {
            assert!(consumed > last);
            (rest, last) = (&rest[consumed..], consumed);
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn the_newest_standing_goes_first_and_is_never_dropped() {
        let lane = Lane::new(limits::CONTROL_PAYLOAD_MAX_BYTES);
        let standing = |priority| Standing { eligible: true, priority };
        lane.offer(standing(1));
        lane.connected(1, Some(standing(2)));
        lane.offer(standing(3));
        let mut out = Vec::new();
        assert_eq!(lane.encode_batch(&mut out), 0, "the other side would not know it");
        lane.connected(2, Some(standing(4)));
        lane.open();
        while lane.push(message(1)) == Pushed::Queued {}
        lane.offer(standing(5));
        assert!(lane.encode_batch(&mut out) > 1);
        let decoded = frame::decode(&out, usize::MAX).unwrap();
        let frame::Decoded::Frame { kind, payload, .. } = decoded else { panic!("{decoded:?}") };
        assert_eq!(kind, FrameType::Standing);
        assert_eq!(<Standing as prost::Message>::decode(payload), Ok(standing(5)));
    }

    #[test]
    fn an_older_peer_is_told_nothing_about_the_store() {
        let lane = Lane::new(limits::CONTROL_PAYLOAD_MAX_BYTES);
        lane.open();
        for protocol in [2, 3] {
            lane.connected(protocol, None);
            assert_eq!(lane.push(Outgoing::Kv(KvFrame::default())), Pushed::Queued);
            let mut out = Vec::new();
            assert_eq!(lane.encode_batch(&mut out), usize::from(protocol >= PROTOCOL_KV));
        }
    }

    #[test]
    fn signals_are_taken_once() {
        let lane = Lane::new(0);
        lane.signal(|s| s.wake = true);
        lane.signal(|s| s.close = true);
        let taken = lane.take_signals();
        assert!(taken.wake && taken.close && !taken.discard);
        assert_eq!(lane.take_signals(), Signals::default());
    }
}
