//! Who may change what: the one place that decides it, for both kinds of connection.
//!
//! Whoever got into the private socket may do everything. On the system bus the status is open to
//! everybody; what changes something, and what the store holds, is for root, for the group of
//! administrators, and for whom polkit authorises. Who a caller is comes from the kernel or the
//! bus, never from a message. What takes long is bounded for each user, so that one of them cannot
//! keep others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use zbus::message::Header;

use super::authority::Authority;
use super::error::Denied;
use super::peer::PeerCreds;
use crate::limits;

/// What a caller may be authorised for: the actions of `dbus/org.raftctl.agent1.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand leadership to another node.
    Transfer,
    /// Declare an activation over by force.
    Takeover,
    /// Take the host out of service, or put it back.
    Maintenance,
    /// Forget failures of units.
    Clear,
    /// Pause the cluster, or let it go on.
    Pause,
    /// Change what is logged.
    SetLogLevel,
    /// Read what the store holds.
    ReadData,
    /// Change what the store holds.
    WriteData,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 8] = [
        Action::Transfer,
        Action::Takeover,
        Action::Maintenance,
        Action::Clear,
        Action::Pause,
        Action::SetLogLevel,
        Action::ReadData,
        Action::WriteData,
    ];

    /// Its name for polkit.
    pub fn id(self) -> &'static str {
        match self {
            Action::Transfer => "org.raftctl.agent1.transfer",
            Action::Takeover => "org.raftctl.agent1.takeover",
            Action::Maintenance => "org.raftctl.agent1.maintenance",
            Action::Clear => "org.raftctl.agent1.clear",
            Action::Pause => "org.raftctl.agent1.pause",
            Action::SetLogLevel => "org.raftctl.agent1.set-log-level",
            Action::ReadData => "org.raftctl.agent1.read-data",
            Action::WriteData => "org.raftctl.agent1.write-data",
        }
    }
}

/// Who calls on one connection, and what he may do.
#[derive(Clone)]
pub(super) enum Access {
    /// A connection of the private socket: always the same client, who may do everything.
    Peer(PeerCreds),
    /// The system bus, whose messages say who sent them.
    Bus(Arc<Authority>),
}

/// A caller who may do what he asks for. Held until it is done.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) uid: u32,
    pub(super) pid: Option<i32>,
    _ticket: Option<Ticket>,
}

impl Caller {
    pub(super) fn new(peer: PeerCreds, ticket: Option<Ticket>) -> Caller {
        Caller { uid: peer.uid, pid: peer.pid, _ticket: ticket }
    }
}

impl Access {
    /// Lets the caller do what changes something, or read what is not open to everybody, if he may.
    pub(super) async fn to_change(
        &self,
        action: Action,
        header: &Header<'_>,
    ) -> Result<Caller, Denied> {
        match self {
            Access::Peer(peer) => Ok(Caller::new(*peer, None)),
            Access::Bus(authority) => authority.authorise(action, header).await,
        }
    }

    /// Lets the caller read what takes long to find out, if he does not do so too often.
    pub(super) async fn to_ask(&self, header: &Header<'_>) -> Result<Caller, Denied> {
        match self {
            Access::Peer(peer) => Ok(Caller::new(*peer, None)),
            Access::Bus(authority) => authority.admit(header).await,
        }
    }
}

/// How many long calls each user has running.
#[derive(Debug, Default)]
pub(super) struct Tickets(Arc<Mutex<BTreeMap<u32, usize>>>);

/// One long call of a user.
#[derive(Debug)]
pub(super) struct Ticket {
    uid: u32,
    tickets: Arc<Mutex<BTreeMap<u32, usize>>>,
}

impl Tickets {
    /// One more long call of user `uid`; refused at the limit.
    pub(super) fn take(&self, uid: u32) -> Result<Ticket, Denied> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(uid).or_default();
        if *count >= limits::DBUS_CALLS_PER_USER_MAX {
            let text = format!("user {uid} has {count} calls waiting; expected fewer");
            return Err(Denied::LimitsExceeded(text));
        }
        *count += 1;
        Ok(Ticket { uid, tickets: Arc::clone(&self.0) })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut running = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_at_his_limit_keeps_nobody_else_out() {
        let tickets = Tickets::default();
        let mut taken: Vec<Ticket> =
            (0..limits::DBUS_CALLS_PER_USER_MAX).map(|_| tickets.take(7).unwrap()).collect();
        assert!(matches!(tickets.take(7), Err(Denied::LimitsExceeded(_))));
        tickets.take(8).unwrap();
        taken.pop();
        taken.push(tickets.take(7).unwrap());
        assert!(tickets.take(7).is_err());
        drop(taken);
        assert!(tickets.0.lock().unwrap().is_empty(), "users are forgotten");
    }
}
