//! The lab is trusted only after it has shown that it can tell. None of this needs the package.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::{
    Base, Cut, DEADLINE, Member, REBOOT, Setup, Stop, cgroup, enter, now, possible, run, wait_until,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn hosts_boot_and_answer() {
    run(Setup::default(), |lab| {
        for host in lab.hosts() {
            assert_eq!(host.run(&["hostname"]).ok(), host.name);
            assert_eq!(host.run(&["sh", "-c", "exit 7"]).code, 7);
            assert_eq!(host.systemctl(&["is-system-running"]), "running");
        }
        let message = "lab-was-here";
        lab.host(2).run(&["systemd-cat", "echo", message]).ok();
        let found = lab.host(2).journal(&["_TRANSPORT=stdout"]);
        assert!(found.iter().any(|entry| entry["MESSAGE"] == message), "{found:#?}");

        let ids = lab.hosts().map(|host| host.run(&["cat", "/etc/machine-id"]).ok());
        let ids: std::collections::BTreeSet<String> = ids.collect();
        assert_eq!(ids.len(), 3, "hosts share a machine-id: {ids:?}");
        // The clock of the machine is nobody's to set.
        assert_ne!(lab.host(1).run(&["date", "-s", "@0"]).code, 0);
    });
}

#[test]
fn a_host_survives_power_cut_and_reboot() {
    run(Setup { hosts: 1, ..Setup::default() }, |lab| {
        let host = lab.host(1);
        host.write_file("/var/lib/kept", "kept");
        let begun = now();
        host.power_cut();
        assert!(!host.is_running());
        host.boot();
        println!("power cut and boot: {:?}", now() - begun);
        assert_eq!(host.read_file("/var/lib/kept").as_deref(), Some("kept"));
        assert_eq!(host.systemctl(&["is-system-running"]), "running");

        host.systemctl(&["reboot"]);
        host.boot_again(DEADLINE);
        assert_eq!(host.read_file("/var/lib/kept").as_deref(), Some("kept"));
        host.systemctl(&["--no-block", "reboot", "--force"]);
        assert_eq!(host.wait_end(DEADLINE), REBOOT);
        host.boot();
        host.systemctl(&["poweroff"]);
        assert_eq!(host.wait_end(DEADLINE), 0);
        assert_eq!(host.lives().len(), 4);
        // Its journal can be read when it is off.
        let boots = host.journal(&["MESSAGE_ID=eed00a68ffd84e31882105fd973abdd1"]);
        assert_eq!(boots.len(), 4, "{boots:#?}");
    });
}

#[test]
fn hosts_are_cut_off() {
    run(Setup { boot: false, ..Setup::default() }, |lab| {
        let passing = || {
            let pairs = [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)];
            pairs.into_iter().filter(|&(from, to)| lab.passes(from, to)).collect::<Vec<_>>()
        };
        assert_eq!(passing().len(), 6);
        lab.cut(1, Cut::Everything);
        assert_eq!(passing(), [(2, 3), (3, 2)]);
        lab.heal();
        assert_eq!(passing().len(), 6);
        lab.cut(1, Cut::OnlyItsPacketsLeave);
        assert_eq!(passing(), [(1, 2), (1, 3), (2, 3), (3, 2)]);
        lab.heal();
        lab.cut(2, Cut::OnlyPacketsArrive);
        assert_eq!(passing(), [(1, 2), (1, 3), (3, 1), (3, 2)]);
        lab.heal();
        assert_eq!(passing().len(), 6);
    });
}

#[test]
fn a_frozen_host_is_silent() {
    run(Setup { hosts: 2, ..Setup::default() }, |lab| {
        let host = lab.host(1);
        host.freeze();
        assert!(host.try_run(&["systemctl", "is-system-running"], SECOND).is_none());
        assert!(!lab.passes(2, 1));
        host.thaw();
        assert_eq!(host.systemctl(&["is-system-running"]), "running");
        assert!(lab.passes(2, 1));
        // A frozen host can lose its power, too.
        host.freeze();
        host.power_cut();
        host.boot();
        assert!(lab.passes(1, 2));
    });
}

