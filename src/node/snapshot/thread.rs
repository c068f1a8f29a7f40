//! The thread of snapshots: runs a [`SnapshotWorker`] away from everything that answers in time.
//!
//! Requests come through a bounded channel; one that finds no room is dropped, since a snapshot
//! that does not go on is offered again.

use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::sync::mpsc;

use super::{SnapshotRequest, SnapshotWorker};
use crate::limits;
use crate::node::event::Event;

/// The driver's ends of the channels.
pub(in crate::node) struct SnapshotThread {
    requests: SyncSender<SnapshotRequest>,
    pub(in crate::node) events: mpsc::Receiver<Event>,
    thread: std::thread::JoinHandle<()>,
}

impl SnapshotThread {
    /// Hands a request over; never waits.
    pub(in crate::node) fn ask(&self, request: SnapshotRequest) {
        let _ = self.requests.try_send(request);
    }

    /// Waits for the end of what it does now.
    pub(in crate::node) fn join(self) {
        let SnapshotThread { requests, events, thread } = self;
        drop(requests);
        drop(events);
        let _ = thread.join();
    }
}

/// Starts the thread. It ends when the request channel is closed.
pub(in crate::node) fn start(mut worker: SnapshotWorker) -> std::io::Result<SnapshotThread> {
    let (requests, inbox) = sync_channel(limits::SNAPSHOT_REQUESTS);
    let (outbox, events) = mpsc::channel(limits::SNAPSHOT_REQUESTS);
    let thread = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
        while let Ok(request) = inbox.recv() {
            let Some(done) = worker.step(request) else { continue };
            // Nobody listens any more: the process ends.
            if outbox.blocking_send(Event::SnapshotDone(done)).is_err() {
                return;
            }
        }
    })?;
    Ok(SnapshotThread { requests, events, thread })
}
