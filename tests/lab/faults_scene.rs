//! What all scenarios with faults have in common: three hosts with a member, watched from before
//! they boot until everything has calmed down, and what must hold of all that was seen.
//!
//! A scenario names its faults while it makes them ([`Scene::fault`]); they are judged, and their
//! figures printed, when it is over. Whatever the fault: no two hosts at once, by the sampler and
//! by process 1 of the hosts, and scripts in the order of the roles with rising tokens.

use std::time::Duration;

use crate::support::cluster::{Event, Leader};
use crate::support::record::{Interval, Overlap, Record};
use crate::support::{
    DEADLINE, Lab, Member, Sampler, Setup, Stop, figure, now, run_package, test_name, wait_until,
};

/// B: by then the service manager has stopped the target, counted from the last renewal of the
/// lease; with the default settings (DESIGN 5).
pub const BOUND: Duration = Duration::from_millis(2610);

/// X: what a successor waits when nothing was released; with the default settings.
const WAIT: Duration = Duration::from_millis(2663);

/// What a busy machine may add, beside the elections, to a time without a member.
const SLACK: Duration = Duration::from_secs(2);

/// A gap shorter than this is one in which the successor did not wait for the bound.
const RELEASED: Duration = Duration::from_secs(2);

/// Of so many losses that can be proven, most are.
const MANY: usize = 10;

const TARGET: &str = "raftctl-leader@%H.target";

/// What a fault is expected to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: the member runs on.
    Nothing,
    /// The loss is proven, the successor need not wait.
    Release,
    /// Nobody can prove anything: a successor waits X.
    Silence,
    /// The fault may be too short to cost anything.
    Perhaps,
}

/// One fault.
struct Fault {
    what: &'static str,
    at: Duration,
    /// When everything had calmed down again.
    over: Duration,
    /// The host that it hit, or on which the member ran.
    host: usize,
    expect: Expect,
}

/// A stretch in which a host was not able to do or say anything.
struct Silence {
    host: usize,
    from: Duration,
    until: Duration,
    frozen: bool,
}

/// A lab with a member, and what was done to it.
pub struct Scene<'a> {
    pub lab: &'a Lab,
    member: Member,
    /// Taken at the end.
    sampler: Option<Sampler>,
    faults: Vec<Fault>,
    silences: Vec<Silence>,
    /// Hosts that were thawed, and when.
    thaws: Vec<(usize, Duration)>,
}

/// Three hosts with `member`; `body` makes the faults. Judges all of it.
pub fn scene(member: Member, body: impl FnOnce(&mut Scene)) {
    scene_with(member, "", body);
}

/// The same with `more` sections in the configuration.
pub fn scene_with(member: Member, more: &str, body: impl FnOnce(&mut Scene)) {
    run_package(Setup { boot: false, ..Setup::default() }, |lab| {
        lab.configure(more);
        member.install(lab);
        lab.hosts().for_each(|host| host.enable(&format!("raftctl@{}", host.name)));
        let sampler = Some(lab.watch(&[&member.unit()]));
        lab.boot();
        let (faults, silences, thaws) = (Vec::new(), Vec::new(), Vec::new());
        let mut scene = Scene { lab, member, sampler, faults, silences, thaws };
        scene.settled();
        body(&mut scene);
        scene.judge();
    });
}

