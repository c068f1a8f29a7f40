//! The agent on real systemd hosts, and the lab itself, which must first be shown to work.

#[path = "lab/cold_start.rs"]
mod cold_start;
#[path = "lab/selftest.rs"]
mod selftest;
#[path = "lab/support/mod.rs"]
mod support;
