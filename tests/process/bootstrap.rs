//! Members that were given the same list become one cluster, whoever starts first, and stay it;
//! members that were given different lists do not.

use raftctl::exit::Exit;

use super::support::{CALM, Cluster, free_ports};

#[test]
fn the_same_list_makes_one_cluster_whatever_the_order_of_starting() {
    let orders: [&[usize]; 5] = [&[0], &[1, 0], &[2, 0, 1], &[1, 2, 0], &[4, 1, 3, 0, 2]];
    for order in orders {
        let count = order.len();
        let mut cluster = Cluster::configured(count, "");
        let (last, first) = order.split_last().unwrap();
        first.iter().for_each(|at| cluster.start(*at));
        if count > 2 {
            cluster.leader();
        }
        cluster.start(*last);
        let leader = cluster.leader();
        let all: Vec<usize> = (0..count).collect();
        let names: Vec<_> = all.iter().map(|at| format!("n{}", at + 1)).collect();
        cluster.until("all connected", &all, |said| {
            let complete = said.iter().all(|one| {
                let members = one.members.iter().filter(|m| m.connected);
                members.map(|m| &m.name).eq(&names)
            });
            complete.then_some(())
        });
        let line = format!("n{} leader {} {}", leader.at + 1, leader.term, leader.token);
        cluster.said.wait(&line);
    }
}

#[test]
fn different_lists_refuse_each_other_and_nobody_leads() {
    let mut cluster = Cluster::configured(3, "");
    let members = cluster.members();
    // n2 has another address for n3, n3 has a fourth member.
    let other = members.replace(&cluster.address(2), "127.0.0.1:1");
    let more = format!("{members}, n4 = \"127.0.0.1:2\"");
    cluster.configure(1, &other, "");
    cluster.configure(2, &more, "");
    (0..3).for_each(|at| cluster.start(at));
    for (at, peer) in [(0, 1), (0, 2), (1, 2)] {
        let what = "digest of the configured member list";
        let refusal = |here: usize, there: usize| {
            let found = cluster
                .log(here)
                .find(0, |line| line.contains(what) && line.contains(&format!("n{} ", there + 1)));
            let line = found.unwrap_or_else(|| panic!("{:#?}", cluster.log(here).all()));
            // "... is VALUE there and VALUE here"
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let count = words.len();
            (words[count - 5].clone(), words[count - 2].clone())
        };
        let (there, here) = refusal(at, peer);
        assert_eq!((here.len(), there.len()), (32, 32));
        assert_ne!(here, there);
        assert_eq!(refusal(peer, at), (here, there));
    }
    // Each has found that it cannot be elected.
    for at in 0..3 {
        cluster.log(at).wait("role follower -> candidate");
        let described = cluster.describe(at);
        assert_eq!((described.leader, described.cluster_id, described.term), (None, None, 0));
    }
    // The lists are corrected, one after the other; two make a majority.
    for at in [1, 2] {
        cluster.stop(at);
        cluster.configure(at, &members, "");
        cluster.start(at);
        cluster.leader_of(&[0, 1]);
    }
    cluster.leader();
}

#[test]
fn a_late_member_with_another_list_is_refused_and_disturbs_nobody() {
    let mut cluster = Cluster::configured(3, CALM);
    let members = cluster.members();
    let more = format!("{members}, n4 = \"127.0.0.1:2\"");
    cluster.configure(2, &more, CALM);
    cluster.start(0);
    cluster.start(1);
    let leader = cluster.leader();
    cluster.start(2);
    cluster.log(0).wait("digest of the configured member list");
    cluster.log(2).wait("digest of the configured member list");
    cluster.log(2).wait("role follower -> candidate");
    assert_eq!(cluster.leader_of(&[0, 1]), leader);
    assert_eq!(cluster.describe(2).cluster_id, None);
    cluster.stop(2);
    cluster.configure(2, &members, CALM);
    cluster.start(2);
    assert_eq!(cluster.leader(), leader);
}

#[test]
fn a_cluster_survives_the_death_of_all_its_members_at_once() {
    let (mut cluster, mut before) = Cluster::started(3, "");
    for _ in 0..3 {
        (0..3).for_each(|at| cluster.agent(at).signal(nix::sys::signal::Signal::SIGKILL));
        (0..3).for_each(|at| drop(cluster.forget(at)));
        for at in 0..3 {
            cluster.start(at);
            let term = cluster.describe(at).term;
            assert!(term >= before.term, "{term} after {before:?}");
        }
        let after = cluster.leader();
        assert_eq!(after.cluster_id, before.cluster_id);
        assert!(after.term > before.term && after.token > before.token);
        before = after;
    }
    // And of their orderly stop.
    (0..3).for_each(|at| drop(cluster.stop(at)));
    (0..3).for_each(|at| cluster.start(at));
    let after = cluster.leader();
    assert_eq!(after.cluster_id, before.cluster_id);
    assert!(after.term > before.term && after.token > before.token);
}

#[test]
fn a_list_that_was_changed_after_the_cluster_was_formed_is_refused() {
    let mut cluster = Cluster::configured(3, "");
    let all = cluster.members();
    let alone = format!("n1 = \"{}\"", cluster.address(0));
    cluster.configure(0, &alone, "");
    cluster.start(0);
    let leader = cluster.leader();
    cluster.stop(0);
    let renamed = alone.replace("n1 =", "n0 = \"127.0.0.1:1\", n1 =");
    for (list, names) in [(&all, "n1, n2, n3"), (&renamed, "n0, n1")] {
        cluster.configure(0, list, "");
        let (code, said) = cluster.command(0).refused();
        assert_eq!(Exit::from_code(code), Some(Exit::Configuration), "{said:#?}");
        let says = format!("lists the members {names}, but the cluster in");
        assert!(said.len() == 1 && said[0].contains(&says), "{said:#?}");
        assert!(said[0].contains("was formed by n1; correct the list"), "{said:#?}");
    }
    cluster.configure(0, &alone, "");
    cluster.start(0);
    assert_eq!(cluster.leader().cluster_id, leader.cluster_id);
}

#[test]
fn a_member_may_move_to_another_address() {
    let (mut cluster, before) = Cluster::started(3, "");
    cluster.stop(2);
    let old = cluster.address(2);
    let port = free_ports(1)[0];
    let members = cluster.members().replace(&old, &format!("127.0.0.1:{port}"));
    for at in [2, 1, 0] {
        cluster.configure(at, &members, "");
        if at != 2 {
            cluster.stop(at);
        }
        cluster.start(at);
    }
    let after = cluster.leader();
    assert_eq!(after.cluster_id, before.cluster_id);
    assert!(after.term > before.term && after.token > before.token);
}
