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
    /// Any of the others; runs after the script of the event itself.
    Change,
}

impl EventName {
    /// Every event, in the order of the documentation.
    pub const ALL: [EventName; 5] = [
        EventName::Leader,
        EventName::Follower,
        EventName::Candidate,
        EventName::Learner,
        EventName::Change,
    ];

    /// The word used in configuration, environment and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventName::Leader => "leader",
            EventName::Follower => "follower",
            EventName::Candidate => "candidate",
            EventName::Learner => "learner",
            EventName::Change => "change",
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
#[error("unknown event {text:?}; expected one of leader, follower, candidate, learner, change")]
pub struct UnknownEvent {
    /// What was given.
    pub text: String,
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
