//! The agent as its operators, its network and its enemies see it: real `raftctld` processes on
//! loopback, killed, stopped, starved and lied to. Nothing sleeps; everything waits for a signal of
//! the bus, a line of a log or the end of a process, with a deadline.

#[path = "process/bootstrap.rs"]
mod bootstrap;
#[path = "process/damage.rs"]
mod damage;
#[path = "process/failover.rs"]
mod failover;
#[path = "process/hostile.rs"]
mod hostile;
#[path = "process/http.rs"]
mod http;
#[path = "process/http_hostile.rs"]
mod http_hostile;
#[path = "process/http_schema.rs"]
mod http_schema;
#[path = "process/journal.rs"]
mod journal;
#[path = "process/lagging.rs"]
mod lagging;
#[path = "process/log.rs"]
mod log;
#[path = "process/lost_disk.rs"]
mod lost_disk;
#[path = "process/scripts.rs"]
mod scripts;
#[path = "process/standing.rs"]
mod standing;
#[path = "process/start.rs"]
mod start;
#[path = "process/stop.rs"]
mod stop;
#[path = "process/supervised.rs"]
mod supervised;
#[path = "process/support/mod.rs"]
mod support;
#[path = "process/web.rs"]
mod web;
