//! logind's delay inhibitors (org.freedesktop.login1(5)): shutdown and sleep wait for a hand-over.
//!
//! Two separate ones, because an unprivileged service is denied a combined one. Each is let go
//! with [`Inhibitors::release`] when the hand-over is done, and taken again when the host goes on.
//! logind waits at most `InhibitDelayMaxUSec`. Without logind everything else works: shutdown then
//! is only noticed by SIGTERM.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zbus::{Connection, OwnedFd, OwnedVariant};

use super::bus::{self, BUS, BusAddress, CallError, Method, PROPERTIES, Signals};
use super::link::new_owner;
use crate::core::NodeName;
use crate::core::story::tell;
use crate::limits;

/// Name, path and interface of logind.
const LOGIND: (&str, &str, &str) =
    ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager");

/// How much longer than D logind should wait: what a hand-over takes beside the demotion.
const MARGIN: Duration = Duration::from_secs(1);

/// What logind says about the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostNotice {
    /// It is about to shut down, and waits for [`Inhibitors::release`].
    Shutdown,
    /// It is about to sleep, and waits for [`Inhibitors::release`].
    Sleep,
    /// It is back, or does not shut down after all.
    Resumed,
}

/// Holds the inhibitors. When it is dropped, they are let go.
#[derive(Debug)]
pub struct Inhibitors {
    locks: Arc<Locks>,
    task: JoinHandle<()>,
}

/// Both inhibitors.
#[derive(Debug, Default)]
struct Locks([Mutex<Lock>; 2]);

#[derive(Debug, Default)]
struct Lock {
    held: Option<OwnedFd>,
    /// Whether the host waits for it.
    awaited: bool,
}

/// What is inhibited; also the index of its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Shutdown,
    Sleep,
}

const ALL: [What; 2] = [What::Shutdown, What::Sleep];

impl What {
    fn as_str(self) -> &'static str {
        match self {
            What::Shutdown => "shutdown",
            What::Sleep => "sleep",
        }
    }

    /// The signal that announces it.
    fn signal(self) -> &'static str {
        match self {
            What::Shutdown => "PrepareForShutdown",
            What::Sleep => "PrepareForSleep",
        }
    }

    fn notice(self) -> HostNotice {
        match self {
            What::Shutdown => HostNotice::Shutdown,
            What::Sleep => HostNotice::Sleep,
        }
    }
}

