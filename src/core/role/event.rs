//! The names of the events that a script can be attached to.

use std::fmt;
use std::str::FromStr;

/// An event that a script can be attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventName {
    /// This node became active: its activation is committed, the token is known.
    Leader,
    /// This node began to follow, or ceased to be active.
    Follower,
    /// This node asks for votes.
    Candidate,
    /// This node receives the log and does not vote.
    Learner,
    /// Any of these four; runs after the script of the event itself.
    Change,
    /// This node has become active.
    Active,
    /// This node is active no longer, and what it ran has stopped.
    Released,
    /// This node hears no quorum any more.
    QuorumLost,
    /// This node hears a quorum again.
    QuorumRegained,
    /// Something of an activation was ended by force.
    Fenced,
    /// This host was taken out of service, or put back.
    Maintenance,
}

impl EventName {
    /// Every event, in the order of the documentation.
    pub const ALL: [EventName; 11] = [
        EventName::Leader,
        EventName::Follower,
        EventName::Candidate,
        EventName::Learner,
        EventName::Change,
        EventName::Active,
        EventName::Released,
        EventName::QuorumLost,
        EventName::QuorumRegained,
        EventName::Fenced,
        EventName::Maintenance,
    ];

    /// The word used in configuration, environment and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventName::Leader => "leader",
            EventName::Follower => "follower",
            EventName::Candidate => "candidate",
            EventName::Learner => "learner",
            EventName::Change => "change",
            EventName::Active => "active",
            EventName::Released => "released",
            EventName::QuorumLost => "quorum-lost",
            EventName::QuorumRegained => "quorum-regained",
            EventName::Fenced => "fenced",
            EventName::Maintenance => "maintenance",
        }
    }

    /// Whether the role machine submits it: the event of a role, or `change`, which runs with it.
    pub const fn is_of_role(self) -> bool {
        match self {
            EventName::Leader
            | EventName::Follower
            | EventName::Candidate
            | EventName::Learner
            | EventName::Change => true,
            EventName::Active
            | EventName::Released
            | EventName::QuorumLost
            | EventName::QuorumRegained
            | EventName::Fenced
            | EventName::Maintenance => false,
        }
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventName {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let found = EventName::ALL.into_iter().find(|event| event.as_str() == text);
        found.ok_or_else(|| UnknownEvent { text: text.to_owned() })
    }
}

/// The text names no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown event {text:?}; expected one of {}", names())]
pub struct UnknownEvent {
    /// What was given.
    pub text: String,
}

fn names() -> String {
    EventName::ALL.map(EventName::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_refused_with_the_choice() {
        for event in EventName::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
        }
        for text in ["", "Leader", "leader ", "master"] {
            let error = text.parse::<EventName>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
            for event in EventName::ALL {
                assert!(error.contains(event.as_str()), "{error}");
            }
        }
    }
}
