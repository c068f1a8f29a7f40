//! The one connection to the service manager: made, subscribed, read, and made again.
//!
//! A connection is published only after everything is subscribed, so no job of ours can end
//! unheard because we asked too early. When the manager's owner changes (`daemon-reexec`) or the
//! bus closes, everything starts over. Signals only wake and hint; what counts is what the manager
//! answers when it is asked.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use zbus::{Connection, Message, OwnedObjectPath};

use super::bus::{self, BUS, BusAddress, CallError, Method, PROPERTIES, Signals};
use super::manager::JobResult;
use super::names::unit_path;
use crate::core::story::tell;
use crate::limits;

/// Name, path and interface of the manager.
pub(super) const MANAGER: (&str, &str, &str) =
    ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");

/// What the link's task and those who use it share.
#[derive(Debug)]
pub(super) struct Link {
    /// The subscribed connection, while there is one.
    pub connection: watch::Sender<Option<Connection>>,
    /// Rises with everything that may have changed a unit.
    pub changed: watch::Sender<u64>,
    /// Rises with everything that may have changed what units are: another manager, or a reload.
    pub reloaded: watch::Sender<u64>,
    /// Rises with everything that may have changed one of the units of `followed`.
    pub unit_changed: watch::Sender<u64>,
    /// Further units whose changes are to be heard of.
    pub followed: watch::Sender<BTreeSet<String>>,
    /// Jobs that ended, oldest first.
    removed: Mutex<VecDeque<(OwnedObjectPath, JobResult)>>,
}

impl Link {
    pub(super) fn new() -> Link {
        Link {
            connection: watch::Sender::new(None),
            changed: watch::Sender::new(0),
            reloaded: watch::Sender::new(0),
            unit_changed: watch::Sender::new(0),
            followed: watch::Sender::new(BTreeSet::new()),
            removed: Mutex::new(VecDeque::new()),
        }
    }

    /// With what `job` ended, if that was heard.
    pub(super) fn result_of(&self, job: &OwnedObjectPath) -> Option<JobResult> {
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        removed.iter().rev().find(|(path, _)| path == job).map(|(_, result)| result.clone())
    }

    fn remember(&self, job: OwnedObjectPath, result: JobResult) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        if removed.len() == limits::HOST_JOBS_REMEMBERED {
            removed.pop_front();
        }
        removed.push_back((job, result));
    }

    fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
        self.unit_changed.send_modify(|count| *count += 1);
    }

    /// Keeps the rules for the units of `followed`, on whatever connection there is.
    pub(super) async fn keep_following(&self) {
        let mut connections = self.connection.subscribe();
        let mut followed = self.followed.subscribe();
        let mut heard = BTreeSet::new();
        loop {
            let connection = connections.borrow_and_update().clone();
            let wanted = followed.borrow_and_update().clone();
            match &connection {
                None => heard.clear(),
                Some(connection) => follow(connection, &wanted, &mut heard).await,
            }
            // AFTER the rules: what changed before them is seen in the next look.
            self.unit_changed.send_modify(|count| *count += 1);
            tokio::select! {
                Ok(()) = connections.changed() => heard.clear(),
                Ok(()) = followed.changed() => {}
                else => return,
            }
        }
    }

    /// Keeps a connection until the task is aborted. `watched` is the unit whose jobs and
    /// properties are to be heard of.
    pub(super) async fn keep(self: Arc<Link>, address: BusAddress, watched: String) {
        let mut pause = limits::HOST_RECONNECT_MIN;
        let mut complained = false;
        loop {
            let begun = Instant::now();
            match subscribe(&address, &watched).await {
                Ok((connection, signals, owner)) => {
                    if complained {
                        tell!(ManagerBack; "The service manager answers again.");
                    }
                    complained = false;
                    // Numbers of jobs may start anew with a new manager.
                    self.removed.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    self.connection.send_replace(Some(connection));
                    self.reloaded.send_modify(|count| *count += 1);
                    self.wake();
                    self.listen(signals, &owner, &unit_path(&watched)).await;
                    self.connection.send_replace(None);
                    tracing::debug!("the connection to the service manager is made again");
                }
                Err(error) if !complained => {
                    let reason = error.to_string();
                    tell!(
                        ManagerLost, reason = reason.as_str();
                        "The service manager cannot be reached, trying again: {reason}."
                    );
                    complained = true;
                }
                Err(_) => {}
            }
            if begun.elapsed() > limits::HOST_RECONNECT_MAX {
                pause = limits::HOST_RECONNECT_MIN;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::HOST_RECONNECT_MAX);
        }
    }

    /// Reads signals until the connection closes or the manager has another owner.
    async fn listen(&self, mut signals: Signals, owner: &str, watched: &str) {
        while let Some(signal) = signals.next().await {
            let Some((sender, interface, member)) = bus::parts(&signal) else { continue };
            if sender == BUS.0 && member == "NameOwnerChanged" {
                if new_owner(&signal, MANAGER.0).is_some() {
                    return;
                }
            } else if sender == owner {
                if interface == MANAGER.2 && member == "JobRemoved" {
                    self.job_removed(&signal);
                }
                // Comes twice: with true when it begins, with false when it is over.
                if member == "Reloading" && is_false(&signal) {
                    self.reloaded.send_modify(|count| *count += 1);
                }
                // Whoever drives the target is not woken by every change of its members.
                let path = signal.header().path().map(ToString::to_string);
                match member == "PropertiesChanged" && path.as_deref() != Some(watched) {
                    true => self.unit_changed.send_modify(|count| *count += 1),
                    false => self.wake(),
                }
            }
        }
    }

    fn job_removed(&self, signal: &Message) {
        let body: Result<(u32, OwnedObjectPath, String, String), _> = signal.body().deserialize();
        if let Ok((_, job, _, result)) = body {
            self.remember(job, JobResult::from(result.as_str()));
        }
    }
}