#[test]
fn what_event_scripts_were_told_is_read_back() {
    run(Setup { hosts: 2, boot: false, ..Setup::default() }, |lab| {
        lab.configure("");
        lab.boot();
        let begun = now();
        for (host, event, token, sequence) in [(2, "leader", "7", 2), (1, "follower", "", 3)] {
            let told = [("EVENT", event), ("TOKEN", token), ("SEQUENCE", &sequence.to_string())]
                .map(|(name, value)| format!("RAFTCTL_{name}={value}"));
            let [event, token, sequence] = &told;
            let line = ["env", event, token, sequence, "/etc/raftctl/record-event"];
            lab.host(host).run(&line).ok();
        }
        let events = lab.events();
        let told = events.iter().map(|e| (e.host, &e.event[..], e.token, e.sequence));
        assert_eq!(told.collect::<Vec<_>>(), [(2, "leader", 7, 2), (1, "follower", 0, 3)]);
        assert!(events[0].at > begun && events[1].at < now(), "{events:?} since {begun:?}");
    });
}

/// A leader target that anybody may start, in place of the one of the package.
const FREE_TARGET: &str = "[Unit]\nDescription=Anybody's\n";

#[test]
fn the_sampler_catches_two_started_by_hand() {
    run(Setup { hosts: 2, boot: false, ..Setup::default() }, |lab| {
        let quick = Member::new("quick");
        let slow = Member { stop: Stop::Takes(SECOND / 2), ..Member::new("slow") };
        let deaf =
            Member { stop: Stop::Never, stop_timeout: Some(SECOND / 4), ..Member::new("deaf") };
        for host in lab.hosts() {
            host.write_file("/etc/systemd/system/raftctl-leader@.target", FREE_TARGET);
        }
        [&quick, &slow, &deaf].into_iter().for_each(|member| member.install(lab));
        lab.boot();
        let units = [&quick.unit()[..], &slow.unit()[..], &deaf.unit()[..], "getty@%H.service"];
        let target = |host: usize| format!("raftctl-leader@n{host}.target");

        let sampler = lab.watch(&units);
        lab.host(1).systemctl(&["start", &target(1)]);
        lab.host(1).systemctl(&["stop", &target(1)]);
        lab.host(2).systemctl(&["start", &target(2)]);
        let clean = sampler.stop();
        let (unit, role) = (quick.unit(), "raftctl-leader@%H.target");
        assert_eq!(clean.of(&unit).hosts(), [1, 2], "{}", clean.of(&unit));
        assert_eq!(clean.of(&unit).longest_overlap(), Duration::ZERO);
        assert_eq!(clean.of(&unit).gaps().len(), 1);
        assert_eq!(lab.active(role).longest_overlap(), Duration::ZERO);
        // The stop waits for the members, so they are as slow as the slowest.
        assert!(clean.of(&slow.unit()).intervals[0].length() > SECOND / 2);
        assert!(clean.of(&deaf.unit()).intervals[0].length() > SECOND / 4);
        assert!(clean.of("getty@%H.service").intervals.is_empty());

        // Two at once, then one of them frozen.
        let sampler = lab.watch(&units);
        lab.host(1).systemctl(&["start", &target(1)]);
        lab.host(2).systemctl(&["stop", &target(2)]);
        lab.host(1).freeze();
        lab.host(2).systemctl(&["start", &target(2)]);
        let both = sampler.stop();
        lab.host(1).thaw();
        println!("{}{:?} at most between two samples", both.of(&unit), both.latest());
        let overlaps = both.of(&unit).overlaps();
        assert!(both.of(&unit).longest_overlap() > Duration::ZERO, "{overlaps:?}");
        assert!(overlaps.iter().any(|overlap| overlap.frozen), "{overlaps:?}");
        let active = lab.active(role);
        assert!(active.longest_overlap() > Duration::ZERO, "{active}");

        // What the sampler saw, process 1 says as well; a power cut ends what it said last.
        lab.host(2).power_cut();
        let active = lab.active(role);
        assert_eq!(active.intervals.len(), 4, "{active}");
        let end = lab.host(2).lives()[0].until.unwrap();
        assert_eq!(active.intervals.last().unwrap().until, end);
        assert!(active.intervals.iter().all(|interval| interval.until <= now()));

        // And a killed main process is gone within some milliseconds.
        let sampler = lab.watch(&units);
        let at = lab.host(1).kill(&unit, Signal::SIGKILL);
        wait_until("it is gone", DEADLINE, || lab.host(1).pids(&unit).is_empty());
        let gone = sampler.stop().of(&unit).intervals[0].until;
        assert!(gone > at && gone < at + SECOND, "{gone:?} {at:?}");
    });
}

