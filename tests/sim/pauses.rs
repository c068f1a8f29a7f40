//! Operators who pause the cluster and let it go on: by asking, by moving leadership to what is
//! active, and by force only where it is really down.

use std::time::Duration;

use raftctl::consensus::RaftRole;
use raftctl::core::NodeId;
use raftctl::core::state::Activation;
use raftctl::node::event::{Event, RequestId};

use super::host::name_of;
use super::world::World;

const MS: Duration = Duration::from_millis(1);

impl World {
    /// An operator pauses the cluster, or does something about a pause.
    pub(super) fn operate_pause(&mut self) {
        let Some(leader) = self.newest_leader() else { return };
        let Some(record) = self.paused_at(leader) else {
            return self.ask_pause(leader, true, false);
        };
        let active = record.as_ref().map(Activation::node);
        match self.rng.below(8) {
            0 | 1 => self.ask_pause(leader, false, false),
            2 => self.ask_pause(active.unwrap_or(leader), false, false),
            3 => self.move_leadership(leader, active.unwrap_or(leader)),
            4 => {
                let to = self.any_node();
                self.move_leadership(leader, to);
            }
            5 => self.cut_off(active.unwrap_or(leader)),
            6 if record.as_ref().is_some_and(|record| self.is_down(record)) => {
                self.ask_pause(leader, false, true);
            }
            7 if record.as_ref().is_some_and(|record| self.is_down(record)) => {
                self.request(leader, |request| Event::Takeover { request });
            }
            _ => {}
        }
    }

    fn move_leadership(&mut self, leader: NodeId, to: NodeId) {
        let to = Some(name_of(to));
        self.request(leader, |request| Event::Transfer { request, to });
    }

    fn ask_pause(&mut self, id: NodeId, on: bool, force: bool) {
        self.request(id, |request: RequestId| Event::Pause { request, on, force });
    }

    /// Who leads the newest term, if anybody does.
    fn newest_leader(&self) -> Option<NodeId> {
        let leads = |place: &&usize| {
            let position = self.hosts[**place].running.as_ref()?.node.replica().position();
            (position.role == RaftRole::Leader).then_some((position.term, self.hosts[**place].id))
        };
        let leaders = self.places.iter().filter_map(|place| leads(&place));
        leaders.max_by_key(|(term, _)| *term).map(|(_, id)| id)
    }

    /// If the cluster is paused as a node knows it: the activation that the pause keeps.
    fn paused_at(&self, id: NodeId) -> Option<Option<Activation>> {
        let running = self.hosts[self.place(id)].running.as_ref()?;
        let truth = running.node.machine().truth();
        truth.paused()?;
        Some(truth.activation().filter(|record| record.is_active()).cloned())
    }

    /// Whether the run that an activation belongs to is over, and nothing of it is left.
    fn is_down(&self, record: &Activation) -> bool {
        let host = record.machine().first().map_or(0, |first| *first as usize - 1);
        let gone = self.process_of_invocation(record.invocation()).is_none();
        gone && self.hosts[host].systemd.occupied().is_none()
    }

    /// In the end operators let the cluster go on.
    pub(super) fn resume_in_the_end(&mut self) -> Result<(), String> {
        let deadline = self.now + MS * 10_000 + self.longest_restart();
        let mut rounds = 0;
        while self.places.iter().any(|place| self.paused_at(self.hosts[*place].id).is_some()) {
            if self.now > deadline {
                let here = self.describe();
                return Err(format!("liveness: the cluster is paused for good; {here}"));
            }
            rounds += 1;
            if rounds % 10 == 0 {
                self.come_back()?;
            }
            if let Some(leader) = self.newest_leader()
                && let Some(record) = self.paused_at(leader)
            {
                self.resume_at(leader, record, rounds > 10);
            }
            self.run_until(self.now + MS * 200)?;
        }
        Ok(())
    }

    fn resume_at(&mut self, leader: NodeId, record: Option<Activation>, patient: bool) {
        match record {
            Some(record) if self.is_down(&record) => {
                // It comes back and releases what it left, unless its machine is gone.
                if patient {
                    self.ask_pause(leader, false, true);
                }
            }
            Some(record) if record.node() != leader => {
                self.move_leadership(leader, record.node());
            }
            _ => self.ask_pause(leader, false, false),
        }
    }
}
