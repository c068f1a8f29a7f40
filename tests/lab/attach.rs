//! Units that join and leave with `raftctl attach` and `detach`, on hosts whose systemd judges; and
//! what else an administrator types there first.

use serde_json::Value;

use crate::service_scene::Scene;
use crate::support::{DEADLINE, Host, Lab, Member, Setup, run_package, wait_until};

const OFF: fn() -> Setup = || Setup { boot: false, ..Setup::default() };

/// As a package ships a server: it starts at boot once it is enabled, and may take 90 s to stop.
const WEB: &str = "[Unit]\nDescription=a web server\nStartLimitIntervalSec=0\n\
    [Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/// Hosts with agents, and with a server that nothing starts.
fn start(lab: &Lab) {
    lab.configure("");
    for host in lab.hosts() {
        put(host, "web.service", WEB);
        host.enable(&host.agent());
    }
    lab.boot();
    lab.leader();
}

fn put(host: &Host, unit: &str, text: &str) {
    host.write_file(&format!("/usr/lib/systemd/system/{unit}"), text);
}

fn target(host: &Host) -> String {
    format!("raftctl-leader@{}.target", host.name)
}

fn active(host: &Host) -> String {
    host.property("web.service", "ActiveState")
}

/// What `line` prints; it has to succeed.
#[track_caller]
fn good(host: &Host, line: &[&str]) -> String {
    let ran = host.run(line);
    assert_eq!(ran.code, 0, "{line:?} on {}: {}{}", host.name, ran.stdout, ran.stderr);
    ran.stdout
}

/// Why `line` fails.
#[track_caller]
fn refused(host: &Host, line: &[&str]) -> String {
    let ran = host.run(line);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{line:?}: {}", ran.stderr);
    ran.stderr
}

#[test]
fn a_server_is_attached_handed_over_and_detached() {
    run_package(OFF(), |lab| {
        start(lab);
        let first = lab.leader().host;
        for host in lab.hosts() {
            let said = good(host, &["raftctl", "attach", "web"]);
            let (state, word) = match host.index == first {
                true => ("active", "is active: web.service was started"),
                false => ("inactive", "is not active: web.service starts when it is"),
            };
            assert!(said.contains(word) && said.contains("TimeoutStopSec=1200ms"), "{said}");
            assert_eq!(active(host), state, "on {}", host.name);
            let show = |property| host.property("web.service", property);
            for property in ["BindsTo", "After", "WantedBy"] {
                assert!(show(property).split(' ').any(|unit| unit == target(host)), "{property}");
            }
            assert!(show("TimeoutStopUSec").starts_with("1.200"), "{}", show("TimeoutStopUSec"));
            assert_eq!(good(host, &["systemctl", "is-enabled", "web"]), "enabled\n");
            let again = good(host, &["raftctl", "attach", "web"]);
            assert!(again.contains("nothing to write"), "{again}");
            // What systemd makes of it is what it made of the drop-in alone.
            good(host, &["systemctl", "reenable", "web"]);
            good(host, &["systemd-analyze", "verify", "web.service"]);
        }
        let mut scene = Scene::watch(lab, &[Member::new("web")]);
        let old = scene.active();
        good(old, &["raftctl", "transfer"]);
        assert_ne!(scene.next().index, old.index);
        // Nobody starts it where the node is not active.
        old.run(&["systemctl", "start", "web"]);
        old.run(&["systemctl", "restart", "web"]);
        assert_ne!(active(old), "active");
        let now = scene.active();
        good(now, &["systemctl", "restart", "web"]);
        assert_eq!(active(now), "active");
        assert_eq!(scene.end().member().intervals.len(), 3, "one more for the restart");

        for host in lab.hosts() {
            let said = good(host, &["raftctl", "detach", "web"]);
            let runs = host.index == now.index;
            assert_eq!(said.contains("runs on here"), runs, "{said}");
            assert_eq!(active(host) == "active", runs, "nothing was stopped");
            assert!(!host.property("web.service", "BindsTo").contains("raftctl"));
            assert_eq!(host.property("web.service", "TimeoutStopUSec"), "1min 30s");
            assert!(!host.path("/etc/systemd/system/web.service.d").exists());
            assert!(!host.path(&format!("/etc/systemd/system/{}.wants", target(host))).exists());
            assert_eq!(host.run(&["systemctl", "is-enabled", "web"]).stdout, "disabled\n");
        }
        good(now, &["raftctl", "attach", "web"]);
        let said = good(now, &["raftctl", "detach", "--now", "web"]);
        assert!(said.contains("Stopped web.service") && active(now) == "inactive", "{said}");
    });
}

