//! The thread that writes what has changed into the database, while applying goes on.
//!
//! One flush at a time. What was handed over is freed here as well: thousands of rows take
//! milliseconds, behind which nobody should wait.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use redb::Database;

use super::database::{self, Head};
use super::error::StateStoreError;
use super::layers::Changes;

/// What is to be written.
pub(super) struct Flush {
    pub database: Arc<Database>,
    pub head: Head,
    pub changes: Arc<Changes>,
    /// Called when it is over, well or not.
    pub done: Box<dyn FnOnce() + Send>,
}

enum Job {
    Flush(Flush),
    /// Give the memory back.
    Free(Arc<Changes>),
}

/// The thread.
pub(super) struct Flusher {
    /// `None` only while it is dropped.
    jobs: Option<SyncSender<Job>>,
    results: Receiver<Result<(), StateStoreError>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts it, for the database at `path`.
    pub fn start(path: PathBuf) -> io::Result<Flusher> {
        // What the flush before has left to be freed, and the next one.
        let (jobs, inbox) = sync_channel(2);
        let (outbox, results) = sync_channel(1);
        let thread = std::thread::Builder::new().name("flush".to_owned());
        let thread = thread.spawn(move || {
            for job in inbox {
                let Flush { database, head, changes, done } = match job {
                    Job::Flush(flush) => flush,
                    Job::Free(changes) => {
                        drop(changes);
                        continue;
                    }
                };
                let result = database::write(&path, &database, &head, &changes);
                // BEFORE the result: whoever has it drops the last one, and with it closes the
                // database or gives the changes back to be freed here.
                drop((database, changes));
                // Nobody listens any more when the store is dropped.
                let _ = outbox.send(result);
                done();
            }
        })?;
        Ok(Flusher { jobs: Some(jobs), results, thread: Some(thread) })
    }

    /// Has it written. Not before [`Flusher::wait`] has returned for the one before.
    pub fn begin(&mut self, flush: Flush) {
        self.send(Job::Flush(flush));
    }

    /// Frees what was written.
    pub fn free(&mut self, changes: Arc<Changes>) {
        self.send(Job::Free(changes));
    }

    fn send(&mut self, job: Job) {
        let jobs = self.jobs.as_ref().expect("it is there until it is dropped");
        assert!(jobs.try_send(job).is_ok(), "one flush at a time");
    }

    /// The result of the one that was begun.
    pub fn wait(&mut self) -> Result<(), StateStoreError> {
        self.results.recv().expect("the thread ends only when it is told to")
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
