//! `release NODE`: what runs after the agent, however it ended (`ExecStopPost=`, DESIGN 5.9).
//!
//! Waits until everything that the agent's activation started is known to have stopped, has the
//! fence started if that takes too long, runs the demotion script, and then says to the other
//! members that the invocation is over, with the secret that proves it. So a successor need not
//! wait for the bound.
//!
//! Guarantees: nothing is announced unless no agent runs on the state directory, the gate is
//! closed, and target, members and scripts are known to have stopped, all at once. What has to stop
//! is stopped, and fenced, whether the disk works or not. Does not guarantee that anything is
//! announced: after `demote_timeout` and [`limits::RELEASE_EXTRA`] it gives up, and the next agent,
//! or the bound, does the rest.

use std::pin::pin;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::announce::{Audience, Known};
use super::{configuration, demotion};
use crate::config::{Config, OnDemoteTimeout};
use crate::core::authority::FENCE_LEAD;
use crate::core::role::EventName;
use crate::core::story::tell;
use crate::core::{Invocation, NodeName};
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::node::clock;
use crate::storage::release_key::{Claim, ReleaseKey};
use crate::storage::{StateDirError, release_key};
use crate::systemd::after::{self, Remains};
use crate::systemd::host::HostSettings;
use crate::systemd::manager::JobResult;
use crate::systemd::names;

/// How a release ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This run of the agent was never active.
    NeverActive,
    /// There is no other member.
    Alone,
    /// This leader knew it already.
    AlreadyOver(NodeName),
    /// This leader has taken it over.
    Released(NodeName),
}

/// Why nothing was announced, or nobody confirmed it.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The state directory cannot be used, or an agent uses it.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// No secret can be derived.
    #[error("there is no {} in the state directory", release_key::KEY_FILE)]
    NoKey,
    /// Not all of the activation has stopped in time.
    #[error("not released: {}", left.join("; "))]
    StillUp {
        /// What has not, as sentences.
        left: Vec<String>,
    },
    /// The demotion script was not run to its end.
    #[error("not released: the follower script was not run to its end: {why}")]
    Script {
        /// What happened.
        why: String,
    },
    /// The disk hangs.
    #[error("not released: the state directory has not answered in time")]
    DiskHangs,
    /// It was announced, and no leader said that it has taken note.
    #[error("announced, but no leader has confirmed it in time; the next agent goes on")]
    Unheard,
}

/// Runs the verb.
pub(super) fn run(node: &NodeName) -> Result<(), Failure> {
    let begun = Instant::now();
    let config = configuration::read(node)?;
    let given = std::env::var("INVOCATION_ID");
    let given = given.map_err(|e| Failure::new(Exit::Usage, format!("INVOCATION_ID: {e}")))?;
    let invocation: Invocation =
        given.parse().map_err(|error| Failure::new(Exit::Usage, format!("{error}")))?;
    let _log = configuration::start_log(&config)?;
    let host = configuration::host(&config)?;
    let runtime = configuration::runtime()?;
    let result = runtime.block_on(release(&config, host, invocation));
    // Not waiting for a name that is still being looked up.
    runtime.shutdown_background();
    let ms = ms(begun);
    match result {
        Ok(Outcome::NeverActive) => tracing::debug!("never active, nothing to release"),
        Ok(Outcome::Alone) => tracing::info!("no other member has to know"),
        Ok(Outcome::AlreadyOver(by)) => {
            tracing::info!("{by} says that nothing is left to release, after {ms} ms");
        }
        Ok(Outcome::Released(by)) => {
            let duration = format!("{ms}ms");
            tell!(
                ReleaseConfirmed, leader = by.as_str(), duration = duration.as_str();
                "The activation of {node} is released, {by} has taken note: {ms} ms after the end \
                 of the agent."
            );
        }
        Err(error) => {
            let reason = error.to_string();
            tell!(
                ReleaseFailed, reason = reason.as_str();
                "The activation of {node} is not released after {ms} ms: {reason}."
            );
            return Err(Failure::new(Exit::Failure, ""));
        }
    }
    Ok(())
}

/// Releases `invocation`, which has ended.
///
/// # Errors
/// If it is not known to be released, for whatever reason.
pub async fn release(
    config: &Config,
    host: HostSettings,
    invocation: Invocation,
) -> Result<Outcome, ReleaseError> {
    let begun = Instant::now();
    let Some(token) = after::last_activation(&host.runtime_directory) else {
        return Ok(Outcome::NeverActive);
    };
    let deadline = begun + config.authority.demote_timeout + limits::RELEASE_EXTRA;
    let proof = Proof::seek(config, deadline).await?;
    let audience = Audience::new(config);
    let mut end = End::new(config, host, token, begun);
    {
        let mut over = pin!(already_over(&audience, invocation, begun));
        tokio::select! {
            biased;
            who = &mut over => return Ok(Outcome::AlreadyOver(who)),
            stopped = timeout_at(deadline, end.all_stopped(deadline)) => match stopped {
                Ok(stopped) => stopped?,
                Err(_) => return Err(ReleaseError::StillUp { left: end.waits_for }),
            },
        }
    }
    let (_claim, key) = proof.found(deadline).await?;
    // Once more; nothing comes between this and the first announcement.
    let left = end.remains.up().await;
    if !left.is_empty() {
        return Err(ReleaseError::StillUp { left });
    }
    if audience.is_empty() {
        return Ok(Outcome::Alone);
    }
    let announced = audience.announce(invocation, key.secret(invocation));
    let announced = timeout_at(deadline, announced).await;
    announced.map(Outcome::Released).map_err(|_| ReleaseError::Unheard)
}

