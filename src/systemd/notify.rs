//! What the agent tells systemd about itself (sd_notify(3)): ready, status, reloading, stopping,
//! and that it is alive.
//!
//! Guarantees that nothing here blocks the driver, however busy PID 1 is, and that without
//! `NOTIFY_SOCKET` nothing happens. It has no timer and no task of its own: others say when.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::sync::Arc;
use std::time::Duration;

pub use sd_notify::NotifyState;
use tokio::net::UnixDatagram;

use crate::core::Instant;
use crate::limits;
use crate::node::status::{NodeStatus, Role};

/// How to reach the service manager. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    socket: Option<Arc<UnixDatagram>>,
}

impl Notifier {
    /// To whoever `NOTIFY_SOCKET` names; to nobody without it. Must be called inside a runtime.
    pub fn from_env() -> io::Result<Notifier> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(Notifier::default()) };
        let address = match name.as_encoded_bytes().strip_prefix(b"@") {
            Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = StdDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Notifier { socket: Some(Arc::new(UnixDatagram::from_std(socket)?)) })
    }

    /// Says it, and waits while the other side is too busy to take it. A notification that cannot
    /// be sent is logged: there is nothing else to do about it.
    pub async fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(text(states).as_bytes()).await {
            tracing::warn!("cannot notify systemd: {error}, ignoring");
        }
    }

    /// A reload begins; `Ready` ends it. From version 253 on systemd requires the time.
    pub async fn tell_reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]).await,
            Err(error) => tracing::warn!("cannot read the clock: {error}, ignoring"),
        }
    }

    /// Says it if that is possible at once.
    fn try_tell(&self, state: NotifyState<'_>) -> bool {
        let Some(socket) = &self.socket else { return false };
        socket.try_send(text(&[state]).as_bytes()).is_ok()
    }
}

fn text(states: &[NotifyState<'_>]) -> String {
    states.iter().map(|state| format!("{state}\n")).collect()
}

/// The watchdog's pings (DESIGN 5.7): sent by the driver's loop, which is what has to be alive, and
/// only until an instant that the node gives. From then on systemd counts down.
#[derive(Debug)]
pub struct Pinger {
    notifier: Notifier,
    rhythm: Option<Rhythm>,
}

impl Pinger {
    /// Pings through `notifier` if systemd watches this process (`WATCHDOG_USEC`).
    pub fn from_env(notifier: Notifier) -> Pinger {
        Pinger { notifier, rhythm: sd_notify::watchdog_enabled().map(Rhythm::new) }
    }

    /// Pings no more from `until` on; `None` takes that back.
    pub fn allow_until(&mut self, until: Option<Instant>) {
        if let Some(rhythm) = &mut self.rhythm {
            rhythm.allow_until(until);
        }
    }

    /// Pings if it is time; returns when to come back. `None`: not before something changes.
    pub fn turn(&mut self, now: Instant) -> Option<Instant> {
        let rhythm = self.rhythm.as_mut()?;
        if rhythm.due(now) {
            let sent = self.notifier.try_tell(NotifyState::Watchdog);
            rhythm.pinged(now, sent);
        }
        rhythm.next()
    }
}

/// When to ping. A plain value.
#[derive(Debug)]
struct Rhythm {
    /// Half of what systemd waits: one ping may be late by as much (sd_watchdog_enabled(3)).
    every: Duration,
    at: Instant,
    until: Option<Instant>,
}

impl Rhythm {
    fn new(watchdog: Duration) -> Rhythm {
        Rhythm { every: watchdog / 2, at: Instant(0), until: None }
    }

    fn allow_until(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    fn due(&self, now: Instant) -> bool {
        now >= self.at && self.until.is_none_or(|until| now < until)
    }

    fn pinged(&mut self, now: Instant, sent: bool) {
        self.at = now + if sent { self.every } else { limits::WATCHDOG_RETRY };
    }

    fn next(&self) -> Option<Instant> {
        Some(self.at).filter(|at| self.until.is_none_or(|until| *at < until))
    }
}

/// The line that `systemctl status` shows: role, leader, term.
///
/// Only what changes together with the role or the leader, so that it is never stale.
pub fn status_text(status: &NodeStatus) -> String {
    let (term, count) = (status.term, status.members.len());
    match (status.role, status.leader_member()) {
        (Role::Leader, _) => match status.token.filter(|_| status.active) {
            Some(token) => format!("leader of {count} in term {term}, active, token {token}"),
            None => format!("leader of {count} in term {term}, not active"),
        },
        (role, Some(leader)) => format!("{} of {} in term {term}", role.as_str(), leader.name),
        (role, None) => format!("{} in term {term}, no leader known", role.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn pings_come_each_half_of_the_watchdog() {
        let mut rhythm = Rhythm::new(Duration::from_millis(500));
        assert!(rhythm.due(at(1000)), "the first one at once");
        rhythm.pinged(at(1000), true);
        assert_eq!(rhythm.next(), Some(at(1250)));
        assert!(!rhythm.due(at(1249)));
        assert!(rhythm.due(at(1250)));
    }

    #[test]
    fn what_systemd_cannot_take_is_tried_again_soon() {
        let mut rhythm = Rhythm::new(Duration::from_millis(500));
        rhythm.pinged(at(1000), false);
        assert_eq!(rhythm.next(), Some(at(1000) + limits::WATCHDOG_RETRY));
    }

    #[test]
    fn no_ping_from_the_end_of_the_lease_on() {
        let mut rhythm = Rhythm::new(Duration::from_millis(500));
        rhythm.pinged(at(1000), true);
        rhythm.allow_until(Some(at(1250)));
        assert_eq!(rhythm.next(), None, "nobody need wake up for a ping that may not be sent");
        assert!(!rhythm.due(at(1250)) && !rhythm.due(at(9000)));
        // A renewal, after which the ping is due at its time.
        rhythm.allow_until(Some(at(1251)));
        assert_eq!(rhythm.next(), Some(at(1250)));
        assert!(rhythm.due(at(1250)) && !rhythm.due(at(1251)));
        // The stop was acknowledged: pings go on, the late one at once.
        rhythm.allow_until(None);
        assert!(rhythm.due(at(1400)));
    }

    #[test]
    fn without_a_watchdog_nobody_is_woken() {
        let mut pinger = Pinger { notifier: Notifier::default(), rhythm: None };
        pinger.allow_until(Some(at(5)));
        assert_eq!(pinger.turn(at(1)), None);
    }
}
