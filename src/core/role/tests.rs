//! Tests of the role machine: all pairs, all short histories.

use super::*;

const T1: Token = Token(7);
const T2: Token = Token(9);

/// Every observation, with two tokens.
const OBSERVATIONS: [Observation; 7] = [
    Observation::Follows,
    Observation::Campaigns,
    Observation::Elected,
    Observation::Activated(T1),
    Observation::Activated(T2),
    Observation::Learns,
    Observation::Stops,
];

fn scripts(rule: &Rule) -> Vec<EventName> {
    rule.script_events().map(|told| told.event).collect()
}

/// Every pair of state and observation, by the table.
fn pairs() -> impl Iterator<Item = &'static Rule> {
    State::ALL.into_iter().flat_map(|from| {
        Observed::ALL.into_iter().map(move |observed| table::lookup(from, observed))
    })
}

/// Every sequence of `length` observations, with the rules that applied.
fn histories(length: u32) -> impl Iterator<Item = Vec<(Observation, &'static Rule)>> {
    let count = OBSERVATIONS.len();
    (0..count.pow(length)).map(move |number| {
        let mut machine = RoleMachine::new();
        let digit = |place| OBSERVATIONS[number / count.pow(place) % count];
        (0..length).map(|place| (digit(place), machine.observe(digit(place)))).collect()
    })
}

#[test]
fn every_pair_has_exactly_one_rule() {
    assert_eq!(TABLE.len(), 49);
    for from in State::ALL {
        for observed in Observed::ALL {
            let is_ours = |r: &&Rule| r.from == from && r.observed == observed;
            assert_eq!(TABLE.iter().filter(is_ours).count(), 1, "{from:?} {observed:?}");
            let rule = table::lookup(from, observed);
            assert_eq!((rule.from, rule.observed), (from, observed));
            assert!(!rule.comment.is_empty());
        }
    }
}

#[test]
fn the_state_after_is_what_was_observed() {
    for rule in pairs() {
        let expected = match rule.observed {
            _ if rule.from == State::Stopped => State::Stopped,
            Observed::Follows => State::Follower,
            Observed::Campaigns => State::Candidate,
            Observed::Elected => State::Leader,
            Observed::Activated | Observed::Reactivated => State::Active,
            Observed::Learns => State::Learner,
            Observed::Stops => State::Stopped,
        };
        assert_eq!(rule.to, expected, "{rule:?}");
    }
}

#[test]
fn the_same_state_again_has_no_action_except_for_another_activation() {
    for rule in pairs().filter(|r| r.from == r.to) {
        if (rule.from, rule.observed) == (State::Active, Observed::Reactivated) {
            assert_eq!(scripts(rule), [EventName::Follower, EventName::Leader]);
        } else {
            assert!(rule.scripts.is_empty(), "{rule:?}");
        }
    }
}

#[test]
fn out_of_active_the_demotion_comes_first() {
    for rule in pairs().filter(|r| r.from == State::Active) {
        let demotes = rule.to != State::Active || rule.observed == Observed::Reactivated;
        let first = rule.scripts.first();
        if demotes {
            assert_eq!(first, Some(&EventName::Follower), "{rule:?}");
        } else {
            assert_eq!(first, None, "{rule:?}");
        }
    }
}

#[test]
fn the_leader_script_runs_exactly_on_becoming_active() {
    for rule in pairs() {
        let becomes = rule.to == State::Active
            && (rule.from != State::Active || rule.observed == Observed::Reactivated);
        assert_eq!(scripts(rule).contains(&EventName::Leader), becomes, "{rule:?}");
        if becomes {
            assert_eq!(scripts(rule).last(), Some(&EventName::Leader), "{rule:?}");
        }
    }
}

#[test]
fn every_new_role_runs_its_script() {
    for rule in pairs().filter(|r| r.from != r.to) {
        let own = match rule.to {
            State::Follower => EventName::Follower,
            State::Candidate => EventName::Candidate,
            State::Learner => EventName::Learner,
            State::Active => EventName::Leader,
            State::Starting | State::Leader | State::Stopped => continue,
        };
        assert_eq!(scripts(rule).last(), Some(&own), "{rule:?}");
    }
}

#[test]
fn no_table_row_runs_the_change_script() {
    // It is an addition of the scripts' configuration, not of the role.
    assert!(pairs().all(|rule| !scripts(rule).contains(&EventName::Change)));
}

#[test]
fn a_stopped_node_begins_nothing() {
    for rule in pairs().filter(|r| r.from == State::Stopped) {
        assert_eq!((rule.to, rule.scripts), (State::Stopped, &[] as &[EventName]));
    }
}

#[test]
fn over_all_histories_leader_and_follower_scripts_alternate() {
    for history in histories(6) {
        let mut leading = false;
        for (_, rule) in &history {
            for event in scripts(rule) {
                match event {
                    EventName::Leader => {
                        assert!(!leading, "two leader scripts in a row: {history:?}");
                        leading = true;
                    }
                    EventName::Follower => leading = false,
                    _ => assert!(!leading, "{event} before the demotion: {history:?}"),
                }
            }
            assert_eq!(leading, rule.to == State::Active, "{history:?}");
        }
    }
}

#[test]
fn over_all_histories_roles_form_a_chain() {
    for history in histories(5) {
        for (_, rule) in &history {
            let mut last = rule.from.role();
            for told in rule.script_events() {
                assert_eq!(told.old_role, last, "{history:?}");
                assert_eq!(told.role, told.event.as_str());
                last = told.role;
            }
            let ends = matches!(rule.to, State::Leader | State::Stopped);
            assert!(rule.scripts.is_empty() || ends || last == rule.to.role(), "{history:?}");
        }
    }
}

#[test]
fn another_token_within_one_turn_is_a_new_activation() {
    let mut machine = RoleMachine::new();
    assert_eq!(machine.observe(Observation::Activated(T1)).observed, Observed::Activated);
    assert_eq!(machine.token(), Some(T1));
    assert!(machine.observe(Observation::Activated(T1)).scripts.is_empty());
    assert_eq!(machine.observe(Observation::Activated(T2)).observed, Observed::Reactivated);
    assert_eq!(machine.token(), Some(T2));
    machine.observe(Observation::Follows);
    assert_eq!((machine.state(), machine.token()), (State::Follower, None));
    // The token of an activation that ended is forgotten: the same one again is simply active.
    assert_eq!(machine.observe(Observation::Activated(T2)).observed, Observed::Activated);
}
