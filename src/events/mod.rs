//! Event scripts: programs of the user, run when the role of this node changes, and when something
//! else happens that an operator wants to hear of (`further.rs`).
//!
//! Owns a thread of its own on which scripts are started, fed, watched and, if they take too long,
//! ended: as children of the agent ([`Backend::Process`]), or as root by the service manager
//! ([`Backend::Unit`]).
//!
//! Guarantees (`docs/adr/0005-event-scripts.md` says why):
//! - one script at a time, in the order of events, coalesced to the newest state (`queue.rs`);
//! - a `leader` script that was started is followed by a `follower` script before another `leader`
//!   script starts, and a `leader` script never starts when its leadership is known to be over;
//! - [`Scripts::over`] says which consequences are over, and never too early: what could not be
//!   killed is not over;
//! - whatever a script does (fail, hang, fork, print without end, not exist), [`Scripts::submit`]
//!   returns at once and memory stays bounded.
//!
//! Does not: decide which events happen (`core::role` does), retry a failed script, or look after
//! processes that left the script's process group (a unit's control group nobody can leave).

mod error;
pub mod event_file;
mod further;
mod group;
mod output;
mod patience;
pub mod payload;
mod process;
pub mod program;
mod queue;
mod runner;
mod status;
pub mod unit;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

pub use crate::core::role::EventName;
use crate::node::metrics::Metrics;
pub use error::{ScriptError, StartError};
pub use status::{Finished, Outcome, Running, ScriptsStatus};

use crate::limits;
use further::Further;
use patience::{Orders, Stop};
use queue::Queue;
use unit::UnitRunner;

/// What to run, and for how long.
#[derive(Clone, Debug)]
pub struct ScriptsConfig {
    /// The script of each event; absolute paths. `change` runs after the script of every event.
    pub scripts: BTreeMap<EventName, PathBuf>,
    /// How long one script may run until its process group gets SIGTERM.
    pub timeout: Duration,
    /// How long it may take after SIGTERM until its process group gets SIGKILL.
    pub kill_after: Duration,
    /// How long a demotion may take as a whole (D). A script that a demotion waits for gets SIGTERM
    /// after a third of it, and SIGKILL after another.
    pub demote_timeout: Duration,
    /// How long after the begin of a demotion the host is fenced; `None` if it never is. The
    /// `follower` script of a demotion has to end before.
    pub fence_after: Option<Duration>,
    /// Who runs the scripts.
    pub backend: Backend,
    /// Where it is counted how they end.
    pub metrics: Arc<Metrics>,
    /// Name of the cluster, as the scripts are told.
    pub cluster: String,
    /// Name of this node, as the scripts are told.
    pub node: String,
}

/// Who runs the scripts.
#[derive(Clone, Debug)]
pub enum Backend {
    /// The agent, as its children.
    Process,
    /// The service manager, as root: `raftctl-event@NODE:EVENT.service`.
    Unit(UnitRunner),
}

/// One thing that happened, as the scripts are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Number of the consequence, always rising; what [`Scripts::over`] says.
    pub number: u64,
    /// Whether it is a demotion that may take its time: this node still holds its lease.
    pub planned: bool,
    /// The event; `change` is implied by every other and need not be submitted.
    pub event: EventName,
    /// The role that the event speaks of.
    pub role: &'static str,
    /// The role before. Only the first occurrence's counts: later ones are told the role of the
    /// event that ran before them, so that the scripts see an unbroken chain.
    pub old_role: &'static str,
    /// Name of the leader, if known.
    pub leader: Option<String>,
    /// Raft address of the leader, if known.
    pub leader_address: Option<String>,
    /// Raft term.
    pub term: u64,
    /// Token of the activation in force, or of the one that ended.
    pub token: Option<u64>,
    /// Why, as a short phrase.
    pub reason: &'static str,
    /// When it happened, in microseconds since 1970 (CLOCK_REALTIME).
    pub timestamp_usec: u64,
}

