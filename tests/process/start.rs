//! What can be wrong before an agent serves: one clear error and its exit status, each.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use raftctl::exit::Exit;

use super::support::{AgentCommand, Cluster, is_root};

/// Exit status, standard output and standard error of `raftctld ARGUMENTS`.
fn run(arguments: &[&str]) -> (Option<Exit>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftctld"));
    let output = command.args(arguments).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().and_then(Exit::from_code), out, err)
}

#[test]
fn help_and_version_are_answers() {
    let (exit, out, err) = run(&["--help"]);
    assert_eq!((exit, err.as_str()), (Some(Exit::Ok), ""));
    for word in ["--config <FILE>", "--check", "--node <NAME>", "SIGTERM", "Example:"] {
        assert!(out.contains(word), "{word:?} expected in {out}");
    }
    // Every exit status that an agent has is in there.
    for exit in Exit::ALL.into_iter().filter(|exit| exit.code() >= 64) {
        assert!(out.contains(&format!("\n  {}  ", exit.code())), "{exit:?} expected in {out}");
    }
    let (exit, out, err) = run(&["--version"]);
    assert_eq!((exit, err.as_str()), (Some(Exit::Ok), ""));
    assert_eq!(out, concat!("raftctld ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_arguments_are_named() {
    let table: [(&[&str], &str); 6] = [
        (&[], "--config <FILE>"),
        (&["--config"], "--config <FILE>"),
        (&["--config", "a", "--config", "b"], "--config <FILE>"),
        (&["--confg", "a"], "--confg"),
        (&["a.toml"], "a.toml"),
        (&["--config", "a", "--check=yes"], "yes"),
    ];
    for (arguments, named) in table {
        let (exit, out, err) = run(arguments);
        assert_eq!((exit, out.as_str()), (Some(Exit::Usage), ""), "{arguments:?}: {err}");
        assert!(err.contains(named), "{named:?} expected in {err}");
    }
}

#[test]
fn a_configuration_is_checked_without_touching_anything() {
    let cluster = Cluster::configured(3, "");
    let config = cluster.config(0);
    let config = config.to_str().unwrap();
    for arguments in [&["--check", "--config", config][..], &["--config", config, "--check"]] {
        let (exit, out, err) = run(arguments);
        assert_eq!((exit, err.as_str()), (Some(Exit::Ok), ""));
        assert_eq!(out, format!("{config}: ok: node n1 of 3 in cluster test\n"));
    }
    assert!(!cluster.state(0).exists() && !cluster.socket(0).exists());
    let names: Vec<_> = fs::read_dir(cluster.root().join("n1")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let (exit, _, err) = run(&["--config", config, "--node", "n2", "--check"]);
    assert_eq!(exit, Some(Exit::Configuration), "{err}");
    assert!(err.contains("\"n2\"") || err.contains("n2"), "{err}");
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("empty"), "").unwrap();
    fs::write(at("syntax"), "[node]\nname = n1\n").unwrap();
    fs::write(at("unknown"), "[node]\nname = \"n1\"\nlissten = \"a:1\"\n").unwrap();
    fs::write(at("bytes"), b"[node]\nname = \"\xff\"\n").unwrap();
    fs::write(at("zeros"), [0; 100]).unwrap();
    fs::write(at("large"), "#".repeat(2 << 20)).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let table = [
        ("missing", "No such file"),
        ("directory", "directory"),
        ("empty", "[cluster]"),
        ("syntax", ":2:8"),
        ("unknown", "\"listen\""),
        ("bytes", ":2:"),
        ("zeros", ":1:1"),
        ("large", "1048576"),
    ];
    for (name, says) in table {
        let path = at(name);
        for check in [true, false] {
            let mut arguments = vec!["--config", path.to_str().unwrap()];
            arguments.extend(check.then_some("--check"));
            let (exit, out, err) = run(&arguments);
            assert_eq!((exit, out.as_str()), (Some(Exit::Configuration), ""), "{name}: {err}");
            for word in [path.to_str().unwrap(), says] {
                assert!(err.contains(word), "{name}: {word:?} expected in {err}");
            }
            assert!(err.lines().all(|line| line.starts_with("raftctld: ")), "{name}: {err}");
        }
    }
    let (exit, _, err) = run(&["--config", "/dev/zero", "--check"]);
    assert_eq!(exit, Some(Exit::Configuration), "{err}");
}

/// Starts node 0, which refuses with `exit` and one line with all of `says`.
fn refused(cluster: &Cluster, exit: Exit, says: &[&str]) {
    let (code, said) = cluster.command(0).refused();
    assert_eq!(Exit::from_code(code), Some(exit), "{said:#?}");
    assert_eq!(said.len(), 1, "one line: {said:#?}");
    for word in says {
        assert!(said[0].contains(word), "{word:?} expected in {said:?}");
    }
    assert!(!cluster.state(0).exists(), "nothing was begun");
}

#[test]
fn an_address_that_cannot_be_bound_is_named() {
    let mut cluster = Cluster::configured(1, "");
    let address = cluster.address(0);
    let taken = TcpListener::bind(&address).unwrap();
    refused(&cluster, Exit::AddressUnavailable, &[&address, "in use", "another agent"]);
    assert!(!cluster.socket(0).exists());
    drop(taken);
    let members = cluster.members();
    for elsewhere in ["192.0.2.1:7100", "no.such.host.invalid:7100"] {
        let text = fs::read_to_string(cluster.config(0)).unwrap();
        let text = text.replace("[cluster]", &format!("listen = \"{elsewhere}\"\n[cluster]"));
        fs::write(cluster.config(0), text).unwrap();
        refused(&cluster, Exit::AddressUnavailable, &[elsewhere]);
        cluster.configure(0, &members, "");
    }
    // Then it is free, and the same configuration is good.
    cluster.start(0);
    cluster.leader();
}

#[test]
fn a_socket_that_is_in_use_is_left_to_its_user() {
    let cluster = Cluster::configured(1, "");
    let socket = cluster.socket(0);
    fs::create_dir(socket.parent().unwrap()).unwrap();
    let path = socket.to_str().unwrap();
    let user = UnixListener::bind(&socket).unwrap();
    refused(&cluster, Exit::AddressUnavailable, &[path, "in use by a running agent"]);
    // It is still the user's: who connects arrives there.
    let _client = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    user.accept().unwrap();
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "precious").unwrap();
    refused(&cluster, Exit::AddressUnavailable, &[path, "not a socket", "move it away"]);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
    fs::remove_file(&socket).unwrap();
    // What a killed agent left is nobody's.
    drop(UnixListener::bind(&socket).unwrap());
    let mut cluster = cluster;
    cluster.start(0);
    cluster.leader();
}

#[test]
fn a_runtime_directory_or_log_file_that_cannot_be_made_is_named() {
    let cluster = Cluster::configured(1, "");
    let run = cluster.socket(0).parent().unwrap().to_owned();
    fs::write(&run, "a file").unwrap();
    let path = run.to_str().unwrap();
    refused(&cluster, Exit::CannotCreate, &["runtime directory", path]);
    assert_eq!(fs::read_to_string(&run).unwrap(), "a file");
    fs::remove_file(&run).unwrap();

    let text = fs::read_to_string(cluster.config(0)).unwrap();
    let missing = cluster.root().join("missing/log");
    for file in [&missing, cluster.root()] {
        fs::write(cluster.config(0), format!("{text}\n[log]\nfile = {file:?}\n")).unwrap();
        refused(&cluster, Exit::CannotCreate, &["log file", file.to_str().unwrap()]);
    }
}

#[test]
fn what_the_user_of_the_agent_may_not_do_is_named() {
    if !is_root("running the agent as another user") {
        return;
    }
    let cluster = Cluster::configured(1, "");
    let program = cluster.root().join("raftctld");
    fs::copy(env!("CARGO_BIN_EXE_raftctld"), &program).unwrap();
    let refused = |exit: Exit, says: &str| {
        let mut command = AgentCommand::bare(&program).user(65534);
        command.command.arg("--config").arg(cluster.config(0));
        let (code, said) = command.refused();
        assert_eq!(Exit::from_code(code), Some(exit), "{said:#?}");
        assert!(said.len() == 1 && said[0].contains(says), "{says:?} expected in {said:?}");
    };
    let run = cluster.socket(0).parent().unwrap().to_owned();
    refused(Exit::CannotCreate, run.to_str().unwrap());
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(&run).unwrap();
    mode(&run, 0o755);
    refused(Exit::AddressUnavailable, cluster.socket(0).to_str().unwrap());
    mode(&run, 0o777);
    refused(Exit::NoPermission, cluster.state(0).to_str().unwrap());
    mode(&cluster.config(0), 0o600);
    refused(Exit::Configuration, cluster.config(0).to_str().unwrap());
}

#[test]
fn the_same_agent_started_twice_runs_once() {
    let (mut cluster, leader) = Cluster::started(1, "");
    let (code, said) = cluster.command(0).refused();
    assert_eq!(Exit::from_code(code), Some(Exit::AddressUnavailable), "{said:#?}");
    let address = cluster.address(0);
    assert!(said.len() == 1 && said[0].contains(&address), "{said:#?}");
    assert_eq!(cluster.leader(), leader);
    cluster.stop(0);
}

#[test]
fn a_start_that_is_killed_at_any_moment_can_be_repeated() {
    let mut cluster = Cluster::configured(1, "");
    let mut served = 0;
    for round in 0..40 {
        // Some beginnings are the first one of a directory, others go on from a half-made one.
        if round % 4 == 0 && cluster.state(0).exists() {
            fs::remove_dir_all(cluster.state(0)).unwrap();
        }
        cluster.start_with(0, cluster.command(0));
        let refused = |line: &str| line.starts_with("raftctld: ");
        let moment = Duration::from_micros(600 * round);
        let said = cluster.log(0).find_within(moment, 0, refused);
        assert_eq!(said, None, "round {round}");
        let log = cluster.kill(0);
        assert!(!log.iter().any(|line| refused(line)), "round {round}: {log:#?}");
        served += usize::from(log.iter().any(|line| line.contains("serving")));
    }
    println!("{served} of 40 came as far as serving");
    cluster.start(0);
    cluster.leader();
}
