//! Promote only in one's own term (DESIGN 5.5): the target is started, and a leader script handed
//! out, only while the record as it is says this node, this run and this term, and the node leads;
//! a start only under a lease, and never after a demotion in the same term. The script of an
//! activation that a pause keeps needs neither term nor leadership: its target is up.

use std::collections::BTreeMap;

use raftctl::consensus::RaftRole;
use raftctl::core::role::EventName;
use raftctl::core::{Instant, NodeId, Term, Token};
use raftctl::node::event::Consequence;

use super::active_is_guarded::pause_of;
use crate::sim::host::{Host, Running};

#[derive(Default)]
pub struct PromoteOnlyOwnTerm {
    /// Of each host: the process and L of its newest lease.
    leases: BTreeMap<usize, (u64, Instant)>,
    /// Of each host: the process and the term of its last start, and of its last demotion.
    started: BTreeMap<usize, (u64, Term)>,
    demoted: BTreeMap<usize, (u64, Term)>,
}

impl PromoteOnlyOwnTerm {
    /// The dead-man is armed for a lease that ends then.
    pub fn lease(&mut self, host: usize, process: u64, end: Instant) {
        self.leases.insert(host, (process, end));
    }

    /// The agent has the target stopped.
    pub fn stops(&mut self, host: usize, running: &Running) {
        let term = running.node.replica().position().term;
        if self.started.get(&host).is_some_and(|(process, _)| *process == running.process) {
            let (_, of) = self.started[&host];
            self.demoted.insert(host, (running.process, of.max(term)));
        }
    }

    /// The agent has the target started; its clock shows `boot`.
    pub fn starts(
        &mut self,
        host: usize,
        running: &Running,
        token: Token,
        boot: Instant,
    ) -> Result<(), String> {
        entitled(host, running, Some(token), "starts the target")?;
        let term = running.node.replica().position().term;
        let lease = self.leases.get(&host).filter(|(process, _)| *process == running.process);
        if lease.is_none_or(|(_, end)| boot >= *end) {
            return Err(format!(
                "promote_only_own_term: host {host} starts the target at {boot}, its lease: {:?}",
                lease.map(|(_, end)| end)
            ));
        }
        if self.demoted.get(&host) == Some(&(running.process, term)) {
            return Err(format!(
                "promote_only_own_term: host {host} starts the target again in term {term}"
            ));
        }
        self.started.insert(host, (running.process, term));
        Ok(())
    }

    /// The agent hands out an event script.
    pub fn acts(&self, host: usize, running: &Running, act: &Consequence) -> Result<(), String> {
        if act.script.event != EventName::Leader {
            return Ok(());
        }
        if pause_of(running).is_some() && running.node.status().token == act.token {
            return Ok(());
        }
        entitled(host, running, act.token, "runs the leader script")
    }
}

fn entitled(
    host: usize,
    running: &Running,
    token: Option<Token>,
    what: &str,
) -> Result<(), String> {
    let position = running.node.replica().position();
    let record = running.node.machine().truth().activation();
    let own = |a: &raftctl::core::state::Activation| {
        a.is_active()
            && a.invocation() == Host::invocation(running.process)
            && a.node() == NodeId(running.process >> 32 & 0xffff)
            && a.term() == position.term
            && Some(a.token()) == token
    };
    if position.role == RaftRole::Leader && record.is_some_and(own) {
        return Ok(());
    }
    Err(format!(
        "promote_only_own_term: host {host} {what} with token {token:?} as {:?} of term {}; the \
         record is {record:?}",
        position.role, position.term
    ))
}
