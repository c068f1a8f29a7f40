//! What an operator is told about the enforcement of authority: whether a fence is armed, which one
//! was the last, and what should be put right.
//!
//! Looks at the service manager and at the records of fences, each time in a task of its own and at
//! files on threads of theirs, so that neither keeps the driver. Publishes; decides nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use super::host::is_service;
use super::publish::{Publish, Topic};
use crate::config::{Config, OnDemoteTimeout};
use crate::core::authority::{Enforcement, FENCE_LEAD, Phase, Timing};
use crate::core::story::tell;
use crate::limits;
use crate::node::status::{LastFence, NodeStatus};
use crate::storage::fence_record::{self, ExpectedReboot, FenceRecord};
use crate::systemd::armed::{self, Enforced, Expected};
use crate::systemd::manager::SystemdManager;
use crate::systemd::names;

/// Publishes what is known of the host, from now on. Without a service manager that is once.
pub(super) fn follow(
    config: &Config,
    timing: &Timing,
    manager: Option<SystemdManager>,
    status: watch::Receiver<Arc<NodeStatus>>,
    publish: Publish,
) {
    let lasting = lasting_warning(config, timing);
    publish.warn(Topic::Configuration, lasting.into_iter().collect());
    let Some(manager) = manager else { return };
    let action = config.authority.on_demote_timeout;
    let is_bounded = timing.enforcement == Enforcement::Bounded;
    let (asks, asked) = mpsc::channel(limits::FENCE_RECORD_QUEUE);
    let directory = config.node.state_directory.clone();
    tokio::spawn(Records { directory, boot_id: boot_id(), publish: publish.clone() }.keep(asked));
    let reboots = is_bounded && action == OnDemoteTimeout::Reboot;
    let after = timing.demote_timeout.saturating_sub(FENCE_LEAD);
    tokio::spawn(watch_demotions(status, reboots.then_some(after), asks));
    if is_bounded {
        let expected = Expected {
            node: config.node.name.clone(),
            action,
            watchdog: timing.watchdog,
            demote_timeout: timing.demote_timeout,
        };
        tokio::spawn(check(manager, expected, publish));
    }
}

/// What this configuration leaves open, whatever the service manager does.
fn lasting_warning(config: &Config, timing: &Timing) -> Option<String> {
    let why = match (timing.enforcement, config.authority.on_demote_timeout) {
        (Enforcement::Bounded, _) => return None,
        (Enforcement::Nothing, _) if !is_service() => return None,
        (Enforcement::Nothing, _) => "[authority] enforcement is \"none\"".to_owned(),
        (_, OnDemoteTimeout::None) => "[authority] on_demote_timeout is \"none\"".to_owned(),
        _ => format!("{} has no WatchdogSec=", names::agent_service(&config.node.name)),
    };
    Some(match timing.enforcement {
        Enforcement::Nothing => format!("nothing enforces that only one host is active: {why}"),
        _ => format!(
            "nothing bounds an activation: {why}; if this host is lost while it is active, only \
             \"raftctl takeover --force\" lets another one take its place"
        ),
    })
}

/// Looks at the service manager, at once and whenever it may have changed.
async fn check(manager: SystemdManager, expected: Expected, publish: Publish) {
    let mut reloads = manager.reloads();
    let mut known: Option<Enforced> = None;
    loop {
        reloads.borrow_and_update();
        match armed::look(&manager, &expected).await {
            Ok(found) if known.as_ref() == Some(&found) => {}
            Ok(found) => {
                log(&found, &expected);
                show(&publish, &found, expected.action);
                known = Some(found);
            }
            // What was loaded is still loaded.
            Err(error) if known.is_some() => {
                tracing::debug!("cannot look whether a fence is armed: {error}, ignoring");
            }
            Err(error) => {
                let warning = format!("it is not known whether a fence is armed: {error}");
                publish.warn(Topic::Fence, vec![warning]);
            }
        }
        // Ends early when there is another connection, too. The sender lives as long as `manager`.
        let _ = timeout(limits::FENCE_CHECK_EVERY, reloads.changed()).await;
    }
}

fn log(found: &Enforced, expected: &Expected) {
    let node = &expected.node;
    for problem in &found.problems {
        tell!(FenceNotArmed, problem = problem.as_str(); "The fence is not armed: {problem}.");
    }
    if found.problems.is_empty() {
        let action = expected.action.as_str();
        tell!(
            FenceArmed, action = action;
            "The fence is armed: what does not stop in time is ended by \"{action}\"."
        );
    }
    if found.hardware_watchdog == Some(false) {
        tracing::warn!(%node, "{NO_HARDWARE_WATCHDOG}");
    }
}

