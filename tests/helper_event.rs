//! `raftctl-helper event`: which script root runs, and what the unprivileged agent cannot make of
//! it. The preparation is called as the program calls it, but for a directory of the test and the
//! user of the test beside root; the program itself has no such option.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::sys::stat::Mode;
use raftctl::events::ScriptError;
use raftctl::exit::Exit;
use raftctl::helper::event::{EventError, Instance, Places, prepare};

/// A host of its own: `etc/n1.toml`, `etc/scripts`, `run`.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Host {
        let host = Host { dir: tempfile::tempdir().unwrap() };
        for folder in ["etc", "etc/scripts", "run"] {
            fs::create_dir(host.path(folder)).unwrap();
            host.chmod(folder, 0o755);
        }
        host.configure("scripts/follower.sh");
        // The block as execve(2) passed it, before the shell adds its own.
        host.script("follower.sh", "cat /proc/$$/environ; echo; cat; echo \"$@\"; pwd");
        host.tell("follower", &[]);
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn configure(&self, script: &str) {
        let text = format!(
            "[cluster]\nname = \"blue\"\n\
             members = {{ n1 = \"192.0.2.1:7400\", n2 = \"192.0.2.2:7400\" }}\n\
             [node]\nname = \"n1\"\nruntime_directory = {:?}\n\
             [events]\nfollower = {script:?}\nchange = {script:?}\n",
            self.path("run"),
        );
        fs::write(self.path("etc/n1.toml"), text).unwrap();
        self.chmod("etc/n1.toml", 0o644);
    }

    fn script(&self, name: &str, body: &str) {
        let name = format!("etc/scripts/{name}");
        fs::write(self.path(&name), format!("#!/bin/sh\n{body}\n")).unwrap();
        self.chmod(&name, 0o755);
    }

    /// What the agent writes for `event`, with some fields changed.
    fn told(&self, event: &str, changes: &[(&str, &str)]) -> BTreeMap<String, String> {
        let role = if event == "change" { "follower" } else { event };
        let mut told = BTreeMap::from([
            ("event", event),
            ("role", role),
            ("old_role", "leader"),
            ("cluster", "blue"),
            ("node", "n1"),
            ("leader", "n2"),
            ("leader_address", "192.0.2.2:7400"),
            ("term", "5"),
            ("token", "18446744073709551615"),
            ("sequence", "3"),
            ("reason", "quorum lost"),
            ("timestamp_usec", "1700000000000000"),
            ("deadline_usec", "1700000030000000"),
        ]);
        told.extend(changes.iter().copied());
        told.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn tell(&self, event: &str, changes: &[(&str, &str)]) {
        let text = serde_json::to_vec(&self.told(event, changes)).unwrap();
        self.write(event, &text);
    }

    fn file(&self, event: &str) -> PathBuf {
        self.path(&format!("run/event-{event}.json"))
    }

    fn write(&self, event: &str, bytes: &[u8]) {
        fs::write(self.file(event), bytes).unwrap();
    }

    fn prepare(&self, instance: &str) -> Result<(Command, PathBuf), EventError> {
        let instance: Instance = instance.parse().unwrap();
        let owner = nix::unistd::getuid().as_raw();
        prepare(&Places { etc: &self.path("etc"), owner }, &instance)
    }

    #[track_caller]
    fn runs(&self, instance: &str) -> Output {
        let (mut command, _) = self.prepare(instance).unwrap();
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "there is something to leak");
        command.output().unwrap()
    }

    /// Nothing is run; the message, with its causes, has all of `words`.
    #[track_caller]
    fn refuses(&self, instance: &str, exit: Exit, words: &[&str]) {
        let error = match self.prepare(instance) {
            Ok((command, _)) => panic!("would run {command:?}"),
            Err(error) => error,
        };
        assert_eq!(error.exit(), exit, "{error}");
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        words.iter().for_each(|word| assert!(text.contains(word), "no {word:?} in {text:?}"));
        assert!(!text.contains(['\n', '\0']), "{text:?}");
    }
}

