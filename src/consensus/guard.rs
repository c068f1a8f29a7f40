//! The guard in front of the engine: a message from a peer that the engine would abort on, or
//! that no correct peer sends, is refused with a reason. Peers get errors, never a crash.
//!
//! Each check names the engine behaviour it prevents. What is merely stale (an old term, a vote
//! not granted) is the engine's business and passes.

use super::replica::Replica;
use crate::core::message::{Kind, Message, Snapshot};
use crate::core::{Index, NodeId, Term};
use crate::limits;

/// Why a message was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A kind this version does not know, or none.
    #[error("message kind {kind} is not known")]
    UnknownKind {
        /// The number on the wire.
        kind: i32,
    },
    /// Not from a member to this node.
    #[error("message from {from} to {to} does not belong to this node or cluster")]
    WrongParties {
        /// Claimed sender.
        from: u64,
        /// Claimed receiver.
        to: u64,
    },
    /// A term or index no cluster reaches, or a missing one.
    #[error("{field} {value} is out of range")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// Entries that do not follow each other, or the position they claim to follow.
    #[error("entry {index} of term {term} does not follow the entry before it")]
    BrokenSequence {
        /// Index of the entry.
        index: Index,
        /// Its term.
        term: Term,
    },
    /// The peer would overwrite what is committed here.
    #[error("entry {index} of term {theirs} contradicts the committed one of term {ours}")]
    ContradictsCommitted {
        /// Index of the entry.
        index: Index,
        /// Term at the peer.
        theirs: Term,
        /// Term here.
        ours: Term,
    },
    /// The peer believes this log is longer than it is: this disk was wiped or went back in time.
    #[error(
        "peer {from} counts on log index {claimed} here, but this log ends at {last}: the state \
         directory was wiped or restored from an old copy"
    )]
    BeyondLog {
        /// The peer.
        from: NodeId,
        /// What it believes.
        claimed: Index,
        /// The end of this log.
        last: Index,
    },
    /// A snapshot whose membership is not possible.
    #[error("snapshot at index {index} has an impossible membership")]
    BadSnapshot {
        /// Index of the snapshot.
        index: Index,
    },
    /// Somebody else already leads that term: one of the two is no correct peer.
    #[error("node {from} speaks as leader of term {term}, which node {leader} leads")]
    SecondLeader {
        /// Who speaks.
        from: NodeId,
        /// In which term.
        term: Term,
        /// Who leads it.
        leader: NodeId,
    },
    /// A hand-over or a forced campaign that nobody here is waiting for.
    #[error("{what} from {from} is not part of a transfer in progress")]
    UnexpectedTransfer {
        /// What was sent.
        what: &'static str,
        /// The sender.
        from: NodeId,
    },
    /// A vote for a request that has not left this node.
    #[error("vote from {from} in term {term} answers a request that has not been sent")]
    EarlyVote {
        /// The voter.
        from: NodeId,
        /// The term of the vote.
        term: Term,
    },
    /// A context of a size or content that no correct peer sends.
    #[error("message context of {bytes} bytes is not expected here")]
    BadContext {
        /// Its size.
        bytes: usize,
    },
}

/// What the guard needs to know about this replica.
struct Here<'a> {
    pub id: u64,
    pub is_member: &'a dyn Fn(u64) -> bool,
    pub term: Term,
    pub leader: u64,
    pub committed: Index,
    pub last: Index,
    pub term_of: &'a dyn Fn(Index) -> Option<Term>,
    /// Term and vote are durable: only then do requests for votes leave.
    pub vote_durable: bool,
    /// A snapshot is on its way to the disk.
    pub installing: bool,
}

/// Terms stay far below this: one election each nanosecond for a century does not reach it.
const TERM_MAX: Term = 1 << 62;
/// A token has 48 bits for the index.
const INDEX_MAX: Index = 1 << 48;
/// Largest context of a heartbeat round or read.
const CONTEXT_MAX_BYTES: usize = 64;

impl Replica {
    /// Checks a message against where this replica stands.
    pub(super) fn check(&self, message: &Message) -> Result<Kind, Refused> {
        let raft = &self.raw.raft;
        let here = Here {
            id: raft.id,
            is_member: &|id| raft.prs().get(id).is_some(),
            term: raft.term,
            leader: raft.leader_id,
            committed: raft.raft_log.committed,
            last: raft.raft_log.last_index(),
            term_of: &|index| self.term_of(index),
            vote_durable: self.vote_durable(),
            installing: self.installing(),
        };
        check(message, &here)
    }
}

/// Checks one message from a peer.
fn check(message: &Message, here: &Here<'_>) -> Result<Kind, Refused> {
    let kind = message.kind();
    if kind == Kind::Unknown {
        return Err(Refused::UnknownKind { kind: message.kind });
    }
    let Message { from, to, .. } = *message;
    if to != here.id || from == here.id || !(here.is_member)(from) {
        return Err(Refused::WrongParties { from, to });
    }
    check_ranges(message, kind)?;
    check_leader(message, kind, here)?;
    match kind {
        Kind::Append => check_append(message, here)?,
        Kind::Heartbeat => check_not_beyond(message.from, message.commit, here.last)?,
        Kind::AppendResponse if !message.reject && message.term == here.term => {
            check_not_beyond(message.from, message.index, here.last)?;
        }
        Kind::Snapshot => check_snapshot(message, here.id)?,
        // The engine aborts when it is elected while its own log is not durable.
        Kind::VoteResponse if message.term == here.term && !here.vote_durable => {
            return Err(Refused::EarlyVote { from: NodeId(from), term: message.term });
        }
        // It also aborts when it campaigns over a log that a snapshot is about to replace.
        Kind::TimeoutNow if message.term != here.term || here.leader != from || here.installing => {
            let from = NodeId(from);
            return Err(Refused::UnexpectedTransfer { what: "hand-over", from });
        }
        Kind::ReadIndex | Kind::ReadIndexResponse => check_read(message)?,
        _ => {}
    }
    check_context(message, kind)?;
    Ok(kind)
}

