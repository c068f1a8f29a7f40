//! What a seed decides before the run: the cluster, the weather, the faults and the workload.

use std::time::Duration;

use raftctl::core::NodeId;
use raftctl::core::authority::{Enforcement, Timing};
use raftctl::core::rng::Rng;

use super::clock::Clock;
use super::network::Weather;

/// A planted bug. The simulator counts only because it catches each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The disk reports a sync as done and does not do it.
    SkipFsync,
    /// The log does not ask for a sync of what it appends.
    AppendUnsynced,
    /// A node that has voted in a term votes again for another candidate.
    VoteTwice,
    /// The vote is not written with the term.
    ForgetVote,
    /// One node applies some entries twice.
    ApplyTwice,
    /// A write is acknowledged when the leader has appended it.
    AckBeforeCommit,
    /// The term is not written: the disk keeps the one before.
    ForgetTerm,
    /// A write is reported as durable when the disk thread has only taken it.
    ReportEarly,
    /// A leader counts what it has sent as acknowledged, and commits without a quorum.
    CommitWithoutQuorum,
    /// A snapshot lacks the effect of the last entry that it claims to contain.
    SnapshotMissesLast,
    /// A successor does not wait for the bound of the activation before.
    PromoteWithoutWaiting,
    /// A late answer counts for the newest round, as if the lease began when it was received.
    LeaseFromReceipt,
    /// The target is reported as stopped when the stop job has only begun.
    ReleaseBeforeStopped,
    /// A successor waits B on its own clock, as if no clock drifted.
    DriftIgnored,
    /// A successor waits for its own bound instead of the other's.
    WaitersOwnBound,
    /// Nothing ends a process that slept; it goes on where it stood.
    PromoteAfterPause,
    /// An activation of an earlier term counts in this one.
    ActivateAcrossTerms,
    /// The watchdog is pinged although the lease is over and the stop not acknowledged.
    PingAfterExpiry,
    /// A release counts for whatever run its node is in now.
    ReleaseByOlderInvocation,
    /// A restored state keeps its generation.
    TokenFromBareIndex,
    /// A node does not hear that it may not be active.
    IneligibleActivates,
    /// A leader lets a paused cluster go on without the word of what is active.
    ResumeWithoutWord,
    /// What has given its word relies on the pause again.
    PausedAgain,
    /// Activations begin and expire although the cluster is paused.
    ExpiresInPause,
    /// A read that should be linearizable is answered from what the node happens to have.
    StaleRead,
    /// A write that was sent again is applied again.
    RetryAppliesTwice,
    /// A write of the store is acknowledged when the leader has only appended it.
    WriteAckedEarly,
    /// A snapshot lacks the last write of the store that it claims to contain.
    SnapshotMissesRow,
}

impl Mutation {
    /// Every planted bug, by the name that `SIM_MUTATION` and the scripts use.
    pub const ALL: [(&str, Mutation); 28] = [
        ("skip_fsync", Mutation::SkipFsync),
        ("append_unsynced", Mutation::AppendUnsynced),
        ("vote_twice", Mutation::VoteTwice),
        ("forget_vote", Mutation::ForgetVote),
        ("apply_twice", Mutation::ApplyTwice),
        ("ack_before_commit", Mutation::AckBeforeCommit),
        ("forget_term", Mutation::ForgetTerm),
        ("report_early", Mutation::ReportEarly),
        ("commit_without_quorum", Mutation::CommitWithoutQuorum),
        ("snapshot_misses_last", Mutation::SnapshotMissesLast),
        ("promote_without_waiting", Mutation::PromoteWithoutWaiting),
        ("lease_from_receipt", Mutation::LeaseFromReceipt),
        ("release_before_stopped", Mutation::ReleaseBeforeStopped),
        ("drift_ignored", Mutation::DriftIgnored),
        ("waiters_own_bound", Mutation::WaitersOwnBound),
        ("promote_after_pause", Mutation::PromoteAfterPause),
        ("activate_across_terms", Mutation::ActivateAcrossTerms),
        ("ping_after_expiry", Mutation::PingAfterExpiry),
        ("release_by_older_invocation", Mutation::ReleaseByOlderInvocation),
        ("token_from_bare_index", Mutation::TokenFromBareIndex),
        ("ineligible_activates", Mutation::IneligibleActivates),
        ("resume_without_word", Mutation::ResumeWithoutWord),
        ("paused_again", Mutation::PausedAgain),
        ("expires_in_pause", Mutation::ExpiresInPause),
        ("stale_read", Mutation::StaleRead),
        ("retry_applies_twice", Mutation::RetryAppliesTwice),
        ("write_acked_early", Mutation::WriteAckedEarly),
        ("snapshot_misses_row", Mutation::SnapshotMissesRow),
    ];

