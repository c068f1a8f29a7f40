//! What systemd alone takes to stop and start the same target on one host: no hand-over between
//! hosts can be faster.

use crate::support::{DEADLINE, Member, Setup, figure, run, trials, wait_until};

#[test]
fn systemd_alone_restarts_the_target() {
    run(Setup { hosts: 1, boot: false, ..Setup::default() }, |lab| {
        let host = lab.host(1);
        let (quick, target) = (Member::new("quick"), "raftctl-leader@n1.target");
        host.write_file("/etc/systemd/system/raftctl-leader@.target", "[Unit]\n");
        quick.install(lab);
        lab.boot();
        host.systemctl(&["start", target]);
        let unit = quick.unit();
        wait_until("the member runs", DEADLINE, || !host.pids(&unit).is_empty());
        let sampler = lab.watch(&[&unit]);
        for _ in 0..trials() {
            host.systemctl(&["restart", target]);
        }
        wait_until("the member runs again", DEADLINE, || !host.pids(&unit).is_empty());
        let seen = sampler.stop();
        let gaps = seen.of(&unit).gaps();
        figure("systemd alone, restart of the target on one host", &gaps);
        // Two looks of the sampler may miss a short gap.
        assert!(gaps.len() <= trials(), "{}", seen.of(&unit));
    });
}
