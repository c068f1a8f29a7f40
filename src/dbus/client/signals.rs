//! What an agent announces, as values.
//!
//! Guarantees that a change is told only after the state it is based on, and only if the agent
//! itself has sent it. Signals of later versions are passed over.

use zbus::message::{Sequence, Type};
use zbus::{Message, MessageStream};

use super::{PROPERTIES_INTERFACE, next};
use crate::dbus::NODE_INTERFACE;

/// A change that the agent announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `RoleChanged`.
    Role {
        /// Role before.
        old: String,
        /// Role now.
        new: String,
        /// Term now.
        term: u64,
        /// Token of the activation in force, 0 for none.
        token: u64,
        /// Why.
        reason: String,
    },
    /// `LeaderChanged`; empty names mean none.
    Leader {
        /// Leader before.
        old: String,
        /// Leader now.
        new: String,
        /// Term now.
        term: u64,
    },
    /// `QuorumChanged`.
    Quorum {
        /// Whether the node hears a quorum.
        has: bool,
        /// Term now.
        term: u64,
    },
    /// `PausedChanged`.
    Paused {
        /// Whether the cluster is paused.
        paused: bool,
        /// Term now.
        term: u64,
    },
    /// `MemberUnitChanged`.
    Unit {
        /// The unit.
        unit: String,
        /// Its `ActiveState`; empty: it joins no longer.
        state: String,
    },
    /// `Fenced`.
    Fenced {
        /// When it began, in microseconds since 1970.
        when_usec: u64,
        /// What was done.
        what: String,
        /// Why.
        why: String,
    },
    /// A property changed that no other signal is about, for example eligibility.
    Properties,
}

/// The changes that an agent announces after the state they are based on.
#[derive(Debug)]
pub struct Signals {
    pub(super) stream: MessageStream,
    pub(super) after: Sequence,
    /// Who sends them, where not everybody else is the agent.
    pub(super) sender: Option<String>,
}

impl Signals {
    /// The next change that has a signal of its own, or `None` when the agent has gone.
    pub async fn next(&mut self) -> Option<Signal> {
        loop {
            match self.next_of_all().await? {
                Signal::Properties => {}
                signal => return Some(signal),
            }
        }
    }

    /// The next change, or `None` when the agent has gone.
    pub async fn next_of_all(&mut self) -> Option<Signal> {
        loop {
            let message = next(&mut self.stream).await?;
            if message.recv_position() <= self.after {
                continue;
            }
            if let Some(agent) = &self.sender {
                let header = message.header();
                let from = header.sender().map(|name| name.as_str());
                if header.member().is_some_and(|name| name.as_str() == "NameOwnerChanged")
                    && from == Some("org.freedesktop.DBus")
                {
                    return None;
                }
                // The bus delivers what anybody sends to us alone.
                if from != Some(agent) {
                    continue;
                }
            }
            if let Some(signal) = Signal::read(&message) {
                return Some(signal);
            }
        }
    }
}

impl Signal {
    /// Reads a signal of ours; `None` for other messages and for signals of later versions.
    fn read(message: &Message) -> Option<Signal> {
        let header = message.header();
        if message.message_type() != Type::Signal {
            return None;
        }
        let body = message.body();
        match header.member()?.as_str() {
            "PropertiesChanged" if header.interface()? == PROPERTIES_INTERFACE => {
                return Some(Signal::Properties);
            }
            _ if header.interface()? != NODE_INTERFACE => return None,
            _ => {}
        }
        match header.member()?.as_str() {
            "RoleChanged" => {
                let (old, new, term, token, reason) = body.deserialize().ok()?;
                Some(Signal::Role { old, new, term, token, reason })
            }
            "LeaderChanged" => {
                let (old, new, term) = body.deserialize().ok()?;
                Some(Signal::Leader { old, new, term })
            }
            "QuorumChanged" => {
                let (has, term) = body.deserialize().ok()?;
                Some(Signal::Quorum { has, term })
            }
            "PausedChanged" => {
                let (paused, term) = body.deserialize().ok()?;
                Some(Signal::Paused { paused, term })
            }
            "MemberUnitChanged" => {
                let (unit, state) = body.deserialize().ok()?;
                Some(Signal::Unit { unit, state })
            }
            "Fenced" => {
                let (when_usec, what, why) = body.deserialize().ok()?;
                Some(Signal::Fenced { when_usec, what, why })
            }
            _ => None,
        }
    }
}
