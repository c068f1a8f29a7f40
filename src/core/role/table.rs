//! The table of the role machine: what follows when a node in one state is seen to do something.
//!
//! Read it as the specification. The rows are in the order of [`State::ALL`], within one state in
//! the order of [`Observed::ALL`]; the compiler checks that none is missing (end of this file).

use super::{EventName, Observed, Rule, State};

use Observed::*;
use State::*;

const NOTHING: &[EventName] = &[];
const FOLLOWER: &[EventName] = &[EventName::Follower];
const CANDIDATE: &[EventName] = &[EventName::Candidate];
const LEARNER: &[EventName] = &[EventName::Learner];
const LEADER: &[EventName] = &[EventName::Leader];

// Out of `Active` the demotion comes BEFORE everything else: whatever the node does next, a
// `leader` script that ran is followed by a `follower` script.
const DEMOTE: &[EventName] = FOLLOWER;
const DEMOTE_CANDIDATE: &[EventName] = &[EventName::Follower, EventName::Candidate];
const DEMOTE_LEARNER: &[EventName] = &[EventName::Follower, EventName::Learner];
const DEMOTE_LEADER: &[EventName] = &[EventName::Follower, EventName::Leader];

/// Every pair of state and observation, and what follows.
#[rustfmt::skip]
pub const TABLE: &[Rule] = &[
    rule(Starting,  Follows,     Follower,  FOLLOWER,  "the agent started, waits for a leader"),
    rule(Starting,  Campaigns,   Candidate, CANDIDATE, "no leader was found"),
    rule(Starting,  Elected,     Leader,    NOTHING,   "one node elects within one turn"),
    rule(Starting,  Activated,   Active,    LEADER,    "one node may activate within one turn"),
    rule(Starting,  Reactivated, Active,    LEADER,    "not seen: no activation before"),
    rule(Starting,  Learns,      Learner,   LEARNER,   "the agent started as a learner"),
    rule(Starting,  Stops,       Stopped,   NOTHING,   "nothing was begun"),

    rule(Follower,  Follows,     Follower,  NOTHING,   "another leader or term is no new role"),
    rule(Follower,  Campaigns,   Candidate, CANDIDATE, "the leader is gone"),
    rule(Follower,  Elected,     Leader,    NOTHING,   "both steps within one turn"),
    rule(Follower,  Activated,   Active,    LEADER,    "all steps within one turn"),
    rule(Follower,  Reactivated, Active,    LEADER,    "not seen: no activation before"),
    rule(Follower,  Learns,      Learner,   LEARNER,   "membership made it a learner"),
    rule(Follower,  Stops,       Stopped,   NOTHING,   "nothing to undo"),

    rule(Candidate, Follows,     Follower,  FOLLOWER,  "somebody else leads, or it gave up"),
    rule(Candidate, Campaigns,   Candidate, NOTHING,   "the next round of the same campaign"),
    rule(Candidate, Elected,     Leader,    NOTHING,   "scripts wait for the activation"),
    rule(Candidate, Activated,   Active,    LEADER,    "both steps within one turn"),
    rule(Candidate, Reactivated, Active,    LEADER,    "not seen: no activation before"),
    rule(Candidate, Learns,      Learner,   LEARNER,   "membership made it a learner"),
    rule(Candidate, Stops,       Stopped,   NOTHING,   "nothing to undo"),

    rule(Leader,    Follows,     Follower,  FOLLOWER,  "deposed before a leader script ran"),
    rule(Leader,    Campaigns,   Candidate, CANDIDATE, "deposed, and campaigns again"),
    rule(Leader,    Elected,     Leader,    NOTHING,   "still waits for its activation"),
    rule(Leader,    Activated,   Active,    LEADER,    "activation committed, token known"),
    rule(Leader,    Reactivated, Active,    LEADER,    "not seen: no activation before"),
    rule(Leader,    Learns,      Learner,   LEARNER,   "membership made it a learner"),
    rule(Leader,    Stops,       Stopped,   NOTHING,   "nothing to undo"),

    rule(Active,    Follows,     Follower,  DEMOTE,    "leadership lost or handed over"),
    rule(Active,    Campaigns,   Candidate, DEMOTE_CANDIDATE, "demote first"),
    rule(Active,    Elected,     Leader,    DEMOTE,    "won again: the old activation ended"),
    rule(Active,    Activated,   Active,    NOTHING,   "the same activation still holds"),
    rule(Active,    Reactivated, Active,    DEMOTE_LEADER, "another token"),
    rule(Active,    Learns,      Learner,   DEMOTE_LEARNER, "demote first"),
    rule(Active,    Stops,       Stopped,   DEMOTE,    "the agent stops while active"),

    rule(Learner,   Follows,     Follower,  FOLLOWER,  "membership made it a voter"),
    rule(Learner,   Campaigns,   Candidate, CANDIDATE, "made a voter within one turn"),
    rule(Learner,   Elected,     Leader,    NOTHING,   "made a voter within one turn"),
    rule(Learner,   Activated,   Active,    LEADER,    "made a voter within one turn"),
    rule(Learner,   Reactivated, Active,    LEADER,    "not seen: no activation before"),
    rule(Learner,   Learns,      Learner,   NOTHING,   "another leader or term is no new role"),
    rule(Learner,   Stops,       Stopped,   NOTHING,   "nothing to undo"),

    rule(Stopped,   Follows,     Stopped,   NOTHING,   "a stopped node begins nothing"),
    rule(Stopped,   Campaigns,   Stopped,   NOTHING,   "a stopped node begins nothing"),
    rule(Stopped,   Elected,     Stopped,   NOTHING,   "a stopped node begins nothing"),
    rule(Stopped,   Activated,   Stopped,   NOTHING,   "a stopped node begins nothing"),
    rule(Stopped,   Reactivated, Stopped,   NOTHING,   "a stopped node begins nothing"),
    rule(Stopped,   Learns,      Stopped,   NOTHING,   "a stopped node begins nothing"),
    rule(Stopped,   Stops,       Stopped,   NOTHING,   "said twice"),
];

/// The row for one pair.
pub(super) fn lookup(from: State, observed: Observed) -> &'static Rule {
    &TABLE[from as usize * Observed::ALL.len() + observed as usize]
}

const fn rule(
    from: State,
    observed: Observed,
    to: State,
    scripts: &'static [EventName],
    comment: &'static str,
) -> Rule {
    Rule { from, observed, to, scripts, comment }
}

// Total and in order: `lookup` may index, and no pair is without an answer.
const _: () = {
    let columns = Observed::ALL.len();
    assert!(TABLE.len() == State::ALL.len() * columns);
    let mut row = 0;
    while row < TABLE.len() {
        assert!(TABLE[row].from as usize == row / columns);
        assert!(TABLE[row].observed as usize == row % columns);
        row += 1;
    }
};
