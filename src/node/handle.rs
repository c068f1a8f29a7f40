//! The handle: how every surface talks to the node. Cheap to clone, never blocks the driver.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::clock;
use super::kv::{KvError, KvPage, KvRead, KvRequest, KvWrite};
use super::status::{Change, HostStatus, NodeStatus};
use super::store::{StoreStatus, TravelStatus};
use crate::core::kv::Written;
use crate::core::{NodeName, Token};

/// A request to the driver, with the place where the answer goes.
#[derive(Debug)]
pub enum Request {
    /// Hand leadership to `to`, or to the best follower.
    Transfer {
        /// Wanted successor; `None` lets the node choose.
        to: Option<NodeName>,
        /// Answered when the new leader is known or the transfer failed.
        reply: oneshot::Sender<Result<NodeName, TransferError>>,
    },
    /// Ask another member for its own view of itself, over the control connection.
    RemoteStatus {
        /// The member to ask.
        of: NodeName,
        /// The member's status as the JSON text of its `Describe()`.
        reply: oneshot::Sender<Result<String, RemoteStatusError>>,
    },
    /// Declare the activation in force over: its host is known to be down.
    Takeover {
        /// Answered with the token of that activation.
        reply: oneshot::Sender<Result<Token, TakeoverError>>,
    },
    /// Pause the cluster, or let it go on.
    Pause {
        /// Whether to pause.
        on: bool,
        /// Resume although the active node cannot say that it is guarded again.
        force: bool,
        /// Answered when it is committed.
        reply: oneshot::Sender<Result<(), PauseError>>,
    },
    /// Read or write the store.
    Kv(KvRequest),
    /// Hand over leadership if held, then stop.
    Shutdown,
}

/// A request to whoever looks after the standing of this host, with the place for the answer.
#[derive(Debug)]
pub enum HostRequest {
    /// Take the host out of service, or put it back. Kept across restarts.
    Maintenance {
        /// Whether it is out of service.
        on: bool,
        /// Answered when it is on disk. What runs is handed over after that.
        reply: oneshot::Sender<Result<(), HostRequestError>>,
    },
    /// Forget failures of members, and with them a hold-down.
    ClearFailures {
        /// Answered when it is on disk.
        reply: oneshot::Sender<Result<(), HostRequestError>>,
    },
}