/// A term has one leader (election safety); the engine follows whoever spoke last.
fn check_leader(message: &Message, kind: Kind, here: &Here<'_>) -> Result<(), Refused> {
    let as_leader = matches!(kind, Kind::Append | Kind::Heartbeat | Kind::Snapshot);
    let known = message.term == here.term && here.leader != raft::INVALID_ID;
    if as_leader && known && here.leader != message.from {
        let (from, leader) = (NodeId(message.from), NodeId(here.leader));
        return Err(Refused::SecondLeader { from, term: message.term, leader });
    }
    Ok(())
}

/// The engine takes term 0 for a local message and computes `term + 1`.
fn check_ranges(message: &Message, kind: Kind) -> Result<(), Refused> {
    let out = |field, value| Err(Refused::OutOfRange { field, value });
    let term_wanted = kind != Kind::ReadIndex;
    if (message.term == 0) == term_wanted || message.term >= TERM_MAX {
        return out("term", message.term);
    }
    let indexes = [
        ("index", message.index),
        ("commit", message.commit),
        ("reject hint", message.reject_hint),
    ];
    for (field, value) in indexes {
        if value >= INDEX_MAX {
            return out(field, value);
        }
    }
    let carries_entries = matches!(kind, Kind::Append | Kind::ReadIndex | Kind::ReadIndexResponse);
    if !message.entries.is_empty() && !carries_entries {
        return out("number of entries", message.entries.len() as u64);
    }
    if message.snapshot.is_some() != (kind == Kind::Snapshot) {
        return out("number of snapshots", u64::from(message.snapshot.is_some()));
    }
    Ok(())
}

/// The engine aborts when an entry conflicts with a committed one, and indexes by position.
fn check_append(message: &Message, here: &Here<'_>) -> Result<(), Refused> {
    let (mut index, mut term) = (message.index, message.log_term);
    // The engine takes every index beyond its log for one of term 0.
    if (index == 0) != (term == 0) {
        return Err(Refused::BrokenSequence { index, term });
    }
    for entry in &message.entries {
        let follows = entry.index == index + 1 && entry.term >= term && entry.term > 0;
        if !follows || entry.term > message.term || entry.index >= INDEX_MAX {
            return Err(Refused::BrokenSequence { index: entry.index, term: entry.term });
        }
        (index, term) = (entry.index, entry.term);
        if index > here.committed {
            continue;
        }
        if let Some(ours) = (here.term_of)(index).filter(|ours| *ours != term) {
            return Err(Refused::ContradictsCommitted { index, theirs: term, ours });
        }
    }
    Ok(())
}

/// The engine aborts on a commit index beyond its log, and would count a match that is none.
fn check_not_beyond(from: u64, claimed: Index, last: Index) -> Result<(), Refused> {
    if claimed > last {
        return Err(Refused::BeyondLog { from: NodeId(from), claimed, last });
    }
    Ok(())
}

/// The engine aborts on a membership it cannot restore.
fn check_snapshot(message: &Message, id: u64) -> Result<(), Refused> {
    let Some(snapshot) = &message.snapshot else {
        return Err(Refused::BadSnapshot { index: 0 });
    };
    let Snapshot { index, term, voters, learners, .. } = snapshot;
    let mut all: Vec<u64> = voters.iter().chain(learners).copied().collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    let possible = !voters.is_empty()
        && count == all.len()
        && count <= limits::MEMBERS_MAX
        && !all.contains(&0)
        && all.contains(&id);
    if !possible || *index == 0 || *index >= INDEX_MAX || *term == 0 || *term > message.term {
        return Err(Refused::BadSnapshot { index: *index });
    }
    Ok(())
}

/// A read carries its context as the payload of one entry.
fn check_read(message: &Message) -> Result<(), Refused> {
    match message.entries.as_slice() {
        [one] if one.data.len() <= CONTEXT_MAX_BYTES => Ok(()),
        entries => {
            let bytes = entries.iter().map(|e| e.data.len()).sum();
            Err(Refused::BadContext { bytes })
        }
    }
}

/// Only a campaign that a leader ordered carries a context, and only this one.
fn check_context(message: &Message, kind: Kind) -> Result<(), Refused> {
    let bytes = message.context.len();
    let fits = match kind {
        Kind::Heartbeat | Kind::HeartbeatResponse => bytes <= CONTEXT_MAX_BYTES,
        Kind::Vote => bytes == 0 || message.context == raft::CAMPAIGN_TRANSFER,
        _ => bytes == 0,
    };
    if fits { Ok(()) } else { Err(Refused::BadContext { bytes }) }
}
