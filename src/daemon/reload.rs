//! SIGHUP: reads the configuration again, applies what can change while the agent runs, and says
//! what cannot. A file that cannot be used changes nothing.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::error::SetupError;
use super::http;
use super::logging::Level;
use super::scripts::{self, Running};
use super::standing::Settings;
use crate::config::keys::Key;
use crate::config::{Config, Eligibility, Http};
use crate::core::story::tell;
use crate::events::Scripts;
use crate::node::handle::NodeHandle;
use crate::systemd::notify::{Notifier, NotifyState, status_text};

/// Reads the file of this agent.
pub(super) type Read = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// What a reload reads and changes.
pub(super) struct Reload {
    /// What is in force.
    pub(super) config: Config,
    /// Reads the file again.
    pub(super) read: Read,
    /// The least important level that is logged.
    pub(super) level: Level,
    /// The event scripts.
    pub(super) scripts: Arc<Scripts>,
    /// What no file can change.
    pub(super) running: Running,
    /// By what the standing of the host is judged.
    pub(super) standing: watch::Sender<Arc<Settings>>,
    /// For whom the HTTP surface is.
    pub(super) http: watch::Sender<Arc<crate::http::Settings>>,
}

/// Reloads at every SIGHUP.
pub(super) fn on_hangup(
    mut reload: Reload,
    notifier: Notifier,
    handle: NodeHandle,
) -> Result<JoinHandle<()>, SetupError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(SetupError::System)?;
    Ok(tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            notifier.tell_reloading().await;
            reload = reload.carried_out().await;
            let status = status_text(&handle.status());
            notifier.tell(&[NotifyState::Ready, NotifyState::Status(&status)]).await;
        }
    }))
}

impl Reload {
    /// Files and threads are nothing for the driver's thread, on which this is called.
    async fn carried_out(mut self) -> Reload {
        let done = spawn_blocking(move || {
            match (self.read)() {
                Ok(new) => self.apply(new),
                Err(text) => {
                    let lines = text.replace('\n', "; ");
                    tell!(
                        ReloadRefused, reason = lines.as_str();
                        "The new configuration cannot be used, nothing was changed: {lines}."
                    );
                }
            }
            self
        });
        done.await.expect("a panic aborts, and nobody cancels this")
    }

    fn apply(&mut self, new: Config) {
        let differences = self.config.differences(&new);
        let (live, fixed): (Vec<_>, Vec<_>) = differences.iter().partition(|d| is_live(d.key));
        for d in fixed {
            let (section, key, old, new) = (d.key.section, d.key.name, &d.old, &d.new);
            tell!(
                ReloadNeedsRestart, key = key;
                "[{section}] {key} = {new} needs a restart of this agent; it stays {old}."
            );
        }
        let Eligibility { priority, preempt, .. } = self.config.eligibility;
        self.config.eligibility = Eligibility { priority, preempt, ..new.eligibility };
        self.config.health = new.health;
        self.standing.send_replace(Settings::of(&self.config));
        let listen = self.config.http.listen.take();
        self.config.http = Http { listen, ..new.http };
        // Always: the token may be another one in the same file.
        http::reload(&self.config.http, &self.http);
        self.config.events = new.events;
        self.config.log.level = new.log.level;
        self.level.set(self.config.log.level);
        if let Err(error) =
            self.scripts.reconfigure(scripts::config_of(&self.config, &self.running))
        {
            tracing::error!("SIGHUP: cannot run event scripts: {error}");
        }
        for d in &live {
            let (section, key, old, new) = (d.key.section, d.key.name, &d.old, &d.new);
            tracing::info!("SIGHUP: [{section}] {key}: {old} -> {new}");
        }
        let count = live.len();
        tell!(Reloaded, count = count; "The configuration was read again, {count} keys changed.");
    }
}

/// Whether a new value takes effect without a restart.
fn is_live(key: &Key) -> bool {
    match (key.section, key.name) {
        // The node tells the others of both, in its handshake.
        ("eligibility", "priority" | "preempt") => false,
        ("http", "listen") => false,
        ("eligibility" | "health" | "events" | "http", _) | ("log", "level") => true,
        _ => false,
    }
}
