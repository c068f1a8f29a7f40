//! How long nobody is active when the loss can be proven, for members that start and stop at once
//! and without event scripts: what the agent itself adds to [`crate::floor`].

use nix::sys::signal::Signal;

use crate::support::cluster::Leader;
use crate::support::{DEADLINE, Lab, Member, Setup, figure, run_package, trials, wait_until};

#[test]
fn hand_over_without_scripts() {
    run_package(Setup { boot: false, ..Setup::default() }, |lab| {
        lab.configure_plain("");
        let quick = Member::new("quick");
        quick.install(lab);
        lab.hosts().for_each(|host| host.enable(&host.agent()));
        lab.boot();
        let mut leader = lab.leader();
        measure(lab, "transfer", &mut leader, |lab, old| {
            lab.host(old.host).run(&["raftctl", "transfer"]).ok();
        });
        measure(lab, "systemctl stop", &mut leader, |lab, old| {
            let host = lab.host(old.host);
            host.systemctl(&["stop", &host.agent()]);
            host.systemctl(&["start", &host.agent()]);
        });
        measure(lab, "kill -9 of the agent", &mut leader, |lab, old| {
            let host = lab.host(old.host);
            host.kill(&host.agent(), Signal::SIGKILL);
        });
    });
}

/// Has `change` move the active host, and shows for how long nobody was.
fn measure(lab: &Lab, what: &str, leader: &mut Leader, change: impl Fn(&Lab, &Leader)) {
    let unit = "quick.service";
    let sampler = lab.watch(&[unit]);
    for _ in 0..trials() {
        change(lab, leader);
        let old = leader.token;
        wait_until("a new activation", DEADLINE, || {
            *leader = lab.leader();
            leader.token > old
        });
        wait_until("its member", DEADLINE, || !lab.host(leader.host).pids(unit).is_empty());
    }
    let seen = sampler.stop();
    let record = seen.of(unit);
    assert!(record.longest_overlap().is_zero(), "{record}");
    figure(&format!("{what}, no scripts: gap between the members"), &record.gaps());
}
