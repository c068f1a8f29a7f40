//! The host against a fake service manager on a private bus: slow, failing, silent, lying, and
//! not ours.

#[path = "systemd_manager/reconnect.rs"]
mod reconnect;
#[path = "systemd_manager/start.rs"]
mod start;
#[path = "systemd_manager/stop.rs"]
mod stop;
mod systemd_support;
#[path = "systemd_manager/units.rs"]
mod units;
#[path = "systemd_manager/watch.rs"]
mod watch;

/// The scene, or the end of the test where there is no message bus.
macro_rules! scene {
    () => {
        match crate::systemd_support::Scene::new().await {
            Some(scene) => scene,
            None => return,
        }
    };
}
use scene;