    /// The planted bug of that name.
    pub fn named(name: &str) -> Option<Mutation> {
        Mutation::ALL.iter().find(|(known, _)| *known == name).map(|(_, mutation)| *mutation)
    }

    /// Whether it can only show where hosts have something to start and stop.
    fn is_of_authority(self) -> bool {
        let named = Mutation::ALL.iter().position(|(_, mutation)| *mutation == self);
        named.is_some_and(|at| (10..24).contains(&at))
    }
}

/// The settings of one host that belong to its authority.
#[derive(Clone, Copy, Debug)]
pub struct HostPlan {
    /// W.
    pub watchdog: Duration,
    /// D.
    pub demote_timeout: Duration,
    pub enforcement: Enforcement,
    pub priority: u32,
}

/// How the service managers behave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Members of each leader target.
    pub members: u64,
    /// Everything takes as long as κ and S allow.
    pub harsh: bool,
    /// How late the service manager may be, in thousandths.
    pub late_permille: u64,
    /// What runs after the agent has the target stopped, should somebody have it started.
    pub helper_stops: bool,
    /// Whether the fence has the target stopped that somebody keeps up.
    pub fence_stops: bool,
    /// How long a member usually takes to stop, at most.
    pub stop_time: Duration,
    /// Members that take up to three times D.
    pub slow_stop_ppm: u64,
    /// Event scripts that take up to twice D.
    pub slow_script_ppm: u64,
    /// Calls that are answered up to three seconds late.
    pub slow_call_ppm: u64,
    /// Start jobs that run up to four seconds late.
    pub late_start_ppm: u64,
    /// Signals that come late or not at all.
    pub lost_signal_ppm: u64,
    /// Jobs that fail or time out.
    pub failed_job_ppm: u64,
    /// Starts of the target by hand just while it stops.
    pub hand_start_ppm: u64,
}

/// How clocks go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Rates change, within ρ.
    Slewed,
    /// Both clocks of a host are wrong by ρ in the same direction, for ever.
    Steady,
}

/// What concerns authority in one run.
#[derive(Clone, Copy, Debug)]
pub struct AuthorityPlan {
    /// G.
    pub grace: Duration,
    hosts: [HostPlan; 7],
    pub habits: Habits,
    pub drift: Drift,
    /// How often a process pauses at the worst places of a turn.
    pub stall_ppm: u64,
    /// Whether the kernel ends a process at its dead-man's time.
    pub dead_man: bool,
    /// Whether state is restored from a backup.
    pub restore: bool,
    /// Whether operators do things by hand.
    pub operators: bool,
    /// Whether the only fault is a crash of the agent that is active.
    pub only_crashes: bool,
    /// How often everybody is cut off while an activation is in some logs and not committed.
    pub disturb_ppm: u64,
    /// Whether active nodes give way to others of higher priority.
    pub preempt: bool,
    /// How often a host becomes ineligible, or eligible again, instead of another fault.
    pub unfit_ppm: u64,
    /// How often an operator pauses the cluster or lets it go on, instead of another fault.
    pub pause_ppm: u64,
    /// Whether some hosts are ineligible for good when everything else is healed.
    pub some_stay_unfit: bool,
    /// Whether B is looked at. It is not where the settings break it on purpose: there a planted
    /// bug has to be found by what it leads to.
    pub checks_bound: bool,
}

impl AuthorityPlan {
    pub fn host(&self, id: u64) -> HostPlan {
        self.hosts[(id as usize - 1) % 7]
    }

