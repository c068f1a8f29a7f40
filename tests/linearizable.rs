//! Linearizability of real agents: clients on all nodes, over HTTP, while leaders are killed,
//! stopped and cut off. Afterwards every acknowledged write is there, on every node.
//!
//! All clients are on one machine and have one monotonic clock. The test runs itself again in
//! network namespaces of its own; that needs root, and it says `SKIPPED` without.
//! `RAFTCTL_LINEARIZABLE_SECONDS` (120) is how long there is trouble.

#[path = "checker_support/mod.rs"]
mod checker_support;
#[path = "linearizable/client.rs"]
mod client;
#[path = "linearizable/http.rs"]
mod http;
#[path = "linearizable_support/mod.rs"]
mod linearizable_support;
#[path = "linearizable/nemesis.rs"]
mod nemesis;
#[path = "linearizable/scene.rs"]
mod scene;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use checker_support::store::{Return, check_final, check_store};
use linearizable_support::{command, support};
use scene::Scene;

/// How long there is trouble.
const TROUBLE: Duration = Duration::from_secs(120);

/// Set in the private world.
const INSIDE: &str = "RAFTCTL_LINEARIZABLE_INSIDE";

#[test]
fn clients_of_real_agents_see_one_store() {
    if std::env::var_os(INSIDE).is_none() {
        return enter("clients_of_real_agents_see_one_store");
    }
    let seconds = std::env::var("RAFTCTL_LINEARIZABLE_SECONDS").ok();
    let trouble = seconds.map_or(TROUBLE, |text| {
        Duration::from_secs(text.parse().expect("RAFTCTL_LINEARIZABLE_SECONDS: a number"))
    });
    let mut scene = Scene::start();
    let clients = client::start(&scene.shared);
    let done = nemesis::trouble(&mut scene, Instant::now() + trouble);
    scene.shared.stop();
    clients.into_iter().for_each(|client| client.join().unwrap());
    scene.heal();
    let last = scene.read_everything();
    println!("trouble: {done:?}");

    let record = scene.shared.record.lock().unwrap();
    println!("{:?} in {trouble:?}", record.counts());
    let begun = Instant::now();
    if let Err(text) = record.check() {
        panic!("{text}");
    }
    println!("checked in {:?}", begun.elapsed());
    let counts = record.counts();
    let expected = trouble.as_secs();
    assert!(counts.writes > 10 * expected && counts.reads > 10 * expected, "too little was tried");
    assert!(done.len() as u64 >= expected / 12, "too little trouble: {done:?}");

    // The same history would not have passed if anything of it were otherwise.
    let history = record.operations();
    let now = last.iter().filter_map(|(key, value)| value.map(|value| (*key, value)));
    let now: BTreeMap<_, _> = now.collect();
    let end = scene.shared.now();
    check_final(&history, &now, end).expect("it is what was read last");
    let (key, value) = now.iter().next_back().expect("something was written");
    let without: BTreeMap<_, _> = now.iter().filter(|(at, _)| *at != key).map(clone).collect();
    let only: Vec<_> =
        history.iter().filter(|one| one.call.keys().contains(key)).cloned().collect();
    assert!(check_final(&only, &without, end).is_err(), "{key} was lost and nobody noticed");
    let mut changed = only;
    let read = changed.iter().rposition(|one| match &one.returned {
        Some((Return::Found(found), _)) => found.contains(&Some(*value)),
        _ => false,
    });
    let read = read.expect("it was read in the end");
    let keys = changed[read].call.keys().len();
    changed[read].returned.as_mut().unwrap().0 = Return::Found(vec![Some(u64::MAX); keys]);
    assert!(check_store(&changed).is_err(), "a changed answer went unnoticed");
}

fn clone((key, value): (&u32, &u64)) -> (u32, u64) {
    (*key, *value)
}

/// Runs the test `name` again, in namespaces of its own, in which there is an own `/run`.
fn enter(name: &str) {
    if !support::is_root("cutting real agents off from each other") {
        return;
    }
    let there = |program: &&str| {
        command::PATH.split(':').any(|at| std::path::Path::new(at).join(program).exists())
    };
    if let Some(missing) = ["unshare", "ip", "nft", "mount"].iter().find(|name| !there(name)) {
        println!("SKIPPED: cutting real agents off from each other needs {missing}");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["--propagation", "private", "sh", "-c"]);
    command.arg("mount -t tmpfs none /run && exec \"$@\"").arg("sh");
    command.arg(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    let output = command.output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
}