fn show(publish: &Publish, found: &Enforced, action: OnDemoteTimeout) {
    let is_armed = found.problems.is_empty();
    let armed = if is_armed { action } else { OnDemoteTimeout::None };
    let problems = found.problems.iter().map(|p| format!("the fence is not armed: {p}"));
    let mut warnings: Vec<String> = problems.collect();
    if found.hardware_watchdog == Some(false) {
        warnings.push(NO_HARDWARE_WATCHDOG.to_owned());
    }
    publish.edit_and_warn(Topic::Fence, warnings, |host| host.fence_armed = armed);
}

/// Sees demotions come and go: when PID 1 is about to reboot the host, that has to be known before.
async fn watch_demotions(
    mut status: watch::Receiver<Arc<NodeStatus>>,
    reboots_after: Option<Duration>,
    asks: mpsc::Sender<Ask>,
) {
    let mut due = None;
    let mut is_over = false;
    loop {
        let phase = status.borrow_and_update().phase;
        match phase {
            Phase::Unknown => {}
            Phase::Stopping | Phase::Waiting if is_over => {
                is_over = false;
                due = reboots_after.map(|after| Instant::now() + after);
            }
            Phase::Stopping | Phase::Waiting => {}
            // A full queue is a disk that hangs; the next look sees the same.
            _ if !is_over => {
                (is_over, due) = (true, None);
                let _ = asks.try_send(Ask::Over);
            }
            _ => {}
        }
        let at = due.unwrap_or_else(Instant::now);
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            () = sleep_until(at), if due.is_some() => {
                due = None;
                tell!(
                    RebootExpected, reason = TOO_SLOW;
                    "Process 1 reboots this host unless the stop ends now: {TOO_SLOW}."
                );
                let _ = asks.try_send(Ask::Expect);
            }
        }
    }
}

/// What to do with the records.
enum Ask {
    /// The host is about to be rebooted.
    Expect,
    /// It is not: nothing of an activation runs.
    Over,
}

/// The records of fences in the state directory.
#[derive(Clone)]
struct Records {
    directory: PathBuf,
    boot_id: Option<String>,
    publish: Publish,
}

impl Records {
    async fn keep(self, mut asked: mpsc::Receiver<Ask>) {
        self.on_disk(Records::look_back).await;
        let mut settles = false;
        loop {
            let wait = match settles {
                true => limits::FENCE_RECORD_SETTLE,
                false => limits::FENCE_CHECK_EVERY,
            };
            settles = false;
            match timeout(wait, asked.recv()).await {
                Ok(Some(Ask::Expect)) => self.on_disk(Records::expect).await,
                Ok(Some(Ask::Over)) => {
                    self.on_disk(Records::over).await;
                    settles = true;
                }
                Ok(None) => return,
                Err(_) => self.on_disk(Records::read).await,
            }
        }
    }

    async fn on_disk(&self, work: fn(&Records) -> std::io::Result<()>) {
        let records = self.clone();
        let done = spawn_blocking(move || work(&records)).await;
        let done = done.expect("a panic aborts, and nobody cancels this");
        if let Err(error) = done {
            let directory = self.directory.display();
            tracing::warn!("the record of fences in {directory}: {error}, ignoring");
        }
    }

    /// At the start: has this host been rebooted?
    fn look_back(&self) -> std::io::Result<()> {
        if let Some(boot_id) = &self.boot_id
            && let Some(record) = ExpectedReboot::came_true(&self.directory, boot_id)?
        {
            let why = last_fence(&record).why;
            tell!(Rebooted, reason = why.as_str(); "This host was rebooted, as a fence: {why}.");
        }
        self.read()
    }

    fn expect(&self) -> std::io::Result<()> {
        let Some(boot_id) = self.boot_id.clone() else { return Ok(()) };
        let when = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (when_usec, why) = (when.as_micros() as u64, TOO_SLOW.to_owned());
        ExpectedReboot { boot_id, when_usec, why }.write(&self.directory)
    }

    fn over(&self) -> std::io::Result<()> {
        ExpectedReboot::withdraw(&self.directory)?;
        self.read()
    }

    fn read(&self) -> std::io::Result<()> {
        let record = FenceRecord::read(&self.directory)?;
        self.publish.edit(|host| host.last_fence = record.as_ref().map(last_fence));
        Ok(())
    }
}

/// The record in words, as long as a line may be.
fn last_fence(record: &FenceRecord) -> LastFence {
    let FenceRecord { when_usec, what, why, killed, left } = record;
    let mut why = why.clone();
    for (what, units) in [("killed", killed), ("still running", left)] {
        if !units.is_empty() {
            why += &format!("; {what}: {}", units.join(", "));
        }
    }
    if let Some((end, _)) = why.char_indices().nth(limits::FENCE_WHY_MAX_CHARS) {
        why.truncate(end);
        why.push('…');
    }
    LastFence { when_usec: *when_usec, what: what.clone(), why }
}