    pub fn timing(&self, id: u64, election_min: Duration) -> Timing {
        let HostPlan { watchdog, demote_timeout, enforcement, .. } = self.host(id);
        Timing {
            election_min,
            election_max: election_min * 2,
            grace: self.grace,
            watchdog,
            demote_timeout,
            enforcement,
            preempt_after: Duration::from_millis(800),
            ..Timing::default()
        }
    }

    /// The longest bound of any host that has one.
    pub fn longest_bound(&self, election_min: Duration) -> Duration {
        let bounds = (1..=7).filter_map(|id| self.timing(id, election_min).bound());
        bounds.max().unwrap_or(Duration::ZERO)
    }

    pub fn longest_demotion(&self) -> Duration {
        self.hosts.iter().map(|h| h.demote_timeout).max().expect("seven hosts")
    }

    fn of(rng: &mut Rng) -> AuthorityPlan {
        let ms = Duration::from_millis;
        let unbounded_ppm = [0, 0, 0, 300_000][rng.below(4) as usize];
        let unequal = rng.below(2) == 0;
        let mut plan = || HostPlan {
            watchdog: ms([200, 500, 1000][rng.below(3) as usize]),
            demote_timeout: ms([500, 800, 1500][rng.below(3) as usize]),
            enforcement: match rng.chance_ppm(unbounded_ppm) {
                true => Enforcement::Unbounded,
                false => Enforcement::Bounded,
            },
            priority: 100,
        };
        let first = plan();
        let mut hosts = std::array::from_fn(|_| if unequal { plan() } else { first });
        if rng.below(2) == 0 {
            hosts.iter_mut().for_each(|host| host.priority = 100 * rng.below(3) as u32);
        }
        let rough = rng.below(3) as usize;
        let operators = rng.below(2) == 0;
        let habits = Habits {
            members: 1 + rng.below(2),
            harsh: rng.below(3) == 0,
            // κ has room for the drift of the host's clock as well.
            late_permille: 89,
            helper_stops: true,
            fence_stops: true,
            stop_time: ms([1, 50, 400][rng.below(3) as usize]),
            slow_stop_ppm: [0, 50_000, 300_000][rough],
            slow_script_ppm: [0, 10_000, 100_000][rough],
            slow_call_ppm: [0, 10_000, 100_000][rng.below(3) as usize],
            late_start_ppm: [0, 20_000, 200_000][rng.below(3) as usize],
            lost_signal_ppm: [0, 20_000, 100_000][rng.below(3) as usize],
            failed_job_ppm: [0, 10_000, 100_000][rng.below(3) as usize],
            hand_start_ppm: if operators { 200_000 } else { 0 },
        };
        AuthorityPlan {
            grace: ms([50, 100][rng.below(2) as usize]),
            hosts,
            habits,
            drift: Drift::Slewed,
            stall_ppm: [0, 200, 2_000][rng.below(3) as usize],
            dead_man: true,
            restore: rng.below(8) == 0,
            operators,
            only_crashes: false,
            disturb_ppm: 20_000,
            preempt: rng.below(2) == 0,
            unfit_ppm: [0, 100_000, 300_000][rng.below(3) as usize],
            pause_ppm: [0, 150_000, 400_000][rng.below(3) as usize],
            some_stay_unfit: rng.below(3) == 0,
            checks_bound: true,
        }
    }
}

/// Who uses the store, and how.
#[derive(Clone, Copy, Debug)]
pub struct StorePlan {
    pub clients: usize,
    /// Mean pause of a client between two requests.
    pub pause: Duration,
    /// Groups of keys.
    pub groups: u32,
    /// Whether requests are about several keys at once: such a history is checked as a whole.
    pub several: bool,
    /// Requests of all of them: a history that is checked as a whole must be short.
    pub most: u64,
    /// Whether rows are compared as well. They are not where a planted bug has to be found by
    /// those who ask.
    pub looks_into_nodes: bool,
}

