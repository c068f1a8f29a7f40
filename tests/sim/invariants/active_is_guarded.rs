//! Active is guarded: an active node has its dead-man armed, unless it rests on a pause of the
//! cluster, by the record as it is, and has not proposed the end of that pause itself.

use std::collections::BTreeMap;

use raftctl::core::Index;
use raftctl::core::authority::Order;
use raftctl::node::event::Effect;

use crate::sim::host::{Host, Running};

#[derive(Default)]
pub struct ActiveIsGuarded {
    /// Of each host: the process, and whether its dead-man is armed.
    armed: BTreeMap<usize, (u64, bool)>,
    /// Turns of nodes that were active by a pause.
    pub rested: u64,
}

/// The pause that keeps what this run has active.
pub fn pause_of(running: &Running) -> Option<Index> {
    let truth = running.node.machine().truth();
    let invocation = Host::invocation(running.process);
    let own = truth.activation().is_some_and(|a| a.is_active() && a.invocation() == invocation);
    truth.paused().filter(|_| own)
}

impl ActiveIsGuarded {
    /// After a turn that asked for `effects`; `given`: this run has proposed the end of the pause.
    pub fn turned(
        &mut self,
        host: usize,
        running: &Running,
        effects: &[Effect],
        given: bool,
    ) -> Result<(), String> {
        let (process, armed) = self.armed.entry(host).or_insert((running.process, false));
        if *process != running.process {
            (*process, *armed) = (running.process, false);
        }
        for effect in effects {
            match effect {
                Effect::Host(Order::ArmDeadMan { .. }) => *armed = true,
                Effect::Host(Order::DisarmDeadMan) => *armed = false,
                _ => {}
            }
        }
        if !running.node.status().active || *armed {
            return Ok(());
        }
        let pause = pause_of(running);
        if pause.is_some() && !given {
            self.rested += 1;
            return Ok(());
        }
        Err(format!(
            "active_is_guarded: host {host} is active and nothing guards it; pause {pause:?}, \
             whose end it has proposed: {given}"
        ))
    }
}