/// What the state directory has to give before anything is announced: that no agent uses it, held
/// to the end, because none may start anything while its predecessor is being released; and the
/// key.
type Found = Result<(Claim, ReleaseKey), ReleaseError>;

/// Whether that was found. A disk that cannot be used holds up the announcement, nothing else.
enum Proof {
    Known(Found),
    /// The disk has not answered yet.
    Late(JoinHandle<Found>),
}

impl Proof {
    /// # Errors
    /// If an agent runs, which is left alone. One that was killed may take a moment to let its
    /// files go.
    async fn seek(config: &Config, deadline: Instant) -> Result<Proof, ReleaseError> {
        loop {
            let (root, name) = (config.node.state_directory.clone(), config.node.name.clone());
            let mut attempt = spawn_blocking(move || {
                let claim = ReleaseKey::claim(&root)?;
                let key = ReleaseKey::read(&root, &name)?.ok_or(ReleaseError::NoKey)?;
                Ok((claim, key))
            });
            let Ok(found) = timeout(limits::RELEASE_DISK, &mut attempt).await else {
                return Ok(Proof::Late(attempt));
            };
            match found.expect(NO_PANIC) {
                Err(ReleaseError::State(error @ StateDirError::Locked { .. })) => {
                    if Instant::now() >= deadline {
                        return Err(error.into());
                    }
                    sleep(limits::AFTER_POLL).await;
                }
                found => return Ok(Proof::Known(found)),
            }
        }
    }

    async fn found(self, deadline: Instant) -> Found {
        match self {
            Proof::Known(found) => found,
            Proof::Late(attempt) => match timeout_at(deadline, attempt).await {
                Ok(found) => found.expect(NO_PANIC),
                Err(_) => Err(ReleaseError::DiskHangs),
            },
        }
    }
}

const NO_PANIC: &str = "a panic aborts, and nobody cancels this";

/// Ends only if a leader says that there is nothing to release, for example after a planned stop,
/// which this must not make longer.
async fn already_over(audience: &Audience, invocation: Invocation, begun: Instant) -> NodeName {
    match audience.ask(invocation).await {
        Known::Over(who) => who,
        Known::Owed(who) => {
            tracing::info!("{who} waits for the release, after {} ms", ms(begun));
            std::future::pending().await
        }
    }
}

/// The end of an activation.
struct End<'a> {
    config: &'a Config,
    remains: Remains,
    token: String,
    begun: Instant,
    /// What has not happened yet, as sentences.
    waits_for: Vec<String>,
}

impl<'a> End<'a> {
    fn new(config: &'a Config, host: HostSettings, token: String, begun: Instant) -> End<'a> {
        let remains = Remains::new(host);
        let waits_for = vec!["the service manager has not answered".to_owned()];
        End { config, remains, token, begun, waits_for }
    }

    /// Ends well only if everything of the activation has stopped.
    async fn all_stopped(&mut self, deadline: Instant) -> Result<(), ReleaseError> {
        self.remains.close_gate();
        demotion::withdraw(&self.config.node.runtime_directory);
        let fence = self.fence();
        let down = async {
            self.remains.stop_scripts().await;
            self.remains.down(|up| up.clone_into(&mut self.waits_for)).await;
        };
        tokio::select! {
            () = down => {}
            // It does not end.
            () = fence => {}
        }
        tracing::info!("target and members have stopped, after {} ms", ms(self.begun));
        if self.config.events.scripts.contains_key(&EventName::Follower) {
            self.waits_for = vec!["the follower script has not ended".to_owned()];
            self.demotion_script(deadline).await?;
        }
        Ok(())
    }

    /// Has what is left killed when it is time, then waits for ever.
    fn fence(&self) -> impl Future<Output = ()> + use<> {
        let authority = self.config.authority;
        // A demotion that the agent had begun does not begin anew because the agent ended.
        let begun_by_agent = after::fence_at(&self.config.node.runtime_directory);
        let left = begun_by_agent.map(|at| at.saturating_since(clock::now()));
        let most = authority.demote_timeout.saturating_sub(FENCE_LEAD);
        let at = self.begun + left.map_or(most, |left| left.min(most));
        let (start, begun) = (self.remains.start_fence(), self.begun);
        let unit = names::fence_service(&self.config.node.name);
        async move {
            if authority.on_demote_timeout != OnDemoteTimeout::None {
                sleep_until(at).await;
                start.await;
                tell!(
                    FenceStarted, unit = unit.as_str();
                    "The members take too long to stop: started {unit} {} ms after the end of the \
                     agent.", ms(begun)
                );
            }
            std::future::pending().await
        }
    }

    /// The script that the agent would run when it ceases to be active.
    async fn demotion_script(&mut self, deadline: Instant) -> Result<(), ReleaseError> {
        let failed = |why: String| ReleaseError::Script { why };
        let most = deadline.saturating_duration_since(Instant::now());
        let most = most.min(self.config.events.timeout);
        let written = demotion::write(self.config, &self.token, most);
        written.map_err(|error| failed(format!("cannot write its event file: {error}")))?;
        let run = self.remains.run_script(EventName::Follower, deadline).await;
        demotion::withdraw(&self.config.node.runtime_directory);
        match run {
            Ok(finished) if finished.job == JobResult::Done => {
                tracing::info!("follower script has ended, after {} ms", ms(self.begun));
            }
            // It ran, and it is over: that it failed is for its author to know.
            Ok(finished) => {
                let (result, status) = (&finished.result, finished.status);
                let job = &finished.job;
                tracing::warn!(
                    "follower script failed: {job}, {result}, status {status}, ignoring"
                );
            }
            Err(error) => return Err(failed(chain(&error))),
        }
        Ok(())
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn ms(begun: Instant) -> u128 {
    begun.elapsed().as_millis()
}
