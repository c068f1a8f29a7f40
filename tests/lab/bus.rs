//! The system bus of real hosts, with the real polkit and systemctl: who reads, who changes, and
//! what becomes of the agent when the bus or polkit goes (docs/adr/0009-system-bus.md).

use crate::support::{DEADLINE, Host, Output, run_alone, wait_until};

const AGENT: &str = "raftctl@n1.service";
const TARGET: &str = "raftctl-leader@n1.target";
const NAME: &str = "org.raftctl.Agent1.n1";
const ROOT: &str = "/org/raftctl/Agent1";
const NODE: &str = "org.raftctl.Agent1.Node";

/// Runs a command as root, as a stranger, or as one who is in the group of administrators.
fn run_as(host: &Host, who: &str, line: &[&str]) -> Output {
    let run = ["systemd-run", "--wait", "--pipe", "--collect", "--quiet"];
    let user: &[&str] = match who {
        "root" => &[],
        "group" => &["--uid=nobody", "-pSupplementaryGroups=raftctl"],
        _ => &["--uid=nobody"],
    };
    host.run(&[&run[..], user, line].concat())
}

/// `busctl COMMAND NAME PATH MORE`.
fn busctl(host: &Host, who: &str, command: &str, more: &[&str]) -> Output {
    run_as(host, who, &[&["busctl", command, NAME], more].concat())
}

/// Calls a method that changes something.
fn change(host: &Host, who: &str, call: &[&str]) -> Output {
    busctl(host, who, "call", &[&[ROOT, NODE], call].concat())
}

/// Waits until the name is there.
fn until_on_the_bus(host: &Host) {
    wait_until("the agent is on the bus", DEADLINE, || {
        busctl(host, "stranger", "get-property", &[ROOT, NODE, "Role"]).code == 0
    });
}

fn is_refused(output: &Output) -> bool {
    let said = output.stderr.to_lowercase();
    let refused = said.contains("access denied")
        || said.contains("authentication required")
        || said.contains("root and group raftctl only");
    output.code != 0 && refused
}

#[test]
fn a_stranger_reads_and_hears_and_only_root_monitors() {
    run_alone(|host| {
        until_on_the_bus(host);
        let text = busctl(host, "stranger", "introspect", &[ROOT]).ok();
        for member in ["Describe", "SetMaintenance", "QuorumChanged", "InterfacesAdded"] {
            assert!(text.contains(&format!(".{member} ")), "{member}: {text}");
        }
        let tree = busctl(host, "stranger", "tree", &[]).ok();
        for path in [ROOT, "/org/raftctl/Agent1/member/n1", "/org/freedesktop/LogControl1"] {
            assert!(tree.contains(path), "{path}: {tree}");
        }
        let role = busctl(host, "stranger", "get-property", &[ROOT, NODE, "Role"]).ok();
        assert_eq!(role.trim(), "s \"leader\"");
        let member = "/org/raftctl/Agent1/member/n1";
        let of = [member, "org.raftctl.Agent1.Member", "Leader"];
        assert_eq!(busctl(host, "stranger", "get-property", &of).ok().trim(), "b true");

        // Signals reach a stranger by a match rule, here from the beginning of the next agent.
        let watch = ["systemd-run", "--uid=nobody", "--unit=watch", "-pStandardOutput=journal"];
        let rule = format!("type='signal',path='{ROOT}'");
        host.run(&[&watch[..], &["dbus-monitor", "--system", &rule]].concat()).ok();
        let heard = |unit: &str, what: &str| {
            let entries = host.journal(&["-u", unit]);
            entries.iter().any(|e| e["MESSAGE"].as_str().is_some_and(|text| text.contains(what)))
        };
        wait_until("the stranger listens", DEADLINE, || heard("watch.service", "NameAcquired"));
        host.systemctl(&["restart", AGENT]);
        for signal in ["member=PropertiesChanged", "member=RoleChanged", "member=LeaderChanged"] {
            wait_until(signal, DEADLINE, || heard("watch.service", signal));
        }

        // Calls of others are root's to see.
        until_on_the_bus(host);
        assert_ne!(busctl(host, "stranger", "monitor", &[]).code, 0);
        let watch = ["systemd-run", "--unit=monitor", "-pStandardOutput=journal"];
        host.run(&[&watch[..], &["busctl", "monitor", NAME]].concat()).ok();
        wait_until("root sees a call", DEADLINE, || {
            busctl(host, "stranger", "call", &[ROOT, NODE, "Describe"]).ok();
            heard("monitor.service", "Member=Describe")
        });
    });
}

