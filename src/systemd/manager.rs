//! The service manager, as calls: start and stop units, look at them, wait for their jobs.
//!
//! [`SystemdManager`] is a handle to the one connection that `link` keeps. Nothing is retried
//! here, and no answer is cached. What is an order and what follows from a look is `task`'s.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use zbus::{Connection, Message, OwnedObjectPath, OwnedVariant};

use super::bus::{self, BusAddress, CallError, Method, PROPERTIES};
use super::link::{Link, MANAGER};
use super::names::unit_path;
use crate::limits;

/// How a job deals with jobs that are queued already (org.freedesktop.systemd1(5), StartUnit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Replaces jobs that conflict.
    Replace,
    /// Refused if a job that conflicts is queued.
    Fail,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Mode::Replace => "replace",
            Mode::Fail => "fail",
        }
    }
}

/// With what a job ended (org.freedesktop.systemd1(5), JobRemoved).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobResult {
    /// Carried out; also if a condition of the unit was not met.
    Done,
    /// Replaced by another job, or cancelled by hand.
    Canceled,
    /// The job took too long.
    Timeout,
    /// The unit failed.
    Failed,
    /// A unit that it depends on failed.
    Dependency,
    /// Did not apply to the unit's state.
    Skipped,
    /// What later versions say.
    Other(String),
}

impl From<&str> for JobResult {
    fn from(text: &str) -> JobResult {
        match text {
            "done" => JobResult::Done,
            "canceled" => JobResult::Canceled,
            "timeout" => JobResult::Timeout,
            "failed" => JobResult::Failed,
            "dependency" => JobResult::Dependency,
            "skipped" => JobResult::Skipped,
            other => JobResult::Other(other.to_owned()),
        }
    }
}

impl std::fmt::Display for JobResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            JobResult::Done => "done",
            JobResult::Canceled => "canceled",
            JobResult::Timeout => "timeout",
            JobResult::Failed => "failed",
            JobResult::Dependency => "dependency",
            JobResult::Skipped => "skipped",
            JobResult::Other(other) => other,
        })
    }
}

/// How a one-shot service ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The job: `Done` if its main process exited with 0.
    pub job: JobResult,
    /// `Result` of the service, for example `exit-code` or `timeout`; empty if it is not known.
    pub result: String,
    /// Exit status or signal of its main process; 0 if it is not known.
    pub status: i32,
}

/// Why there is no result of a one-shot service.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// It was not started, or nobody knows whether it was.
    #[error("{unit} was not started")]
    NotStarted {
        /// The unit.
        unit: String,
        /// Why.
        #[source]
        source: CallError,
    },
    /// It still runs; it is not stopped by this.
    #[error("{unit} has not ended within {waited_ms} ms")]
    TimedOut {
        /// The unit.
        unit: String,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
}

/// One line of the manager's list of units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub name: String,
    pub active: String,
    /// Type of the queued job; empty for none.
    pub job: String,
}

/// The properties of a unit.
pub(super) type Properties = HashMap<String, OwnedVariant>;

