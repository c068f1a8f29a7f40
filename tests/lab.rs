//! The agent on real systemd hosts, and the lab itself, which must first be shown to work.

#[path = "lab/attach.rs"]
mod attach;
#[path = "lab/bus.rs"]
mod bus;
#[path = "lab/cold_start.rs"]
mod cold_start;
#[path = "lab/disk.rs"]
mod disk;
#[path = "lab/faults.rs"]
mod faults;
#[path = "lab/faults_host.rs"]
mod faults_host;
#[path = "lab/faults_scene.rs"]
mod faults_scene;
#[path = "lab/figures.rs"]
mod figures;
#[path = "lab/floor.rs"]
mod floor;
#[path = "lab/journal.rs"]
mod journal;
#[path = "lab/packaging.rs"]
mod packaging;
#[path = "lab/readme.rs"]
mod readme;
#[path = "readme_support/mod.rs"]
mod readme_support;
#[path = "lab/rights.rs"]
mod rights;
#[path = "lab/selftest.rs"]
mod selftest;
#[path = "lab/service.rs"]
mod service;
#[path = "lab/service_scene.rs"]
mod service_scene;
#[path = "lab/service_units.rs"]
mod service_units;
#[path = "lab/standing.rs"]
mod standing;
#[path = "lab/support/mod.rs"]
mod support;
