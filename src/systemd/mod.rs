//! Floor 4: what the agent has to do with systemd. It translates, it decides nothing.
//!
//! [`host`] carries out the authority's orders through [`manager`], [`armed`] looks whether the
//! service manager enforces what is counted on, [`deadman`] is the timer that ends this process,
//! [`inhibit`] delays shutdown and sleep for a hand-over, [`watch`] looks at the units that say
//! whether this host is fit, [`after`] looks at what an agent that ended has left, [`listen`] and
//! [`notify`] are what it is started with, [`root_file`] reads what only root can have written.

pub mod after;
pub mod armed;
pub mod bus;
mod cgroup;
pub mod deadman;
mod fence;
mod gate;
pub mod host;
pub mod inhibit;
mod judge;
mod link;
pub mod listen;
pub mod manager;
mod members;
pub mod names;
pub mod notify;
pub mod root_file;
mod steps;
pub mod target;
mod task;
pub mod watch;
