//! The package on a minimal Debian: installed, upgraded while its host is active, removed, purged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::service_scene::Scene;
use crate::support::cluster::package;
use crate::support::{Base, DEADLINE, Host, Lab, Member, Setup, run};

/// Hosts without the package, and the package; without one says `SKIPPED`.
pub fn bare(hosts: usize, body: impl FnOnce(&Lab, &Path)) {
    match package() {
        Ok(package) => {
            let setup = Setup { hosts, base: Base::Minimal, ..Setup::default() };
            run(setup, |lab| body(lab, &package));
        }
        Err(why) => println!("SKIPPED: {why}"),
    }
}

#[test]
fn an_installed_package_starts_nothing() {
    bare(1, |lab, package| {
        let host = lab.host(1);
        let links = || host.run(&["find", "/etc/systemd/system", "-name", "*raftctl*"]).ok();
        assert_eq!(leftovers(host), "");
        apt(host, "install", package);
        host.run(&["id", "raftctl"]).ok();
        host.run(&["raftctl", "version"]).ok();
        assert_eq!(host.systemctl(&["list-units", "--all", "--no-legend", "raftctl*"]), "");
        assert_eq!(links(), "");
        assert_eq!(host.run(&["pgrep", "-u", "raftctl"]).stdout, "");
        assert_eq!(host.systemctl(&["is-system-running"]), "running");
        for unit in ["raftctl@.service", "raftctl@.socket", "raftctl-leader@.target"] {
            host.systemctl(&["cat", unit]);
        }

        lab.configure("");
        host.systemctl(&["enable", "--now", &host.agent()]);
        assert_eq!(host.property("raftctl@n1.socket", "ActiveState"), "active");
        lab.leader();
        assert_eq!(host.systemctl(&["is-system-running"]), "running");
        host.run(&["apt-get", "purge", "-y", "raftctl"]).ok();
        assert_eq!(leftovers(host), "");
        assert_eq!(host.systemctl(&["list-units", "--all", "--no-legend", "raftctl*"]), "");
        assert_eq!(host.systemctl(&["is-system-running"]), "running");
    });
}

#[test]
fn an_upgrade_of_the_active_host_is_one_hand_over() {
    bare(3, |lab, package| {
        let member = Member::new("job");
        lab.hosts().for_each(|host| apt(host, "install", package));
        lab.configure("");
        member.install(lab);
        lab.hosts().for_each(|host| drop(host.systemctl(&["enable", "--now", &host.agent()])));
        let mut scene = Scene::watch(lab, &[member]);
        let place = tempfile::tempdir().unwrap();
        let next = next_version(package, place.path());

        // A follower's is nobody's business.
        apt(scene.follower(), "install", &next);
        scene.undisturbed();
        let old = scene.active();
        let before = version(old);
        apt(old, "install", &next);
        let new = scene.next();
        assert_ne!(new.index, old.index);
        assert_eq!(version(old), format!("{before}{NEXT}"));
        assert_eq!(old.property(&old.agent(), "NRestarts"), "0");

        // Removing it stops its agent; configuration and state stay.
        let old = new;
        old.run(&["apt-get", "remove", "-y", "raftctl"]).ok();
        scene.takes_over(old);
        let state = format!("/var/lib/raftctl/{}", old.name);
        let kept = [format!("/etc/raftctl/{}.toml", old.name), state];
        for kept in &kept {
            assert!(old.path(kept).exists(), "{kept}");
        }
        old.run(&["apt-get", "purge", "-y", "raftctl"]).ok();
        assert_eq!(leftovers(old), "");
        // It is a member that is gone for good.
        old.run(&["systemctl", "poweroff"]);
        old.wait_end(DEADLINE);
        scene.next();
        let seen = scene.end();
        assert_eq!(seen.member().hosts().len(), 3, "{}", seen.member());
        seen.figure("upgrade and removal of the active host's package");
    });
}

/// Added to the version of the package.
pub const NEXT: &str = "+next";

/// The same package with a higher version, made in `place`.
pub fn next_version(package: &Path, place: &Path) -> PathBuf {
    let (tree, next) = (place.join("tree"), place.join("raftctl-next.deb"));
    dpkg_deb(&["-R".as_ref(), package, &tree]);
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    let raise = |line: &str| match line.starts_with("Version: ") {
        true => format!("{line}{NEXT}\n"),
        false => format!("{line}\n"),
    };
    fs::write(&control, text.lines().map(raise).collect::<String>()).unwrap();
    dpkg_deb(&["-Zgzip".as_ref(), "-z1".as_ref(), "-b".as_ref(), &tree, &next]);
    next
}

fn dpkg_deb(arguments: &[&Path]) {
    let output = Command::new("dpkg-deb").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

pub fn version(host: &Host) -> String {
    host.run(&["dpkg-query", "-W", "-f", "${Version}", "raftctl"]).ok()
}

/// `apt-get VERB` with a package that is brought along. There is no network.
fn apt(host: &Host, verb: &str, package: &Path) {
    let name = package.file_name().unwrap().to_str().unwrap();
    fs::copy(package, host.path("/opt").join(name)).unwrap();
    let noninteractive = "DEBIAN_FRONTEND=noninteractive";
    let line = ["env", noninteractive, "apt-get", verb, "-y", &format!("/opt/{name}")];
    host.run(&line).ok();
    fs::remove_file(host.path("/opt").join(name)).unwrap();
}

/// Every file that is called after the package.
fn leftovers(host: &Host) -> String {
    host.run(&["find", "/", "/run", "-xdev", "-name", "*raftctl*"]).ok()
}