/// Whether a signal says no.
fn is_false(signal: &Message) -> bool {
    matches!(signal.body().deserialize(), Ok(false))
}

/// The new owner, empty for none, if a `NameOwnerChanged` is about `name`.
pub(super) fn new_owner(signal: &Message, name: &str) -> Option<String> {
    let body: Result<(String, String, String), _> = signal.body().deserialize();
    body.ok().filter(|(changed, _, _)| changed == name).map(|(_, _, new)| new)
}

/// Adds the rules that are missing and removes those that are not wanted any more. A unit without a
/// rule is seen in the next look all the same.
async fn follow(connection: &Connection, wanted: &BTreeSet<String>, heard: &mut BTreeSet<String>) {
    let rule = |unit: &str| {
        let (from, path) = (MANAGER.0, unit_path(unit));
        format!(
            "type='signal',sender='{from}',interface='{PROPERTIES}',member='PropertiesChanged',\
             path='{path}'"
        )
    };
    let (gone, new): (Vec<String>, Vec<String>) =
        (heard.difference(wanted).cloned().collect(), wanted.difference(heard).cloned().collect());
    let within = limits::HOST_CALL_TIMEOUT;
    for unit in gone {
        if let Err(error) = bus::remove_match(connection, &rule(&unit), within).await {
            tracing::debug!("cannot stop following {unit}: {error}, ignoring");
        }
        heard.remove(&unit);
    }
    for unit in new {
        match bus::add_match(connection, &rule(&unit), within).await {
            Ok(()) => _ = heard.insert(unit),
            Err(error) => tracing::debug!("cannot follow {unit}: {error}, ignoring"),
        }
    }
}

/// Connects and subscribes; the connection, its signals, and who the manager is.
async fn subscribe(
    address: &BusAddress,
    watched: &str,
) -> Result<(Connection, Signals, String), CallError> {
    let within = limits::HOST_CALL_TIMEOUT;
    let (to, path, interface) = MANAGER;
    let (connection, signals) = bus::connect(address, within).await?;
    let from = format!("type='signal',sender='{to}'");
    let unit = unit_path(watched);
    for rule in [
        format!("type='signal',sender='{}',member='NameOwnerChanged',arg0='{to}'", BUS.0),
        format!("{from},interface='{interface}',member='JobRemoved'"),
        format!("{from},interface='{interface}',member='Reloading'"),
        format!("{from},interface='{interface}',member='JobNew',arg2='{watched}'"),
        format!("{from},interface='{PROPERTIES}',member='PropertiesChanged',path='{unit}'"),
    ] {
        bus::add_match(&connection, &rule, within).await?;
    }
    // AFTER the rule for its change: none is missed.
    let owner = bus::owner(&connection, to, within).await?;
    let method = Method { to, path, interface, name: "Subscribe" };
    match bus::call(&connection, method, &(), within).await {
        Err(error) if !error.is("org.freedesktop.systemd1.AlreadySubscribed") => Err(error),
        _ => Ok((connection, signals, owner)),
    }
}
