//! The units and the Debian package: what is in it, and what systemd, polkit and Debian's own
//! checks say about it. How it behaves on a host is the lab's to show.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use raftctl::core::role::EventName;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn unit(name: &str) -> String {
    let path = package().join("systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether `program` can be run; says `SKIPPED` otherwise.
fn can_run(program: &str, for_what: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("SKIPPED: {for_what} needs {program}");
    }
    found
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Packs the programs of this test run.
fn built() -> (tempfile::TempDir, PathBuf) {
    let output = tempfile::tempdir().unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_raftctld")).parent().unwrap();
    let build = Command::new(package().join("scripts/deb.sh"))
        .env("DEB_PROFILE", "dev")
        .env("DEB_PROGRAMS", programs)
        .env("DEB_OUTPUT", output.path())
        .output()
        .unwrap();
    assert!(build.status.success(), "{}", said(&build));
    let mut names = fs::read_dir(output.path()).unwrap().map(|entry| entry.unwrap().path());
    let deb = names.find(|path| path.extension().is_some_and(|e| e == "deb")).unwrap();
    (output, deb)
}

#[test]
fn the_package_holds_what_it_should_and_debian_agrees() {
    if !can_run("dpkg-buildpackage", "the package") || !can_run("dh", "the package") {
        return;
    }
    let (output, deb) = built();
    let listed = Command::new("dpkg-deb").arg("--contents").arg(&deb).output().unwrap();
    let mut found: Vec<String> = said(&listed).lines().map(entry).collect();
    found.retain(|entry| !entry.starts_with('d') || entry.ends_with(" etc/raftctl/"));
    found.sort();
    let expected: Vec<String> = CONTENTS.lines().map(|line| line.trim().to_owned()).collect();
    assert_eq!(found.join("\n"), expected.join("\n"));

    verify_units(&deb);
    if can_run("lintian", "Debian's rules for packages") {
        let changes = deb.with_extension("changes");
        let checked = Command::new("lintian")
            .args(["--allow-root", "--fail-on", "error,warning"])
            .arg(&changes)
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}", said(&checked));
    }
    drop(output);
}

/// `-rw-r--r-- root/root 551 2026-11-21 12:00 ./path` as `-rw-r--r-- root/root path`.
fn entry(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [mode, owner, _, _, _, path] = words.as_slice() else { panic!("{line:?}") };
    format!("{mode} {owner} {}", path.trim_start_matches("./"))
}

/// All files, and the one directory that is empty.
const CONTENTS: &str = include_str!("scripts/package-contents.txt");

/// systemd reads the units as they are installed, and finds every program that they start.
fn verify_units(deb: &Path) {
    if !can_run("systemd-analyze", "checking the units") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let extracted = Command::new("dpkg-deb").arg("-x").arg(deb).arg(root.path()).output().unwrap();
    assert!(extracted.status.success(), "{}", said(&extracted));
    // The rest of the system: the units that ours name, and the programs of others.
    for (name, to) in [("lib", "usr/lib"), ("bin", "usr/bin")] {
        std::os::unix::fs::symlink(to, root.path().join(name)).unwrap();
    }
    fs::copy("/bin/kill", root.path().join("bin/kill")).unwrap();
    let units = root.path().join("lib/systemd/system");
    for entry in fs::read_dir("/lib/systemd/system").unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), units.join(entry.file_name())).unwrap();
        }
    }
    let checked = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=one"])
        .arg(format!("--root={}", root.path().display()))
        .args(UNITS.map(|(name, suffix)| format!("{name}@n1.{suffix}")))
        .output()
        .unwrap();
    let about_us: Vec<String> =
        said(&checked).lines().filter(|line| line.contains("raftctl")).map(String::from).collect();
    assert!(about_us.is_empty(), "{about_us:#?}");
}

const UNITS: [(&str, &str); 7] = [
    ("raftctl", "service"),
    ("raftctl", "socket"),
    ("raftctl-leader", "target"),
    ("raftctl-follower", "target"),
    ("raftctl-deadline", "target"),
    ("raftctl-event", "service"),
    ("raftctl-fence", "service"),
];

