//! What the agent's user may make root do: start and stop the project's own units, and nothing
//! else. Whoever controls the agent gains nothing by it.

use crate::support::{DEADLINE, Host, Output, run_alone, wait_until};

/// Name, path and interface of the service manager, and of logind.
const SYSTEMD: [&str; 3] =
    ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
const LOGIND: [&str; 3] =
    ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"];

const OTHER: &str = "systemd-tmpfiles-clean.service";
const AGENT: &str = "raftctl@n1.service";
const TARGET: &str = "raftctl-leader@n1.target";

#[test]
fn the_agent_controls_nothing_else() {
    run_alone(|host| {
        for refused in [
            &["StartUnit", "ss", OTHER, "replace"][..],
            &["StopUnit", "ss", "dbus.service", "replace"],
            &["RestartUnit", "ss", OTHER, "replace"],
            &["KillUnit", "ssi", "dbus.service", "all", "9"],
            &["KillUnit", "ssi", AGENT, "all", "9"],
            &["KillUnit", "ssi", TARGET, "all", "9"],
            &["StartUnit", "ss", AGENT, "replace"],
            &["StopUnit", "ss", AGENT, "replace"],
            &["RestartUnit", "ss", TARGET, "replace"],
            &["StartUnit", "ss", "raftctl-event@n1:evil.service", "replace"],
            &["StopUnit", "ss", "raftctl-fence@n1.service", "replace"],
            &["SetUnitProperties", "sba(sv)", OTHER, "true", "0"],
            &["MaskUnitFiles", "asbb", "1", OTHER, "true", "true"],
            &["StartTransientUnit", "ssa(sv)a(sa(sv))", "evil.service", "replace", "0", "0"],
            &["SetEnvironment", "as", "1", "LD_PRELOAD=/run/raftctl/n1/evil.so"],
            &["Reload", ""],
            &["Reboot", ""],
            &["PowerOff", ""],
        ] {
            assert_refused(refused, &call(host, SYSTEMD, refused));
        }
        for refused in [&["Reboot", "b", "false"][..], &["PowerOff", "b", "false"]] {
            assert_refused(refused, &call(host, LOGIND, refused));
        }
        assert_eq!(host.property(TARGET, "ActiveState"), "active");
        assert_eq!(host.property(AGENT, "NRestarts"), "0");

        // The fence may be started; it does not touch a node that is rightly active.
        as_agent(host, &["systemctl", "start", "raftctl-fence@n1.service"]).ok();
        assert_eq!(host.property(TARGET, "ActiveState"), "active");
    });
}

/// What a script is told, with a value that could be another.
const EVENT: &str = r#"{"event":"change","role":"leader","old_role":"follower","cluster":"lab",
"node":"n1","leader":"n1","leader_address":"10.99.0.1:7100","term":"7","token":"8","sequence":"9",
"reason":"REASON","timestamp_usec":"1","deadline_usec":"2"MORE}"#;

#[test]
fn an_event_file_chooses_nothing_but_values() {
    run_alone(|host| {
        // The agent is done with its own event files.
        let done = || {
            let entries = host.journal(&["-u", AGENT]);
            let over = |text: &str| text.contains(" for leader succeeded");
            entries.iter().any(|entry| entry["MESSAGE"].as_str().is_some_and(over))
        };
        wait_until("the script of the activation has ended", DEADLINE, done);
        // An event for which the agent has no script: nobody else starts it.
        host.write_script("/etc/raftctl/told", "#!/bin/sh\nenv >>/var/lib/lab/told\n");
        let path = "/etc/raftctl/n1.toml";
        let text = host.read_file(path).unwrap();
        let text = text.replace("[events]\n", "[events]\nchange = \"/etc/raftctl/told\"\n");
        host.write_file(path, &text);
        let told = || host.read_file("/var/lib/lab/told").unwrap_or_default();
        let run = |event: &str| {
            let event = event.replace('\n', "");
            let write = format!("cat >/run/raftctl/n1/event-change.json <<'END'\n{event}\nEND");
            as_agent(host, &["sh", "-c", &write]).ok();
            as_agent(host, &["systemctl", "start", "raftctl-event@n1:change.service"])
        };
        let preload = "/run/raftctl/n1/evil.so";
        let more = format!(",\"LD_PRELOAD\":\"{preload}\",\"ld_preload\":\"{preload}\"");
        for (reason, more) in [
            ("fine", more.as_str()),
            (&format!("fine\\nLD_PRELOAD={preload}"), ""),
            (&format!("fine\\u0000LD_PRELOAD={preload}"), ""),
        ] {
            let event = EVENT.replace("REASON", reason).replace("MORE", more);
            assert_ne!(run(&event).code, 0, "{event}");
            assert_eq!(told(), "", "{event}");
        }
        let refused = || {
            let entries =
                host.journal(&["-u", "raftctl-event@n1:change.service", "EXIT_STATUS=77"]);
            entries.len()
        };
        wait_until("root has refused all three", DEADLINE, || refused() == 3);

        // Within the grammar it is the agent's to say.
        run(&EVENT.replace("REASON", "as the agent says").replace("MORE", "")).ok();
        let told = told();
        assert!(told.contains("RAFTCTL_REASON=as the agent says"), "{told}");
        let others = told.lines().filter(|line| !line.starts_with("RAFTCTL_"));
        let others: Vec<&str> = others.map(|line| line.split('=').next().unwrap()).collect();
        // The shell adds what is not told.
        assert!(others.iter().all(|name| ["PATH", "LANG", "PWD"].contains(name)), "{others:?}");
    });
}

/// Runs a command as the agent's user, as a service of its own.
fn as_agent(host: &Host, line: &[&str]) -> Output {
    let run = ["systemd-run", "--wait", "--pipe", "--collect", "--quiet", "--uid=raftctl"];
    host.run(&[&run[..], line].concat())
}

fn call(host: &Host, [name, path, interface]: [&str; 3], call: &[&str]) -> Output {
    let call = call.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>();
    as_agent(host, &[&["busctl", "call", name, path, interface][..], &call].concat())
}

#[track_caller]
fn assert_refused(call: &[&str], output: &Output) {
    let said = output.stderr.to_lowercase();
    let refused = said.contains("access denied") || said.contains("authentication required");
    assert!(output.code != 0 && refused, "{call:?}: {output:?}");
}