impl Scene<'_> {
    /// Waits until all hosts agree on one leader, and the member runs there and nowhere else.
    pub fn settled(&self) -> Leader {
        let unit = self.member.unit();
        let mut leader = self.lab.leader();
        wait_until("the member runs on the leader only", DEADLINE, || {
            let runs = self.lab.hosts().filter(|host| !host.pids(&unit).is_empty());
            let good = runs.map(|host| host.index).eq([leader.host]);
            if !good {
                leader = self.lab.leader();
            }
            good
        });
        leader
    }

    /// Every host but one.
    pub fn others(&self, than: usize) -> Vec<usize> {
        self.lab.hosts().map(|host| host.index).filter(|&host| host != than).collect()
    }

    /// Waits until all hosts but the old leader's follow a newer one, and it runs the member.
    pub fn successor(&self, old: &Leader) -> Leader {
        let new = self.lab.leader_among(&self.others(old.host), old.token);
        let unit = self.member.unit();
        let host = self.lab.host(new.host);
        wait_until("the new leader runs it", DEADLINE, || !host.pids(&unit).is_empty());
        new
    }

    /// Waits until the host runs the member no more.
    pub fn gone(&self, host: usize) {
        let (host, unit) = (self.lab.host(host), self.member.unit());
        wait_until("the member is gone", DEADLINE, || host.pids(&unit).is_empty());
    }

    /// Whether the fault at `at` has lasted for `length`: the time is part of the fault.
    pub fn lasted(&self, at: Duration, length: Duration) {
        wait_until("the fault has lasted", length + DEADLINE, || now() >= at + length);
    }

    /// Waits until everything has calmed down, and notes the fault that `host` had at `at`.
    pub fn fault(&mut self, what: &'static str, (host, at): (usize, Duration), expect: Expect) {
        let leader = self.settled();
        println!("{what}: n{host} at {at:?}; then {leader:?}");
        self.faults.push(Fault { what, at, over: now(), host, expect });
    }

    /// Notes that `host` could do and say nothing from `from` until now.
    pub fn was_silent(&mut self, host: usize, from: Duration, frozen: bool) {
        self.silences.push(Silence { host, from, until: now(), frozen });
    }

    /// Thaws a host; returns when it runs the member no more.
    pub fn thaw(&mut self, host: usize) {
        self.thaws.push((host, now()));
        self.lab.host(host).thaw();
        self.gone(host);
    }

    fn judge(mut self) {
        let leader = self.settled();
        let active = |host: usize| {
            let target = TARGET.replace("%H", &format!("n{host}"));
            self.lab.host(host).property(&target, "ActiveState") == "active"
        };
        assert!((1..=3).filter(|&host| active(host)).eq([leader.host]), "targets, {leader:?}");
        let unit = self.member.unit();
        let samples = self.sampler.take().expect("it watches to the end").stop();
        // The sampler sees processes, process 1 also what came and went between two looks.
        let (members, started) = (samples.of(&unit), self.lab.active(&unit));
        let targets = self.lab.active(TARGET);
        println!("members:\n{members}as process 1 has them:\n{started}targets:\n{targets}");
        if let Some(latest) = samples.latest() {
            println!("at most {latest:?} between two samples");
        }
        let records = [(members, "member"), (&started, "member unit"), (&targets, "target")];
        for (record, of) in records {
            let (frozen, real) = self.overlaps(record);
            assert!(real.is_empty(), "two hosts at once ({of}): {real:#?}\n{record}");
            figure(&format!("{}: longest overlap, {of}", test()), &[longest(&real)]);
            if self.silences.iter().any(|silence| silence.frozen) {
                let what = format!("{}: longest overlap with a frozen host, {of}", test());
                figure(&what, &[longest(&frozen)]);
            }
        }
        let events = self.lab.events();
        self.judge_scripts(&events);
        self.judge_faults(members);
        self.judge_thaws(members);
    }

    /// Those of a host that was frozen, and those that must not be.
    fn overlaps(&self, record: &Record) -> (Vec<Overlap>, Vec<Overlap>) {
        let excused = |overlap: &Overlap| {
            let (one, other) = overlap.hosts;
            self.silences.iter().any(|silence| {
                let until = overlap.from + overlap.length;
                let within = overlap.from >= silence.from && until <= silence.until;
                silence.frozen && within && [one, other].contains(&silence.host)
            })
        };
        record.overlaps().into_iter().partition(excused)
    }

    /// Scripts run in the order of the roles, with rising tokens: between two `leader` scripts the
    /// host of the first runs `follower`. It comes later only where nobody waited for it: the host
    /// could do nothing, or the successor has waited for the bound.
    fn judge_scripts(&self, events: &[Event]) {
        let leaders = (0..events.len()).filter(|&at| events[at].event == "leader");
        let leaders: Vec<usize> = leaders.collect();
        for (at, &first) in leaders.iter().enumerate() {
            let old = &events[first];
            let undone = |until: usize| {
                events[first..until].iter().any(|e| e.host == old.host && e.event == "follower")
            };
            if let Some(&next) = leaders.get(at + 1) {
                let new = &events[next];
                assert!(old.token < new.token, "tokens do not rise: {old:?}, {new:?}");
                let waited = self.waited_for(old, new);
                assert!(
                    undone(next) || waited,
                    "{old:?} is not undone before {new:?}: {events:#?}"
                );
            }
            let again = leaders[at + 1..].iter().find(|&&again| events[again].host == old.host);
            if let Some(&again) = again {
                assert!(undone(again), "{old:?} was never undone: {events:#?}");
            }
        }
        assert!(!leaders.is_empty(), "no leader script ran: {events:#?}");
    }

    /// Whether the host of `old` was silent, or `new` comes later than any proof would have.
    fn waited_for(&self, old: &Event, new: &Event) -> bool {
        let between = |from: Duration, until: Duration| from < new.at && until > old.at;
        let of_old = |host: usize| host == old.host;
        let mut silences = self.silences.iter().filter(|silence| of_old(silence.host));
        let mut faults = self.faults.iter().filter(|fault| of_old(fault.host));
        silences.any(|silence| between(silence.from, silence.until))
            || faults.any(|fault| between(fault.at, fault.over) && new.at >= fault.at + WAIT)
    }

    fn judge_faults(&self, members: &Record) {
        let mut kinds: Vec<&str> = self.faults.iter().map(|fault| fault.what).collect();
        kinds.dedup();
        for kind in kinds {
            let (mut gaps, mut without, mut stops) = (Vec::new(), Vec::new(), Vec::new());
            let (mut released, mut expected) = (0, 0);
            for fault in self.faults.iter().filter(|fault| fault.what == kind) {
                let Some((gone, back)) = fault.cost(members) else { continue };
                gaps.push(back - gone);
                without.push(back - fault.at);
                stops.push(gone - fault.at);
                released += usize::from(fault.expect == Expect::Release && back - gone < RELEASED);
                expected += usize::from(fault.expect == Expect::Release);
            }
            // One alone may have met a busy moment.
            let many = expected < MANY || released * 2 > expected;
            assert!(many, "{kind}: {released} of {expected} were released:\n{members}");
            figure(&format!("{kind}: gap between the members"), &gaps);
            figure(&format!("{kind}: from the fault to the new member"), &without);
            figure(&format!("{kind}: from the fault to the old member gone"), &stops);
        }
        for fault in &self.faults {
            self.judge_fault(fault, members);
        }
    }

    /// What a host still runs when it is thawed is stopped at once.
    fn judge_thaws(&self, members: &Record) {
        let length = |&(host, at): &(usize, Duration)| {
            let after = |one: &&Interval| one.host == host && !one.frozen && one.until > at;
            let first = members.intervals.iter().find(after);
            first.filter(|one| one.from < at + SLACK).map_or(Duration::ZERO, |one| one.until - at)
        };
        let lengths: Vec<Duration> = self.thaws.iter().map(length).collect();
        figure("host thawed: until its member is gone", &lengths);
        let longest = lengths.iter().max().copied().unwrap_or_default();
        assert!(longest < SLACK, "not stopped at once after the thaw: {longest:?}\n{members}");
    }

    fn judge_fault(&self, fault: &Fault, members: &Record) {
        let (what, cost) = (fault.what, fault.cost(members));
        let stop = match self.member.stop {
            Stop::Takes(time) => time,
            Stop::Never => BOUND,
            Stop::AtOnce => Duration::ZERO,
        };
        let Some((gone, back)) = cost else {
            let may = matches!(fault.expect, Expect::Nothing | Expect::Perhaps);
            assert!(may, "{what}: the member of n{} was not stopped:\n{members}", fault.host);
            return;
        };
        let (gone, back) = (gone - fault.at, back - fault.at);
        let most = match fault.expect {
            Expect::Nothing => panic!("{what}: the member stopped after {gone:?}:\n{members}"),
            // A release that comes too late, on a busy machine, costs what silence costs.
            Expect::Release | Expect::Perhaps | Expect::Silence => WAIT + stop + SLACK,
        };
        assert!(back <= most, "{what}: {back:?} until the next member runs:\n{members}");
        let frozen = self.silences.iter().any(|silence| {
            silence.frozen && silence.host == fault.host && silence.from <= fault.at + gone
        });
        assert!(frozen || gone <= BOUND, "{what}: {gone:?} until the member is gone:\n{members}");
    }
}

impl Fault {
    /// When the member of the host was gone, and when the next one ran; `None`: it ran on.
    fn cost(&self, members: &Record) -> Option<(Duration, Duration)> {
        let hit = |interval: &&Interval| {
            interval.host == self.host && !interval.frozen && interval.from <= self.at
        };
        let gone = members.intervals.iter().rfind(hit).map(|interval| interval.until)?;
        if gone > self.over {
            return None;
        }
        let next = members.intervals.iter().find(|one| !one.frozen && one.from >= gone);
        Some((gone, next.expect("something runs at the end").from))
    }
}

fn longest(overlaps: &[Overlap]) -> Duration {
    overlaps.iter().map(|overlap| overlap.length).max().unwrap_or_default()
}

/// The name of the scenario, in words.
fn test() -> String {
    test_name().rsplit("::").next().unwrap_or_default().replace('_', " ")
}