/// The agent is confined as tightly as the resolver of systemd is; the fence, which is root, as far
/// as it can be without a namespace. (Event scripts are the administrator's own.)
#[test]
fn the_services_are_confined() {
    if !can_run("systemd-analyze", "the confinement of the services") {
        return;
    }
    for (name, tenths) in [("raftctl@.service", 15), ("raftctl-fence@.service", 35)] {
        // As an instance, which is what runs.
        let place = tempfile::tempdir().unwrap();
        let instance = place.path().join(name.replace('@', "@node1"));
        fs::copy(package().join("systemd").join(name), &instance).unwrap();
        let checked = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={tenths}"))
            .arg(&instance)
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}", said(&checked));
    }
}

/// What needs a mount namespace would keep the fence from starting while a disk hangs.
#[test]
fn the_fence_starts_whatever_the_disks_do() {
    let text = unit("raftctl-fence@.service");
    let namespaces = [
        "Private",
        "ProtectS",
        "ProtectHome",
        "ProtectK",
        "ProtectC",
        "ProtectP",
        "ProcSubset",
        "ReadOnly",
        "ReadWrite",
        "Inaccessible",
        "TemporaryFileSystem",
        "Bind",
        "StateDirectory",
        "Root",
        "MountAPIVFS",
        "NoExecPaths",
        "ExecPaths",
    ];
    let settings = text.lines().filter(|line| !line.starts_with('#'));
    let found: Vec<&str> =
        settings.filter(|line| namespaces.iter().any(|n| line.starts_with(n))).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// Each of these lines is there because leaving it out broke a host; the units say how.
#[test]
fn the_units_keep_what_was_learnt() {
    let lines = [
        ("raftctl@.service", "Requires=raftctl@%i.socket"),
        ("raftctl@.service", "After=raftctl@%i.socket"),
        ("raftctl@.service", "Also=raftctl@%i.socket"),
        ("raftctl@.service", "StartLimitIntervalSec=0"),
        ("raftctl@.service", "Restart=always"),
        ("raftctl@.service", "WatchdogSignal=SIGKILL"),
        ("raftctl@.service", "NotifyAccess=main"),
        ("raftctl@.service", "BusName=org.raftctl.Agent1.%i"),
        ("raftctl@.service", "User=raftctl"),
        ("raftctl@.service", "CapabilityBoundingSet="),
        ("raftctl@.service", "RuntimeDirectory=raftctl/%i"),
        ("raftctl@.service", "LimitMEMLOCK=infinity"),
        ("raftctl@.service", "SystemCallFilter=@system-service"),
        ("raftctl@.service", "Environment=RAFTCTL_BOOT_ID=%b"),
        ("raftctl@.socket", "PartOf=raftctl@%i.service"),
        ("raftctl@.socket", "StartLimitIntervalSec=0"),
        ("raftctl@.socket", "TriggerLimitIntervalSec=0"),
        ("raftctl@.socket", "FileDescriptorName=raft"),
        ("raftctl-leader@.target", "BindsTo=raftctl@%i.service"),
        ("raftctl-leader@.target", "After=raftctl@%i.service"),
        ("raftctl-leader@.target", "ConditionPathExists=/run/raftctl/%i/active"),
        ("raftctl-leader@.target", "Conflicts=raftctl-follower@%i.target"),
        ("raftctl-deadline@.target", "PartOf=raftctl-leader@%i.target"),
        ("raftctl-event@.service", "DefaultDependencies=no"),
        ("raftctl-event@.service", "Slice=system.slice"),
        ("raftctl-event@.service", "StartLimitIntervalSec=0"),
        ("raftctl-fence@.service", "DefaultDependencies=no"),
        ("raftctl-fence@.service", "Slice=system.slice"),
        ("raftctl-fence@.service", "StartLimitIntervalSec=0"),
        ("raftctl-fence@.service", "CapabilityBoundingSet=CAP_DAC_OVERRIDE"),
        ("raftctl-fence@.service", "UMask=0022"),
    ];
    for (name, line) in lines {
        let text = unit(name);
        assert!(text.lines().any(|l| l == line), "{name} lacks {line}");
    }
    // All event units are kept in memory.
    for event in EventName::ALL {
        let kept = format!("raftctl-event@%i:{event}.service");
        let text = unit("raftctl@.service");
        assert!(text.split_whitespace().any(|word| word.ends_with(&kept)), "{kept}");
    }
    for (name, suffix) in UNITS {
        let text = unit(&format!("{name}@.{suffix}"));
        assert!(!text.contains("RuntimeDirectoryPreserve=yes"), "{name}: the gate must vanish");
    }
}

/// One version everywhere.
#[test]
fn the_package_has_the_version_of_the_program() {
    let changelog = fs::read_to_string(package().join("debian/changelog")).unwrap();
    let first = changelog.lines().next().unwrap();
    let expected = format!("raftctl ({})", env!("CARGO_PKG_VERSION"));
    assert!(first.starts_with(&expected), "{first:?} does not start with {expected:?}");
}

/// What polkit answers, by its own language: the rules run in node with polkit's interface.
#[test]
fn the_agent_may_start_its_own_units_and_nothing_else() {
    if !can_run("node", "the polkit rules") {
        return;
    }
    let rules = unit("50-raftctl.rules");
    let events = EventName::ALL.map(|event| format!("{:?}", event.as_str())).join(", ");
    let program = format!("{POLKIT}\n{rules}\nconst events = [{events}];\n{CASES}");
    let run = Command::new("node").arg("-e").arg(program).output().unwrap();
    assert!(run.status.success(), "{}", said(&run));
}

const POLKIT: &str = r#"
const rules = [];
const polkit = {
    Result: { YES: "yes", NO: "no", NOT_HANDLED: undefined },
    addRule: (rule) => rules.push(rule),
};
"#;

const CASES: &str = r#"
const ask = (id, user, unit, verb) =>
    rules[0]({ id, lookup: (key) => ({ unit, verb })[key] }, { user });
const units = "org.freedesktop.systemd1.manage-units";
const expect = (answer, ...question) => {
    const found = ask(...question);
    if (found !== answer) {
        throw new Error(`${question.join(" ")}: expected ${answer}, found ${found}`);
    }
};
for (const role of ["leader", "follower"]) {
    for (const verb of ["start", "stop"]) {
        expect("yes", units, "raftctl", `raftctl-${role}@n1.target`, verb);
    }
    for (const verb of ["restart", "reload", "kill", "reset-failed", "set-property", undefined]) {
        expect("no", units, "raftctl", `raftctl-${role}@n1.target`, verb);
    }
}
for (const event of events) {
    expect("yes", units, "raftctl", `raftctl-event@n-1_b:${event}.service`, "start");
    for (const verb of ["stop", "kill"]) {
        expect("yes", units, "raftctl", `raftctl-event@n1:${event}.service`, verb);
    }
    expect("no", units, "raftctl", `raftctl-event@n1:${event}.service`, "restart");
}
expect("yes", units, "raftctl", "raftctl-fence@n1.service", "start");
expect("no", units, "raftctl", "raftctl-fence@n1.service", "stop");
for (const unit of [
    "raftctl@n1.service", "raftctl-deadline@n1.target", "nginx.service", "reboot.target", "",
    "raftctl-leader@n1.service", "raftctl-leader@n1.target.evil.service", "raftctl-leader@.target",
    "xraftctl-leader@n1.target", "raftctl-leader@N1.target", "raftctl-leader@n1\n.target",
    "raftctl-event@n1.service", "raftctl-event@n1:leader.target", "raftctl-event@n1:root.service",
    "raftctl-event@n1:quorum.service", "raftctl-event@n1:quorum_lost.service",
    "raftctl-event@../n1:leader.service", "raftctl-fence@n1:leader.service", undefined,
]) {
    expect("no", units, "raftctl", unit, "start");
}
expect(undefined, units, "somebody", "raftctl-leader@n1.target", "start");
expect(undefined, "org.freedesktop.login1.reboot", "raftctl", undefined, undefined);
"#;