/// The running scripts of one agent. Dropping it without [`Scripts::stop`] kills what runs.
#[derive(Debug)]
pub struct Scripts {
    shared: Arc<Shared>,
    status: watch::Receiver<ScriptsStatus>,
    over: watch::Receiver<u64>,
    runner: Mutex<State>,
    further: Mutex<Further>,
}

/// Whether there is a thread.
#[derive(Debug)]
enum State {
    /// No script was ever configured, so there is nothing to run.
    Idle(watch::Sender<ScriptsStatus>),
    Runs(Runner),
    Stopped,
}

#[derive(Debug)]
struct Runner {
    thread: JoinHandle<()>,
    done: oneshot::Receiver<()>,
}

/// What the handle and the runner's thread share.
#[derive(Debug)]
struct Shared {
    /// What to run from the next event on.
    config: Arc<Mutex<Arc<ScriptsConfig>>>,
    queue: Mutex<Queue>,
    /// The queue has something to take, or the runner shall stop.
    wake: Notify,
    /// What brings the limits of a running script forward.
    orders: watch::Sender<Orders>,
    /// Up to which number consequences are over.
    over: watch::Sender<u64>,
    /// Nothing runs or waits.
    idle: watch::Sender<bool>,
}

impl Shared {
    /// Changes the queue, and says what follows from it while nobody else can: numbers never fall.
    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue.lock().expect(NOT_POISONED);
        let changed = change(&mut queue);
        let over = queue.over();
        self.over.send_if_modified(|known| over > std::mem::replace(known, over.max(*known)));
        let is_idle = queue.is_idle();
        self.idle.send_if_modified(|known| std::mem::replace(known, is_idle) != is_idle);
        let is_due = queue.demotion_is_due();
        self.orders.send_if_modified(|orders| {
            let differs = orders.demotion.is_some() != is_due;
            if differs {
                orders.demotion = is_due.then(Instant::now);
            }
            differs
        });
        changed
    }

    fn config(&self) -> Arc<ScriptsConfig> {
        Arc::clone(&self.config.lock().expect(NOT_POISONED))
    }
}

/// Starts the thread that runs the scripts. Nothing runs before the first [`Scripts::submit`].
///
/// # Errors
/// If the thread or its runtime cannot be created. A script that is missing or cannot be run is no
/// error here; it is logged when its event happens.
pub fn start(config: ScriptsConfig) -> Result<Scripts, StartError> {
    let config = Arc::new(Mutex::new(Arc::new(config)));
    let shared = Arc::new(Shared {
        config: Arc::clone(&config),
        queue: Mutex::new(Queue::default()),
        wake: Notify::new(),
        orders: watch::Sender::new(Orders::default()),
        over: watch::Sender::new(0),
        idle: watch::Sender::new(true),
    });
    let further = Mutex::new(Further::new(config, shared.idle.subscribe()));
    let over = shared.over.subscribe();
    let (publish, status) = watch::channel(ScriptsStatus::default());
    let runner = Mutex::new(State::Idle(publish));
    let scripts = Scripts { shared, status, over, runner, further };
    scripts.start_if_needed()?;
    Ok(scripts)
}

/// Starts a thread that does nothing but `work`.
fn spawn<W>(name: &str, work: W) -> Result<Runner, StartError>
where
    W: Future<Output = ()> + Send + 'static,
{
    let (ready, is_ready) = mpsc::sync_channel(1);
    let (finish, done) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            // Only this thread polls it: reading a script's endless output, or waiting for exec on
            // a dead network file system, must not hold up the driver.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    let _ = ready.send(Ok(()));
                    runtime.block_on(work);
                    let _ = finish.send(());
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })
        .map_err(|source| StartError::Thread { source })?;
    let built = is_ready.recv().expect("the thread answers before it ends");
    built.map_err(|source| StartError::Runtime { source })?;
    Ok(Runner { thread, done })
}

