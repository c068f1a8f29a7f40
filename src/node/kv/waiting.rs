//! The driver's side of requests: where their answers go. Bounded by what the node takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::request::{KvError, KvPage, KvRequest};
use crate::core::Instant;
use crate::core::kv::Written;
use crate::limits;
use crate::node::clock;
use crate::node::event::{Event, RequestId};
use crate::node::metrics::Metrics;

/// See the module.
pub(in crate::node) struct Waiting {
    writes: BTreeMap<RequestId, Place<Written>>,
    reads: BTreeMap<RequestId, Place<KvPage>>,
    metrics: Arc<Metrics>,
}

/// Where an answer goes, and since when it is waited for.
type Place<T> = (Instant, oneshot::Sender<Result<T, KvError>>);

impl Waiting {
    /// Nobody waits.
    pub(in crate::node) fn new(metrics: &Arc<Metrics>) -> Waiting {
        let metrics = Arc::clone(metrics);
        Waiting { writes: BTreeMap::new(), reads: BTreeMap::new(), metrics }
    }

    /// Takes a request of a surface; what it is to the node.
    pub(in crate::node) fn take(
        &mut self,
        request: RequestId,
        asked: KvRequest,
        now: Instant,
    ) -> Event {
        match asked {
            KvRequest::Write { write, reply } => {
                self.writes.insert(request, (now, reply));
                let deadline = now + write.within.min(limits::KV_DEADLINE_MAX);
                Event::KvWrite { request, write, deadline }
            }
            KvRequest::Read { read, reply } => {
                self.reads.insert(request, (now, reply));
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
        if let Some((since, reply)) = self.writes.remove(&request) {
            if result.is_ok() {
                self.metrics.commit.record(clock::now() - since);
            }
            // Whoever asked may be gone.
            let _ = reply.send(result);
        }
    }

    /// A read is answered.
    pub(in crate::node) fn read(&mut self, request: RequestId, result: Result<KvPage, KvError>) {
        if let Some((since, reply)) = self.reads.remove(&request) {
            if result.is_ok() {
                self.metrics.read.record(clock::now() - since);
            }
            let _ = reply.send(result);
        }
    }
}
