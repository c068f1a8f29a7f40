//! The agent tells its story to the journal, and goes on without one.

use std::time::Duration;

use nix::sys::signal::Signal;
use raftctl::core::story::Kind;

use super::support::{CALM, Cluster, Journal, code, is_root};

#[test]
fn the_journal_has_the_story_with_its_numbers_and_fields() {
    if !is_root("a journal of one's own") {
        return;
    }
    let mut cluster = Cluster::configured(1, "");
    let mut journal = Journal::new();
    journal.read();
    cluster.start_with(0, journal.of(cluster.command(0)));

    let started = journal.next(Kind::Started);
    let address = cluster.address(0);
    let expected = [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "raftctld"),
        ("RAFTCTL_CLUSTER", "test"),
        ("RAFTCTL_NODE", "n1"),
        ("RAFTCTL_ADDRESS", &address),
        ("RAFTCTL_VERSION", env!("CARGO_PKG_VERSION")),
        ("CODE_FILE", "src/daemon/setup.rs"),
        ("TARGET", "raftctl::daemon::setup"),
    ];
    for (name, value) in expected {
        assert_eq!(started[name], value, "{name} of {started:#?}");
    }
    let message = format!("raftctl 0.1.0 is serving node n1 of cluster test on {address}.");
    assert_eq!(started["MESSAGE"], message);

    let leads = journal.next(Kind::RoleChanged);
    let term = leads["RAFTCTL_TERM"].clone();
    assert_eq!(leads["PRIORITY"], "5");
    assert_eq!(
        (&leads["RAFTCTL_OLD_ROLE"][..], &leads["RAFTCTL_ROLE"][..]),
        ("follower", "leader")
    );
    assert_eq!(leads["RAFTCTL_REASON"], "election won");
    assert_eq!(journal.next(Kind::LeaderChanged)["RAFTCTL_LEADER"], "n1");
    let leader = cluster.leader();
    let active = journal.next(Kind::Active);
    assert_eq!(active["RAFTCTL_TERM"], term);
    assert_eq!(active["RAFTCTL_TOKEN"], leader.token.to_string());

    cluster.agent(0).signal(Signal::SIGHUP);
    assert_eq!(journal.next(Kind::Reloaded)["RAFTCTL_COUNT"], "0");
    cluster.transfer(0, Some("n9")).unwrap_err();
    assert_eq!(journal.next(Kind::TransferBegun)["RAFTCTL_TO"], "n9");
    let failed = journal.next(Kind::TransferFailed);
    assert!(failed["RAFTCTL_REASON"].contains("n9"), "{failed:#?}");

    let (status, _) = cluster.agent(0).terminate();
    assert_eq!(code(status), 0);
    assert_eq!(journal.next(Kind::Stopping)["RAFTCTL_REASON"], "SIGTERM");
    let demoted = journal.next(Kind::Demoted);
    assert_eq!(demoted["RAFTCTL_TOKEN"], leader.token.to_string());
    assert_eq!(demoted["RAFTCTL_REASON"], "the agent stops");
    assert_eq!(journal.next(Kind::Released)["RAFTCTL_TOKEN"], leader.token.to_string());
    assert_eq!(journal.next(Kind::RoleChanged)["RAFTCTL_ROLE"], "follower");
    // Also the last message arrives, and nothing went to standard error.
    journal.next(Kind::Stopped);
    assert_eq!(journal.stderr(), "");
}

#[test]
fn nobody_reads_the_journal_and_the_leader_leads_on() {
    if !is_root("a journal of one's own") {
        return;
    }
    let calm = format!("{CALM}[log]\nlevel = \"trace\"\n");
    let mut cluster = Cluster::configured(3, &calm);
    let mut journals: Vec<Journal> = (0..3).map(|_| Journal::new()).collect();
    for (at, journal) in journals.iter().enumerate() {
        cluster.start_with(at, journal.of(cluster.command(at)));
        cluster.answers(at);
    }
    let (leader, _) = cluster.leads_on_unread();
    // It reads again, and has what happened meanwhile, from the beginning.
    journals[leader.at].read();
    journals[leader.at].next(Kind::Started);
    for at in cluster.running() {
        let (status, took) = cluster.agent(at).terminate();
        assert_eq!(code(status), 0);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    journals[leader.at].next(Kind::Stopped);
}

#[test]
fn the_journal_goes_away_and_the_leader_leads_on() {
    if !is_root("a journal of one's own") {
        return;
    }
    let mut cluster = Cluster::configured(1, "");
    let mut journal = Journal::new();
    journal.read();
    cluster.start_with(0, journal.of(cluster.command(0)));
    journal.next(Kind::Active);
    let leader = cluster.leader();
    journal.close();
    for _ in 0..20 {
        cluster.transfer(0, Some("n9")).unwrap_err();
    }
    assert_eq!(cluster.leader(), leader);
    let (status, took) = cluster.agent(0).terminate();
    assert_eq!(code(status), 0);
    assert!(took < Duration::from_secs(5), "{took:?}");

    // There is none at the start either: then standard error has the sentences, with priorities.
    cluster.forget(0);
    cluster.start_with(0, journal.of(cluster.command(0)));
    cluster.answers(0);
    cluster.leader();
    assert_eq!(code(cluster.agent(0).terminate().0), 0);
    let said = journal.stderr();
    assert!(said.lines().any(|line| line == "<6>n1 has stopped."), "{said}");
}
