//! The systemd generator: golden scripts in `tests/scripts/generator/*.txt`, and what is not text.
//!
//! A case has files, each after a line `file NAME`, then a line `---`, and what the generator says
//! and writes. Cases are separated by a line `===`. `UPDATE_GOLDEN=1` writes the answers instead of
//! comparing them; commit a changed output only if you understand it and want it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use raftctl::generator::{Severity, generate};
use raftctl::limits;
use raftctl::systemd::root_file::Owner;

#[test]
fn drop_ins_are_written_as_written_down() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/generator");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1");
    let mut scripts: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let text = fs::read_to_string(&path).unwrap();
        let cases: Vec<String> = text.trim_end().split("\n===\n").map(answer).collect();
        let answered = cases.join("\n===\n") + "\n";
        if update {
            fs::write(&path, &answered).unwrap();
        } else {
            let name = path.display();
            assert!(answered == text, "{name} is not what is said now:\n{answered}");
        }
    }
}

fn answer(case: &str) -> String {
    let input = case.split("\n---").next().unwrap().trim_end();
    let host = Host::new();
    for file in input.split("file ").skip(1) {
        let (name, text) = file.split_once('\n').unwrap();
        host.write(name, text);
    }
    format!("{input}\n---\n{}", host.answer()).trim_end().to_owned()
}

/// A host's configuration directory, and what the generator makes of it.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Host {
        let directory = tempfile::tempdir().unwrap();
        for name in ["etc", "run"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::set_permissions(directory.path().join("etc"), fs::Permissions::from_mode(0o755))
            .unwrap();
        Host(directory)
    }

    fn etc(&self) -> std::path::PathBuf {
        self.0.path().join("etc")
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.etc().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// What the generator says and writes, with the configuration directory by its usual name.
    fn answer(&self) -> String {
        let mut answer = String::new();
        let run = self.0.path().join("run");
        let mut tell = |severity: Severity, text: &str| {
            writeln!(answer, "{}: {text}", format!("{severity:?}").to_lowercase()).unwrap();
        };
        generate(&self.etc(), &run, Owner::this_process(), &mut tell).unwrap();
        let mut units: Vec<_> = fs::read_dir(&run).unwrap().map(|e| e.unwrap().path()).collect();
        units.sort();
        for unit in units {
            for file in fs::read_dir(&unit).unwrap() {
                let path = file.unwrap().path();
                let shown = path.strip_prefix(&run).unwrap().display();
                writeln!(answer, "> {shown}\n{}", fs::read_to_string(&path).unwrap()).unwrap();
            }
        }
        answer.replace(&self.etc().display().to_string(), "/etc/raftctl").trim_end().to_owned()
    }
}

const GOOD: &str = "[node]\nname = \"NAME\"\n[cluster]\nmembers = { NAME = \"192.0.2.1:7100\" }\n";

fn good(name: &str) -> String {
    GOOD.replace("NAME", name)
}

/// Whatever lies in the directory, the good file beside it gets its drop-ins.
#[test]
fn what_is_no_file_of_root_is_refused_and_disturbs_nobody() {
    let host = Host::new();
    let etc = host.etc();
    host.write("good.toml", good("good"));
    host.write("huge.toml", vec![b'#'; limits::CONFIG_MAX_BYTES as usize + 7]);
    host.write("binary.toml", [0, 159, 146, 150, 255, b'\n', 7]);
    host.write("empty.toml", "");
    symlink("loop.toml", etc.join("loop.toml")).unwrap();
    symlink("good.toml", etc.join("link.toml")).unwrap();
    symlink("/dev/zero", etc.join("zero.toml")).unwrap();
    fs::create_dir(etc.join("directory.toml")).unwrap();
    nix::unistd::mkfifo(&etc.join("pipe.toml"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    host.write("writable.toml", good("writable"));
    fs::set_permissions(etc.join("writable.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    host.write(".hidden.toml", "x");
    host.write("n1.toml~", "x");

    let answer = host.answer();
    let refused = [
        "binary.toml:1:2: byte 0x9f: expected UTF-8 text",
        "directory.toml is a directory: expected a regular file",
        "empty.toml:1:1: [node] has no \"name\"",
        "huge.toml:1:1: the file has more than 1048576 bytes",
        "link.toml is a symbolic link: expected a regular file",
        "loop.toml is a symbolic link: expected a regular file",
        "pipe.toml is a device or pipe: expected a regular file",
        "writable.toml has mode 0666: expected that only root can write it",
        "zero.toml is a symbolic link: expected a regular file",
    ];
    for words in refused {
        let line = format!("error: /etc/raftctl/{words}");
        assert!(answer.contains(&line), "no {line:?} in\n{answer}");
    }
    assert!(!answer.contains("hidden") && !answer.contains('~'), "{answer}");
    let units: Vec<&str> = answer.lines().filter(|line| line.starts_with("> ")).collect();
    assert_eq!(
        units,
        ["> raftctl@good.service.d/50-raftctl.conf", "> raftctl@good.socket.d/50-raftctl.conf"]
    );
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: giving a file to another user needs root");
        return;
    }
    let host = Host::new();
    host.write("n1.toml", good("n1"));
    std::os::unix::fs::chown(host.etc().join("n1.toml"), Some(4711), None).unwrap();
    let expected = "error: /etc/raftctl/n1.toml belongs to user 4711: expected root as its owner";
    assert_eq!(host.answer(), expected);
    std::os::unix::fs::chown(host.etc().join("n1.toml"), Some(0), None).unwrap();
    std::os::unix::fs::chown(host.etc(), Some(4711), None).unwrap();
    let expected = "error: /etc/raftctl belongs to user 4711: expected root as its owner";
    assert_eq!(host.answer(), expected);
}

#[test]
fn there_is_an_end_to_the_files_that_are_read() {
    let host = Host::new();
    for at in 0..limits::GENERATOR_FILES_MAX + 1 {
        host.write(&format!("n{at}.toml"), "");
    }
    let answer = host.answer();
    let expected = "error: /etc/raftctl: more than 256 files, ignoring the rest";
    assert_eq!(answer.lines().next(), Some(expected));
    assert_eq!(answer.lines().count(), 1 + 2 * limits::GENERATOR_FILES_MAX, "{answer}");
}

/// Damage of any kind is a line, not a crash of the boot.
#[test]
fn damaged_files_never_panic() {
    let mut random = fastrand::Rng::with_seed(3);
    let whole = good("n1") + "[authority]\non_demote_timeout = \"reboot\"\n";
    let host = Host::new();
    for _ in 0..300 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        host.write("n1.toml", bytes);
        host.answer();
    }
}

#[test]
fn without_configuration_nothing_is_said() {
    let host = Host::new();
    fs::remove_dir(host.etc()).unwrap();
    assert_eq!(host.answer(), "");
}
