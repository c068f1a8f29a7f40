//! The disk thread: runs a [`DiskWorker`] away from the driver, so that no sync stops a heartbeat.
//!
//! Requests come through a bounded channel in order; events go back the same way. A failed disk
//! ends the process through `fatal`, which does not return.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use tokio::sync::mpsc;

use super::disk::{DiskRequest, DiskWorker};
use super::event::Event;
use super::store::Installer;
use crate::limits;
use crate::storage::LogStore;

/// Ends the process with this message.
pub type Fatal = Arc<dyn Fn(&dyn std::error::Error) + Send + Sync>;

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
    S: Installer + 'static,
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
    S: Installer,
{
    let tell = |event: Option<Event>| {
        if let Some(event) = event {
            // The driver is gone only when the process ends.
            let _ = outbox.blocking_send(event);
        }
    };
    loop {
        let open = take_waiting(&mut worker, inbox);
        if worker.has_work() {
            tell(worker.step()?);
            continue;
        }
        if !open {
            return Ok(());
        }
        if worker.prepare()? {
            continue;
        }
        if let Ok(request) = inbox.recv() {
            worker.push(request);
        }
    }
}

/// Moves what is in the channel to the worker, so that it can merge; false when it is closed.
fn take_waiting<L, S>(worker: &mut DiskWorker<L, S>, inbox: &Receiver<DiskRequest>) -> bool
where
    L: LogStore,
    S: Installer,
{
    loop {
        match inbox.try_recv() {
            Ok(request) => worker.push(request),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}
