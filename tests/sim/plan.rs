//! What a seed decides before the run: the cluster, the weather, the faults and the workload.

use std::time::Duration;

use raftctl::core::rng::Rng;

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
}

impl Mutation {
    /// Every planted bug, by the name that `SIM_MUTATION` and the scripts use.
    pub const ALL: [(&str, Mutation); 10] = [
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
    ];

    /// The planted bug of that name.
    pub fn named(name: &str) -> Option<Mutation> {
        Mutation::ALL.iter().find(|(known, _)| *known == name).map(|(_, mutation)| *mutation)
    }
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
    pub mutation: Option<Mutation>,
}

impl Settings {
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
            mutation,
        };
        match mutation {
            Some(Mutation::ForgetVote) => settings.with_many_elections(),
            _ => settings,
        }
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
