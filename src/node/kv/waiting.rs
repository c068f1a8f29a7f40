//! The driver's side of requests: where their answers go. Bounded by what the node takes.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::request::{KvError, KvPage, KvRequest};
use crate::core::Instant;
use crate::core::kv::Written;
use crate::limits;
use crate::node::event::{Event, RequestId};

/// See the module.
#[derive(Default)]
pub(in crate::node) struct Waiting {
    writes: BTreeMap<RequestId, oneshot::Sender<Result<Written, KvError>>>,
    reads: BTreeMap<RequestId, oneshot::Sender<Result<KvPage, KvError>>>,
}

impl Waiting {
    /// Takes a request of a surface; what it is to the node.
    pub(in crate::node) fn take(
        &mut self,
        request: RequestId,
        asked: KvRequest,
        now: Instant,
    ) -> Event {
        match asked {
            KvRequest::Write { write, reply } => {
                self.writes.insert(request, reply);
                let deadline = now + write.within.min(limits::KV_DEADLINE_MAX);
                Event::KvWrite { request, write, deadline }
            }
            KvRequest::Read { read, reply } => {
                self.reads.insert(request, reply);
                let deadline = now + read.within.min(limits::KV_DEADLINE_MAX);
                Event::KvRead { request, read, deadline }
            }
        }
    }

    /// A write is answered.
    pub(in crate::node) fn written(
        &mut self,
        request: RequestId,
        result: Result<Written, KvError>,
    ) {
        if let Some(reply) = self.writes.remove(&request) {
            // Whoever asked may be gone.
            let _ = reply.send(result);
        }
    }

    /// A read is answered.
    pub(in crate::node) fn read(&mut self, request: RequestId, result: Result<KvPage, KvError>) {
        if let Some(reply) = self.reads.remove(&request) {
            let _ = reply.send(result);
        }
    }
}
