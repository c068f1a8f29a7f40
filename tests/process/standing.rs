//! The standing of a host as its operator sees it: maintenance that outlives the agent, and a
//! command that says whether the host is healthy.

use std::fs;

use raftctl::dbus::client::{self, ClientError};
use raftctl::dbus::describe::Describe;
use raftctl::dbus::{NODE_INTERFACE, ROOT_PATH};
use zbus::connection;

use super::support::{CALM, Cluster, DEADLINE};

/// A node that has put itself aside, and another one that is active instead.
fn replaced(all: &[Describe], name: &str) -> Option<String> {
    let away = all.iter().any(|one| one.name == name && !one.eligible && !one.active);
    let other = all.iter().find(|one| one.active && one.name != name)?;
    away.then(|| other.name.clone())
}

fn set_maintenance(cluster: &Cluster, at: usize, on: bool) {
    let socket = cluster.socket(at);
    let answered = client::block_on(async {
        let stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let built = connection::Builder::unix_stream(stream).p2p().build();
        let connection = built.await.unwrap();
        let (path, interface, body) = (ROOT_PATH, Some(NODE_INTERFACE), (on,));
        let asked = connection.call_method(None::<&str>, path, interface, "SetMaintenance", &body);
        tokio::time::timeout(DEADLINE, asked).await.expect("an answer")
    });
    answered.unwrap();
}

#[test]
fn maintenance_hands_over_and_outlives_the_agent() {
    let mut cluster = Cluster::configured(3, "");
    let script = cluster.root().join("script");
    let events = ["leader", "follower", "active", "released", "maintenance"];
    let events: String = events.map(|event| format!("{event} = {script:?}\n")).concat();
    let members = cluster.members();
    for at in 0..3 {
        cluster.configure(at, &members, &format!("{CALM}[events]\n{events}"));
        cluster.start(at);
    }
    let leader = cluster.leader();
    let name = format!("n{}", leader.at + 1);
    cluster.said.wait(&format!("{name} active"));
    set_maintenance(&cluster, leader.at, true);
    let told = cluster.describe(leader.at);
    assert!(told.maintenance && !told.eligible, "answered before it was so: {told:?}");
    let everybody = cluster.running();
    cluster.until("another one", &everybody, |all| replaced(all, &name));
    cluster.said.wait(&format!("{name} maintenance"));
    cluster.said.wait(&format!("{name} released"));

    // Another run of the agent is still in maintenance, from the start.
    cluster.stop(leader.at);
    cluster.start(leader.at);
    let told = cluster.answers(leader.at);
    assert!(told.maintenance && !told.eligible, "{told:?}");
    assert_eq!(told.ineligible, ["maintenance"]);
    let other = cluster.leader();
    assert_ne!(other.at, leader.at);
    let refused = cluster.transfer(other.at, Some(&name)).unwrap_err();
    let ClientError::Refused { name: error, .. } = &refused else { panic!("{refused}") };
    assert_eq!(error, "NotEligible", "{refused}");

    set_maintenance(&cluster, leader.at, false);
    let fits = |all: &[Describe]| {
        all.iter().all(|one| one.members[leader.at].eligible != Some(false)).then_some(())
    };
    cluster.until("eligible again", &everybody, fits);
    assert_eq!(cluster.transfer(other.at, Some(&name)).unwrap(), name);
    cluster.active(leader.at);
}

#[test]
fn a_host_that_is_not_healthy_hands_over() {
    let mut cluster = Cluster::configured(3, "");
    let members = cluster.members();
    for at in 0..3 {
        let file = cluster.root().join(format!("healthy-{at}"));
        fs::write(&file, "").unwrap();
        let check = format!("test -e {0} || {{ echo {0} is gone; exit 3; }}", file.display());
        let health = format!(
            "[health]\ncommand = [\"/bin/sh\", \"-c\", {check:?}]\n\
             interval = \"1s\"\nrise = 1\nfall = 1\n"
        );
        cluster.configure(at, &members, &(CALM.to_owned() + &health));
        cluster.start(at);
    }
    let leader = cluster.leader();
    let name = format!("n{}", leader.at + 1);
    let file = cluster.root().join(format!("healthy-{}", leader.at));
    fs::remove_file(&file).unwrap();
    let everybody = cluster.running();
    cluster.until("another one", &everybody, |all| replaced(all, &name));
    let told = cluster.describe(leader.at);
    let why = format!("health command: exit status 3: {} is gone", file.display());
    let shown: String = why.chars().take(60).collect();
    assert!(told.ineligible[0].starts_with(&shown), "{:?}", told.ineligible);
    fs::write(&file, "").unwrap();
    let healthy = |all: &[Describe]| all[0].eligible.then_some(());
    cluster.until("healthy again", &[leader.at], healthy);
}

#[test]
fn a_record_that_cannot_be_read_is_maintenance() {
    let mut cluster = Cluster::configured(1, "");
    for (content, in_maintenance) in
        [("{\"maintenance\":fal", true), ("{\"maintenance\":false,\"failures\":[]}", false)]
    {
        cluster.start(0);
        cluster.stop(0);
        fs::write(cluster.state(0).join("standing.json"), content).unwrap();
        cluster.start(0);
        let told = cluster.until("its standing", &[0], |all| {
            let one = &all[0];
            (one.maintenance || one.active).then(|| one.clone())
        });
        assert_eq!(told.maintenance, in_maintenance, "{content}");
        let warned = told.warnings.iter().any(|w| w.contains("standing.json cannot be read"));
        assert_eq!(warned, in_maintenance, "{:?}", told.warnings);
        cluster.kill(0);
    }
}