#[test]
fn a_script_gets_exactly_the_documented_environment_and_input() {
    let host = Host::new();
    let output = host.runs("n1:follower");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let environ = lines.next().unwrap().split_terminator('\0');
    let environ: BTreeMap<_, _> = environ.map(|e| e.split_once('=').unwrap()).collect();
    let told = host.told("follower", &[]);
    let mut expected: BTreeMap<String, &str> =
        told.iter().map(|(k, v)| (format!("RAFTCTL_{}", k.to_uppercase()), v.as_str())).collect();
    expected.insert("LANG".into(), "C.UTF-8");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    expected.insert("PATH".into(), path);
    let expected: BTreeMap<&str, &str> = expected.iter().map(|(k, v)| (&**k, *v)).collect();
    assert_eq!(environ, expected);
    let input: BTreeMap<String, String> = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(input, told);
    assert_eq!(lines.collect::<Vec<_>>(), ["follower follower blue", "/"]);
    assert!(output.status.success());
}

#[test]
fn change_and_javascript_run_too() {
    let host = Host::new();
    host.tell("change", &[("leader", ""), ("leader_address", ""), ("token", "")]);
    let output = host.runs("n1:change");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("change follower blue\n/\n"), "{text}");

    host.configure("scripts/any.js");
    let script = "console.log(process.argv.slice(2).join(' '), process.env.RAFTCTL_TOKEN);";
    fs::write(host.path("etc/scripts/any.js"), script).unwrap();
    host.chmod("etc/scripts/any.js", 0o644);
    let output = host.runs("n1:follower");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "follower follower blue 18446744073709551615\n");
}

// The instance: chosen by the agent.

#[test]
fn an_instance_is_a_node_and_an_event() {
    for bad in [
        "",
        "n1",
        "n1:",
        ":leader",
        "n1:master",
        "n1:leader:",
        "n1:leader ",
        "../n1:leader",
        "/etc/n1:leader",
        "N1:leader",
        "--root=/tmp:leader",
        "n1\n:leader",
        "n1.toml:leader",
    ] {
        let error = bad.parse::<Instance>().unwrap_err().to_string();
        assert!(error.contains("expected NODE:EVENT"), "{error}");
    }
}

#[test]
fn the_program_has_verbs_and_no_options() {
    let run = |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_raftctl-helper");
        let output = Command::new(program).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for arguments in [
        &[][..],
        &["event"],
        &["event", "n1:leader", "more"],
        &["event", "--root", "/tmp"],
        &["event", "../n1:leader"],
        &["release", "n1:leader"],
        &["fence", "../n1"],
        &["--root=/tmp", "event", "n1:leader"],
        &["exec", "n1"],
    ] {
        let (code, error) = run(arguments);
        assert_eq!(code, Some(i32::from(Exit::Usage.code())), "{arguments:?}: {error}");
        assert!(error.starts_with("raftctl-helper"), "{error}");
    }
    let (code, error) = run(&["event", "nobody-here:leader"]);
    assert_ne!(code, Some(0), "{error}");
    assert!(error.contains("/etc/raftctl"), "the fixed place: {error}");
    let output = Command::new(env!("CARGO_BIN_EXE_raftctl-helper")).arg("--help").output();
    let output = output.unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("event NODE:EVENT"));
}

#[test]
fn a_node_or_an_event_that_is_not_configured_is_refused() {
    let host = Host::new();
    host.refuses("n2:follower", Exit::Io, &["n2.toml"]);
    host.refuses("n1:leader", Exit::Configuration, &["no script for event leader"]);
    fs::rename(host.path("etc/n1.toml"), host.path("etc/n2.toml")).unwrap();
    host.refuses("n2:follower", Exit::Configuration, &["\"n2\"", "n1"]);
}

// What root relies on: nobody else can change it.