/// A handle to the service manager. Cloning gives another handle to the same connection.
#[derive(Clone, Debug)]
pub struct SystemdManager {
    link: Arc<Link>,
    _task: Arc<AbortOnDrop>,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SystemdManager {
    /// Starts the task that keeps the connection. `watched` is the unit whose changes wake those
    /// who wait. Must be called inside a runtime; does not wait for the bus.
    pub fn start(address: BusAddress, watched: String) -> SystemdManager {
        let link = Arc::new(Link::new());
        let shared = Arc::clone(&link);
        let task = tokio::spawn(async move {
            tokio::join!(Arc::clone(&shared).keep(address, watched), shared.keep_following());
        });
        SystemdManager { link, _task: Arc::new(AbortOnDrop(task)) }
    }

    /// Queues a start job.
    pub async fn start_unit(&self, unit: &str, mode: Mode) -> Result<OwnedObjectPath, CallError> {
        let answer = self.ask("StartUnit", &(unit, mode.as_str())).await?;
        bus::read("StartUnit", &answer)
    }

    /// Queues a stop job.
    pub async fn stop_unit(&self, unit: &str, mode: Mode) -> Result<OwnedObjectPath, CallError> {
        let answer = self.ask("StopUnit", &(unit, mode.as_str())).await?;
        bus::read("StopUnit", &answer)
    }

    /// Sends SIGKILL to all processes of `unit`.
    pub async fn kill_unit(&self, unit: &str) -> Result<(), CallError> {
        let signal = nix::libc::SIGKILL;
        self.ask("KillUnit", &(unit, "all", signal)).await.map(drop)
    }

    /// Waits until `unit` is not loaded, or is inactive or failed with no job; perhaps for ever.
    pub async fn until_over(&self, unit: &str) {
        let mut changes = self.changes();
        loop {
            let listed = self.loaded(&[unit]).await;
            let over = |listed: &Listed| {
                matches!(listed.active.as_str(), "inactive" | "failed") && listed.job.is_empty()
            };
            if listed.is_ok_and(|units| units.iter().all(over)) {
                return;
            }
            changes.next(limits::HOST_POLL).await;
        }
    }

    /// Runs a one-shot service and waits until it has ended, at most until `deadline`. A service
    /// that runs on, or whose caller goes away, is not stopped.
    pub async fn run_oneshot(
        &self,
        unit: &str,
        deadline: Instant,
    ) -> Result<Finished, ManagerError> {
        let begun = Instant::now();
        let mut changes = self.changes();
        let started = self.start_unit(unit, Mode::Replace).await;
        let not_started = |source| ManagerError::NotStarted { unit: unit.to_owned(), source };
        let job = started.map_err(not_started)?;
        let end = timeout_at(deadline, self.end_of_oneshot(unit, &job, &mut changes)).await;
        end.map_err(|_| {
            let waited_ms = begun.elapsed().as_millis() as u64;
            ManagerError::TimedOut { unit: unit.to_owned(), waited_ms }
        })
    }

    async fn end_of_oneshot(
        &self,
        unit: &str,
        job: &OwnedObjectPath,
        changes: &mut Changes,
    ) -> Finished {
        let mut looked = Instant::now();
        loop {
            changes.next(limits::HOST_POLL).await;
            let heard = self.result_of(job);
            // Signals about other jobs are no reason to look; a lost one is, now and then.
            if heard.is_none() && looked.elapsed() < limits::HOST_POLL {
                continue;
            }
            looked = Instant::now();
            // A success needs no details, and systemd forgets its unit at once.
            if heard == Some(JobResult::Done) {
                return Finished { job: JobResult::Done, result: "success".to_owned(), status: 0 };
            }
            let properties = match self.properties(unit, "").await {
                Ok(properties) => properties,
                // The deadline of the caller ends this.
                Err(_) => continue,
            };
            let result: String = property(&properties, "Result").unwrap_or_default();
            let status = property(&properties, "ExecMainStatus").unwrap_or_default();
            let ended = || match result.as_str() {
                "success" => JobResult::Done,
                _ => JobResult::Failed,
            };
            let busy = job_of(&properties).is_some()
                || !matches!(active(&properties).as_str(), "inactive" | "failed" | "active");
            match heard {
                Some(job) => return Finished { job, result, status },
                None if !busy => return Finished { job: ended(), result, status },
                None => {}
            }
        }
    }

    /// With what `job` ended, if that was heard.
    pub(super) fn result_of(&self, job: &OwnedObjectPath) -> Option<JobResult> {
        self.link.result_of(job)
    }

    /// Waits for changes from now on.
    pub(super) fn changes(&self) -> Changes {
        Changes(self.link.changed.subscribe())
    }

    /// Has the changes of these units heard of, in place of those before.
    pub(super) fn follow(&self, units: BTreeSet<String>) {
        self.link.followed.send_if_modified(|followed| {
            let differs = *followed != units;
            *followed = units;
            differs
        });
    }

    /// Waits for changes of the units of [`SystemdManager::follow`], and of all others, from now
    /// on.
    pub(super) fn unit_changes(&self) -> Changes {
        Changes(self.link.unit_changed.subscribe())
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self.link.connection.subscribe().wait_for(Option::is_some).await;
    }

    /// The properties of `unit`; of all its interfaces if `interface` is empty.
    pub(super) async fn properties(
        &self,
        unit: &str,
        interface: &str,
    ) -> Result<Properties, CallError> {
        let (path, name) = (unit_path(unit), "GetAll");
        let method = Method { to: MANAGER.0, path: &path, interface: PROPERTIES, name };
        bus::read(name, &self.call(method, &(interface,)).await?)
    }

    /// A property of the manager itself; `None` if this manager does not have it.
    pub(super) async fn own_property<T>(&self, name: &str) -> Result<Option<T>, CallError>
    where
        T: TryFrom<OwnedVariant>,
    {
        let (to, path, interface) = MANAGER;
        let method = Method { to, path, interface: PROPERTIES, name: "Get" };
        match self.call(method, &(interface, name)).await {
            Ok(answer) => Ok(T::try_from(bus::read("Get", &answer)?).ok()),
            Err(error) if error.is_refusal() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Rises whenever the manager may have read its units anew.
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.link.reloaded.subscribe()
    }

    /// What the manager says about `units`, in one look.
    pub(super) async fn list(&self, units: &[&str]) -> Result<Vec<Listed>, CallError> {
        let name = "ListUnitsByNames";
        let answer = self.ask(name, &(units,)).await?;
        let rows: Vec<ListedRow> = bus::read(name, &answer)?;
        let listed = |row: ListedRow| Listed { name: row.0, active: row.3, job: row.8 };
        Ok(rows.into_iter().map(listed).collect())
    }

    /// The units in memory whose names match one of `patterns` (glob(7)). One that runs, or is
    /// about to, is always in memory; asking by name would read the others from the disk.
    pub(super) async fn loaded(&self, patterns: &[&str]) -> Result<Vec<Listed>, CallError> {
        let name = "ListUnitsByPatterns";
        let answer = self.ask(name, &(&[""; 0][..], patterns)).await?;
        let rows: Vec<ListedRow> = bus::read(name, &answer)?;
        let listed = |row: ListedRow| Listed { name: row.0, active: row.3, job: row.8 };
        Ok(rows.into_iter().map(listed).collect())
    }

    async fn ask<B>(&self, name: &'static str, body: &B) -> Result<Message, CallError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let (to, path, interface) = MANAGER;
        self.call(Method { to, path, interface, name }, body).await
    }

    async fn call<B>(&self, method: Method<'_>, body: &B) -> Result<Message, CallError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let deadline = Instant::now() + limits::HOST_CALL_TIMEOUT;
        let connection = self.connection(method.name, deadline).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        bus::call(&connection, method, body, left).await
    }

    async fn connection(
        &self,
        call: &'static str,
        deadline: Instant,
    ) -> Result<Connection, CallError> {
        let unknown = || CallError::Unknown { call, problem: "not connected".to_owned() };
        let mut connection = self.link.connection.subscribe();
        let some = timeout_at(deadline, connection.wait_for(Option::is_some)).await;
        let some = some.map_err(|_| unknown())?.map_err(|_| unknown())?;
        some.clone().ok_or_else(unknown)
    }
}

/// A row of `ListUnits`: name, description, load, active and sub state, followed unit, path, and
/// number, type and path of its job.
type ListedRow =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// Wakes when something may have changed.
#[derive(Debug)]
pub(super) struct Changes(watch::Receiver<u64>);

impl Changes {
    /// The next change since the last call, or the end of `poll`.
    pub(super) async fn next(&mut self, poll: Duration) {
        let _ = tokio::time::timeout(poll, self.0.changed()).await;
    }
}

/// A property, if it is there and has this type.
pub(super) fn property<T>(properties: &Properties, name: &str) -> Option<T>
where
    T: TryFrom<OwnedVariant>,
{
    let value = properties.get(name)?.try_clone().ok()?;
    T::try_from(value).ok()
}

/// `ActiveState`; empty if it is missing.
pub(super) fn active(properties: &Properties) -> String {
    property(properties, "ActiveState").unwrap_or_default()
}

/// The queued job of a unit, if there is one.
pub(super) fn job_of(properties: &Properties) -> Option<u32> {
    let job: Option<(u32, OwnedObjectPath)> = property(properties, "Job");
    job.map(|(number, _)| number).filter(|&number| number != 0)
}
