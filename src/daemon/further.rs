//! Further events: from what the node and the host say of themselves to what scripts are told.
//!
//! Sees states, not steps: what was there and over between two looks is not told. Decides nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;

use crate::core::authority::Phase;
use crate::core::role::EventName;
use crate::events::Occurrence;
use crate::node::handle::NodeHandle;
use crate::node::status::{Change, HostStatus, LastFence, NodeStatus};
use crate::storage::fence_record;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Where it is kept which fence was told of.
    directory: PathBuf,
    maintenance: bool,
    /// The activation that is not known to be over.
    activation: Option<u64>,
    /// `None`: nothing was heard of it yet.
    quorum: Option<bool>,
    fence: Option<u64>,
}

impl Told {
    /// Nothing yet. The host is in `maintenance` as the agent starts, which is nothing new; nor is
    /// a fence that stands in the state directory as told.
    pub(super) fn nothing(state_directory: PathBuf, maintenance: bool) -> Told {
        Told { directory: state_directory, maintenance, ..Told::default() }
    }
}

/// Hands every further event to `submit`, until the node has stopped.
pub(super) async fn follow(
    handle: NodeHandle,
    mut told: Told,
    mut submit: impl FnMut(Occurrence) + Send,
) {
    let mut changes = handle.changes();
    let (mut status, mut host) = (handle.watch(), handle.watch_host());
    loop {
        let now = status.borrow_and_update().clone();
        let here = host.borrow_and_update().clone();
        if let Some((event, token, reason)) = told.activation(&now) {
            submit(Occurrence { token, ..occurrence(&now, event, reason) });
        }
        if let Some(reason) = told.maintenance(&here) {
            submit(occurrence(&now, EventName::Maintenance, reason));
        }
        if let Some(reason) = told.fence(&here).await {
            submit(occurrence(&now, EventName::Fenced, reason));
        }
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            changed = host.changed() => if changed.is_err() { return },
            change = changes.recv() => match change {
                Ok(Change::Quorum { has, .. }) => {
                    let now = handle.status();
                    if let Some((event, reason)) = told.quorum(has) {
                        submit(occurrence(&now, event, reason));
                    }
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

impl Told {
    fn activation(&mut self, now: &NodeStatus) -> Option<(EventName, Option<u64>, &'static str)> {
        let token = now.token.map(|token| token.0);
        match (now.active, now.phase) {
            (true, _) if self.activation != token => {
                self.activation = token;
                Some((EventName::Active, token, "the leader target runs"))
            }
            // Everything has stopped, and the cluster knows it.
            (false, Phase::Idle) => {
                let over = self.activation.take()?;
                Some((EventName::Released, Some(over), "everything has stopped"))
            }
            _ => None,
        }
    }

    fn maintenance(&mut self, here: &HostStatus) -> Option<&'static str> {
        let differs =
            std::mem::replace(&mut self.maintenance, here.maintenance) != here.maintenance;
        let reason = if here.maintenance { "maintenance on" } else { "maintenance off" };
        differs.then_some(reason)
    }

    fn quorum(&mut self, has: bool) -> Option<(EventName, &'static str)> {
        match (self.quorum.replace(has), has) {
            // What was never lost is not regained.
            (None, true) => None,
            (before, has) if before == Some(has) => None,
            (_, true) => Some((EventName::QuorumRegained, "a quorum is heard again")),
            (_, false) => Some((EventName::QuorumLost, "no quorum is heard")),
        }
    }

    /// A fence is told of once, also if the agent was not there when it happened.
    async fn fence(&mut self, here: &HostStatus) -> Option<&'static str> {
        let LastFence { when_usec, what, .. } = here.last_fence.as_ref()?;
        if self.fence.replace(*when_usec) == Some(*when_usec) {
            return None;
        }
        let (directory, when_usec) = (self.directory.clone(), *when_usec);
        let first = spawn_blocking(move || fence_record::told_first(&directory, when_usec)).await;
        match first.expect("a panic aborts, and nobody cancels this") {
            Ok(true) => Some(if what == "reboot" { "rebooted" } else { "killed" }),
            Ok(false) => None,
            Err(error) => {
                tracing::warn!("it is not known whether a fence was told of: {error}, ignoring");
                None
            }
        }
    }
}

fn occurrence(now: &Arc<NodeStatus>, event: EventName, reason: &'static str) -> Occurrence {
    let leader = now.leader_member();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let role = now.role.as_str();
    Occurrence {
        number: 0,
        planned: false,
        event,
        role,
        old_role: role,
        leader: leader.map(|m| m.name.to_string()),
        leader_address: leader.map(|m| m.address.to_string()),
        term: now.term,
        token: now.token.map(|token| token.0),
        reason,
        timestamp_usec: since_epoch.as_micros() as u64,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{broadcast, mpsc, watch};

    use super::*;
    use crate::core::{NodeId, Token};
    use crate::node::status::Role;

    fn status(active: bool, phase: Phase, token: u64) -> Arc<NodeStatus> {
        Arc::new(NodeStatus {
            name: "n1".parse().unwrap(),
            id: NodeId(1),
            cluster_name: String::new(),
            cluster_id: None,
            role: Role::Leader,
            active,
            phase,
            term: 1,
            token: Some(Token(token)),
            leader: None,
            paused: false,
            commit_index: 0,
            applied_index: 0,
            members: Vec::new(),
        })
    }

    fn fenced(when_usec: u64, what: &str) -> HostStatus {
        let last = LastFence { when_usec, what: what.to_owned(), why: String::new() };
        HostStatus { last_fence: Some(last), ..HostStatus::default() }
    }

    #[tokio::test]
    async fn states_become_events() {
        let directory = tempfile::tempdir().unwrap();
        let (now, statuses) = watch::channel(status(false, Phase::Idle, 0));
        let (here, hosts) = watch::channel(Arc::new(HostStatus::default()));
        let (changed, _) = broadcast::channel(8);
        let (requests, _asked) = mpsc::channel(1);
        let (host_requests, _host_asked) = mpsc::channel(1);
        let handle = NodeHandle::new(requests, statuses, changed.clone(), hosts, host_requests);
        let (submit, mut told) = mpsc::channel(8);
        let submit = move |occurrence: Occurrence| submit.try_send(occurrence).unwrap();
        let nothing = Told::nothing(directory.path().to_owned(), false);
        let following = tokio::spawn(follow(handle, nothing, submit));
        let mut next = async || {
            let told = tokio::time::timeout(std::time::Duration::from_secs(20), told.recv());
            let Occurrence { event, token, reason, .. } = told.await.unwrap().unwrap();
            (event, token.unwrap(), reason)
        };
        now.send_replace(status(true, Phase::Active, 7));
        assert_eq!(next().await, (EventName::Active, 7, "the leader target runs"));
        now.send_replace(status(false, Phase::Stopping, 7));
        here.send_replace(Arc::new(HostStatus { maintenance: true, ..fenced(5, "kill") }));
        assert_eq!(next().await, (EventName::Maintenance, 7, "maintenance on"));
        assert_eq!(next().await, (EventName::Fenced, 7, "killed"));
        now.send_replace(status(false, Phase::Idle, 9));
        assert_eq!(next().await, (EventName::Released, 7, "everything has stopped"));
        // Nothing new until the last one.
        for has in [true, true, false, false, true] {
            let _ = changed.send(Change::Quorum { has, term: 1 });
        }
        assert_eq!(next().await, (EventName::QuorumLost, 9, "no quorum is heard"));
        assert_eq!(next().await, (EventName::QuorumRegained, 9, "a quorum is heard again"));
        here.send_replace(Arc::new(fenced(5, "kill")));
        assert_eq!(next().await, (EventName::Maintenance, 9, "maintenance off"));
        drop((now, here));
        following.await.unwrap();

        // Another run of the agent knows what this one has told.
        let mut again = Told::nothing(directory.path().to_owned(), false);
        assert_eq!(again.fence(&fenced(5, "kill")).await, None);
        assert_eq!(again.fence(&fenced(6, "reboot")).await, Some("rebooted"));
    }
}