/// Every method that changes something, as far as it answers on a single host.
const CHANGES: [(&[&str], &str); 6] = [
    (&["TransferLeadership", "s", ""], "transfer"),
    (&["Takeover", "b", "true"], "takeover"),
    (&["SetMaintenance", "b", "false"], "maintenance"),
    (&["ClearFailures"], "clear"),
    (&["Pause"], "pause"),
    (&["Resume", "b", "true"], "pause"),
];

#[test]
fn polkit_decides_about_strangers_and_only_about_them() {
    run_alone(|host| {
        until_on_the_bus(host);
        for (call, _) in CHANGES {
            let output = change(host, "stranger", call);
            assert!(is_refused(&output), "{call:?}: {output:?}");
        }
        let log = ["systemctl", "service-log-level", AGENT, "debug"];
        assert!(is_refused(&run_as(host, "stranger", &log)));

        // polkitd knows the actions, and believes the agent's user when it asks.
        let actions = host.run(&["pkaction"]).ok();
        for (_, action) in CHANGES {
            let action = format!("org.raftctl.agent1.{action}");
            assert!(actions.lines().any(|line| line == action), "{action}: {actions}");
        }
        let transfer = CHANGES[0].0;
        for who in ["root", "group"] {
            assert!(!is_refused(&change(host, who, transfer)), "{who}");
        }
        // An administrator lets one stranger do one thing.
        host.write_file(
            "/etc/polkit-1/rules.d/10-lab.rules",
            "polkit.addRule(function (action, subject) {\n\
             if (action.id == \"org.raftctl.agent1.transfer\" && subject.user == \"nobody\") {\n\
             return polkit.Result.YES; } });\n",
        );
        wait_until("polkit lets the stranger through", DEADLINE, || {
            !is_refused(&change(host, "stranger", transfer))
        });
        let takeover = change(host, "stranger", CHANGES[1].0);
        assert!(is_refused(&takeover), "{takeover:?}");

        // Without polkit nobody else, and these still.
        host.systemctl(&["mask", "--now", "polkit.service"]);
        let output = change(host, "stranger", transfer);
        assert!(is_refused(&output), "{output:?}");
        for who in ["root", "group"] {
            assert!(!is_refused(&change(host, who, transfer)), "{who}");
        }
        host.systemctl(&["unmask", "polkit.service"]);
        wait_until("polkit is asked again", DEADLINE, || {
            !is_refused(&change(host, "stranger", transfer))
        });
        assert_eq!(host.property(AGENT, "NRestarts"), "0");
    });
}

/// Calls a method of the store, with the key `k`.
fn store(host: &Host, who: &str, call: &[&str]) -> Output {
    let interface = "org.raftctl.Agent1.KeyValue";
    busctl(host, who, "call", &[&[ROOT, interface], call].concat())
}

