//! Floor 4: the store, and what a node says about itself, over HTTP/1.1.
//!
//! Owns the listener, its connections and everything that is said on them. The reads and writes of
//! single keys, the endpoints of the Rust key-value example among them, are dispatched by hand on
//! hyper's connection (`service.rs`); what is large or rare goes through axum's router
//! (`router.rs`). It runs on the driver's runtime: a request costs no thread a wake-up.
//!
//! Guarantees: nothing is served to another host without a token; what cannot be served has a
//! status that says why, and a write whose outcome is not known is told apart from one that was not
//! carried out (504, `outcome_unknown`); no byte of a client panics; memory is bounded
//! (`limits/http.rs`).
//!
//! Does not do: TLS (a proxy in front of it does), HTTP/2. Decides nothing about the cluster.
//! `docs/openapi.json` describes what is served, `docs/metrics.md` what `/metrics` says.

mod body;
mod clients;
mod cors;
mod error;
mod io;
mod kv;
mod legacy;
pub mod listen;
mod negotiate;
pub mod prometheus;
mod request;
mod router;
pub mod routes;
mod server;
mod service;
mod status;
pub mod token;
mod txn;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::{Semaphore, watch};

use crate::limits;
use crate::node::handle::NodeHandle;
use crate::node::metrics::Metrics;
use crate::node::status::{HostStatus, NodeStatus};
use clients::Clients;
use token::BearerToken;

pub use server::serve;

/// The OpenAPI document of what is served.
pub const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// What is served.
#[derive(Clone)]
pub struct Served {
    /// The node.
    pub handle: NodeHandle,
    /// The text of `Describe()` on D-Bus.
    pub describe: fn(&NodeStatus, &HostStatus) -> String,
    /// What the parts of the agent have counted.
    pub metrics: Arc<Metrics>,
}

/// What can change while it is served.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What clients have to show; `None`: nothing.
    pub token: Option<BearerToken>,
    /// Origins of web pages that may use it.
    pub origins: Vec<String>,
    /// Connections at once.
    pub connections: u32,
    /// Requests a second of one client address.
    pub rate: u32,
}

/// What all connections share.
struct Api {
    served: Served,
    settings: watch::Receiver<Arc<Settings>>,
    clients: Clients,
    /// Bytes of request bodies in memory.
    bodies: AtomicUsize,
    /// Places for requests whose answers may be large.
    large: Arc<Semaphore>,
    router: axum::Router,
}

impl Api {
    fn new(served: Served, settings: watch::Receiver<Arc<Settings>>) -> Api {
        Api {
            router: router::router(),
            served,
            settings,
            clients: Clients::default(),
            bodies: AtomicUsize::new(0),
            large: Arc::new(Semaphore::new(limits::HTTP_LARGE_MAX)),
        }
    }
}
