//! Names of the events that run a script.

use std::fmt;

/// An event that may have a script. The word is the key in `[events]`, the script's first argument
/// and `RAFTCTL_EVENT` in its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventName {
    /// This node became leader.
    Leader,
    /// This node became follower.
    Follower,
    /// This node became candidate.
    Candidate,
    /// This node became learner.
    Learner,
    /// Any of the others; runs for every event.
    Change,
}

impl EventName {
    /// All events, in the order of the manual.
    pub const ALL: [EventName; 5] = [
        EventName::Leader,
        EventName::Follower,
        EventName::Candidate,
        EventName::Learner,
        EventName::Change,
    ];

    /// The word used on every surface.
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
