//! The oracle: shows every invariant what it needs to see.

use std::collections::BTreeMap;

use raftctl::consensus::RaftRole;
use raftctl::core::{NodeId, Term};
use raftctl::node::event::Effect;

use super::host::Host;
use super::invariants::acked_write_durable::AckedWriteDurable;
use super::invariants::durable_promises::DurablePromises;
use super::invariants::election_safety::ElectionSafety;
use super::invariants::leader_completeness::LeaderCompleteness;
use super::invariants::log_matching::LogMatching;
use super::invariants::state_machine_safety::StateMachineSafety;

#[derive(Default)]
pub struct Oracle {
    election_safety: ElectionSafety,
    log_matching: LogMatching,
    leader_completeness: LeaderCompleteness,
    pub state_machine_safety: StateMachineSafety,
    pub acked_write_durable: AckedWriteDurable,
    pub durable_promises: DurablePromises,
    alone: bool,
    led: BTreeMap<NodeId, Term>,
    /// Elections seen, to tell a run in which nothing happened.
    pub elections: u64,
}

impl Oracle {
    /// `nodes`: size of the cluster. A single node appends before its new term is durable, because
    /// nobody else can see either; what it loses in a crash never was in any log.
    pub fn new(nodes: u64) -> Self {
        Oracle { alone: nodes == 1, ..Default::default() }
    }

    /// After a turn of `host`'s node that asked for `effects`.
    pub fn after_turn(&mut self, host: &mut Host, effects: &[Effect]) -> Result<(), String> {
        let id = host.id;
        let Some(running) = &mut host.running else { return Ok(()) };
        for effect in effects {
            match effect {
                Effect::Send(message) => self.durable_promises.sends(id, message)?,
                Effect::Persist { number, persist } => {
                    self.durable_promises.writes(id, *number, persist);
                }
                _ => {}
            }
            if !self.alone
                && let Effect::Persist { persist, .. } = effect
                && let Some(first) = persist.entries.first()
            {
                let replica = running.node.replica();
                let before = (first.index > 1).then(|| replica.term_of(first.index - 1)).flatten();
                self.log_matching.appends(id, before, &persist.entries)?;
            }
        }
        let machine = running.node.machine_mut();
        if let Some((index, chain)) = machine.restored.take() {
            self.state_machine_safety.restores(id, index, chain)?;
        }
        for entry in std::mem::take(&mut machine.fresh) {
            self.leader_completeness.committed(entry.index, entry.term);
            self.state_machine_safety.applies(id, &entry)?;
        }
        let replica = running.node.replica();
        let position = replica.position();
        if position.role == RaftRole::Leader {
            self.election_safety.leads(id, position.term)?;
            if self.led.insert(id, position.term) != Some(position.term) {
                self.elections += 1;
                self.leader_completeness.elected(id, replica, replica.first_index() - 1)?;
            }
        }
        Ok(())
    }
}
