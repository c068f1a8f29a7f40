//! The wire and disk form of Raft: entries, hard state, snapshots and the messages between peers.
//!
//! Hand-declared prost structs (no protoc). Unknown fields are skipped, so a newer peer may add
//! fields. A tag, once used, is never given to another field. Decoding never panics; what the
//! engine could not bear (an entry out of sequence, a commit index beyond the log) is refused by
//! `consensus`, not here.

use prost::{Enumeration, Message as _};

/// One entry of the replicated log. Empty `data` is the no-op of a new leader (thesis 6.4).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Entry {
    /// Term of the leader that appended it.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Position in the log.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// An encoded [`crate::core::command::Command`], or empty.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
}

/// What must survive a crash besides the entries (thesis figure 3.1, "Persistent state").
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HardState {
    /// Latest term this node has seen.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Whom it voted for in that term; 0 for nobody.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// Commit index; may lag behind the truth on disk.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// The state machine at one position, to replace a log prefix (thesis chapter 5).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Snapshot {
    /// Index of the last entry it covers.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Term of that entry.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Voters at that position.
    #[prost(uint64, repeated, tag = "3")]
    pub voters: Vec<u64>,
    /// Learners at that position.
    #[prost(uint64, repeated, tag = "4")]
    pub learners: Vec<u64>,
    /// An encoded [`crate::core::state::ClusterState`].
    #[prost(bytes = "vec", tag = "5")]
    pub data: Vec<u8>,
}

/// Kinds of messages a peer may send. The engine's local messages, forwarded proposals and
/// `MsgTransferLeader` have no representation on the wire on purpose (DESIGN 5.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// Not set, or a kind of a newer version: refused.
    Unknown = 0,
    /// Entries from the leader.
    Append = 1,
    /// Answer to `Append` and `Snapshot`.
    AppendResponse = 2,
    /// A candidate asks for a vote.
    Vote = 3,
    /// Answer to `Vote`.
    VoteResponse = 4,
    /// The leader installs a snapshot.
    Snapshot = 5,
    /// The leader is alive.
    Heartbeat = 6,
    /// Answer to `Heartbeat`.
    HeartbeatResponse = 7,
    /// The leader asks its chosen successor to campaign at once (thesis 3.10).
    TimeoutNow = 8,
    /// A follower asks the leader for a read index (thesis 6.4).
    ReadIndex = 9,
    /// Answer to `ReadIndex`.
    ReadIndexResponse = 10,
    /// Would you vote for me? (thesis 9.6)
    PreVote = 11,
    /// Answer to `PreVote`.
    PreVoteResponse = 12,
}

/// One Raft message between two nodes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Message {
    /// What it is.
    #[prost(enumeration = "Kind", tag = "1")]
    pub kind: i32,
    /// Receiver.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// Sender; must be the peer at the other end of the connection.
    #[prost(uint64, tag = "3")]
    pub from: u64,
    /// Sender's term.
    #[prost(uint64, tag = "4")]
    pub term: u64,
    /// Term of the entry at `index`.
    #[prost(uint64, tag = "5")]
    pub log_term: u64,
    /// Position the message is about.
    #[prost(uint64, tag = "6")]
    pub index: u64,
    /// Entries of an append, consecutive from `index + 1`.
    #[prost(message, repeated, tag = "7")]
    pub entries: Vec<Entry>,
    /// Sender's commit index.
    #[prost(uint64, tag = "8")]
    pub commit: u64,
    /// Term of the entry at `commit`.
    #[prost(uint64, tag = "9")]
    pub commit_term: u64,
    /// The snapshot of a `Snapshot` message.
    #[prost(message, optional, tag = "10")]
    pub snapshot: Option<Snapshot>,
    /// Whether an answer is a refusal.
    #[prost(bool, tag = "11")]
    pub reject: bool,
    /// Where a refused append may start instead.
    #[prost(uint64, tag = "12")]
    pub reject_hint: u64,
    /// Context of a heartbeat round or of a transfer campaign.
    #[prost(bytes = "vec", tag = "13")]
    pub context: Vec<u8>,
}

impl Message {
    /// Bytes this message takes on the wire, without the frame.
    pub fn size_bytes(&self) -> usize {
        self.encoded_len()
    }

    /// Whether it belongs on the bulk connection: appends and snapshots, which may be large and
    /// whose order matters among themselves. Everything else must never wait behind them.
    pub fn is_bulk(&self) -> bool {
        matches!(self.kind(), Kind::Append | Kind::Snapshot)
    }
}

/// Terms of a log as runs: `(first index, term)`, both strictly increasing. Answers "which term
/// has entry i" for the whole log without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermRuns(Vec<(u64, u64)>);