#[test]
fn a_configuration_that_others_can_change_is_refused() {
    let host = Host::new();
    for mode in [0o664, 0o646, 0o666] {
        host.chmod("etc/n1.toml", mode);
        let (mode, good) = (format!("{mode:04o}"), "mode 0644");
        host.refuses("n1:follower", Exit::NoPermission, &["n1.toml\" belongs", &mode, good]);
    }
    host.chmod("etc/n1.toml", 0o644);
    for mode in [0o775, 0o757, 0o1777] {
        host.chmod("etc", mode);
        host.refuses("n1:follower", Exit::NoPermission, &["etc\" belongs", &format!("{mode:04o}")]);
    }
    host.chmod("etc", 0o755);
    fs::rename(host.path("etc/n1.toml"), host.path("etc/real")).unwrap();
    symlink("real", host.path("etc/n1.toml")).unwrap();
    host.refuses("n1:follower", Exit::Io, &["n1.toml"]);
    fs::remove_file(host.path("etc/n1.toml")).unwrap();
    fs::create_dir(host.path("etc/n1.toml")).unwrap();
    host.refuses("n1:follower", Exit::NoPermission, &["not a regular file"]);
    fs::remove_dir(host.path("etc/n1.toml")).unwrap();
    nix::unistd::mkfifo(&host.path("etc/n1.toml"), Mode::S_IRWXU).unwrap();
    host.refuses("n1:follower", Exit::NoPermission, &["not a regular file"]);
    fs::remove_file(host.path("etc/n1.toml")).unwrap();
    fs::write(host.path("etc/n1.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    host.refuses("n1:follower", Exit::Configuration, &["n1.toml"]);
}

#[test]
fn a_script_that_others_can_change_is_refused() {
    let host = Host::new();
    for (name, mode) in [
        ("etc/scripts/follower.sh", 0o775),
        ("etc/scripts/follower.sh", 0o757),
        ("etc/scripts", 0o775),
        ("etc/scripts", 0o1777),
    ] {
        let before = fs::metadata(host.path(name)).unwrap().permissions();
        host.chmod(name, mode);
        let path = format!("{:?} belongs to user", host.path(name));
        host.refuses("n1:follower", Exit::NoPermission, &[&path, &format!("mode {mode:04o}")]);
        fs::set_permissions(host.path(name), before).unwrap();
    }
    assert!(host.runs("n1:follower").status.success());
}

#[test]
fn what_belongs_to_another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: only root can give files away");
        return;
    }
    let host = Host::new();
    for name in ["etc/scripts/follower.sh", "etc/scripts", "etc/n1.toml", "etc"] {
        let give = |owner| std::os::unix::fs::chown(host.path(name), Some(owner), None).unwrap();
        give(12_345);
        let path = format!("{:?} belongs to user 12345", host.path(name));
        host.refuses("n1:follower", Exit::NoPermission, &[&path, "belong to root"]);
        give(0);
    }
    // Of the runtime directory everybody may be the owner, but then of its files, too.
    std::os::unix::fs::chown(host.path("run"), Some(12_345), None).unwrap();
    let words = ["belongs to user 0", "user 12345, as its directory"];
    host.refuses("n1:follower", Exit::NoPermission, &words);
    std::os::unix::fs::chown(host.file("follower"), Some(12_345), None).unwrap();
    assert!(host.runs("n1:follower").status.success());
}

#[test]
fn links_on_the_way_to_a_script_count_as_well() {
    let host = Host::new();
    fs::create_dir(host.path("elsewhere")).unwrap();
    host.chmod("elsewhere", 0o755);
    symlink(host.path("etc/scripts/follower.sh"), host.path("elsewhere/link")).unwrap();
    symlink("../../elsewhere/link", host.path("etc/scripts/second")).unwrap();
    host.configure("scripts/second");
    assert!(host.runs("n1:follower").status.success(), "links of root are as good as files");
    // Whoever can write here chooses which file of root is run.
    host.chmod("elsewhere", 0o777);
    host.refuses("n1:follower", Exit::NoPermission, &["elsewhere\" belongs", "0777"]);
    host.configure("scripts/loop");
    symlink("loop", host.path("etc/scripts/loop")).unwrap();
    host.refuses("n1:follower", Exit::NoPermission, &["symbolic links"]);
    host.configure("scripts");
    host.refuses("n1:follower", Exit::NoPermission, &["not a regular file"]);
    host.configure("scripts/follower.sh/more");
    host.refuses("n1:follower", Exit::NoPermission, &["not a directory"]);
    host.configure("scripts/nothing");
    host.refuses("n1:follower", Exit::Configuration, &["scripts/nothing"]);
}

