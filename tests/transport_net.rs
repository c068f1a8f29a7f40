//! The transport on real loopback sockets: several transports in one process, and a stand-in for
//! a peer that can misbehave. Nothing sleeps; everything waits for an event with a deadline.

#[path = "transport_net/announce.rs"]
mod announce;
#[path = "transport_net/evidence.rs"]
mod evidence;
#[path = "transport_net/fit.rs"]
mod fit;
#[path = "transport_net/hostile.rs"]
mod hostile;
#[path = "transport_net/support.rs"]
mod support;
#[path = "transport_net/traffic.rs"]
mod traffic;
