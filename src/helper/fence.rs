//! `fence NODE`: kills, as root, what of an activation did not stop in time (DESIGN 5.7).
//!
//! Guarantees: ends well only if nothing is left in the control groups of the members of the leader
//! target and of the event scripts, or if there was nothing to do; says in the journal what is
//! killed and why, and that a reboot comes, BEFORE it does, and leaves a record for the agent. No
//! disk keeps it from killing. The target, which the service manager is stopping already, it has
//! stopped once more if somebody replaced that by a start. Does not: reboot, which is done by the
//! job timeout of a unit that stops with the target.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep, timeout_at};

use super::configuration;
use crate::config::{Config, OnDemoteTimeout};
use crate::core::NodeName;
use crate::core::story::tell;
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::storage::fence_record::{ExpectedReboot, FenceRecord, boot_id};
use crate::systemd::after::{Populated, Remains};
use crate::systemd::host::HostSettings;

/// How a fence ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// The configuration does not want it.
    NotWanted,
    /// The node is active again: this fence comes too late.
    ActiveAgain,
    /// Nothing had processes.
    NothingLeft,
    /// These units were killed, and are empty.
    Killed(Vec<String>),
}

/// Why something may still run.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The units could not be found.
    #[error("not fenced: {problem}")]
    NotFound {
        /// What is wrong.
        problem: String,
    },
    /// Not even SIGKILL ended them.
    #[error("not fenced: there are still processes in {}", left.join(", "))]
    Left {
        /// The units.
        left: Vec<String>,
    },
}

/// Runs the verb.
pub(super) fn run(node: &NodeName) -> Result<(), Failure> {
    let config = configuration::read(node)?;
    let _log = configuration::start_log(&config)?;
    let host = configuration::host(&config)?;
    match configuration::runtime()?.block_on(fence(&config, host)) {
        Ok(Fenced::NotWanted) => {
            not_needed("on_demote_timeout is \"none\", whatever still runs");
        }
        Ok(Fenced::ActiveAgain) => not_needed("the node is active again"),
        Ok(Fenced::NothingLeft) => not_needed("nothing is left"),
        Ok(Fenced::Killed(units)) => {
            let units = units.join(", ");
            tell!(Fenced, units = units.as_str(); "Killed, and nothing is left of them: {units}.");
        }
        Err(error) => {
            let reason = error.to_string();
            tell!(
                FenceFailed, reason = reason.as_str();
                "The fence of {node} failed, something may still run: {reason}."
            );
            return Err(Failure::new(Exit::Failure, ""));
        }
    }
    Ok(())
}

fn not_needed(reason: &str) {
    tell!(FenceNotNeeded, reason = reason; "Nothing is killed: {reason}.");
}

/// Kills what is left of the activation of the node of `config`.
///
/// # Errors
/// If something may still run.
pub async fn fence(config: &Config, host: HostSettings) -> Result<Fenced, FenceError> {
    if config.authority.on_demote_timeout == OnDemoteTimeout::None {
        return Ok(Fenced::NotWanted);
    }
    let deadline = Instant::now() + limits::FENCE_PATIENCE;
    let remains = Remains::new(host);
    let mut fence = Fence { remains, killed: Vec::new(), left: Vec::new(), scripts: None };
    let when = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let demote_timeout = config.authority.demote_timeout;
    let why = format!("demotion took nearly {} ms", demote_timeout.as_millis());
    let (when_usec, state) = (when.as_micros() as u64, &config.node.state_directory);
    let reboots = config.authority.on_demote_timeout == OnDemoteTimeout::Reboot;
    let noted = reboots.then(|| note_reboot(state, when_usec, &why));
    let ended = timeout_at(deadline, fence.kill_all(&why)).await;
    if let Some(noted) = noted {
        let stopped = timeout_at(deadline, fence.remains.down(|_| {})).await;
        // Written or not: a note that comes later would be a false alarm.
        let _ = noted.recv_timeout(limits::FENCE_NOTE_WAIT);
        if stopped.is_ok()
            && let Err(error) = ExpectedReboot::withdraw(state)
        {
            tracing::error!("cannot take back that a reboot is expected: {error}, ignoring");
        }
    }
    if fence.killed.is_empty()
        && let Ok(end) = ended
    {
        return Ok(end);
    }
    let Fence { killed, left, .. } = fence;
    let record = FenceRecord { when_usec, what: FenceRecord::KILL.to_owned(), why, killed, left };
    if let Err(error) = record.write(state) {
        tracing::error!("cannot keep the record of this fence: {error}, ignoring");
    }
    match ended {
        Ok(_) => Ok(Fenced::Killed(record.killed)),
        Err(_) if record.killed.is_empty() => {
            Err(FenceError::NotFound { problem: record.left.join(", ") })
        }
        Err(_) => Err(FenceError::Left { left: record.left }),
    }
}

