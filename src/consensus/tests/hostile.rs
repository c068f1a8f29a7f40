//! Many wrong messages: a peer that lies in every field must not make a replica abort, lose its
//! term or commit what is not in its log.

use super::*;
use crate::core::message::Snapshot;

/// What must only grow, and stay within the log.
#[derive(Clone, Copy, Debug, Default)]
struct Sane {
    term: Term,
    commit: Index,
}

impl Sane {
    fn check(&mut self, peer: &Peer) {
        let position = peer.position();
        assert!(position.term >= self.term, "the term fell from {} to {position:?}", self.term);
        assert!(
            position.commit >= self.commit,
            "the commit fell from {} to {position:?}",
            self.commit
        );
        assert!(position.commit <= position.last, "{position:?}");
        assert!(peer.applied <= position.commit, "applied {} of {position:?}", peer.applied);
        *self = Sane { term: position.term, commit: position.commit };
    }
}

fn number(rng: &mut fastrand::Rng, near: u64) -> u64 {
    match rng.u8(0..10) {
        0 => 0,
        1 => rng.u64(..),
        2 => 1 << rng.u32(0..64),
        3 => near.saturating_sub(rng.u64(0..20)),
        _ => (near + rng.u64(0..3)).saturating_sub(1),
    }
}

/// A message made up from nothing but plausible numbers.
fn invented(rng: &mut fastrand::Rng, to: &Peer) -> Message {
    let Position { term, last, commit, .. } = to.position();
    let mut index = number(rng, last);
    let mut entry_term = number(rng, term);
    let first = index;
    let entries = (0..if rng.bool() { 0 } else { rng.usize(0..4) }).map(|_| {
        index = index.wrapping_add(u64::from(rng.u8(0..20) != 0));
        entry_term = entry_term.wrapping_add(u64::from(rng.u8(0..9) == 0));
        Entry { term: entry_term, index, data: vec![7; rng.usize(0..3)] }
    });
    let entries = entries.collect();
    let snapshot = Snapshot {
        index: number(rng, last),
        term: number(rng, term),
        voters: (1..=3).filter(|_| rng.u8(0..12) != 0).collect(),
        learners: (3..=4).filter(|_| rng.u8(0..12) == 0).collect(),
        data: vec![1],
    };
    Message {
        kind: rng.i32(0..14),
        to: if rng.u8(0..20) == 0 { rng.u64(0..5) } else { to.replica.config.id.0 },
        from: rng.u64(0..5),
        term: number(rng, term),
        log_term: number(rng, term),
        index: first,
        entries,
        commit: number(rng, commit),
        commit_term: number(rng, term),
        snapshot: (rng.u8(0..6) == 0).then_some(snapshot),
        reject: rng.bool(),
        reject_hint: number(rng, last),
        context: match rng.u8(0..8) {
            0 => b"CampaignTransfer".to_vec(),
            1 => vec![0; rng.usize(0..70)],
            _ => Vec::new(),
        },
    }
}

/// A real message with one to three fields replaced.
fn mutated(rng: &mut fastrand::Rng, real: &Message, to: &Peer) -> Message {
    let mut message = real.clone();
    for _ in 0..rng.u8(1..4) {
        let other = invented(rng, to);
        match rng.u8(0..12) {
            0 => message.kind = other.kind,
            1 => message.from = other.from,
            2 => message.term = other.term,
            3 => message.log_term = other.log_term,
            4 => message.index = other.index,
            5 => message.entries = other.entries,
            6 => message.commit = other.commit,
            7 => message.commit_term = other.commit_term,
            8 => message.snapshot = other.snapshot,
            9 => message.reject = !message.reject,
            10 => message.reject_hint = other.reject_hint,
            _ => message.context = other.context,
        }
    }
    message
}

/// Terms that a liar raised leave no room for real elections: begin again before that.
const TERM_ENOUGH: Term = 1 << 40;

#[test]
fn two_hundred_thousand_lies_make_nobody_abort() {
    let mut rng = fastrand::Rng::with_seed(20);
    let (mut stepped, mut refused, mut led, mut committed) = (0u64, 0u64, 0u64, 0);
    let mut round = 0;
    while stepped < 200_000 {
        round += 1;
        let mut group = Group::new(3);
        let mut sane = [Sane::default(); 3];
        let mut real: Vec<Message> = Vec::new();
        for _ in 0..2_000 {
            let at = rng.usize(0..3);
            let peer = &mut group.peers[at];
            let message = if real.is_empty() || rng.u8(0..3) == 0 {
                invented(&mut rng, peer)
            } else {
                let real = &real[rng.usize(0..real.len())];
                Message { to: at as u64 + 1, ..mutated(&mut rng, real, peer) }
            };
            if message.term >= TERM_ENOUGH && message.term < 1 << 62 {
                continue;
            }
            stepped += 1;
            refused += u64::from(peer.replica.step(group.now, message).is_err());
            peer.hold_disk = rng.u8(0..4) == 0;
            if !peer.hold_disk {
                peer.sync();
            }
            if rng.u8(0..8) == 0 {
                let _ = peer.replica.propose(group.now, vec![vec![1]]);
            }
            peer.turn();
            sane[at].check(peer);
            // Honest life goes on between the lies.
            if rng.u8(0..6) == 0 {
                group.now += Duration::from_millis(10);
                for peer in &mut group.peers {
                    peer.replica.tick(group.now);
                    peer.turn();
                    real.append(&mut peer.sent);
                }
                let keep = real.len().saturating_sub(40);
                real.drain(..keep);
                for message in real.clone() {
                    if rng.u8(0..3) != 0 {
                        let to = message.to as usize;
                        if let Some(peer) = group.peers.get_mut(to.wrapping_sub(1)) {
                            let _ = peer.replica.step(group.now, message);
                            peer.turn();
                        }
                    }
                }
                led += u64::from(group.leader().is_some());
            }
        }
        committed += group.peers.iter().map(|p| p.position().commit).max().unwrap_or(0);
    }
    println!("{stepped} lies in {round} groups: {refused} refused, {led} moments with a leader");
    assert!(refused > stepped / 10 && refused < stepped * 9 / 10, "{refused} of {stepped}");
    assert!(led > 1_000 && committed > 100, "too little life: {led} {committed}");
}