impl TermRuns {
    /// Notes that entries from `index` on have `term`, superseding what was known from there on.
    pub fn push(&mut self, index: u64, term: u64) {
        while self.0.last().is_some_and(|&(first, _)| first >= index) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|&(_, last)| last != term) {
            self.0.push((index, term));
        }
    }

    /// Term of the entry at `index`, if it lies at or above the first run.
    pub fn term(&self, index: u64) -> Option<u64> {
        let after = self.0.partition_point(|&(first, _)| first <= index);
        after.checked_sub(1).map(|at| self.0[at].1)
    }

    /// Forgets what is not needed to answer for `index` and above.
    pub fn compact(&mut self, index: u64) {
        let after = self.0.partition_point(|&(first, _)| first <= index);
        if let Some(at) = after.checked_sub(1) {
            self.0.drain(..at);
            self.0[0].0 = index;
        }
    }

    /// Number of runs held.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_runs_answer_for_every_index_and_forget_superseded_ones() {
        let mut runs = TermRuns::default();
        for (index, term) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4)] {
            runs.push(index, term);
        }
        let terms: Vec<_> = (0..=6).map(|i| runs.term(i)).collect();
        assert_eq!(terms, [None, Some(1), Some(1), Some(2), Some(2), Some(4), Some(4)]);
        runs.push(4, 5);
        assert_eq!(runs.term(3), Some(2));
        assert_eq!(runs.term(4), Some(5));
        runs.compact(3);
        assert_eq!((runs.term(2), runs.term(3), runs.len()), (None, Some(2), 2));
    }

    fn random(rng: &mut crate::core::rng::Rng) -> Message {
        let mut bytes = |most| (0..rng.below(most)).map(|_| rng.next_u64() as u8).collect();
        let (data, context, state): (Vec<u8>, Vec<u8>, Vec<u8>) = (bytes(40), bytes(20), bytes(40));
        let mut number = || rng.next_u64() >> (rng.next_u64() % 64);
        let entry = Entry { term: number(), index: number(), data };
        let snapshot = Snapshot {
            index: number(),
            term: number(),
            voters: vec![number(), number()],
            learners: vec![number()],
            data: state,
        };
        Message {
            kind: (number() % 13) as i32,
            to: number(),
            from: number(),
            term: number(),
            log_term: number(),
            index: number(),
            entries: vec![entry; (number() % 3) as usize],
            commit: number(),
            commit_term: number(),
            snapshot: (number() % 2 == 0).then_some(snapshot),
            reject: number() % 2 == 0,
            reject_hint: number(),
            context,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut rng = crate::core::rng::Rng::new(1);
        for _ in 0..2_000 {
            let message = random(&mut rng);
            let bytes = message.encode_to_vec();
            assert_eq!(bytes.len(), message.size_bytes());
            assert_eq!(Message::decode(&bytes[..]), Ok(message));
        }
    }

    #[test]
    fn random_and_damaged_bytes_are_an_error_or_a_message_and_never_a_panic() {
        let mut rng = crate::core::rng::Rng::new(2);
        let (mut decoded, mut refused) = (0, 0);
        for round in 0..40_000 {
            let mut bytes: Vec<u8> = if round % 2 == 0 {
                (0..rng.below(60)).map(|_| rng.next_u64() as u8).collect()
            } else {
                random(&mut rng).encode_to_vec()
            };
            for _ in 0..rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.next_u64() as u8;
                }
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 40) as usize);
            match Message::decode(&bytes[..]) {
                Ok(message) => {
                    decoded += 1;
                    // An unknown kind stays one: `kind()` must not take it for a known one.
                    let known = Kind::try_from(message.kind).is_ok();
                    assert!(known || message.kind() == Kind::Unknown);
                }
                Err(_) => refused += 1,
            }
        }
        assert!(decoded > 4_000 && refused > 4_000, "{decoded} decoded, {refused} refused");
    }

    /// A newer peer may add fields: a rolling upgrade must not stop.
    #[test]
    fn unknown_fields_are_skipped() {
        #[derive(Clone, PartialEq, prost::Message)]
        struct Newer {
            #[prost(uint64, tag = "4")]
            term: u64,
            #[prost(string, tag = "99")]
            text: String,
            #[prost(message, optional, tag = "200")]
            nested: Option<Entry>,
        }
        let newer = Newer { term: 7, text: "more".to_owned(), nested: Some(Entry::default()) };
        let message = Message::decode(&newer.encode_to_vec()[..]).unwrap();
        assert_eq!(message, Message { term: 7, ..Message::default() });
    }

    #[test]
    fn only_appends_and_snapshots_are_bulk() {
        for number in 0..13 {
            let message = Message { kind: number, ..Message::default() };
            let bulk = matches!(message.kind(), Kind::Append | Kind::Snapshot);
            assert_eq!(message.is_bulk(), bulk, "{number}");
        }
    }
}
