//! Event scripts through the agent: whatever they do, leadership moves when it should.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use super::support::{Cluster, code};

#[test]
fn scripts_that_misbehave_do_not_hold_up_a_role() {
    let mut cluster = Cluster::configured(3, "");
    let said = cluster.root().join("said");
    let said = said.display();
    let bodies = [
        // Ends only when it is killed.
        ("hang", "trap '' TERM; while :; do sleep 0.1; done".to_owned()),
        // Leaves somebody behind who holds its output and is in no group of its own.
        ("daemon", format!("setsid sleep 20 & echo daemon \"$RAFTCTL_NODE\" >{said}")),
        ("flood", format!("head -c 100000000 /dev/zero; echo flood $? >{said}")),
        ("fail", "exit 3".to_owned()),
        ("die", "kill -9 $$".to_owned()),
    ];
    for (name, body) in &bodies {
        cluster.script(name, &format!("#!/bin/sh\n{body}\n"));
    }
    cluster.script("nothing", "no interpreter");
    let at = |name: &str| cluster.root().join(name);
    let members = cluster.members();
    let tables =
        [["hang", "fail", "flood"], ["flood", "missing", "die"], ["daemon", "nothing", "hang"]];
    for (node, [leader, follower, change]) in tables.into_iter().enumerate() {
        let more = format!(
            "[events]\nleader = {:?}\nfollower = {:?}\nchange = {:?}\n\
             timeout = \"200ms\"\nkill_after = \"100ms\"\n",
            at(leader),
            at(follower),
            at(change),
        );
        cluster.configure(node, &members, &more);
    }
    (0..3).for_each(|node| cluster.start(node));
    let mut leader = cluster.leader();
    for to in [0, 1, 2, 0, 1, 2] {
        if to == leader.at {
            continue;
        }
        // What is under way there ends first: later events are to run, not to be left out.
        let ended = |line: &str| line.contains("event=\"leader\"") || line.contains(" for leader ");
        cluster.log(leader.at).find(0, ended).expect("the leader script ends");
        let name = format!("n{}", to + 1);
        let begun = Instant::now();
        assert_eq!(cluster.transfer(leader.at, Some(&name)).unwrap(), name);
        leader = cluster.leader();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(leader.at, to);
    }
    for (node, says) in [
        (0, " for leader took too long"),
        (0, "timed out, killed after"),
        (0, "exit status 3 after"),
        (1, "does not exist"),
        (0, "discarded_bytes="),
        (1, "signal 9 after"),
        (2, "is no program"),
    ] {
        let found = cluster.log(node).find(0, |line| line.contains(says));
        let lines = || cluster.log(node).all();
        assert!(found.is_some(), "n{}: {says:?} expected in {:#?}", node + 1, lines());
    }
    cluster.said.wait("daemon n3");
    for node in 0..3 {
        let kib = cluster.agent(node).resident_kib();
        println!("n{} has {kib} KiB after its scripts", node + 1);
        assert!(kib < 64 << 10, "{kib} KiB");
        let (status, took) = cluster.agent(node).terminate();
        assert_eq!(code(status), 0);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn scripts_inherit_nothing_of_the_agents_environment() {
    let mut cluster = Cluster::configured(1, "");
    let environment = cluster.root().join("environment");
    let text = format!(
        "#!/bin/sh\ntr '\\0' '\\n' </proc/$$/environ >{0}.new\nmv {0}.new {0}\n\
         ls -l /proc/$$/fd >{0}.fds\necho told >{1}\n",
        environment.display(),
        cluster.root().join("said").display(),
    );
    let script = cluster.script("environment.sh", &text);
    cluster.configure(0, &cluster.members(), &format!("[events]\nleader = {script:?}\n"));
    let mut command = cluster.command(0);
    command.command.envs([
        ("LD_PRELOAD", "/nowhere/evil.so"),
        ("LD_LIBRARY_PATH", "/nowhere"),
        ("BASH_ENV", "/nowhere"),
        ("ENV", "/nowhere"),
        ("NODE_OPTIONS", "--require /nowhere"),
        ("RAFTCTL_TOKEN", "999"),
        ("RAFTCTL_CONFIG", "/nowhere"),
        ("NOTIFY_SOCKET", "/nowhere"),
        ("SECRET", "1"),
    ]);
    cluster.start_with(0, command);
    cluster.said.wait("told");
    let leader = cluster.leader();
    let text = fs::read_to_string(&environment).unwrap();
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
    let told = [
        "CLUSTER",
        "DEADLINE_USEC",
        "EVENT",
        "LEADER",
        "LEADER_ADDRESS",
        "NODE",
        "OLD_ROLE",
        "REASON",
        "ROLE",
        "SEQUENCE",
        "TERM",
        "TIMESTAMP_USEC",
        "TOKEN",
    ];
    let told: Vec<_> = told.iter().map(|name| format!("RAFTCTL_{name}")).collect();
    let expected: BTreeSet<&str> =
        ["LANG", "PATH"].into_iter().chain(told.iter().map(|n| &**n)).collect();
    assert_eq!(names, expected, "{text}");
    assert!(text.contains(&format!("RAFTCTL_TOKEN={}\n", leader.token)), "{text}");
    // Nor its sockets and files: input, two outputs, and what the shell itself opened.
    let descriptors = fs::read_to_string(environment.with_extension("fds")).unwrap();
    assert!(!descriptors.contains("socket:"), "{descriptors}");
    assert!(!descriptors.contains("/state/"), "{descriptors}");
}

#[test]
fn a_javascript_runs_with_node() {
    let path = std::env::var("PATH").unwrap_or_default();
    let found =
        path.split(':').any(|directory| std::path::Path::new(directory).join("node").exists());
    if !found {
        println!("SKIPPED: a .js event script needs node in PATH");
        return;
    }
    let mut cluster = Cluster::configured(1, "");
    let text = format!(
        "const {{ RAFTCTL_TOKEN }} = process.env;\n\
         const told = JSON.parse(require('fs').readFileSync(0));\n\
         const [event, role, cluster] = process.argv.slice(2);\n\
         const facts = [RAFTCTL_TOKEN, told.token, told.event];\n\
         const line = ['js', event, role, cluster, ...facts].join(' ');\n\
         require('fs').appendFileSync({:?}, line + '\\n');\n",
        cluster.root().join("said"),
    );
    let script = cluster.script("leader.js", &text);
    // It is run by node, so it need not be executable.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&script, mode).unwrap();
    cluster.configure(0, &cluster.members(), &format!("[events]\nleader = {script:?}\n"));
    cluster.start(0);
    let token = cluster.leader().token;
    cluster.said.wait(&format!("js leader leader test {token} {token} leader"));
}
