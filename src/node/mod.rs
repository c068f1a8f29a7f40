//! Floor 3: one task owns the replica; everybody else holds a [`handle::NodeHandle`].
//!
//! [`Node`] is the synchronous whole: events in, ordered effects out. `driver` runs it over real
//! disks and sockets; the simulator runs the same value over simulated ones.

mod apply;
mod authority;
pub mod clock;
mod count;
pub mod disk;
mod disk_thread;
pub mod driver;
mod duties;
pub mod event;
mod flush;
pub mod handle;
pub mod kv;
pub mod machine;
pub mod metrics;
#[expect(clippy::module_inception, reason = "the node is what this floor is about")]
mod node;
mod notices;
mod operator;
mod peers;
mod proposals;
mod publish;
mod quorum;
mod recover;
pub mod snapshot;
pub mod status;
pub mod store;
mod succession;
mod surfaces;
mod tell;
mod timer;
mod transfer;
mod truncate;

pub use node::{Member, Node, NodeConfig};
pub use recover::recover;

#[cfg(test)]
mod tests;
