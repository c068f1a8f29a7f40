//! The disk thread: runs a [`DiskWorker`] away from the driver, so that no sync stops a heartbeat.
//!
//! Requests come through a bounded channel in order; events go back the same way. A failed disk
//! ends the process through `fatal`, which does not return.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Instant;

use tokio::sync::mpsc;

use super::disk::{DiskRequest, DiskWorker, StateKeeper};
use super::event::Event;
use crate::limits;
use crate::storage::LogStore;

/// Ends the process with this message.
pub type Fatal = Box<dyn Fn(&dyn std::error::Error) + Send>;

/// The driver's ends of the channels.
pub(super) struct Disk {
    pub requests: SyncSender<DiskRequest>,
    pub events: mpsc::Receiver<Event>,
    pub thread: std::thread::JoinHandle<()>,
}

/// Starts the thread. It ends, with everything durable, when the request channel is closed.
pub(super) fn start<L, S>(worker: DiskWorker<L, S>, fatal: Fatal) -> std::io::Result<Disk>
where
    L: LogStore + 'static,
    S: StateKeeper<Error: 'static> + Send + 'static,
{
    let (requests, inbox) = sync_channel(limits::DISK_CHANNEL_REQUESTS);
    let (outbox, events) = mpsc::channel(limits::DISK_CHANNEL_REQUESTS);
    let thread = std::thread::Builder::new().name("disk".to_owned()).spawn(move || {
        if let Err(error) = run(worker, &inbox, &outbox) {
            fatal(&error);
        }
    })?;
    Ok(Disk { requests, events, thread })
}

fn run<L, S>(
    mut worker: DiskWorker<L, S>,
    inbox: &Receiver<DiskRequest>,
    outbox: &mpsc::Sender<Event>,
) -> Result<(), super::disk::DiskFailed<S::Error>>
where
    L: LogStore,
    S: StateKeeper<Error: 'static>,
{
    let mut flush_at: Option<Instant> = None;
    let tell = |event: Option<Event>| {
        if let Some(event) = event {
            // The driver is gone only when the process ends.
            let _ = outbox.blocking_send(event);
        }
    };
    loop {
        let open = take_waiting(&mut worker, inbox);
        if worker.is_dirty() && flush_at.is_none() {
            flush_at = Some(Instant::now() + limits::STATE_FLUSH_INTERVAL);
        }
        if flush_at.is_some_and(|at| Instant::now() >= at) {
            flush_at = None;
            tell(worker.flush()?);
        }
        if worker.has_work() {
            tell(worker.step()?);
            continue;
        }
        if !open {
            worker.flush()?;
            return Ok(());
        }
        if worker.prepare()? {
            continue;
        }
        let next = match flush_at {
            Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        if let Ok(request) = next {
            worker.push(request);
        }
    }
}

/// Moves what is in the channel to the worker, so that it can merge; false when it is closed.
fn take_waiting<L, S>(worker: &mut DiskWorker<L, S>, inbox: &Receiver<DiskRequest>) -> bool
where
    L: LogStore,
    S: StateKeeper<Error: 'static>,
{
    loop {
        match inbox.try_recv() {
            Ok(request) => worker.push(request),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}