/// Names this boot. The unit passes it on, because its sandbox hides the kernel's file.
fn boot_id() -> Option<String> {
    let passed = std::env::var("RAFTCTL_BOOT_ID").ok().filter(|_| is_service());
    passed.or_else(|| fence_record::boot_id().ok())
}

const TOO_SLOW: &str = "demotion takes nearly as long as demote_timeout";

const NO_HARDWARE_WATCHDOG: &str = "no hardware watches PID 1 (RuntimeWatchdogSec= is off): if it \
    hangs, nothing ends an activation";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{NodeId, NodeName};
    use crate::node::status::Role;

    fn status(phase: Phase) -> Arc<NodeStatus> {
        let name: NodeName = "n1".parse().unwrap();
        Arc::new(NodeStatus {
            name,
            id: NodeId(1),
            cluster_name: String::new(),
            cluster_id: None,
            role: Role::Leader,
            active: false,
            phase,
            term: 1,
            token: None,
            leader: None,
            paused: false,
            commit_index: 0,
            applied_index: 0,
            members: Vec::new(),
        })
    }

    async fn within<F: Future>(future: F) -> F::Output {
        timeout(Duration::from_secs(20), future).await.expect("in time")
    }

    #[tokio::test]
    async fn a_reboot_is_expected_when_the_stop_takes_too_long() {
        let (phases, seen) = watch::channel(status(Phase::Unknown));
        let (asks, mut asked) = mpsc::channel(8);
        tokio::spawn(watch_demotions(seen, Some(Duration::from_millis(10)), asks));
        for round in 0..2 {
            phases.send_replace(status(Phase::Active));
            assert!(matches!(within(asked.recv()).await, Some(Ask::Over)), "{round}");
            phases.send_replace(status(Phase::Stopping));
            assert!(matches!(within(asked.recv()).await, Some(Ask::Expect)), "{round}");
            // Once is enough, however long it takes.
            phases.send_replace(status(Phase::Waiting));
        }
        phases.send_replace(status(Phase::Settling));
        assert!(matches!(within(asked.recv()).await, Some(Ask::Over)));
        phases.send_replace(status(Phase::Idle));
        drop(phases);
        assert!(within(asked.recv()).await.is_none());
    }

    #[tokio::test]
    async fn where_nothing_reboots_none_is_expected() {
        let (phases, seen) = watch::channel(status(Phase::Idle));
        let (asks, mut asked) = mpsc::channel(8);
        tokio::spawn(watch_demotions(seen, None, asks));
        assert!(matches!(within(asked.recv()).await, Some(Ask::Over)));
        phases.send_replace(status(Phase::Waiting));
        tokio::task::yield_now().await;
        drop(phases);
        while let Some(ask) = within(asked.recv()).await {
            assert!(matches!(ask, Ask::Over));
        }
    }

    #[tokio::test]
    async fn records_are_read_kept_and_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let note = |boot: &str| ExpectedReboot {
            boot_id: boot.to_owned(),
            when_usec: 7,
            why: "slow".to_owned(),
        };
        note("before").write(directory.path()).unwrap();
        let (publish, mut known) = Publish::new();
        let boot_id = Some("now".to_owned());
        let records = Records { directory: directory.path().to_owned(), boot_id, publish };
        let (asks, asked) = mpsc::channel(8);
        let keeping = tokio::spawn(records.keep(asked));
        let rebooted = within(known.wait_for(|host| host.last_fence.is_some())).await.unwrap();
        let fence = rebooted.last_fence.clone().unwrap();
        drop(rebooted);
        assert_eq!(
            (fence.when_usec, fence.what.as_str(), fence.why.as_str()),
            (7, "reboot", "slow")
        );

        // What was expected in this boot and did not come leaves nothing.
        asks.send(Ask::Expect).await.unwrap();
        asks.send(Ask::Over).await.unwrap();
        let what = FenceRecord::KILL.to_owned();
        let killed = vec!["web.service".to_owned(); 100];
        let record =
            FenceRecord { when_usec: 9, what, why: "slow".to_owned(), killed, left: vec![] };
        record.write(directory.path()).unwrap();
        let again =
            known.wait_for(|host| host.last_fence.as_ref().is_some_and(|f| f.what == "kill"));
        let why = within(again).await.unwrap().last_fence.clone().unwrap().why;
        assert!(why.starts_with("slow; killed: web.service, web") && why.ends_with('…'), "{why}");
        assert_eq!(why.chars().count(), limits::FENCE_WHY_MAX_CHARS + 1);
        drop(asks);
        within(keeping).await.unwrap();
        let later = ExpectedReboot::came_true(directory.path(), "later").unwrap();
        assert_eq!(later, None);
    }
}
