//! Between our wire messages and the engine's. Bytes from the network never reach the engine's own
//! decoder (RUSTSEC-2024-0437): only values that passed `guard` are converted, field by field.
//!
//! Entries are always of the engine's normal type: proposals and configuration changes inside
//! engine messages have no representation here, so a peer cannot smuggle one in.

use raft::eraftpb;

use crate::core::message::{Entry, HardState, Kind, Message, Snapshot};

/// Kind of an engine message, or `None` for one that must not leave this node.
fn kind_of(kind: eraftpb::MessageType) -> Option<Kind> {
    use eraftpb::MessageType as T;
    Some(match kind {
        T::MsgAppend => Kind::Append,
        T::MsgAppendResponse => Kind::AppendResponse,
        T::MsgRequestVote => Kind::Vote,
        T::MsgRequestVoteResponse => Kind::VoteResponse,
        T::MsgSnapshot => Kind::Snapshot,
        T::MsgHeartbeat => Kind::Heartbeat,
        T::MsgHeartbeatResponse => Kind::HeartbeatResponse,
        T::MsgTimeoutNow => Kind::TimeoutNow,
        T::MsgReadIndex => Kind::ReadIndex,
        T::MsgReadIndexResp => Kind::ReadIndexResponse,
        T::MsgRequestPreVote => Kind::PreVote,
        T::MsgRequestPreVoteResponse => Kind::PreVoteResponse,
        T::MsgHup
        | T::MsgBeat
        | T::MsgPropose
        | T::MsgUnreachable
        | T::MsgSnapStatus
        | T::MsgCheckQuorum
        | T::MsgTransferLeader => return None,
    })
}

/// The engine's type for a kind; `None` for [`Kind::Unknown`].
pub(super) fn engine_kind(kind: Kind) -> Option<eraftpb::MessageType> {
    use eraftpb::MessageType as T;
    Some(match kind {
        Kind::Unknown => return None,
        Kind::Append => T::MsgAppend,
        Kind::AppendResponse => T::MsgAppendResponse,
        Kind::Vote => T::MsgRequestVote,
        Kind::VoteResponse => T::MsgRequestVoteResponse,
        Kind::Snapshot => T::MsgSnapshot,
        Kind::Heartbeat => T::MsgHeartbeat,
        Kind::HeartbeatResponse => T::MsgHeartbeatResponse,
        Kind::TimeoutNow => T::MsgTimeoutNow,
        Kind::ReadIndex => T::MsgReadIndex,
        Kind::ReadIndexResponse => T::MsgReadIndexResp,
        Kind::PreVote => T::MsgRequestPreVote,
        Kind::PreVoteResponse => T::MsgRequestPreVoteResponse,
    })
}

pub(super) fn entry_from_engine(mut entry: eraftpb::Entry) -> Entry {
    Entry { term: entry.term, index: entry.index, data: entry.take_data().into() }
}

pub(super) fn entry_to_engine(entry: Entry) -> eraftpb::Entry {
    let mut out = eraftpb::Entry::default();
    out.set_entry_type(eraftpb::EntryType::EntryNormal);
    out.term = entry.term;
    out.index = entry.index;
    out.data = entry.data.into();
    out
}

pub(super) fn hard_state_from_engine(hard_state: &eraftpb::HardState) -> HardState {
    HardState { term: hard_state.term, vote: hard_state.vote, commit: hard_state.commit }
}

pub(super) fn hard_state_to_engine(hard_state: HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: hard_state.term,
        vote: hard_state.vote,
        commit: hard_state.commit,
        ..Default::default()
    }
}

pub(super) fn snapshot_from_engine(mut snapshot: eraftpb::Snapshot) -> Snapshot {
    let data = snapshot.take_data().into();
    let metadata = snapshot.get_metadata();
    Snapshot {
        index: metadata.index,
        term: metadata.term,
        voters: metadata.get_conf_state().get_voters().to_vec(),
        learners: metadata.get_conf_state().get_learners().to_vec(),
        data,
    }
}

pub(super) fn snapshot_to_engine(snapshot: Snapshot) -> eraftpb::Snapshot {
    let mut out = eraftpb::Snapshot { data: snapshot.data.into(), ..Default::default() };
    let metadata = out.mut_metadata();
    metadata.index = snapshot.index;
    metadata.term = snapshot.term;
    let conf_state = metadata.mut_conf_state();
    conf_state.set_voters(snapshot.voters);
    conf_state.set_learners(snapshot.learners);
    out
}

/// An engine message in wire form, or `None` if it must not leave this node.
pub(super) fn message_from_engine(mut message: eraftpb::Message) -> Option<Message> {
    let kind = kind_of(message.get_msg_type())?;
    let entries = message.take_entries().into_iter().map(entry_from_engine).collect();
    let snapshot = (kind == Kind::Snapshot).then(|| snapshot_from_engine(message.take_snapshot()));
    Some(Message {
        kind: kind as i32,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries,
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.take_context().into(),
    })
}

/// A message that passed the guard, for the engine.
pub(super) fn message_to_engine(message: Message, kind: Kind) -> Option<eraftpb::Message> {
    let mut out = eraftpb::Message::default();
    out.set_msg_type(engine_kind(kind)?);
    out.to = message.to;
    out.from = message.from;
    out.term = message.term;
    out.log_term = message.log_term;
    out.index = message.index;
    let entries: Vec<_> = message.entries.into_iter().map(entry_to_engine).collect();
    out.set_entries(entries.into());
    out.commit = message.commit;
    out.commit_term = message.commit_term;
    if let Some(snapshot) = message.snapshot {
        out.set_snapshot(snapshot_to_engine(snapshot));
    }
    out.reject = message.reject;
    out.reject_hint = message.reject_hint;
    out.context = message.context.into();
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_round_trip() {
        for number in 1..=12 {
            let kind = Kind::try_from(number).unwrap();
            let message = Message {
                kind: number,
                to: 1,
                from: 2,
                term: 3,
                log_term: 4,
                index: 5,
                entries: vec![Entry { term: 3, index: 6, data: vec![1, 2] }],
                commit: 7,
                commit_term: 8,
                snapshot: (kind == Kind::Snapshot).then(|| Snapshot {
                    index: 9,
                    term: 2,
                    voters: vec![1, 2],
                    learners: vec![3],
                    data: vec![4],
                }),
                reject: true,
                reject_hint: 10,
                context: vec![11],
            };
            let engine = message_to_engine(message.clone(), kind).unwrap();
            assert_eq!(message_from_engine(engine), Some(message));
        }
        assert!(message_to_engine(Message::default(), Kind::Unknown).is_none());
    }

    #[test]
    fn local_messages_never_leave_this_node() {
        use eraftpb::MessageType as T;
        for kind in [T::MsgPropose, T::MsgTransferLeader, T::MsgHup, T::MsgBeat, T::MsgSnapStatus] {
            let mut message = eraftpb::Message::default();
            message.set_msg_type(kind);
            assert_eq!(message_from_engine(message), None);
        }
    }
}