#[test]
fn a_script_without_node_or_rights_is_a_clear_error() {
    let host = Host::new();
    host.chmod("etc/scripts/follower.sh", 0o644);
    let (mut command, script) = host.prepare("n1:follower").unwrap();
    let error = raftctl::events::program::explain(&script, command.output().unwrap_err());
    assert!(matches!(error, ScriptError::NotExecutable { .. }), "{error}");
}

// The event file: written by the agent, which may have been taken over.

#[test]
fn variables_cannot_be_smuggled_in() {
    let host = Host::new();
    let refused = |words: &[&str]| host.refuses("n1:follower", Exit::NoPermission, words);
    for (field, value) in [("ld_preload", "/tmp/x.so"), ("path", "/tmp"), ("bash_env", "/tmp/x")] {
        host.tell("follower", &[(field, value)]);
        refused(&["unknown field", field]);
    }
    for (field, value) in [
        ("reason", "lost\nLD_PRELOAD=/tmp/x.so"),
        ("reason", "lost\0LD_PRELOAD=/tmp/x.so"),
        ("reason", "$(reboot)"),
        ("leader", "n2\nPATH=/tmp"),
        ("leader_address", "`reboot`:7400"),
        ("term", "5; reboot"),
    ] {
        host.tell("follower", &[(field, value)]);
        refused(&[&field.to_uppercase(), "expected"]);
    }
    for bytes in [&b"LD_PRELOAD=/tmp/x.so\nPATH=/tmp\n"[..], b"", b"\0\0\0\0", b"{}", b"\xff\xfe"] {
        host.write("follower", bytes);
        refused(&["not an object"]);
    }
}

#[test]
fn the_event_of_another_node_cluster_or_name_is_refused() {
    let host = Host::new();
    for (field, value) in
        [("node", "n2"), ("cluster", "green"), ("event", "leader"), ("role", "leader")]
    {
        host.tell("follower", &[(field, value)]);
        host.refuses("n1:follower", Exit::NoPermission, &[&field.to_uppercase(), value]);
    }
}

#[test]
fn huge_files_and_values_are_refused() {
    let host = Host::new();
    host.tell("follower", &[("reason", &"a".repeat(81))]);
    host.refuses("n1:follower", Exit::NoPermission, &["REASON", "at most 80"]);
    host.write("follower", &vec![b' '; 64 << 20]);
    host.refuses("n1:follower", Exit::NoPermission, &["more than 4096 bytes"]);
    host.write("follower", "[".repeat(4096).as_bytes());
    host.refuses("n1:follower", Exit::NoPermission, &["not an object"]);
}

#[test]
fn what_is_no_plain_file_of_the_agent_is_refused() {
    let host = Host::new();
    let good = host.path("run/elsewhere.json");
    fs::rename(host.file("follower"), &good).unwrap();
    host.refuses("n1:follower", Exit::Io, &["event-follower.json"]);

    symlink(&good, host.file("follower")).unwrap();
    host.refuses("n1:follower", Exit::Io, &["event-follower.json"]);
    fs::remove_file(host.file("follower")).unwrap();

    fs::hard_link(&good, host.file("follower")).unwrap();
    host.refuses("n1:follower", Exit::NoPermission, &["without other names"]);
    fs::remove_file(host.file("follower")).unwrap();

    fs::create_dir(host.file("follower")).unwrap();
    host.refuses("n1:follower", Exit::NoPermission, &["regular file"]);
    fs::remove_dir(host.file("follower")).unwrap();

    // Nobody writes to it: opening it must not wait.
    nix::unistd::mkfifo(&host.file("follower"), Mode::S_IRWXU).unwrap();
    host.refuses("n1:follower", Exit::NoPermission, &["regular file"]);
    fs::remove_file(host.file("follower")).unwrap();

    let _listener = std::os::unix::net::UnixListener::bind(host.file("follower")).unwrap();
    host.refuses("n1:follower", Exit::Io, &["event-follower.json"]);

    fs::rename(host.path("run"), host.path("other")).unwrap();
    symlink("other", host.path("run")).unwrap();
    host.refuses("n1:follower", Exit::Io, &["run\""]);
}