#[test]
fn polkit_tells_who_reads_the_store_from_who_changes_it() {
    run_alone(|host| {
        until_on_the_bus(host);
        let put = ["Put", "ayaya{sv}", "1", "107", "3", "0", "255", "10", "0"];
        let get = ["Get", "aya{sv}", "1", "107", "0"];
        let found = "bayta{sv} true 3 0 255 10 ";
        for call in [&put[..], &get[..]] {
            let output = store(host, "stranger", call);
            assert!(is_refused(&output), "{call:?}: {output:?}");
        }
        assert!(store(host, "group", &put).ok().starts_with("t "));
        for who in ["root", "group"] {
            let output = store(host, who, &get).ok();
            assert!(output.starts_with(found), "{output:?}");
        }
        // An administrator lets a stranger read.
        host.write_file(
            "/etc/polkit-1/rules.d/10-lab.rules",
            "polkit.addRule(function (action, subject) {\n\
             if (action.id == \"org.raftctl.agent1.read-data\" && subject.user == \"nobody\") {\n\
             return polkit.Result.YES; } });\n",
        );
        wait_until("polkit lets the stranger read", DEADLINE, || {
            store(host, "stranger", &get).stdout.starts_with(found)
        });
        let deleted = ["Delete", "aya{sv}", "1", "107", "0"];
        for call in [&put[..], &deleted[..]] {
            let output = store(host, "stranger", call);
            assert!(is_refused(&output), "{call:?}: {output:?}");
        }
        // The command line goes another way to the same store.
        let shown = run_as(host, "group", &["raftctl", "get", "--json=short", "k"]).ok();
        assert!(shown.contains("\"AP8K\""), "base64 of what is no text: {shown}");
        assert!(store(host, "root", &deleted).ok().starts_with("bt true "));
        assert_eq!(run_as(host, "group", &["raftctl", "get", "k"]).code, 1);
    });
}

#[test]
fn the_private_socket_is_for_root_and_the_group() {
    run_alone(|host| {
        for who in ["root", "group"] {
            run_as(host, who, &["raftctl", "status"]).ok();
        }
        let own = ["systemd-run", "--wait", "--pipe", "--collect", "--quiet", "--uid=raftctl"];
        host.run(&[&own[..], &["raftctl", "status"]].concat()).ok();
        let stat = host.run(&["stat", "-c", "%a %U %G", "/run/raftctl/n1/bus"]).ok();
        assert_eq!(stat.trim(), "660 raftctl raftctl");
        let peer = "--peer=unix:path=/run/raftctl/n1/bus";
        let call = format!("{NODE}.Describe");
        let call = ["dbus-send", peer, "--print-reply", ROOT, &call];
        run_as(host, "group", &call).ok();
        assert_ne!(run_as(host, "stranger", &call).code, 0);
    });
}

#[test]
fn systemctl_changes_the_level_of_the_log() {
    run_alone(|host| {
        until_on_the_bus(host);
        let level = || host.systemctl(&["service-log-level", AGENT]);
        assert_eq!(level().trim(), "info");
        for word in ["debug", "err", "info"] {
            host.systemctl(&["service-log-level", AGENT, word]);
            assert_eq!(level().trim(), word);
        }
        let target = host.systemctl(&["service-log-target", AGENT]);
        assert_eq!(target.trim(), "journal");
        let wrong = host.run(&["systemctl", "service-log-level", AGENT, "loud"]);
        assert_ne!(wrong.code, 0);

        // The name makes nobody wait: not the start, and not the bus.
        assert!(!host.property(AGENT, "Requires").contains("dbus"));
        assert_eq!(host.property(AGENT, "Type"), "notify");
        assert_eq!(host.property(AGENT, "BusName"), NAME);
        assert_eq!(host.property(TARGET, "ActiveState"), "active");
    });
}

#[test]
fn the_agent_leads_on_without_the_bus_and_comes_back_to_it() {
    run_alone(|host| {
        until_on_the_bus(host);
        let pid = host.main_pid(AGENT);
        for _ in 0..2 {
            host.systemctl(&["kill", "--signal=SIGKILL", "dbus.service"]);
            until_on_the_bus(host);
            assert!(!is_refused(&change(host, "root", CHANGES[0].0)));
        }
        assert_eq!(host.main_pid(AGENT), pid, "the same agent");
        assert_eq!(host.property(AGENT, "NRestarts"), "0");
        assert_eq!(host.property(TARGET, "ActiveState"), "active");
    });
}
