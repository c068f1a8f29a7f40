//! Who leads after whom: eligibility and priority among peers, and preemption.

use super::*;
use crate::core::Token;
use crate::limits;
use crate::node::event::{Answer, RequestId};
use crate::node::handle::TransferError;

impl Fixture {
    /// Peers say how they stand.
    fn hear_standings(&mut self, said: &[(u64, bool, u32)]) -> Vec<Effect> {
        let event = |(peer, eligible, priority): &(u64, bool, u32)| Event::PeerStanding {
            peer: NodeId(*peer),
            eligible: *eligible,
            priority: *priority,
        };
        self.settle(said.iter().map(event))
    }

    /// Time passes; everybody acknowledges everything.
    fn run(&mut self, time: Duration) -> Vec<Effect> {
        let until = self.now + time;
        let mut effects = Vec::new();
        while self.now < until {
            self.now = self.now.max(self.node.next_deadline()).min(until);
            effects.extend(self.settle([]));
            effects.extend(self.acknowledge_all());
        }
        effects
    }
}

/// To whom leadership was offered.
fn offered(effects: &[Effect]) -> Vec<u64> {
    let offer = |effect: &Effect| match effect {
        Effect::Send(m) if m.kind() == Kind::TimeoutNow => Some(m.to),
        _ => None,
    };
    effects.iter().filter_map(offer).collect()
}

fn unfit() -> [Event; 1] {
    [Event::Eligible { eligible: false }]
}

#[test]
fn peers_are_told_at_the_start_and_at_every_change() {
    let mut fixture = Fixture::new(1, 3);
    let said = |effects: &[Effect]| -> Vec<(bool, u32)> {
        let word = |effect: &Effect| match effect {
            Effect::Standing { eligible, priority } => Some((*eligible, *priority)),
            _ => None,
        };
        effects.iter().filter_map(word).collect()
    };
    assert_eq!(said(&fixture.settle([])), [(true, 100)]);
    assert_eq!(said(&fixture.settle([Event::Eligible { eligible: true }])), []);
    assert_eq!(said(&fixture.settle(unfit())), [(false, 100)]);
    assert_eq!(said(&fixture.settle([])), []);
}

#[test]
fn the_status_shows_what_connected_peers_say() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    fixture.hear_standings(&[(2, false, 7), (9, true, 1), (1, false, 0)]);
    let shown = |fixture: &Fixture| -> Vec<_> {
        fixture.node.status().members.iter().map(|m| (m.eligible, m.priority)).collect()
    };
    let me = (Some(true), Some(100));
    assert_eq!(shown(&fixture), [me, (Some(false), Some(7)), (None, None)]);
    fixture.settle([Event::Lost { peer: NodeId(2) }]);
    assert_eq!(shown(&fixture), [me, (None, None), (None, None)]);
    let incarnation = Incarnation([2; 16]);
    let again = |process| Event::Connected { peer: NodeId(2), incarnation, process };
    // The same process has said it already; another one says it anew.
    fixture.settle([again(2)]);
    assert_eq!(shown(&fixture)[1], (Some(false), Some(7)));
    fixture.settle([again(3)]);
    assert_eq!(shown(&fixture)[1], (None, None));
}

#[test]
fn a_leader_that_may_not_be_active_leads_on_until_somebody_eligible_is_there() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    fixture.hear_standings(&[(2, false, 100), (3, false, 300)]);
    let mut effects = fixture.settle(unfit());
    effects.extend(fixture.run(Duration::from_secs(5)));
    let status = fixture.node.status();
    assert!(!status.active && status.leader == Some(NodeId(1)), "{status:?}");
    assert_eq!((status.term, offered(&effects)), (1, vec![]), "nothing spins");
    let record = fixture.node.machine().0.activation().expect("there was one");
    assert!(!record.is_active(), "it is released: {record:?}");
    let effects = fixture.hear_standings(&[(3, true, 300)]);
    assert_eq!(offered(&effects), [3]);
}

#[test]
fn one_that_may_be_active_again_is_so_in_a_new_term() {
    let mut fixture = Fixture::new(1, 1);
    fixture.now = fixture.now.max(fixture.node.next_deadline());
    fixture.settle([]);
    fixture.run(Duration::from_millis(100));
    let token = |fixture: &Fixture| fixture.node.status().token.unwrap_or(Token(0));
    let first = token(&fixture);
    assert!(fixture.node.status().active);
    fixture.settle(unfit());
    fixture.run(Duration::from_secs(3));
    assert!(!fixture.node.status().active && token(&fixture) == first);
    fixture.settle([Event::Eligible { eligible: true }]);
    fixture.run(Duration::from_secs(2));
    assert!(fixture.node.status().active && token(&fixture) > first);
}

