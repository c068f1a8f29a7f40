//! Script order (DESIGN 1): on each host scripts of roles begin one after the other, in sequence;
//! between two leader scripts there is a follower script; tokens of leader scripts rise.
//!
//! A cluster of one node elects itself in its first turn: after a crash whose demotion script found
//! no time, a leader script follows a leader script.

use std::collections::BTreeMap;

use raftctl::core::Token;

use crate::sim::systemd::Script;

#[derive(Default)]
pub struct ScriptOrder {
    alone: bool,
    hosts: BTreeMap<usize, Seen>,
    pub scripts: u64,
}

#[derive(Default)]
struct Seen {
    /// The leader script that no follower script followed yet.
    leader: Option<Token>,
    newest: Option<Token>,
    number: (u64, u64),
}

impl ScriptOrder {
    /// `alone`: in a cluster of one node.
    pub fn new(alone: bool) -> Self {
        ScriptOrder { alone, ..Self::default() }
    }

    /// A script begins on `host`, where so many others run.
    pub fn begins(&mut self, host: usize, script: Script, others: usize) -> Result<(), String> {
        let wrong = |what: String| Err(format!("script_order: host {host}: {what}"));
        let seen = self.hosts.entry(host).or_default();
        self.scripts += 1;
        if others > 0 {
            return wrong(format!("{script:?} begins while another one runs"));
        }
        if let Some((process, number)) = script.act {
            if (process, number) <= seen.number {
                return wrong(format!("{script:?} after {:?}", seen.number));
            }
            seen.number = (process, number);
        }
        if !script.leader {
            if let Some(leader) = seen.leader.take()
                && script.token != Some(leader)
                && !self.alone
            {
                return wrong(format!("{script:?} ends leader {leader}"));
            }
            return Ok(());
        }
        let Some(token) = script.token else { return wrong("a leader without token".to_owned()) };
        if let Some(leader) = seen.leader.filter(|_| !self.alone) {
            return wrong(format!("leader {token} after leader {leader}"));
        }
        if seen.newest.is_some_and(|newest| token <= newest) {
            return wrong(format!("leader {token} comes after {:?}", seen.newest));
        }
        (seen.leader, seen.newest) = (Some(token), Some(token));
        Ok(())
    }

    /// The host lost power: whatever ran did not end.
    pub fn power_cut(&mut self, host: usize) {
        if let Some(seen) = self.hosts.get_mut(&host) {
            seen.leader = None;
        }
    }
}
