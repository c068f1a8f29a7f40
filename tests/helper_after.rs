//! What runs after the agent, against a fake service manager on a private bus and members that a
//! test plays: `raftctl-helper release` and `fence`.

#[path = "helper_after/announce.rs"]
mod announce;
#[path = "helper_after/fence.rs"]
mod fence;
#[path = "helper_after/release.rs"]
mod release;
#[path = "helper_after/support.rs"]
mod support;
mod systemd_support;

/// The scene, or the end of the test where there is no message bus.
macro_rules! scene {
    ($more:expr) => {
        match crate::support::After::new($more).await {
            Some(scene) => scene,
            None => return,
        }
    };
}
use scene;