#[test]
fn a_transfer_to_an_ineligible_node_is_refused_and_none_is_chosen() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    fixture.hear_standings(&[(2, false, 300), (3, false, 100)]);
    let ask = |to: Option<&str>| Event::Transfer {
        request: RequestId(1),
        to: to.map(|name| name.parse().expect("a name")),
    };
    for (to, reason) in
        [(Some("n2"), "it is not eligible"), (None, "no other voter is connected and eligible")]
    {
        let effects = fixture.settle([ask(to)]);
        let answer = effects.iter().find_map(|effect| match effect {
            Effect::Answer { answer: Answer::Transferred(result), .. } => Some(result.clone()),
            _ => None,
        });
        let name = to.unwrap_or("(any)").to_owned();
        assert_eq!(answer, Some(Err(TransferError::NotEligible { name, reason })));
    }
    assert!(fixture.node.status().active, "nothing was changed");
}

#[test]
fn a_successor_is_eligible_then_caught_up_then_preferred_then_lowest() {
    let mut fixture = Fixture::new(1, 5);
    fixture.lead();
    let best = |fixture: &Fixture| fixture.node.best_successor().map(|id| id.0);
    assert_eq!(best(&fixture), Some(2), "nobody has said anything");
    fixture.hear_standings(&[(4, true, 0)]);
    assert_eq!(best(&fixture), Some(4), "it has said that it may");
    fixture.hear_standings(&[(2, true, 100), (3, true, 100), (5, false, 900)]);
    assert_eq!(best(&fixture), Some(2));
    fixture.hear_standings(&[(3, true, 101)]);
    assert_eq!(best(&fixture), Some(3));
    fixture.settle([Event::Lost { peer: NodeId(3) }]);
    assert_eq!(best(&fixture), Some(2));
}

#[test]
fn an_ineligible_node_takes_no_leadership_and_campaigns_last() {
    let mut fixture = Fixture::new(2, 3);
    fixture.follow();
    let invitation = of(Kind::TimeoutNow, 1, 2, 1);
    fixture.settle(unfit());
    let effects = fixture.settle([Event::Message(invitation.clone())]);
    assert_eq!((sent(&effects), fixture.id()), (vec![], 1));
    let waits = fixture.node.next_deadline() - fixture.now;
    let last = Duration::from_millis(400) * limits::LAST_CAMPAIGN_ELECTIONS;
    assert!(waits > last, "{waits:?}");
    fixture.settle([Event::Eligible { eligible: true }]);
    let effects = fixture.settle([Event::Message(invitation)]);
    assert_eq!(sent(&effects), [Kind::Vote, Kind::Vote]);
}

/// The campaign of a preferred node comes first, and nobody waits longer than the ranks are apart.
#[test]
fn priority_decides_the_rank_of_a_campaign() {
    let wait = |said: &[(u64, bool, u32)]| {
        let mut fixture = Fixture::new(3, 3);
        fixture.hear_standings(said);
        fixture.follow();
        (fixture.node.next_deadline() - fixture.now).as_millis()
    };
    // Node 1 leads; of the others 2 stands before 3.
    assert_eq!(wait(&[]), 220);
    assert_eq!(wait(&[(2, true, 100)]), 220);
    assert_eq!(wait(&[(2, true, 99)]), 210);
    assert_eq!(wait(&[(2, false, 900)]), 210);
    assert_eq!(wait(&[(1, true, 900), (2, true, 900)]), 220);
}

#[test]
fn a_node_of_higher_priority_is_given_way_to_when_it_has_long_been_ready() {
    let mut fixture = Fixture::new(1, 3);
    fixture.node.config.preempt = true;
    fixture.lead();
    let after = limits::PREEMPT_AFTER;
    fixture.hear_standings(&[(2, true, 100), (3, true, 101)]);
    let effects = fixture.run(after - Duration::from_secs(1));
    assert!(offered(&effects).is_empty());
    // An interruption: the wait begins anew.
    fixture.hear_standings(&[(3, false, 101)]);
    fixture.hear_standings(&[(3, true, 101)]);
    let effects = fixture.run(after - Duration::from_millis(1));
    assert_eq!((offered(&effects), fixture.node.status().active), (vec![], true));
    let effects = fixture.run(Duration::from_millis(100));
    assert_eq!(offered(&effects), [3]);
    assert!(!fixture.node.status().active, "stopped and released before");
}

#[test]
fn nobody_is_given_way_to_without_preempt_or_with_the_same_priority() {
    for (preempt, priority) in [(false, 900), (true, 100)] {
        let mut fixture = Fixture::new(1, 3);
        fixture.node.config.preempt = preempt;
        fixture.lead();
        fixture.hear_standings(&[(2, true, priority)]);
        let effects = fixture.run(limits::PREEMPT_AFTER * 2);
        assert_eq!((offered(&effects), fixture.node.status().active), (vec![], true));
    }
}
