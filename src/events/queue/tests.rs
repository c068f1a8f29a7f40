//! Tests of the script queue.

use super::*;
use crate::core::Token;
use crate::core::role::{Observation, RoleMachine, State};

use EventName::{Candidate, Follower, Leader, Learner};

fn occurrence(event: EventName, old_role: &'static str, token: Option<u64>) -> Occurrence {
    Occurrence {
        planned: false,
        number: 0,
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

/// Consequences have the numbers of the events here.
fn submit(queue: &mut Queue, events: &[EventName]) {
    for event in events {
        let number = queue.newest + 1;
        queue.submit(Occurrence { number, ..occurrence(*event, "starting", None) });
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
    assert!(queue.demotion_is_due());
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

#[test]
fn over_is_what_has_ended_or_will_never_run() {
    let mut queue = Queue::default();
    assert_eq!(queue.over(), 0);
    submit(&mut queue, &[Candidate]);
    assert_eq!(queue.over(), 0, "it waits");
    queue.take();
    submit(&mut queue, &[Learner, Follower]);
    assert_eq!(queue.over(), 0, "1 runs");
    queue.finish();
    assert_eq!(queue.over(), 2, "2 was replaced, 3 waits");
    queue.take();
    assert_eq!(queue.over(), 2, "3 runs");
    submit(&mut queue, &[Candidate, Follower]);
    queue.finish();
    assert_eq!(queue.over(), 5, "4 and 5 only return to what the scripts know");
    submit(&mut queue, &[Candidate]);
    queue.stop();
    assert_eq!(queue.over(), 6, "it will never run");
}

#[test]
fn a_demotion_is_over_when_a_follower_script_has_ended_even_if_it_was_replaced() {
    let mut queue = Queue::default();
    submit(&mut queue, &[Leader]);
    queue.take();
    submit(&mut queue, &[Follower, Leader]);
    assert!(queue.demotion_is_due());
    submit(&mut queue, &[Follower]);
    queue.finish();
    assert_eq!(queue.over(), 1, "the leader script has ended");
    let told = queue.take().unwrap();
    assert_eq!((told.sequence, told.stands_for), (4, 2));
    assert_eq!(queue.over(), 1, "the demotion that 2 asked for runs as 4");
    assert!(queue.demotion_is_due());
    queue.finish();
    assert_eq!(queue.over(), 4);
    assert!(!queue.demotion_is_due());
}

#[test]
fn a_demotion_whose_leader_script_never_started_is_due_as_well() {
    let mut queue = Queue::default();
    submit(&mut queue, &[Candidate]);
    queue.take();
    submit(&mut queue, &[Leader]);
    queue.submit(Occurrence { number: 3, ..occurrence(Follower, "leader", None) });
    assert!(queue.demotion_is_due(), "the candidate script holds it up");
    submit(&mut queue, &[Candidate]);
    assert!(queue.demotion_is_due(), "dropped, but the candidate script still runs");
    queue.finish();
    assert!(!queue.demotion_is_due());
}

#[test]
fn what_could_not_be_killed_is_not_over_before_it_has_vanished() {
    let mut queue = Queue::default();
    submit(&mut queue, &[Leader]);
    queue.take();
    submit(&mut queue, &[Follower]);
    let left = queue.leave().unwrap();
    queue.take();
    queue.finish();
    assert_eq!(queue.over(), 0, "the follower script has ended, the leader script has not");
    queue.vanish(left);
    assert_eq!(queue.over(), 2);

    let events = [Candidate, Learner].into_iter().cycle().take(SCRIPTS_LEFT_MAX + 1);
    let left: Vec<_> = events
        .map(|event| {
            submit(&mut queue, &[event]);
            queue.take();
            queue.leave()
        })
        .collect();
    assert_eq!(left.last(), Some(&None), "one too many to watch");
    left.into_iter().flatten().for_each(|number| queue.vanish(number));
    submit(&mut queue, &[Follower]);
    queue.take();
    queue.finish();
    assert_eq!(queue.over(), 2 + SCRIPTS_LEFT_MAX as u64, "never past the one that is unwatched");
}

/// A node whose role machine sees random things, and a runner that takes at random moments.
struct History {
    machine: RoleMachine,
    queue: Queue,
    /// Event, token and number of everything submitted.
    submitted: Vec<(EventName, Option<u64>, u64)>,
    taken: Vec<Numbered>,
    /// Whether the scripts of the event taken last run.
    running: bool,
    /// The number that may not be over, since the demotion of a started leader asks for it.
    owed: Option<u64>,
    over: u64,
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
            let number = self.submitted.len() as u64 + 1;
            self.submitted.push((told.event, token, number));
            let owes = self.queue.owes_demotion && told.event == Follower;
            self.queue
                .submit(Occurrence { number, ..occurrence(told.event, told.old_role, token) });
            if owes {
                self.owed.get_or_insert(number);
                assert!(self.queue.demotion_is_due());
            }
        }
        self.check();
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.running, false) {
            return;
        }
        self.queue.finish();
        let last = self.taken.last().expect("something runs");
        if last.occurrence.event == Follower {
            self.owed = None;
        }
        self.check();
    }

    /// What is over never falls, and never reaches what runs, what waits, or an owed demotion.
    fn check(&mut self) {
        let over = self.queue.over();
        assert!(over >= self.over, "{over} after {}", self.over);
        assert!(self.owed.is_none_or(|owed| over < owed), "{over} but {:?}", self.owed);
        let runs = self.taken.last().filter(|_| self.running);
        assert!(runs.is_none_or(|told| over < told.stands_for), "{over} but {runs:?} runs");
        let waits = self.queue.demotion.iter().chain(&self.queue.latest);
        waits.for_each(|told| assert!(over < told.sequence, "{over} but {told:?} waits"));
        self.over = over;
    }

    fn take(&mut self) {
        self.finish();
        let Some(told) = self.queue.take() else { return };
        self.running = true;
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
        self.check();
    }
}

#[test]
fn random_histories_keep_the_promises() {
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let machine = RoleMachine::new();
        let mut history = History {
            machine,
            queue: Queue::default(),
            submitted: Vec::new(),
            taken: Vec::new(),
            running: false,
            owed: None,
            over: 0,
        };
        for _ in 0..random.usize(1..40) {
            match random.u8(..4) {
                0 => history.take(),
                1 => history.finish(),
                _ => history.observe(&mut random),
            }
        }
        while history.queue.demotion.is_some() || history.queue.latest.is_some() {
            history.take();
        }
        history.finish();
        assert_eq!(history.over, history.submitted.len() as u64, "seed {seed}: all is over");
        assert!(!history.queue.demotion_is_due(), "seed {seed}");
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