/// Everything that is fixed for one run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub nodes: u64,
    pub election_min: Duration,
    pub vote_lease: bool,
    pub segment_bytes: u64,
    pub cache_max_bytes: usize,
    pub log_keep_entries: u64,
    pub weather: Weather,
    /// Whether hosts and disks take a random time. Without it everything takes its longest, fixed
    /// time, and a script's output is the same for every seed.
    pub jitter: bool,
    /// Slowest disk request, in microseconds.
    pub disk_max_us: u64,
    /// Length of the phase with faults.
    pub faults_for: Duration,
    /// Mean pause between two faults.
    pub fault_every: Duration,
    /// Longest time a crashed node stays down.
    pub down_max: Duration,
    /// How often a voter crashes just after its vote has left, in parts per million: the worst
    /// moment for a vote that was not written.
    pub crash_after_vote_ppm: u64,
    /// Mean pause between two proposals.
    pub propose_every: Duration,
    /// Whether hosts have something to start and stop; otherwise only what the log says is tried.
    pub authority: Option<AuthorityPlan>,
    /// Whether clients use the store.
    pub store: Option<StorePlan>,
    pub mutation: Option<Mutation>,
}

impl Settings {
    /// What the node of a host is told.
    pub fn timing(&self, id: NodeId) -> Timing {
        let plain = Timing {
            election_min: self.election_min,
            election_max: self.election_min * 2,
            enforcement: Enforcement::Nothing,
            ..Timing::default()
        };
        self.authority.map_or(plain, |plan| plan.timing(id.0, self.election_min))
    }

    pub fn host(&self, id: NodeId) -> HostPlan {
        let Timing { watchdog, demote_timeout, enforcement, .. } = self.timing(id);
        let priority = self.authority.map_or(100, |plan| plan.host(id.0).priority);
        HostPlan { watchdog, demote_timeout, enforcement, priority }
    }

    pub fn clock(&self, rng: &mut Rng) -> Clock {
        match self.authority.map(|plan| plan.drift) {
            None => Clock::exact(),
            Some(Drift::Slewed) => Clock::drifting(rng),
            Some(Drift::Steady) => Clock::steady(rng),
        }
    }

    pub fn habits(&self) -> Habits {
        self.authority.map_or(Habits::default(), |plan| plan.habits)
    }

    /// The settings of a seed. Half of all seeds run without the vote lease: no safety rule may
    /// rest on it.
    pub fn of(seed: u64, mutation: Option<Mutation>) -> Settings {
        let mut rng = Rng::new(seed ^ 0x5e77_1465);
        let nodes = [3, 3, 3, 5, 5, 1, 2, 7][rng.below(8) as usize];
        let nodes = if mutation.is_some() && nodes < 3 { 3 } else { nodes };
        let rough = rng.below(3);
        let weather = Weather {
            loss_ppm: [0, 20_000, 150_000][rough as usize],
            duplicate_ppm: [0, 20_000, 100_000][rough as usize],
            delay_min_us: 30,
            delay_max_us: [400, 3_000, 30_000][rng.below(3) as usize],
            straggler_ppm: [0, 10_000, 50_000][rough as usize],
        };
        let settings = Settings {
            nodes,
            election_min: Duration::from_millis(200),
            vote_lease: seed.is_multiple_of(2),
            segment_bytes: [8 << 10, 32 << 10][rng.below(2) as usize],
            cache_max_bytes: [0, 1000, 100_000][rng.below(3) as usize],
            log_keep_entries: [4, 20, 1000][rng.below(3) as usize],
            weather,
            jitter: true,
            disk_max_us: [300, 3_000, 60_000][rng.below(3) as usize],
            faults_for: Duration::from_millis(3_000),
            fault_every: Duration::from_millis([80, 200, 500][rng.below(3) as usize]),
            down_max: Duration::from_millis(700),
            crash_after_vote_ppm: 100_000,
            propose_every: Duration::from_millis([5, 20, 60][rng.below(3) as usize]),
            authority: None,
            store: None,
            mutation,
        };
        match mutation {
            Some(Mutation::ForgetVote) => settings.with_many_elections(),
            Some(mutation) if mutation.is_of_authority() => {
                settings.with_authority(&mut rng).planted(mutation)
            }
            None if seed % 4 >= 2 => settings.with_authority(&mut rng),
            _ => settings,
        }
    }

