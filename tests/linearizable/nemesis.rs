//! Trouble: leaders and others are killed, stopped and cut off, one after the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::linearizable_support::network::Cut;
use super::scene::{NODES, Scene};

/// Between two troubles: answers of all nodes, or this long.
const PAUSE: (u64, Duration) = (150, Duration::from_secs(2));

/// How long a trouble lasts: answers of the others, or this long.
const LASTS: (u64, Duration) = (100, Duration::from_secs(4));

/// Makes trouble until `end`; what was done, by its number.
pub fn trouble(scene: &mut Scene, end: Instant) -> BTreeMap<usize, String> {
    let mut random = fastrand::Rng::new();
    let mut done = BTreeMap::new();
    while Instant::now() < end {
        scene.shared.wait(&[0, 1, 2], PAUSE.0, PAUSE.1);
        let leader = leader(scene);
        let at = match leader {
            Some(leader) if random.u32(..10) < 7 => leader,
            _ => random.usize(..NODES),
        };
        let others: Vec<usize> = (0..NODES).filter(|other| *other != at).collect();
        let role = if leader == Some(at) { "leader" } else { "other" };
        let what = match random.u32(..5) {
            0 => {
                scene.cluster.agent(at).signal(Signal::SIGKILL);
                scene.cluster.forget(at);
                scene.shared.wait(&others, LASTS.0, LASTS.1);
                scene.restart(at);
                "killed"
            }
            1 => {
                scene.cluster.agent(at).signal(Signal::SIGKILL);
                scene.cluster.forget(at);
                scene.restart(at);
                "killed and started at once"
            }
            2 => {
                scene.cluster.agent(at).signal(Signal::SIGSTOP);
                scene.shared.wait(&others, LASTS.0, LASTS.1);
                scene.cluster.agent(at).signal(Signal::SIGCONT);
                "stopped"
            }
            3 => {
                scene.network.cut(at + 1, Cut::Everything);
                scene.shared.wait(&others, LASTS.0, LASTS.1);
                scene.network.heal();
                "cut off"
            }
            _ => {
                let (cut, what) = match random.bool() {
                    true => (Cut::OnlyItsPacketsLeave, "deaf"),
                    false => (Cut::OnlyPacketsArrive, "mute"),
                };
                scene.network.cut(at + 1, cut);
                scene.shared.wait(&others, LASTS.0, LASTS.1);
                scene.network.heal();
                what
            }
        };
        done.insert(done.len(), format!("{role} n{} {what}", at + 1));
    }
    done
}

/// Who leads, as one of them says.
fn leader(scene: &Scene) -> Option<usize> {
    let name = scene.cluster.describe(0).leader?;
    (0..NODES).find(|at| name == format!("n{}", at + 1))
}