#[test]
fn a_disk_fills_up_dies_and_forgets() {
    run(Setup { hosts: 2, disk: true, ..Setup::default() }, |lab| {
        let host = lab.host(1);
        let write = |what: &str| format!("echo {what} >/var/lib/raftctl/{what}; sync");
        let shell = |text: &str| host.run(&["sh", "-c", text]);
        shell(&write("before")).ok();

        host.disk().fill();
        let full = shell("head -c 100000 /dev/zero >/var/lib/raftctl/big");
        assert!(full.stderr.contains("No space left"), "{full:?}");
        host.disk().free();
        shell(&write("after")).ok();

        host.write_file("/var/lib/raftctl/unsynced", "lost");
        host.power_cut();
        host.boot();
        assert_eq!(host.read_file("/var/lib/raftctl/before").as_deref(), Some("before\n"));
        assert_eq!(host.read_file("/var/lib/raftctl/unsynced"), None);

        host.disk().die();
        let dead = shell("echo x >/var/lib/raftctl/x");
        assert!(dead.stderr.contains("Input/output error"), "{dead:?}");
        // It can be written again after a power cut.
        host.power_cut();
        host.boot();
        shell(&write("alive")).ok();
    });
}

#[test]
fn a_minimal_debian_boots() {
    run(Setup { hosts: 1, base: Base::Minimal, ..Setup::default() }, |lab| {
        let host = lab.host(1);
        assert_eq!(host.systemctl(&["is-system-running"]), "running");
        host.write_script("/usr/local/bin/hello", "#!/bin/sh\necho hello\n");
        assert_eq!(host.run(&["/usr/local/bin/hello"]).ok(), "hello");
        // The base is shared, and nobody writes to it.
        assert_eq!(host.run(&["nft"]).code, 127, "the minimal tree is not minimal");
    });
}

/// Two labs have the same names and addresses, and do not disturb each other.
#[test]
fn two_labs_at_once() {
    if !possible() {
        return;
    }
    let lab = || thread::spawn(|| enter(BOOTS));
    let labs = [lab(), lab()];
    assert_eq!(labs.map(|lab| lab.join().unwrap()), [0, 0]);
}

/// Set: the test waits at its worst moment until it is killed.
const LINGER: &str = "RAFTCTL_LAB_LINGER";

#[test]
fn a_disk_hangs() {
    run(Setup { hosts: 1, disk: true, ..Setup::default() }, |lab| {
        let host = lab.host(1);
        let write = ["sh", "-c", "echo x >/var/lib/raftctl/x"];
        let hung = host.disk().hang();
        let output = host.try_run(&write, SECOND / 4);
        assert!(output.is_none(), "{output:?}");
        if std::env::var_os(LINGER).is_some() {
            println!("\n{LINGER}");
            wait_until("it is killed", DEADLINE, || false);
        }
        drop(hung);
        host.run(&write).ok();
    });
}

#[test]
fn a_killed_test_leaves_nothing() {
    if !possible() {
        return;
    }
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["selftest::a_disk_hangs", "--exact", "--nocapture"]).env(LINGER, "1");
    let mut test = test.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let said = BufReader::new(test.stdout.take().unwrap());
    let lingers = said.lines().any(|line| line.is_ok_and(|line| line == LINGER));
    assert!(lingers, "it ended too early");
    // Some of its processes wait for a disk, and cannot be killed.
    let groups = cgroup::of_owner(test.id());
    assert_eq!(groups.len(), 1);
    let hung = cgroup::processes(&groups[0].join("inside"));
    test.kill().unwrap();
    test.wait().unwrap();
    wait_until("nothing is left", DEADLINE, || !groups[0].exists());
    let alive = |pid: &Pid| Path::new("/proc").join(pid.to_string()).exists();
    wait_until("no process is left", DEADLINE, || !hung.iter().any(alive));
}

/// The test that other tests run.
const BOOTS: &str = "selftest::hosts_boot_and_answer";
