//! Which kinds are told when.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::super::status::{MemberStatus, Role};
use super::*;
use crate::core::command::MemberKind;
use crate::core::story::Kind;
use crate::core::{NodeId, Term};

/// Notes the kinds.
#[derive(Clone, Default)]
struct Spy(Arc<Mutex<Vec<Kind>>>);

impl<S: Subscriber> Layer<S> for Spy {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Id(Option<Kind>);
        impl Visit for Id {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "message_id" {
                    self.0 = Kind::from_id(value);
                }
            }
            fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
        }
        let mut id = Id(None);
        event.record(&mut id);
        self.0.lock().unwrap().extend(id.0);
    }
}

fn told(say: impl FnOnce()) -> Vec<Kind> {
    let spy = Spy::default();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(spy.clone()), say);
    let kinds = spy.0.lock().unwrap();
    kinds.clone()
}

fn status(phase: Phase) -> NodeStatus {
    let member = MemberStatus {
        id: NodeId(1),
        name: "n1".parse().unwrap(),
        address: "192.0.2.1:7100".parse().unwrap(),
        kind: MemberKind::Voter,
        connected: true,
        matched: None,
        eligible: None,
        priority: None,
    };
    NodeStatus {
        name: "n1".parse().unwrap(),
        id: NodeId(1),
        cluster_name: "test".to_owned(),
        cluster_id: None,
        role: Role::Leader,
        active: phase == Phase::Active,
        phase,
        term: 7,
        token: Some(Token(9)),
        leader: Some(NodeId(1)),
        paused: false,
        commit_index: 0,
        applied_index: 0,
        members: vec![member],
    }
}

fn role(old: Role, new: Role, active: bool, term: Term) -> Change {
    let reason = "a reason";
    Change::Role { old, new, active, term, token: Some(Token(9)), reason }
}

#[test]
fn an_activation_is_told_once_from_its_beginning_to_its_end() {
    let mut teller = Teller::default();
    let (leads, active) = (status(Phase::Starting), status(Phase::Active));
    let (over, idle) = (status(Phase::Releasing), status(Phase::Idle));
    let kinds = told(|| {
        teller.changed(&role(Role::Candidate, Role::Leader, false, 7), &leads);
        teller.changed(&role(Role::Leader, Role::Leader, true, 7), &active);
        teller.published(&active);
        // Nothing new.
        teller.changed(&role(Role::Leader, Role::Leader, true, 7), &active);
        // The lease is lost: both at once.
        teller.changed(&role(Role::Leader, Role::Follower, false, 8), &over);
        teller.published(&over);
        teller.published(&idle);
        teller.published(&over);
        teller.published(&idle);
    });
    let expected =
        [Kind::RoleChanged, Kind::Active, Kind::Demoted, Kind::RoleChanged, Kind::Released];
    assert_eq!(kinds, expected);
}

#[test]
fn what_is_heard_of_the_others() {
    let mut teller = Teller::default();
    let (known, mut unknown) = (status(Phase::Idle), status(Phase::Idle));
    unknown.leader = None;
    let kinds = told(|| {
        let leader = Change::Leader { old: None, new: Some(NodeId(1)), term: 7 };
        teller.changed(&leader, &known);
        teller.changed(&Change::Leader { old: Some(NodeId(1)), new: None, term: 8 }, &unknown);
        for has in [false, true] {
            teller.changed(&Change::Quorum { has, term: 8 }, &unknown);
        }
        for paused in [true, false] {
            teller.changed(&Change::Paused { paused, term: 8 }, &unknown);
        }
    });
    let expected = [
        Kind::LeaderChanged,
        Kind::LeaderLost,
        Kind::QuorumLost,
        Kind::QuorumRegained,
        Kind::Paused,
        Kind::Resumed,
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn a_disk_that_stalls_is_told_once_and_so_is_its_answer() {
    let mut teller = Teller::default();
    let kinds = told(|| {
        for (stalls, ms) in [(false, 0), (true, 1000), (true, 1010), (false, 2500), (false, 2600)] {
            teller.disk(stalls, Instant::from_millis(ms));
        }
    });
    assert_eq!(kinds, [Kind::DiskStalled, Kind::DiskAnswers]);
}

#[test]
fn requests_and_what_became_of_them() {
    let kinds = told(|| {
        let (reply, _answer) = tokio::sync::oneshot::channel();
        asked(&Request::Transfer { to: None, reply });
        answered(&Answer::Transferred(Ok("n2".parse().unwrap())));
        answered(&Answer::Transferred(Err(super::super::handle::TransferError::Stopping)));
        answered(&Answer::TakenOver(Ok(Token(9))));
        answered(&Answer::Unknown);
    });
    let expected = [Kind::TransferBegun, Kind::TransferDone, Kind::TransferFailed, Kind::TakenOver];
    assert_eq!(kinds, expected);
}
