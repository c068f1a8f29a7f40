//! The role machine: what a node does when its role changes, as a table.
//!
//! Owns the question "the driver saw this; what follows?". The driver calls
//! [`RoleMachine::observe`] once per turn with what it sees then, however much happened within the
//! turn. The answer is a [`Rule`]; its scripts are run in order by the surfaces.
//!
//! Guarantees: every pair of state and observation has a rule (checked by the compiler in
//! `table.rs`); between two `leader` scripts there is a `follower` script; a node that ceases to be
//! active demotes BEFORE anything else; seeing the same thing again runs nothing.
//!
//! Does not: know times, terms, peers or how scripts run.

mod event;
mod table;

pub use event::{EventName, UnknownEvent};
pub use table::TABLE;

use super::Token;

/// Where the node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The agent runs, nothing was observed yet.
    Starting,
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes (pre-vote included).
    Candidate,
    /// Elected; its activation is not committed.
    Leader,
    /// Its activation is in force: this node is the one.
    Active,
    /// Receives the log, does not vote.
    Learner,
    /// Stops; nothing is begun any more.
    Stopped,
}

impl State {
    /// Every state, in the order of the table.
    pub const ALL: [State; 7] = [
        State::Starting,
        State::Follower,
        State::Candidate,
        State::Leader,
        State::Active,
        State::Learner,
        State::Stopped,
    ];

    /// The word for the state itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Active => "active",
            other => other.role(),
        }
    }

    /// The role in the words of scripts and signals, where an active node is a `leader`.
    pub const fn role(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Follower => "follower",
            State::Candidate => "candidate",
            State::Leader | State::Active => "leader",
            State::Learner => "learner",
            State::Stopped => "stopped",
        }
    }
}

/// What the driver sees at the end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The replica is a follower.
    Follows,
    /// The replica is a candidate or pre-candidate.
    Campaigns,
    /// The replica leads, and no activation of this node and this term is in force.
    Elected,
    /// The replica leads, and the activation of this node in this term is in force.
    Activated(Token),
    /// The replica is a learner.
    Learns,
    /// The agent is about to stop, whatever the replica is.
    Stops,
}

/// The column of the table: an [`Observation`] without its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Observed {
    /// [`Observation::Follows`].
    Follows,
    /// [`Observation::Campaigns`].
    Campaigns,
    /// [`Observation::Elected`].
    Elected,
    /// [`Observation::Activated`], for the first time or with the token known already.
    Activated,
    /// [`Observation::Activated`] with another token than the one in force until now.
    Reactivated,
    /// [`Observation::Learns`].
    Learns,
    /// [`Observation::Stops`].
    Stops,
}

impl Observed {
    /// Every observation, in the order of the table.
    pub const ALL: [Observed; 7] = [
        Observed::Follows,
        Observed::Campaigns,
        Observed::Elected,
        Observed::Activated,
        Observed::Reactivated,
        Observed::Learns,
        Observed::Stops,
    ];

    /// The word used in the rendered table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Observed::Follows => "follows",
            Observed::Campaigns => "campaigns",
            Observed::Elected => "elected",
            Observed::Activated => "activated",
            Observed::Reactivated => "reactivated",
            Observed::Learns => "learns",
            Observed::Stops => "stops",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The state before.
    pub from: State,
    /// What was seen.
    pub observed: Observed,
    /// The state after.
    pub to: State,
    /// The scripts to run, in this order.
    pub scripts: &'static [EventName],
    /// Why, for a person.
    pub comment: &'static str,
}

/// One event to submit to the scripts, with the roles as the script shall see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptEvent {
    /// The event.
    pub event: EventName,
    /// The role that the event speaks of.
    pub role: &'static str,
    /// The role before it.
    pub old_role: &'static str,
}

impl Rule {
    /// The script events of this rule, in order. Each one's `old_role` is the role before it, so
    /// that a demotion followed by a campaign reads leader, follower, candidate.
    pub fn script_events(&self) -> impl Iterator<Item = ScriptEvent> {
        let mut old_role = self.from.role();
        self.scripts.iter().map(move |event| {
            let role = event.as_str();
            let told = ScriptEvent { event: *event, role, old_role };
            old_role = role;
            told
        })
    }
}

/// The state of one node, moved on by the table.
#[derive(Clone, Debug)]
pub struct RoleMachine {
    state: State,
    token: Option<Token>,
}

impl Default for RoleMachine {
    fn default() -> Self {
        RoleMachine::new()
    }
}

impl RoleMachine {
    /// A machine that has observed nothing.
    pub fn new() -> Self {
        RoleMachine { state: State::Starting, token: None }
    }

    /// Where the node stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The token of the activation in force; `Some` exactly in [`State::Active`].
    pub fn token(&self) -> Option<Token> {
        self.token
    }

    /// Moves on by one observation and returns the rule that applied. A rule without actions
    /// means that nothing is to be done.
    pub fn observe(&mut self, observation: Observation) -> &'static Rule {
        let (observed, token) = match observation {
            Observation::Follows => (Observed::Follows, None),
            Observation::Campaigns => (Observed::Campaigns, None),
            Observation::Elected => (Observed::Elected, None),
            Observation::Activated(token) if self.token.is_some_and(|known| known != token) => {
                (Observed::Reactivated, Some(token))
            }
            Observation::Activated(token) => (Observed::Activated, Some(token)),
            Observation::Learns => (Observed::Learns, None),
            Observation::Stops => (Observed::Stops, None),
        };
        let rule = table::lookup(self.state, observed);
        self.state = rule.to;
        self.token = token.filter(|_| rule.to == State::Active);
        assert_eq!(self.token.is_some(), self.state == State::Active, "token while not active");
        rule
    }
}

#[cfg(test)]
mod tests;
