//! Completion as a shell does it: bash reads `completions/raftctl.bash` and is asked what follows.

use std::fs;
use std::path::Path;
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/completions/raftctl.bash");

/// What bash offers at the end of `line`, in `directory`, one candidate on each line.
fn bash(directory: &Path, line: &str) -> Vec<String> {
    // As readline does it: the words are those between characters at which bash breaks.
    let ask = r#"
        source "$1"
        complete -p raftctl >/dev/null || exit 9
        COMP_LINE=$2 COMP_POINT=${#2} COMP_CWORD=1
        _raftctl "$3"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", ask, "bash", SCRIPT, line, env!("CARGO_BIN_EXE_raftctl")]);
    command.current_dir(directory).env_remove("RAFTCTL_RUNTIME_DIRECTORY");
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{line}: {error}");
    let out = String::from_utf8(output.stdout).unwrap();
    out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

const TWO: &str = "[cluster.members]\nalpha = \"127.0.0.1:2\"\nbeta = \"127.0.0.1:1\"\n\
                   [nodes.alpha]\n[nodes.beta]\n";

#[test]
fn bash_completes_verbs_options_nodes_and_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("two.toml"), TWO).unwrap();
    let bash = |line: &str| bash(directory.path(), line);
    assert_eq!(bash("raftctl mon"), ["monitor"]);
    assert_eq!(bash("raftctl wait --for qu"), ["quorum"]);
    // Only what comes after the equals sign is replaced.
    assert_eq!(bash("raftctl --json=pr"), ["pretty"]);
    assert_eq!(bash("raftctl --config two.toml status "), ["alpha", "beta"]);
    assert_eq!(bash("raftctl --config=two.toml maintenance on b"), ["beta"]);
    assert_eq!(bash("raftctl --config tw"), ["two.toml"]);
    assert_eq!(bash("raftctl monitor --event pa"), ["paused"]);
    assert!(bash("raftctl nonsense nons").is_empty());
    let verbs = bash("raftctl ");
    assert!(verbs.contains(&"attach".to_owned()) && !verbs.contains(&"__complete".to_owned()));
}

#[test]
fn bash_completes_units_with_an_at_sign() {
    let directory = tempfile::tempdir().unwrap();
    let units = directory.path().join("etc/systemd/system");
    fs::create_dir_all(units.join("pg@16-main.service.d")).unwrap();
    let ours = "# Written by \"raftctl attach\"\nBindsTo=raftctl-leader@n1.target\n";
    fs::write(units.join("pg@16-main.service.d/50-raftctl.conf"), ours).unwrap();
    let root = directory.path().display();
    let line = |rest: &str| format!("raftctl detach --root {root} {rest}");
    assert_eq!(bash(directory.path(), &line("")), ["pg@16-main.service"]);
    // bash breaks a word at the sign, so what stands before it must not come twice.
    assert_eq!(bash(directory.path(), &line("pg@1")), ["16-main.service"]);
}

/// Other shells may not be here; their scripts are at least read where they are.
#[test]
fn the_other_scripts_are_read_by_their_shells() {
    for (shell, arguments, script) in [
        ("bash", "-n", "raftctl.bash"),
        ("zsh", "-n", "raftctl.zsh"),
        ("fish", "--no-execute", "raftctl.fish"),
    ] {
        let path = Path::new(SCRIPT).with_file_name(script);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("__complete -- "), "{script}");
        match Command::new(shell).arg(arguments).arg(&path).output() {
            Ok(read) => assert!(read.status.success(), "{script}: {read:?}"),
            // None of them is needed to build or to run the package.
            Err(_) => println!("{shell} is not here; {script} was not read by it"),
        }
    }
}
