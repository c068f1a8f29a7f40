//! Pausing and resuming a cluster, and the quorum as it is told.

use super::*;
use crate::core::authority::{Order, Report};
use crate::core::command::{Body, Command};
use crate::limits;
use crate::node::event::{Answer, RequestId};
use crate::node::handle::PauseError;
use crate::node::status::Change;

impl Fixture {
    /// A leader over a service manager that does everything at once, active.
    fn enforced() -> Fixture {
        let mut fixture = Fixture::new(1, 3);
        let timing = Timing { enforcement: Enforcement::Bounded, ..Timing::default() };
        let me = crate::core::authority::Me { node: NodeId(1), invocation: [7; 16] };
        fixture.node.authority = crate::core::authority::Authority::new(me, timing);
        fixture.node.config.timing = timing;
        let effects = fixture.settle([]);
        fixture.obey(effects);
        fixture.elect();
        for _ in 0..6 {
            let effects = fixture.acknowledge_all();
            fixture.obey(effects);
        }
        for peer in [2, 3] {
            let (eligible, priority) = (true, 100);
            fixture.settle([Event::PeerStanding { peer: NodeId(peer), eligible, priority }]);
        }
        assert!(fixture.node.status().active);
        fixture
    }

    /// The service manager does what it is asked to. All effects.
    fn obey(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        let mut at = 0;
        while at < effects.len() {
            let report = match &effects[at] {
                Effect::Host(Order::Start { number, .. }) => Report::Started { number: *number },
                Effect::Host(Order::Stop { number }) => Report::Stopped { number: *number },
                _ => {
                    at += 1;
                    continue;
                }
            };
            effects.extend(self.settle([Event::Host(report)]));
            at += 1;
        }
        effects
    }

    /// An operator asks; everything is acknowledged.
    fn ask(&mut self, on: bool, force: bool) -> Vec<Effect> {
        let request = RequestId(7);
        let mut effects = self.settle([Event::Pause { request, on, force }]);
        effects.extend(self.acknowledge_all());
        effects.extend(self.acknowledge_all());
        self.obey(effects)
    }

    fn pause(&mut self) {
        let effects = self.ask(true, false);
        assert_eq!(answer(&effects), Some(Ok(())));
        assert!(self.node.status().paused);
    }

    /// Nobody answers for so long.
    fn silence(&mut self, time: Duration) -> Vec<Effect> {
        let until = self.now + time;
        let mut effects = Vec::new();
        while self.now < until {
            self.now = self.now.max(self.node.next_deadline()).min(until);
            let more = self.settle([]);
            effects.extend(self.obey(more));
        }
        effects
    }
}

fn answer(effects: &[Effect]) -> Option<Result<(), PauseError>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer { answer: Answer::Paused(result), .. } => Some(result.clone()),
        _ => None,
    })
}

fn changes(effects: &[Effect]) -> Vec<Change> {
    let told = |effect: &Effect| match effect {
        Effect::Changed(change @ (Change::Paused { .. } | Change::Quorum { .. })) => {
            Some(change.clone())
        }
        _ => None,
    };
    effects.iter().filter_map(told).collect()
}

fn refusal(effects: &[Effect]) -> String {
    match answer(effects) {
        Some(Err(error)) => error.to_string(),
        other => panic!("expected a refusal: {other:?}"),
    }
}

#[test]
fn a_pause_is_applied_told_and_answered_once() {
    let mut fixture = Fixture::enforced();
    let effects = fixture.ask(true, false);
    assert_eq!(answer(&effects), Some(Ok(())));
    assert_eq!(changes(&effects), [Change::Paused { paused: true, term: 1 }]);
    let last = fixture.node.replica().position().last;
    assert_eq!(answer(&fixture.ask(true, false)), Some(Ok(())), "it is paused already");
    assert_eq!(fixture.node.replica().position().last, last);
    let effects = fixture.ask(false, false);
    assert_eq!(answer(&effects), Some(Ok(())));
    assert_eq!(changes(&effects), [Change::Paused { paused: false, term: 1 }]);
    assert!(fixture.node.status().active, "it gave its word and held its lease");
}

#[test]
fn what_is_active_in_a_pause_stays_so_although_it_hears_nobody() {
    let mut fixture = Fixture::enforced();
    fixture.pause();
    assert_eq!(fixture.node.ping_until(), None);
    let effects = fixture.silence(Duration::from_secs(20));
    let status = fixture.node.status();
    assert!(status.active && status.leader != Some(NodeId(1)), "{status:?}");
    let ordered = effects.iter().any(|effect| matches!(effect, Effect::Host(_)));
    assert!(!ordered, "nothing is asked of the host");
    assert_eq!(changes(&effects), [Change::Quorum { has: false, term: 1 }]);
    let effects = fixture.ask(false, false);
    assert!(refusal(&effects).starts_with("this node is not the leader"));
}