impl Locks {
    fn with<T>(&self, what: What, change: impl FnOnce(&mut Lock) -> T) -> T {
        // Both fields are valid in every combination.
        change(&mut self.0[what as usize].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes the inhibitors and listens. Must be called inside a runtime, and waits for nothing.
/// `demote_timeout` is D.
pub fn start(
    node: NodeName,
    address: BusAddress,
    demote_timeout: Duration,
) -> (Inhibitors, mpsc::Receiver<HostNotice>) {
    let locks = Arc::new(Locks::default());
    let (notices, noticed) = mpsc::channel(limits::HOST_NOTICES);
    let task = Task { node, address, demote_timeout, locks: Arc::clone(&locks), notices };
    (Inhibitors { locks, task: tokio::spawn(task.run()) }, noticed)
}

impl Inhibitors {
    /// The hand-over is done: what was announced may go on. Without effect if nothing was.
    pub fn release(&self) {
        for what in ALL {
            self.locks.with(what, |lock| {
                if lock.awaited {
                    lock.held = None;
                }
            });
        }
    }
}

impl Drop for Inhibitors {
    fn drop(&mut self) {
        self.task.abort();
        for what in ALL {
            self.locks.with(what, |lock| lock.held = None);
        }
    }
}

struct Task {
    node: NodeName,
    address: BusAddress,
    demote_timeout: Duration,
    locks: Arc<Locks>,
    notices: mpsc::Sender<HostNotice>,
}

impl Task {
    /// Runs until it is aborted, or nobody reads the notices any more.
    async fn run(self) {
        let mut pause = limits::HOST_RECONNECT_MIN;
        let mut complained = false;
        while !self.notices.is_closed() {
            let begun = Instant::now();
            if let Err(error) = self.session(&mut complained).await
                && !complained
            {
                let node = &self.node;
                tracing::warn!(%node, "no message bus for logind, trying again: {error}");
                complained = true;
            }
            if begun.elapsed() > limits::HOST_RECONNECT_MAX {
                pause = limits::HOST_RECONNECT_MIN;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::HOST_RECONNECT_MAX);
        }
    }

    /// One connection, from its beginning to its end.
    async fn session(&self, complained: &mut bool) -> Result<(), CallError> {
        let within = limits::HOST_CALL_TIMEOUT;
        let (connection, mut signals) = bus::connect(&self.address, within).await?;
        let (to, _, interface) = LOGIND;
        let own = format!("type='signal',sender='{to}',interface='{interface}'");
        let change = format!("type='signal',sender='{}',member='NameOwnerChanged'", BUS.0);
        bus::add_match(&connection, &format!("{change},arg0='{to}'"), within).await?;
        for what in ALL {
            let rule = format!("{own},member='{}'", what.signal());
            bus::add_match(&connection, &rule, within).await?;
        }
        loop {
            let owner = match self.take_all(&connection).await {
                Ok(owner) => {
                    *complained = false;
                    Some(owner)
                }
                Err(error) => {
                    if !*complained {
                        let node = &self.node;
                        tracing::warn!(%node, "no inhibitors from logind, ignoring: {error}");
                        *complained = true;
                    }
                    None
                }
            };
            if !self.listen(&connection, &mut signals, owner).await {
                return Ok(());
            }
        }
    }

    /// Takes what is not held; the unique name of logind.
    async fn take_all(&self, connection: &Connection) -> Result<String, CallError> {
        for what in ALL {
            match self.take(connection, what).await {
                // What is announced is still heard; it does not wait.
                Err(error @ CallError::Refused { .. }) => self.complain(what, &error),
                other => other?,
            }
        }
        self.check_delay(connection).await?;
        bus::owner(connection, LOGIND.0, limits::HOST_CALL_TIMEOUT).await
    }

    async fn take(&self, connection: &Connection, what: What) -> Result<(), CallError> {
        let (to, path, interface) = LOGIND;
        let method = Method { to, path, interface, name: "Inhibit" };
        let who = format!("raftctl {}", self.node);
        let body = (what.as_str(), who, "hands leadership over", "delay");
        let within = limits::HOST_CALL_TIMEOUT;
        // What zbus receives is not closed on exec, only this copy of it is: a script that starts
        // before the answer is dropped would hold the inhibitor until it ends. Some microseconds.
        let fd = bus::read(method.name, &bus::call(connection, method, &body, within).await?)?;
        self.locks.with(what, |lock| *lock = Lock { held: Some(fd), awaited: false });
        Ok(())
    }

    fn complain(&self, what: What, error: &CallError) {
        let node = &self.node;
        tracing::warn!(%node, "no {} inhibitor, ignoring: {error}", what.as_str());
    }

    async fn check_delay(&self, connection: &Connection) -> Result<(), CallError> {
        let (to, path, interface) = LOGIND;
        let method = Method { to, path, interface: PROPERTIES, name: "Get" };
        let body = (interface, "InhibitDelayMaxUSec");
        let answer = bus::call(connection, method, &body, limits::HOST_CALL_TIMEOUT).await?;
        let value: OwnedVariant = bus::read(method.name, &answer)?;
        let Ok(micros) = u64::try_from(value) else { return Ok(()) };
        let (delay, needed) = (Duration::from_micros(micros), self.demote_timeout + MARGIN);
        if delay < needed {
            tracing::warn!(
                node = %self.node,
                "logind waits {delay:?} for a hand-over, expected at least {needed:?}: \
                 raise InhibitDelayMaxSec= in logind.conf"
            );
        }
        Ok(())
    }

    /// Reads signals; `true` when logind has another owner, `false` when the connection is closed.
    async fn listen(
        &self,
        connection: &Connection,
        signals: &mut Signals,
        mut owner: Option<String>,
    ) -> bool {
        while let Some(signal) = signals.next().await {
            let Some((sender, interface, member)) = bus::parts(&signal) else { continue };
            if sender == BUS.0 && member == "NameOwnerChanged" {
                match new_owner(&signal, LOGIND.0) {
                    // Asking would start it again.
                    Some(new) if new.is_empty() => owner = None,
                    Some(_) => return true,
                    None => {}
                }
                continue;
            }
            let announced = ALL.into_iter().find(|what| what.signal() == member);
            let (Some(what), true) = (announced, interface == LOGIND.2) else { continue };
            if Some(&sender) != owner.as_ref() {
                continue;
            }
            if let Ok(begins) = signal.body().deserialize::<bool>() {
                self.announce(connection, what, begins).await;
            }
        }
        false
    }

    async fn announce(&self, connection: &Connection, what: What, begins: bool) {
        let (node, reason) = (&self.node, what.signal());
        let notice = if begins {
            tell!(
                HostLeaves, reason = reason;
                "The host of {node} is about to leave ({reason}): handing over before, if active."
            );
            self.locks.with(what, |lock| lock.awaited = true);
            what.notice()
        } else {
            tell!(HostBack, reason = reason; "The host of {node} is back ({reason} is over).");
            if let Err(error) = self.take(connection, what).await {
                self.complain(what, &error);
            }
            HostNotice::Resumed
        };
        // Without a reader the loop ends with the connection or with the task.
        let _ = self.notices.send(notice).await;
    }
}