impl Scripts {
    /// Hands over what happened; returns at once. Of the events that wait, only the newest is
    /// kept, and before it the demotion of a `leader` script that was started.
    pub fn submit(&self, occurrence: Occurrence) {
        if !matches!(*self.state(), State::Runs(_)) {
            let number = occurrence.number;
            self.shared.over.send_if_modified(|over| number > std::mem::replace(over, number));
            return;
        }
        self.shared.change(|queue| queue.submit(occurrence));
        self.shared.wake.notify_one();
    }

    /// Hands over a further event (one that is not of a role); returns at once. Its script runs
    /// when no script of a role runs or waits, and no such script ever waits for it.
    pub fn submit_further(&self, occurrence: Occurrence) {
        self.further.lock().expect(NOT_POISONED).submit(occurrence);
    }

    /// Runs other scripts, or the same with other limits, from the next event on. May wait for a
    /// thread to start.
    ///
    /// # Errors
    /// As [`start`]; then nothing runs until this is called again.
    pub fn reconfigure(&self, config: ScriptsConfig) -> Result<(), StartError> {
        *self.shared.config.lock().expect(NOT_POISONED) = Arc::new(config);
        self.start_if_needed()
    }

    fn start_if_needed(&self) -> Result<(), StartError> {
        let mut state = self.state();
        if let State::Idle(publish) = &*state
            && self.shared.config().scripts.keys().any(|event| event.is_of_role())
        {
            let work = runner::run(Arc::clone(&self.shared), publish.clone());
            *state = State::Runs(spawn("events", work)?);
        }
        self.further.lock().expect(NOT_POISONED).start_if_needed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.runner.lock().expect(NOT_POISONED)
    }

    /// The highest number N such that every consequence up to N is over: its scripts have run to
    /// their end, or will never run. It is known before [`Scripts::submit`] returns if nothing is
    /// to be run. Intermediate values may be skipped, the newest never is.
    pub fn over(&self) -> watch::Receiver<u64> {
        self.over.clone()
    }

    /// What runs now and how the last script ended; intermediate values may be skipped.
    pub fn status(&self) -> watch::Receiver<ScriptsStatus> {
        self.status.clone()
    }

    /// Stops: nothing new begins except a demotion that is due. The script that runs may finish,
    /// and after it the demotion, until `deadline` from now; then the process group of what still
    /// runs is killed. If a demotion waits for the running script, that one gets half of the time.
    /// Scripts of further events get [`limits::FURTHER_STOP`]. Returns at the latest
    /// [`limits::SCRIPT_KILL_WAIT`] after the deadline, or after the end of that.
    pub async fn stop(self, deadline: Duration) {
        self.begin_stop(deadline);
        let further = self.further.lock().expect(NOT_POISONED).take_runner();
        self.stop_roles(deadline).await;
        if let Some(further) = further {
            further::joined(further).await;
        }
    }

    async fn stop_roles(&self, deadline: Duration) {
        let state = std::mem::replace(&mut *self.state(), State::Stopped);
        let State::Runs(runner) = state else { return };
        let most = deadline.saturating_add(limits::SCRIPT_KILL_WAIT);
        if tokio::time::timeout(most, runner.done).await.is_ok() {
            // It has said that it is done: this waits only for the thread to end.
            let _ = runner.thread.join();
        } else {
            tracing::error!("a killed event script does not vanish, leaving it behind");
        }
    }

    fn begin_stop(&self, deadline: Duration) {
        let begun = Instant::now();
        let further = deadline.min(limits::FURTHER_STOP);
        self.further.lock().expect(NOT_POISONED).begin_stop(further);
        self.shared.change(Queue::stop);
        let stop = Some(Stop::new(begun, deadline));
        self.shared.orders.send_modify(|orders| orders.stop = stop);
        self.shared.wake.notify_one();
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        self.begin_stop(Duration::ZERO);
    }
}

const NOT_POISONED: &str = "a panic aborts, so the lock is never poisoned";