/// Why the standing of this host was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostRequestError {
    /// It cannot be written down.
    #[error("cannot write it down: {reason}")]
    Disk {
        /// What the system said.
        reason: String,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// Why the cluster was neither paused nor resumed. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PauseError {
    /// Only the leader can do it.
    #[error("this node is not the leader; the leader is {}", or_unknown(leader))]
    NotLeader {
        /// Name of the leader, if known.
        leader: Option<String>,
    },
    /// Another node is active: it has to say that it is guarded again.
    #[error("node {node:?} is active and has to resume; expected this on that node")]
    ActiveElsewhere {
        /// The active node.
        node: String,
    },
    /// It cannot be written down now.
    #[error("the leader cannot record it now: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// Why leadership was not transferred. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can hand over.
    #[error("this node is not the leader; the leader is {}", or_unknown(leader))]
    NotLeader {
        /// Name of the leader, if known.
        leader: Option<String>,
    },
    /// No such member.
    #[error("node {name:?} is not a member of this cluster; members are {members}")]
    UnknownMember {
        /// What was asked for.
        name: String,
        /// The names there are, comma-separated.
        members: String,
    },
    /// The wanted successor cannot lead now.
    #[error("node {name:?} cannot take over: {reason}")]
    NotEligible {
        /// The wanted successor.
        name: String,
        /// Why it cannot.
        reason: &'static str,
    },
    /// A transfer is already under way.
    #[error("a transfer to node {to:?} is already under way")]
    InProgress {
        /// Its target.
        to: String,
    },
    /// It did not complete within one election timeout.
    #[error("node {name:?} did not take over within {waited_ms} ms")]
    TimedOut {
        /// The wanted successor.
        name: String,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// Why no activation was declared over. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeoverError {
    /// Only the leader can do it.
    #[error("this node is not the leader; the leader is {}", or_unknown(leader))]
    NotLeader {
        /// Name of the leader, if known.
        leader: Option<String>,
    },
    /// There is nothing to take over from.
    #[error("no activation of another node is in force")]
    NothingActive,
    /// It cannot be written down now.
    #[error("the leader cannot record it now: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

fn or_unknown(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or("unknown")
}

/// Why a remote node's status is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteStatusError {
    /// No such member.
    #[error("node {name:?} is not a member of this cluster")]
    UnknownMember {
        /// What was asked for.
        name: String,
    },
    /// No answer within the deadline.
    #[error("node {name:?} did not answer within {deadline_ms} ms")]
    Unreachable {
        /// The silent member.
        name: String,
        /// The deadline, in milliseconds.
        deadline_ms: u64,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// Access to a running node.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Arc<NodeStatus>>,
    changes: broadcast::Sender<Change>,
    host: watch::Receiver<Arc<HostStatus>>,
    host_requests: mpsc::Sender<HostRequest>,
    store: watch::Receiver<Arc<StoreStatus>>,
    travels: watch::Receiver<Arc<TravelStatus>>,
}

impl NodeHandle {
    /// A handle over the given channels; the other ends belong to the driver (or to a test).
    pub fn new(
        requests: mpsc::Sender<Request>,
        status: watch::Receiver<Arc<NodeStatus>>,
        changes: broadcast::Sender<Change>,
        host: watch::Receiver<Arc<HostStatus>>,
        host_requests: mpsc::Sender<HostRequest>,
    ) -> Self {
        let store = watch::channel(Arc::default()).1;
        let travels = watch::channel(Arc::default()).1;
        NodeHandle { requests, status, changes, host, host_requests, store, travels }
    }

    /// The same handle, which also knows of the store.
    pub fn with_store(
        self,
        store: watch::Receiver<Arc<StoreStatus>>,
        travels: watch::Receiver<Arc<TravelStatus>>,
    ) -> Self {
        NodeHandle { store, travels, ..self }
    }

    /// What is known of the store; brought up to date about once a second, not with each write.
    pub fn store(&self) -> Arc<StoreStatus> {
        let store = StoreStatus::clone(&self.store.borrow());
        Arc::new(store.with(&self.travels.borrow()))
    }

    /// Writes to the store, on whichever node leads. Once the node has it, it may take effect
    /// although the node stops without a word.
    pub async fn kv_write(&self, write: KvWrite) -> Result<Written, KvError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Kv(KvRequest::Write { write, reply });
        self.requests.send(request).await.map_err(|_| KvError::Stopping)?;
        let since = clock::now();
        answer.await.unwrap_or_else(|_| {
            let waited_ms = (clock::now() - since).as_millis() as u64;
            Err(KvError::Unknown { waited_ms })
        })
    }

    /// Reads from the store.
    pub async fn kv_read(&self, read: KvRead) -> Result<KvPage, KvError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Kv(KvRequest::Read { read, reply });
        self.requests.send(request).await.map_err(|_| KvError::Stopping)?;
        answer.await.unwrap_or(Err(KvError::Stopping))
    }

    /// The status now.
    pub fn status(&self) -> Arc<NodeStatus> {
        self.status.borrow().clone()
    }

    /// The status and every later one; intermediate values may be skipped.
    pub fn watch(&self) -> watch::Receiver<Arc<NodeStatus>> {
        self.status.clone()
    }

    /// What is known of the host now.
    pub fn host(&self) -> Arc<HostStatus> {
        self.host.borrow().clone()
    }

    /// What is known of the host, now and later.
    pub fn watch_host(&self) -> watch::Receiver<Arc<HostStatus>> {
        self.host.clone()
    }

    /// Every change from now on; a reader more than `limits::CHANGE_BACKLOG` behind loses the
    /// oldest and is told so.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Hands leadership to `to`, or to the best follower; returns who leads then. First everything
    /// that this node started as the active one is stopped, however long that takes.
    pub async fn transfer(&self, to: Option<NodeName>) -> Result<NodeName, TransferError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send(Request::Transfer { to, reply }).await;
        sent.map_err(|_| TransferError::Stopping)?;
        answer.await.unwrap_or(Err(TransferError::Stopping))
    }

    /// Declares the activation in force over; returns its token. Only for an operator who knows
    /// that its host is down: otherwise two hosts are active.
    pub async fn takeover(&self) -> Result<Token, TakeoverError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send(Request::Takeover { reply }).await;
        sent.map_err(|_| TakeoverError::Stopping)?;
        answer.await.unwrap_or(Err(TakeoverError::Stopping))
    }

    /// Pauses the cluster, or lets it go on; `force` only with the latter, and only for an operator
    /// who knows that what was active no longer is.
    pub async fn pause(&self, on: bool, force: bool) -> Result<(), PauseError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send(Request::Pause { on, force, reply }).await;
        sent.map_err(|_| PauseError::Stopping)?;
        answer.await.unwrap_or(Err(PauseError::Stopping))
    }

    /// Takes this host out of service, or puts it back.
    pub async fn maintenance(&self, on: bool) -> Result<(), HostRequestError> {
        let (reply, answer) = oneshot::channel();
        self.ask_host(HostRequest::Maintenance { on, reply }, answer).await
    }

    /// Forgets failures of members of this host's targets, and ends a hold-down.
    pub async fn clear_failures(&self) -> Result<(), HostRequestError> {
        let (reply, answer) = oneshot::channel();
        self.ask_host(HostRequest::ClearFailures { reply }, answer).await
    }

    async fn ask_host(
        &self,
        request: HostRequest,
        answer: oneshot::Receiver<Result<(), HostRequestError>>,
    ) -> Result<(), HostRequestError> {
        let sent = self.host_requests.send(request).await;
        sent.map_err(|_| HostRequestError::Stopping)?;
        answer.await.unwrap_or(Err(HostRequestError::Stopping))
    }

    /// Asks member `of` for its own status, within `limits::REMOTE_STATUS_TIMEOUT`.
    pub async fn remote_status(&self, of: NodeName) -> Result<String, RemoteStatusError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send(Request::RemoteStatus { of, reply }).await;
        sent.map_err(|_| RemoteStatusError::Stopping)?;
        answer.await.unwrap_or(Err(RemoteStatusError::Stopping))
    }

    /// Asks the node to hand over and stop; returns when the request is queued.
    pub async fn shutdown(&self) {
        let _ = self.requests.send(Request::Shutdown).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::kv::Consistency;
    use super::super::status::Role;
    use super::*;
    use crate::core::NodeId;
    use crate::core::authority::Phase;
    use crate::core::kv::{Delete, Operation, Query};

    #[tokio::test]
    async fn a_write_that_the_node_took_and_never_answered_may_have_taken_effect() {
        let (requests, mut taken) = mpsc::channel(1);
        let status = NodeStatus {
            name: "n1".parse().unwrap(),
            id: NodeId(1),
            cluster_name: "main".to_owned(),
            cluster_id: None,
            role: Role::Follower,
            active: false,
            phase: Phase::Idle,
            term: 1,
            token: None,
            leader: None,
            paused: false,
            commit_index: 0,
            applied_index: 0,
            members: Vec::new(),
        };
        let handle = NodeHandle::new(
            requests,
            watch::channel(Arc::new(status)).1,
            broadcast::channel(1).0,
            watch::channel(Arc::new(HostStatus::default())).1,
            mpsc::channel(1).0,
        );
        let within = Duration::from_secs(1);
        let write = || {
            let operation = Operation::Delete(Delete { key: b"k".to_vec() });
            handle.kv_write(KvWrite { operation, token: None, within, forward: true })
        };
        let read = || {
            let (query, consistency) = (Query::default(), Consistency::Stale);
            handle.kv_read(KvRead { query, consistency, within })
        };
        let (written, _) = tokio::join!(write(), async { drop(taken.recv().await) });
        assert!(matches!(written, Err(KvError::Unknown { .. })), "{written:?}");
        let (got, _) = tokio::join!(read(), async { drop(taken.recv().await) });
        assert_eq!(got, Err(KvError::Stopping));
        drop(taken);
        assert_eq!(write().await, Err(KvError::Stopping));
    }
}
