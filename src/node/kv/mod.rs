//! Reads and writes of the store on this node: what may be asked, and what is answered.
//!
//! Every node takes every request. A write is named by a client of this run and a sequence number
//! and goes to the leader, again and again until it is seen in the log, where it is applied once;
//! a read waits for an index that the leader has confirmed after the read was asked, and is then
//! answered from the rows of this node. A request that has no leader waits for one.
//!
//! Guarantees exactly one answer to each request, by its deadline. Does not keep rows: that is
//! [`super::store`].

mod reads;
mod request;
mod turn;
mod waiting;
mod writes;

pub use request::{Consistency, KvError, KvPage, KvRead, KvRequest, KvWrite};

pub(super) use turn::Kv;
pub(super) use waiting::Waiting;