#[test]
fn what_systemd_could_not_do_is_refused() {
    run_package(OFF(), |lab| {
        start(lab);
        let host = lab.hosts().find(|host| host.index != lab.leader().host).unwrap();
        let attach = |unit: &str| refused(host, &["raftctl", "attach", unit]);
        assert!(attach("absent").contains("absent.service was not found"));
        host.systemctl(&["mask", "web"]);
        assert!(attach("web").contains("systemctl unmask web.service"));
        host.systemctl(&["unmask", "web"]);
        put(host, "many@.service", WEB);
        assert!(attach("many@.service").contains("is a template"));
        // A loop through another unit.
        put(host, "mid.service", &WEB.replace("[Service]", "Before=network.target\n[Service]"));
        put(host, "early.service", &WEB.replace("[Service]", "Before=mid.service\n[Service]"));
        host.systemctl(&["enable", "mid"]);
        host.systemctl(&["daemon-reload"]);
        let said = attach("early");
        assert!(said.contains("it would wait for itself"), "{said}");
        good(host, &["systemd-run", "--unit=made", "sleep", "infinity"]);
        assert!(attach("made").contains("made by a running program"));

        // Enabled and running: it is told what to do, and does it when it may.
        host.systemctl(&["enable", "--now", "web"]);
        let said = attach("web");
        assert!(said.contains("with multi-user.target") && said.contains("runs here"), "{said}");
        assert_eq!(active(host), "active", "a refusal changes nothing");
        let said = good(host, &["raftctl", "attach", "--disable", "web"]);
        assert!(said.contains("web.service was stopped"), "{said}");
        assert_eq!(active(host), "inactive");
        let wanted = host.property("web.service", "WantedBy");
        assert_eq!(wanted, target(host));
        // A target that comes up later starts it; on this host after a transfer to it.
        good(host, &["raftctl", "attach", "many@1"]);
        let leader = lab.host(lab.leader().host);
        good(leader, &["raftctl", "transfer", &host.name]);
        wait_until("it runs", DEADLINE, || active(host) == "active");
        wait_until("its instance runs", DEADLINE, || {
            host.property("many@1.service", "ActiveState") == "active"
        });
    });
}

#[test]
fn the_first_things_that_an_administrator_types() {
    run_package(OFF(), |lab| {
        start(lab);
        for host in lab.hosts() {
            good(host, &["raftctl", "wait", "--for", "active", "--timeout", "30s"]);
            good(host, &["raftctl", "wait", "--for", "quorum", "--timeout", "30s"]);
            good(host, &["raftctl", "attach", "web"]);
            let checks = host.run(&["raftctl", "doctor", "--json=short"]).stdout;
            let checks: Vec<Value> = serde_json::from_str(&checks).unwrap();
            // How fast the disk of the lab is depends on who else uses it.
            let failed = |check: &&Value| check["result"] == "fail" && check["check"] != "disk";
            let failed: Vec<_> = checks.iter().filter(failed).collect();
            assert!(failed.is_empty(), "{}: {failed:#?}", host.name);
            for name in ["polkit", "service", "socket", "unit web.service", "version"] {
                assert!(checks.iter().any(|check| check["check"] == name), "{name}: {checks:#?}");
            }
            let stranger = ["systemd-run", "--wait", "--pipe", "--collect", "-q", "--uid=nobody"];
            let as_stranger = |line: &[&str]| host.run(&[&stranger[..], line].concat());
            let ran = as_stranger(&["raftctl", "attach", "web"]);
            assert_eq!(ran.code, 4, "{}", ran.stderr);
            // Over the system bus everybody may look, and nobody else may touch.
            let ran = as_stranger(&["raftctl", "status"]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert!(ran.stdout.contains("3 nodes listed"), "{}", ran.stdout);
            let ran = as_stranger(&["raftctl", "wait", "--for", "active"]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            let ran = as_stranger(&["raftctl", "pause"]);
            assert_eq!(ran.code, 4, "{}", ran.stderr);
            let level = ["raftctl", "log-level"];
            good(host, &[&level[..], &["debug"]].concat());
            assert_eq!(good(host, &level), "debug\n");
        }
        let host = lab.hosts().next().unwrap();
        let again = host.run(&[
            "raftctl",
            "init",
            "--yes",
            "--name",
            &host.name,
            "--member",
            &format!("{}=127.0.0.1:7100", host.name),
        ]);
        assert!(again.code == 1 && again.stderr.contains("--force"), "{}", again.stderr);
        for path in [
            "/usr/share/bash-completion/completions/raftctl",
            "/usr/share/zsh/vendor-completions/_raftctl",
            "/usr/share/fish/vendor_completions.d/raftctl.fish",
        ] {
            // In the layer below the host's own.
            good(host, &["test", "-s", path]);
        }
    });
}