/// Says that a reboot comes: in the journal, and in a note for the agent after it. On a thread of
/// its own, which ends with the process: a disk that hangs must not keep anything alive.
fn note_reboot(state: &Path, when_usec: u64, why: &str) -> Receiver<()> {
    tell!(
        RebootExpected, reason = why;
        "Process 1 reboots this host unless the stop ends now: {why}."
    );
    let (done, noted) = sync_channel(1);
    let (state, why) = (state.to_owned(), why.to_owned());
    std::thread::spawn(move || {
        let written =
            boot_id().and_then(|boot_id| ExpectedReboot { boot_id, when_usec, why }.write(&state));
        if let Err(error) = written {
            tracing::error!("cannot note that a reboot is expected: {error}, ignoring");
        }
        let _ = done.send(());
    });
    noted
}

struct Fence {
    remains: Remains,
    /// Units that had processes.
    killed: Vec<String>,
    /// What is left, at the last look: units, or why they are not known.
    left: Vec<String>,
    /// The event scripts that ran at the first look.
    scripts: Option<Vec<String>>,
}

impl Fence {
    /// Kills until nothing is left, or until the node is active again. That is asked AFTER what
    /// has processes was looked at: members of a new activation start only after its target.
    async fn kill_all(&mut self, why: &str) -> Fenced {
        loop {
            let populated = self.remains.populated().await;
            if self.remains.is_active_again().await {
                self.left.clear();
                return Fenced::ActiveAgain;
            }
            self.left.clear();
            match populated.map(|populated| self.of_activation(populated)) {
                Ok(populated) if populated.is_empty() => {
                    match self.remains.stop_if_closed().await {
                        Ok(()) => return Fenced::NothingLeft,
                        Err(problem) => self.left.push(problem),
                    }
                }
                Ok(populated) => self.kill(&populated, why).await,
                Err(problem) => self.left.push(problem),
            }
            sleep(limits::AFTER_POLL).await;
        }
    }

    /// Without the scripts that began after the first look: they tell of the end, and whoever has
    /// them run gives them their time.
    fn of_activation(&mut self, mut populated: Vec<Populated>) -> Vec<Populated> {
        let scripts = populated.iter().filter(|populated| populated.is_script);
        let scripts: Vec<String> = scripts.map(|populated| populated.unit.clone()).collect();
        let first = self.scripts.get_or_insert(scripts);
        populated.retain(|populated| !populated.is_script || first.contains(&populated.unit));
        populated
    }

    async fn kill(&mut self, populated: &[Populated], why: &str) {
        self.left = populated.iter().map(|populated| populated.unit.clone()).collect();
        let new = self.left.iter().filter(|unit| !self.killed.contains(unit));
        let new: Vec<String> = new.cloned().collect();
        if !new.is_empty() {
            let units = new.join(", ");
            tell!(Fencing, units = units.as_str(), reason = why; "Killing {units}: {why}.");
            self.killed.extend(new);
        }
        for populated in populated {
            self.remains.kill(populated).await;
        }
    }
}