#[test]
fn the_host_is_guarded_before_the_resumption_is_proposed() {
    let mut fixture = Fixture::enforced();
    fixture.pause();
    let event = Event::Pause { request: RequestId(1), on: false, force: false };
    let effects = fixture.settle([event]);
    let armed = |e: &Effect| matches!(e, Effect::Host(Order::ArmDeadMan { .. }));
    let resumes = |entry: &Entry| {
        let body = Command::from_bytes(&entry.data).ok().and_then(|command| command.body);
        matches!(body, Some(Body::Resume(_)))
    };
    let proposed = |effect: &Effect| match effect {
        Effect::Send(message) => message.entries.iter().any(resumes),
        Effect::Persist { persist, .. } => persist.entries.iter().any(resumes),
        _ => false,
    };
    let first = effects.iter().position(proposed).expect("it is proposed");
    assert!(effects.iter().position(armed).is_some_and(|at| at < first), "{effects:?}");
    // Nobody answers: the outcome is not known, and the pause does not help any more.
    let effects = fixture.silence(Duration::from_secs(2));
    let stop = |e: &Effect| matches!(e, Effect::Host(Order::Stop { .. }));
    assert!(effects.iter().any(stop));
    assert!(refusal(&effects).contains("leadership was lost"));
}

#[test]
fn another_leader_resumes_only_by_force_or_when_nothing_is_active() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    let mut other = Fixture::enforced();
    other.pause();
    // The same log, but the record is another node's.
    fixture.node.machine = other.node.machine.clone();
    fixture.node.config.invocation = [8; 16];
    let effects = fixture.ask(false, false);
    assert!(refusal(&effects).contains("not released yet"), "of this node's former run");
    fixture.node.config.id = NodeId(3);
    let effects = fixture.ask(false, false);
    assert_eq!(
        refusal(&effects),
        "node \"n1\" is active and has to resume; expected this on that node"
    );
}

#[test]
fn a_pause_is_refused_where_it_would_not_be_understood() {
    let mut fixture = Fixture::new(1, 3);
    fixture.lead();
    let effects = fixture.ask(true, false);
    assert!(refusal(&effects).contains("node \"n2\" runs a version"), "it has said nothing");
    let mut fixture = Fixture::new(2, 3);
    fixture.follow();
    let effects = fixture.ask(true, false);
    assert_eq!(refusal(&effects), "this node is not the leader; the leader is n1");
}

#[test]
fn leadership_alone_moves_in_a_pause() {
    let mut fixture = Fixture::enforced();
    fixture.pause();
    let transfer = Event::Transfer { request: RequestId(1), to: None };
    let effects = fixture.settle([transfer]);
    assert!(sent(&effects).contains(&Kind::TimeoutNow), "{:?}", sent(&effects));
    let effects = fixture.settle([Event::Message(of(Kind::Heartbeat, 2, 1, 2))]);
    let ordered = effects.iter().any(|effect| matches!(effect, Effect::Host(_)));
    let status = fixture.node.status();
    assert!(status.active && status.leader == Some(NodeId(2)) && !ordered, "{status:?}");
}

#[test]
fn nobody_is_promoted_and_a_leader_without_activation_leads_on_in_a_pause() {
    let mut fixture = Fixture::enforced();
    fixture.pause();
    // Somebody stops the target by hand: that is a demotion, and is released.
    let mut effects = fixture.settle([Event::Host(Report::Down)]);
    effects = fixture.obey(effects);
    for _ in 0..100 {
        fixture.now += Duration::from_millis(40);
        effects.extend(fixture.settle([]));
        effects.extend(fixture.acknowledge_all());
    }
    let status = fixture.node.status();
    assert!(!status.active && status.leader == Some(NodeId(1)), "{status:?}");
    assert!(!sent(&effects).contains(&Kind::TimeoutNow), "nothing spins");
    assert!(!fixture.node.machine().0.activation().expect("there was one").is_active());
    // The term is barred here; whoever gets the leadership becomes active.
    let mut effects = fixture.ask(false, false);
    assert_eq!(answer(&effects), Some(Ok(())), "nothing is active");
    effects.extend(fixture.settle([]));
    assert!(sent(&effects).contains(&Kind::TimeoutNow), "{:?}", sent(&effects));
}

#[test]
fn a_loss_of_the_quorum_is_told_after_a_while_and_its_end_at_once() {
    let mut fixture = Fixture::new(2, 3);
    let effects = fixture.silence(limits::QUORUM_LOST_AFTER * 3);
    assert_eq!(changes(&effects), [], "there was none to lose");
    fixture.follow();
    let effects = fixture.silence(limits::QUORUM_LOST_AFTER / 2);
    assert_eq!(changes(&effects), []);
    let effects = fixture.silence(limits::QUORUM_LOST_AFTER);
    let term = fixture.node.status().term;
    assert_eq!(changes(&effects), [Change::Quorum { has: false, term }]);
    let effects = fixture.settle([Event::Message(of(Kind::Heartbeat, 1, 2, 9))]);
    assert_eq!(changes(&effects), [Change::Quorum { has: true, term: 9 }]);
}
