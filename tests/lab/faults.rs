//! Faults of the agent on a host that goes on: it is killed, it is stopped, and its members will
//! not go.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};

use crate::faults_scene::{Expect, Scene, scene};
use crate::support::{Cut, DEADLINE, Member, Stop, now, trials, wait_until};

const SECOND: Duration = Duration::from_secs(1);

/// How often whoever leads is killed in a row.
const KILLS: usize = 50;

#[test]
fn the_agent_of_the_leader_is_killed() {
    scene(Member::new("quick"), |scene| {
        for _ in 0..trials() {
            kill_agent(scene, "kill -9");
        }
    });
}

#[test]
fn whoever_leads_is_killed() {
    scene(Member::new("quick"), |scene| {
        for _ in 0..KILLS {
            kill_agent(scene, "kill -9, 50 times in a row");
        }
    });
}

#[test]
fn members_that_stop_slowly_are_waited_for() {
    let slow = Member { stop: Stop::Takes(SECOND), ..Member::new("slow") };
    scene(slow, |scene| {
        for _ in 0..trials() {
            kill_agent(scene, "kill -9, members stop within 1 s");
        }
    });
}

#[test]
fn members_that_never_stop_are_fenced() {
    let deaf = Member { stop: Stop::Never, ..Member::new("deaf") };
    scene(deaf, |scene| {
        for _ in 0..trials() {
            kill_agent(scene, "kill -9, members never stop");
        }
        for _ in 0..trials() {
            let old = scene.settled();
            scene.lab.cut(old.host, Cut::Everything);
            let at = now();
            scene.successor(&old);
            scene.gone(old.host);
            scene.lab.heal();
            scene.fault("cut off, members never stop", (old.host, at), Expect::Silence);
        }
    });
}

#[test]
fn the_agent_of_the_leader_is_stopped() {
    const STOPS: [(&str, u64, Expect); 4] = [
        ("SIGSTOP for 0.2 s", 200, Expect::Perhaps),
        ("SIGSTOP for 1 s", 1000, Expect::Release),
        ("SIGSTOP for 3 s", 3000, Expect::Release),
        ("SIGSTOP for 10 s", 10_000, Expect::Release),
    ];
    scene(Member::new("quick"), |scene| {
        for (what, ms, expect) in STOPS {
            for _ in 0..trials() {
                stop_agent(scene, what, Duration::from_millis(ms), expect);
            }
        }
    });
}

fn kill_agent(scene: &mut Scene, what: &'static str) {
    let old = scene.settled();
    let host = scene.lab.host(old.host);
    let at = host.kill(&host.agent(), Signal::SIGKILL);
    let all: Vec<usize> = scene.lab.hosts().map(|host| host.index).collect();
    scene.lab.leader_among(&all, old.token);
    scene.fault(what, (old.host, at), Expect::Release);
}

fn stop_agent(scene: &mut Scene, what: &'static str, length: Duration, expect: Expect) {
    let old = scene.settled();
    let host = scene.lab.host(old.host);
    let agent = host.main_pid(&host.agent());
    let at = host.kill(&host.agent(), Signal::SIGSTOP);
    if expect == Expect::Release {
        // It dies while it is stopped.
        wait_until("it is dead", DEADLINE, || kill(agent, None) == Err(Errno::ESRCH));
        scene.successor(&old);
    }
    scene.lasted(at, length);
    // If it lives, this is what it must survive; what follows from that takes its time.
    let _ = kill(agent, Signal::SIGCONT);
    scene.lasted(at + length, SECOND);
    scene.fault(what, (old.host, at), expect);
}
