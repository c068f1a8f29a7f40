//! Durable promises (thesis figure 3.1, "updated on stable storage before responding to RPCs"): a
//! message says nothing that a power cut at this instant would make untrue.
//!
//! A message of a term needs that term on disk; a vote, or a request for votes, the vote; an
//! acknowledgement of entries the entries. A leader's entries need nothing (thesis 10.2.1), and
//! pre-votes change nothing (thesis 9.6).

use std::collections::{BTreeMap, VecDeque};

use raftctl::consensus::{Persist, Position};
use raftctl::core::message::{Kind, Message};
use raftctl::core::{Index, NodeId, Term};

#[derive(Default)]
pub struct DurablePromises {
    disks: BTreeMap<NodeId, Disk>,
}

/// What one host's disk is known to hold.
struct Disk {
    term: Term,
    /// `None`: whatever was there when the process started.
    vote: Option<u64>,
    last: Index,
    waiting: VecDeque<Write>,
}

struct Write {
    number: u64,
    term: Term,
    vote: u64,
    last: Option<Index>,
}

impl DurablePromises {
    /// The process of `node` starts from what its disk held.
    pub fn starts(&mut self, node: NodeId, position: Position) {
        let Position { term, last, .. } = position;
        self.disks.insert(node, Disk { term, vote: None, last, waiting: VecDeque::new() });
    }

    /// `node` handed a write to its disk.
    pub fn writes(&mut self, node: NodeId, number: u64, persist: &Persist) {
        let Some(disk) = self.disks.get_mut(&node) else { return };
        let entries = persist.entries.last().map(|entry| entry.index);
        disk.waiting.push_back(Write {
            number,
            term: persist.hard_state.term,
            vote: persist.hard_state.vote,
            last: entries.or(persist.snapshot.as_ref().map(|snapshot| snapshot.index)),
        });
    }

    /// The disk of `node` has carried out all writes up to `number`.
    pub fn durable(&mut self, node: NodeId, number: u64) {
        let Some(disk) = self.disks.get_mut(&node) else { return };
        while let Some(write) = disk.waiting.pop_front_if(|write| write.number <= number) {
            (disk.term, disk.vote) = (write.term, Some(write.vote));
            disk.last = write.last.unwrap_or(disk.last);
        }
    }

    /// `node` hands `message` to the network.
    pub fn sends(&self, node: NodeId, message: &Message) -> Result<(), String> {
        let Some(disk) = self.disks.get(&node) else { return Ok(()) };
        let kind = message.kind();
        let asks_only = matches!(kind, Kind::PreVote | Kind::PreVoteResponse);
        let voted_for = |id: u64| disk.vote.is_none_or(|v| v == id);
        let kept = match kind {
            _ if message.term > disk.term => asks_only,
            // Written together with what came after it: nobody can be told otherwise any more.
            _ if message.term < disk.term => true,
            Kind::Vote => voted_for(node.0),
            Kind::VoteResponse if !message.reject => voted_for(message.to),
            Kind::AppendResponse if !message.reject => message.index <= disk.last,
            _ => true,
        };
        if kept {
            return Ok(());
        }
        Err(format!(
            "durable_promises: node {node} sends {kind:?} of term {} and index {} to {}; its disk \
             has term {}, vote {:?}, last index {}",
            message.term, message.index, message.to, disk.term, disk.vote, disk.last
        ))
    }
}
