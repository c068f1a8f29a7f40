//! What scenarios with a change of host have in common: a cluster that runs, members on every host,
//! somebody who watches them, and the promises that hold at the end, whatever was done.

use std::time::Duration;

use crate::support::cluster::{Event, Leader};
use crate::support::{DEADLINE, Host, Lab, Member, Record, Sampler, Samples, figure, wait_until};

/// The target to which members are bound; `%H` is the name of the host.
pub const TARGET: &str = "raftctl-leader@%H.target";

/// A cluster that runs, and is watched.
pub struct Scene<'a> {
    pub lab: &'a Lab,
    /// Units of the members.
    units: Vec<String>,
    sampler: Sampler,
    leader: Leader,
    /// Every end of an activation is proven, so a successor waits for its `follower` script.
    proven: bool,
}

impl<'a> Scene<'a> {
    /// Configures hosts that are off, with `more` sections, and boots them. There is an active
    /// leader with its members when this returns.
    pub fn start(lab: &'a Lab, members: &[Member], more: &str) -> Scene<'a> {
        lab.configure(more);
        members.iter().for_each(|member| member.install(lab));
        lab.hosts().for_each(|host| host.enable(&host.agent()));
        lab.boot();
        Scene::watch(lab, members)
    }

    /// The same, of agents that are started already.
    pub fn watch(lab: &'a Lab, members: &[Member]) -> Scene<'a> {
        let units: Vec<String> = members.iter().map(Member::unit).collect();
        let sampler = lab.watch(&units.iter().map(String::as_str).collect::<Vec<_>>());
        let leader = lab.leader();
        let scene = Scene { lab, units, sampler, leader, proven: true };
        scene.assert_only(scene.leader.host);
        scene
    }

    /// The host that is active, as last seen.
    pub fn active(&self) -> &'a Host {
        self.lab.host(self.leader.host)
    }

    /// What is done to it may leave no proof that an activation has ended: a successor then waits
    /// for the bound, which says nothing about scripts.
    pub fn without_proof(self) -> Scene<'a> {
        Scene { proven: false, ..self }
    }

    /// Names the activation that was last seen.
    pub fn token(&self) -> u64 {
        self.leader.token
    }

    /// A host that is not active.
    pub fn follower(&self) -> &'a Host {
        let other = self.lab.hosts().find(|host| host.index != self.leader.host);
        other.expect("more than one host")
    }

    /// Waits until another activation than the one last seen is in force, and its members run.
    #[track_caller]
    pub fn next(&mut self) -> &'a Host {
        let mut new = self.leader.clone();
        wait_until("a new activation", 2 * DEADLINE, || {
            new = self.lab.leader();
            new.token > self.leader.token
        });
        self.leader = new;
        self.assert_only(self.leader.host);
        self.active()
    }

    /// Waits until an agent other than that of `without`, which may say nothing, is active.
    #[track_caller]
    pub fn takes_over(&self, without: &Host) -> &'a Host {
        let others = || self.lab.hosts().filter(|host| host.index != without.index);
        let mut active = None;
        wait_until("another host is active", DEADLINE, || {
            active = others().find(|host| host.status()["active"] == true);
            active.is_some()
        });
        active.expect("just seen")
    }

    /// The same activation as last seen is in force, though its node had to be elected again.
    #[track_caller]
    pub fn leads_again(&mut self) {
        let leader = self.lab.leader();
        assert_eq!((leader.host, leader.token), (self.leader.host, self.leader.token));
        self.leader = leader;
        self.undisturbed();
    }

    /// The same activation as last seen is in force.
    #[track_caller]
    pub fn undisturbed(&self) {
        assert_eq!(self.lab.leader(), self.leader);
        self.assert_only(self.leader.host);
    }

    /// `host` runs the members, and nobody else does.
    #[track_caller]
    fn assert_only(&self, host: usize) {
        for unit in &self.units {
            let runs = |host: &&Host| !host.pids(unit).is_empty();
            let hosts: Vec<usize> = self.lab.hosts().filter(runs).map(|host| host.index).collect();
            assert_eq!(hosts, [host], "who runs {unit}");
        }
    }

    /// Ends the watch. Whatever happened: never two, one now, and scripts in order.
    #[track_caller]
    pub fn end(self) -> Seen {
        self.undisturbed();
        let samples = self.sampler.stop();
        let targets = self.lab.active(TARGET);
        let events = self.lab.events();
        let scripts = events.iter().map(|e| format!("n{} {} {}", e.host, e.event, e.token));
        println!("scripts: {}", scripts.collect::<Vec<_>>().join(", "));
        for (what, record) in
            self.units.iter().map(|unit| (&unit[..], samples.of(unit))).chain([(TARGET, &targets)])
        {
            println!("{what}:\n{record}");
            assert_eq!(record.longest_overlap(), Duration::ZERO, "{what}:\n{record}");
        }
        assert_in_order(&events, self.proven);
        Seen { unit: self.units[0].clone(), samples }
    }
}

/// What was seen until the end.
pub struct Seen {
    unit: String,
    samples: Samples,
}

impl Seen {
    /// When the first member ran.
    pub fn member(&self) -> &Record {
        self.samples.of(&self.unit)
    }

    /// Prints how long nobody ran the first member at each change of host.
    pub fn figure(&self, what: &str) {
        if let Some(late) = self.samples.latest() {
            println!("the sampler was late by {late:?}");
        }
        figure(&format!("{what}: from the old member gone to the new one running"), &self.gaps());
    }

    pub fn gaps(&self) -> Vec<Duration> {
        self.member().gaps()
    }
}

/// Each activation has its `leader` script, with a higher token than the one before, and its
/// `follower` script: before the next one, or, where that is not `proven`, at least before the same
/// host is active again.
#[track_caller]
fn assert_in_order(events: &[Event], proven: bool) {
    let leaders = events.iter().enumerate().filter(|(_, event)| event.event == "leader");
    let leaders: Vec<(usize, &Event)> = leaders.collect();
    assert!(!leaders.is_empty(), "no leader script ran");
    for (nth, &(at, event)) in leaders.iter().enumerate() {
        let later = &leaders[nth + 1..];
        if let Some((_, next)) = later.first() {
            assert!(next.token > event.token, "tokens do not rise: {events:#?}");
        }
        let until = later.iter().find(|(_, next)| proven || next.host == event.host);
        let Some(&(until, next)) = until else { continue };
        let ours = |e: &Event| e.event == "follower" && e.host == event.host;
        let undone = events[at..until].iter().any(|e| ours(e) && e.token == event.token);
        assert!(undone, "{next:?} came before {event:?} was undone: {events:#?}");
    }
}