    /// Fewer writes, a network in which leaders last long enough to become active, and longer.
    fn with_authority(self, rng: &mut Rng) -> Settings {
        let weather = self.weather;
        Settings {
            weather: Weather {
                loss_ppm: weather.loss_ppm / 5,
                delay_max_us: weather.delay_max_us.min(10_000),
                ..weather
            },
            disk_max_us: self.disk_max_us.min(3_000),
            faults_for: Duration::from_millis(12_000),
            fault_every: Duration::from_millis([300, 700, 1_500][rng.below(3) as usize]),
            crash_after_vote_ppm: 5_000,
            propose_every: Duration::from_millis(150),
            authority: Some(AuthorityPlan::of(rng)),
            ..self
        }
    }

    /// What a planted bug needs to show.
    fn planted(self, mutation: Mutation) -> Settings {
        let Some(mut plan) = self.authority else { return self };
        let ms = Duration::from_millis;
        let mut settings = self;
        let host = |watchdog, demote_timeout| HostPlan {
            watchdog: ms(watchdog),
            demote_timeout: ms(demote_timeout),
            enforcement: Enforcement::Bounded,
            priority: 100,
        };
        match mutation {
            Mutation::PromoteAfterPause => {
                plan.dead_man = false;
                plan.stall_ppm = 2_000;
                plan.checks_bound = false;
            }
            Mutation::ActivateAcrossTerms => plan.disturb_ppm = 400_000,
            Mutation::PingAfterExpiry => return self.without_dead_man(),
            Mutation::TokenFromBareIndex => plan.restore = true,
            Mutation::IneligibleActivates => plan.unfit_ppm = 300_000,
            Mutation::PausedAgain | Mutation::ExpiresInPause => plan.pause_ppm = 400_000,
            // Little else happens: what is active lives on, and somebody else leads.
            Mutation::ResumeWithoutWord => {
                (plan.pause_ppm, plan.unfit_ppm, plan.stall_ppm) = (900_000, 0, 0);
                settings.fault_every = ms(250);
                settings.down_max = ms(50);
            }
            Mutation::LeaseFromReceipt => {
                settings.vote_lease = false;
                settings.weather.straggler_ppm = 300_000;
                settings.fault_every = ms(400);
            }
            // At the corner: a wait so long that ρ of it is more than S, everything as late as may
            // be, clocks as wrong as may be.
            Mutation::DriftIgnored => {
                plan.hosts = [host(200, 60_000); 7];
                plan.habits.late_permille = 99;
                plan.habits.slow_script_ppm = 0;
                plan.drift = Drift::Steady;
                plan.restore = false;
                plan.only_crashes = true;
                plan.checks_bound = false;
                settings.nodes = 3;
                settings.faults_for = ms(75_000);
                settings.fault_every = ms(200_000);
                settings.propose_every = ms(1_000);
            }
            Mutation::WaitersOwnBound => {
                plan.hosts = std::array::from_fn(|at| match at % 2 {
                    0 => host(200, 500),
                    _ => host(1000, 1500),
                });
            }
            _ => {}
        }
        if matches!(mutation, Mutation::DriftIgnored | Mutation::WaitersOwnBound) {
            settings.vote_lease = false;
            plan.habits.harsh = true;
            plan.habits.slow_stop_ppm = 900_000;
        }
        Settings { authority: Some(plan), ..settings }
    }

    /// Nothing but the watchdog ends an agent whose stop is not acknowledged: a layer on its own.
    /// Processes do not pause within a turn, where only the dead-man reaches them.
    fn without_dead_man(self) -> Settings {
        let Some(mut plan) = self.authority else { return self };
        plan.dead_man = false;
        plan.stall_ppm = 0;
        plan.habits.slow_call_ppm = 300_000;
        // It would make up for what the watchdog has to do.
        (plan.habits.fence_stops, plan.habits.hand_start_ppm) = (false, 0);
        Settings { authority: Some(plan), ..self }
    }

    /// Restless: two candidates of one term and a voter that restarts between their requests.
    fn with_many_elections(self) -> Settings {
        Settings {
            vote_lease: false,
            weather: Weather { delay_max_us: 30_000, ..self.weather },
            fault_every: Duration::from_millis(100),
            down_max: Duration::from_millis(15),
            crash_after_vote_ppm: 700_000,
            ..self
        }
    }
}
