//! Tests of the script queue.

use super::*;
use crate::core::Token;
use crate::core::role::{Observation, RoleMachine, State};

use EventName::{Candidate, Follower, Leader, Learner};

fn occurrence(event: EventName, old_role: &'static str, token: Option<u64>) -> Occurrence {
    Occurrence {
        event,
        role: event.as_str(),
        old_role,
        leader: None,
        leader_address: None,
        term: 1,
        token,
        reason: "test",
        timestamp_usec: 1,
    }
}

fn submit(queue: &mut Queue, events: &[EventName]) {
    for event in events {
        queue.submit(occurrence(*event, "starting", None));
    }
}

fn drain(queue: &mut Queue) -> Vec<(EventName, &'static str, u64)> {
    let taken = std::iter::from_fn(|| queue.take());
    taken.map(|t| (t.occurrence.event, t.occurrence.old_role, t.sequence)).collect()
}

#[test]
fn the_newest_replaces_what_waits() {
    let mut queue = Queue::default();
    submit(&mut queue, &[Follower, Candidate, Learner]);
    assert_eq!(drain(&mut queue), [(Learner, "starting", 3)]);
    assert_eq!(queue.coalesced(), 2);
}

#[test]
fn a_leader_that_has_not_started_is_dropped_and_needs_no_follower() {
    let mut queue = Queue::default();
    submit(&mut queue, &[Follower]);
    assert_eq!(drain(&mut queue), [(Follower, "starting", 1)]);
    submit(&mut queue, &[Candidate, Leader, Follower]);
    assert_eq!(drain(&mut queue), []);
    assert_eq!(queue.coalesced(), 3);
}

#[test]
fn a_deposed_leader_in_waiting_leaves_the_follower_after_a_candidate() {
    let mut queue = Queue::default();
    submit(&mut queue, &[Candidate]);
    assert_eq!(drain(&mut queue), [(Candidate, "starting", 1)]);
    submit(&mut queue, &[Leader, Follower]);
    assert_eq!(drain(&mut queue), [(Follower, "candidate", 3)]);
}

#[test]
fn the_demotion_of_a_started_leader_waits_in_its_own_place() {
    let mut queue = Queue::default();
    submit(&mut queue, &[Leader]);
    assert_eq!(drain(&mut queue), [(Leader, "starting", 1)]);
    submit(&mut queue, &[Follower, Candidate, Leader]);
    assert!(queue.has_demotion());
    assert_eq!(drain(&mut queue), [(Follower, "leader", 2), (Leader, "follower", 4)]);
    assert_eq!(queue.coalesced(), 1);
}

#[test]
fn a_newer_demotion_absorbs_everything_since() {
    let mut queue = Queue::default();
    submit(&mut queue, &[Leader]);
    queue.take();
    submit(&mut queue, &[Follower, Candidate, Leader, Follower]);
    assert_eq!(drain(&mut queue), [(Follower, "leader", 5)]);
    assert_eq!(queue.coalesced(), 3);
}

#[test]
fn stopping_keeps_only_a_demotion() {
    let mut queue = Queue::default();
    submit(&mut queue, &[Leader]);
    queue.take();
    submit(&mut queue, &[Follower, Leader]);
    queue.stop();
    submit(&mut queue, &[Candidate]);
    assert_eq!(drain(&mut queue), [(Follower, "leader", 2)]);
    submit(&mut queue, &[Follower, Leader]);
    assert_eq!(drain(&mut queue), []);

    let mut queue = Queue::default();
    submit(&mut queue, &[Leader]);
    queue.take();
    queue.stop();
    submit(&mut queue, &[Follower]);
    assert_eq!(drain(&mut queue), [(Follower, "leader", 2)], "a demotion after the stop counts");
}

/// A node whose role machine sees random things, and a runner that takes at random moments.
struct History {
    machine: RoleMachine,
    queue: Queue,
    /// Event, token and number of everything submitted.
    submitted: Vec<(EventName, Option<u64>, u64)>,
    taken: Vec<Numbered>,
}

impl History {
    fn observe(&mut self, random: &mut fastrand::Rng) {
        let observation = match random.u8(..6) {
            0 => Observation::Follows,
            1 => Observation::Campaigns,
            2 => Observation::Elected,
            3 | 4 => Observation::Activated(Token(random.u64(1..4))),
            _ => Observation::Learns,
        };
        let rule = self.machine.observe(observation);
        let token = self.machine.token().map(|token| token.0);
        for told in rule.script_events() {
            self.submitted.push((told.event, token, self.submitted.len() as u64 + 1));
            self.queue.submit(occurrence(told.event, told.old_role, token));
        }
    }

    fn take(&mut self) {
        let Some(told) = self.queue.take() else { return };
        let newest = self.submitted.last().expect("something was submitted");
        let event = told.occurrence.event;
        let is_demotion = event == Follower && told.sequence != newest.2;
        if !is_demotion {
            assert_eq!((event, told.sequence), (newest.0, newest.2), "only the newest state");
            assert_eq!(told.occurrence.token, newest.1);
        }
        if event == Leader {
            assert_eq!(self.machine.state(), State::Active, "a leader script for one deposed");
        }
        self.taken.push(told);
    }
}

#[test]
fn random_histories_keep_the_promises() {
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let machine = RoleMachine::new();
        let (submitted, taken) = (Vec::new(), Vec::new());
        let mut history = History { machine, queue: Queue::default(), submitted, taken };
        for _ in 0..random.usize(1..40) {
            if random.u8(..3) == 0 { history.take() } else { history.observe(&mut random) }
        }
        while history.queue.demotion.is_some() || history.queue.latest.is_some() {
            history.take();
        }
        let (mut owed, mut sequence, mut role) = (false, 0, None);
        for told in &history.taken {
            let Occurrence { event, role: now, old_role, .. } = told.occurrence;
            assert!(told.sequence > sequence, "seed {seed}: numbers rise");
            assert!(!owed || event == Follower, "seed {seed}: {event} before the demotion");
            assert!(role.is_none_or(|role| role == old_role), "seed {seed}: broken chain");
            (sequence, role, owed) = (told.sequence, Some(now), event == Leader);
        }
        let last = history.taken.last().map(|told| told.occurrence.event);
        let newest = history.submitted.last().map(|(event, ..)| *event);
        assert_eq!(last, newest, "seed {seed}: the scripts end in the newest state");
        let all = history.submitted.len() as u64;
        assert_eq!(all, history.taken.len() as u64 + history.queue.coalesced(), "seed {seed}");
    }
}
