//! Questions to other nodes for their status, and how long they wait for an answer.

use tokio::sync::oneshot;

use super::Driver;
use crate::core::{Instant, NodeId, NodeName};
use crate::limits;
use crate::node::clock;
use crate::node::handle::RemoteStatusError;
use crate::node::machine::StateMachine;

/// A question to a peer that waits for its answer.
pub(super) struct Remote {
    pub(super) of: NodeName,
    pub(super) to: NodeId,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<String, RemoteStatusError>>,
}

impl<M: StateMachine> Driver<M> {
    pub(super) fn ask_remote(
        &mut self,
        of: NodeName,
        reply: oneshot::Sender<Result<String, RemoteStatusError>>,
    ) {
        let status = self.node.status();
        let Some(member) = status.members.iter().find(|m| m.name == of) else {
            let _ = reply.send(Err(RemoteStatusError::UnknownMember { name: of.to_string() }));
            return;
        };
        if member.id == status.id {
            let _ = reply.send(Ok(self.describe()));
            return;
        }
        let to = member.id;
        let request = self.fresh_number();
        let asked = self.remote.len() < limits::REMOTE_STATUS_WAITING
            && self.transport.send_status_request(to, request);
        if !asked {
            let _ = reply.send(Err(unreachable(&of)));
            return;
        }
        let deadline = clock::now() + limits::REMOTE_STATUS_TIMEOUT;
        self.remote.insert(request, Remote { of, to, deadline, reply });
    }

    pub(super) fn expire_remote(&mut self, now: Instant) {
        while let Some(entry) = self.remote.first_entry() {
            // Numbers rise with time and all wait equally long: the first expires first.
            if entry.get().deadline > now {
                break;
            }
            let remote = entry.remove();
            let _ = remote.reply.send(Err(unreachable(&remote.of)));
        }
    }
}

fn unreachable(of: &NodeName) -> RemoteStatusError {
    let deadline_ms = limits::REMOTE_STATUS_TIMEOUT.as_millis() as u64;
    RemoteStatusError::Unreachable { name: of.to_string(), deadline_ms }
}
