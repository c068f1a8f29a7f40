//! Who is kept out, and how that is told.

use std::collections::BTreeMap;

use raftctl::core::{ClusterId, Incarnation, NodeId};
use raftctl::transport::frame::FrameType;
use raftctl::transport::wire::{ConnectionKind, Refusal};
use raftctl::transport::{Identity, Known, PeerEvent};

use super::support::*;

/// Waits until both nodes have refused, and been refused, `times`.
async fn refused(nodes: &[&Node], times: u64) {
    let all = async {
        while nodes.iter().any(|node| node.handle.counters().refused < times) {
            tokio::time::interval(std::time::Duration::from_millis(5)).tick().await;
            tokio::task::yield_now().await;
        }
    };
    soon("refusals", all).await;
}

#[tokio::test]
async fn a_mismatch_is_one_line_on_each_side_with_both_values() {
    type Change = fn(&mut Identity, &mut Known);
    let id = |byte: u8| format!("{byte:02x}").repeat(16);
    let known: Change = |_, known| known.cluster_id = Some(ClusterId([2; 16]));
    let table: [(Change, &str, String, String); 5] = [
        (|i, _| i.cluster_name = "test".into(), "cluster name", "main".into(), "test".into()),
        (|i, _| i.election_min_ms = 300, "election_min", "200 ms".into(), "300 ms".into()),
        (|i, _| i.bootstrap = [8; 16], "digest of the configured member list", id(7), id(8)),
        (known, "cluster identity", id(1), id(2)),
        (|i, _| i.incarnation = Incarnation([9; 16]), "incarnation of n2", id(2), id(9)),
    ];
    for (change, what, one_has, two_has) in table {
        let (log, _guard) = Log::capture();
        let (listeners, members) = members(2);
        let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
        let (mut identity_2, mut known_2) = (identity(2, 102), Known::default());
        change(&mut identity_2, &mut known_2);
        let cluster_id = known_2.cluster_id.map(|_| ClusterId([1; 16]));
        let incarnations = BTreeMap::from([(NodeId(2), Incarnation([2; 16]))]);
        let known_1 = Known { cluster_id, incarnations };
        let mut n1 = Node::start_as(one, &members, identity(1, 101), known_1);
        let mut n2 = Node::start_as(two, &members, identity_2, known_2);
        // Both connections in both directions, twice, on both sides.
        refused(&[&n1, &n2], 8).await;
        let lines = log.lines();
        assert_eq!(lines.len(), 2, "{lines:#?}");
        let says = |here: &str, there: &str| {
            let end = format!("{what} is {there} there and {here} here");
            lines.iter().filter(|line| line.contains(&end)).count()
        };
        assert_eq!((says(&one_has, &two_has), says(&two_has, &one_has)), (1, 1), "{lines:#?}");
        assert!(n1.events.try_recv().is_err() && n2.events.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_dialer_that_gets_another_node_than_it_dialed_says_so() {
    let (log, _guard) = Log::capture();
    let (listeners, mut members) = members(3);
    let [one, two, three] = <[_; 3]>::try_from(listeners).unwrap();
    // On n1, the address of n2 leads to n3.
    let wrong = members[2].address.clone();
    let right = std::mem::replace(&mut members[1].address, wrong);
    let n1 = Node::start(one, &members, 1, 101);
    members[1].address = right;
    let n3 = Node::start(three, &members, 3, 103);
    refused(&[&n1, &n3], 2).await;
    let lines = log.lines();
    let ends = |end: &str| lines.iter().any(|line| line.contains(end));
    assert!(ends("name of the receiving node is n3 there and n2 here"), "{lines:#?}");
    assert!(ends("name of the receiving node is n2 there and n3 here"), "{lines:#?}");
    drop(two);
}

#[tokio::test]
async fn a_welcome_that_does_not_fit_is_refused_by_the_dialer() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let n2 = StandIn::new(two, &members, 2, 102);
    let (hello, mut wire) = n2.accept_hello().await;
    let mut welcome = n2.greeting(1, hello.kind());
    welcome.cluster_name = "test".to_owned();
    wire.send(FrameType::Welcome, &welcome).await;
    let (kind, payload) = wire.receive().await.expect("a refusal");
    assert_eq!(kind, FrameType::Refused);
    let refusal: Refusal = prost::Message::decode(payload.as_slice()).unwrap();
    let values = (refusal.what.as_str(), refusal.ours.as_str(), refusal.theirs.as_str());
    assert_eq!(values, ("cluster name", "main", "test"));
    assert_eq!(refusal.process, 101);
    wire.closed().await;
    assert!(n1.events.try_recv().is_err());
}

#[tokio::test]
async fn an_incarnation_seen_once_is_expected_from_then_on() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let mut n2 = StandIn::new(two, &members, 2, 102);
    let first = n2.dial(1, ConnectionKind::Control).await;
    assert_eq!(n1.connected(2).await, 102);
    drop(first);
    // The same name and number with an empty disk.
    n2.identity.incarnation = Incarnation([9; 16]);
    let mut wire = n2.open(1).await;
    wire.send(FrameType::Hello, &n2.greeting(1, ConnectionKind::Control)).await;
    let (kind, payload) = wire.receive().await.expect("a refusal");
    assert_eq!(kind, FrameType::Refused);
    let refusal: Refusal = prost::Message::decode(payload.as_slice()).unwrap();
    assert_eq!(refusal.what, "incarnation of n2");
    assert_eq!((refusal.ours, refusal.theirs), ("02".repeat(16), "09".repeat(16)));
}

#[tokio::test]
async fn a_peer_that_turns_out_to_be_another_loses_its_connections() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let n2 = StandIn::new(two, &members, 2, 102);
    let [mut control, mut bulk] = n2.accept_both().await;
    let mut inbound = n2.dial(1, ConnectionKind::Control).await;
    n1.connected(2).await;
    let mut known = Known::default();
    known.incarnations.insert(NodeId(2), Incarnation([2; 16]));
    n1.handle.learn(known.clone());
    n1.handle.send(heartbeat(1, 2, 1));
    assert_eq!(control.receive_message().await.commit, 1, "what was learned fits");
    known.incarnations.insert(NodeId(2), Incarnation([3; 16]));
    n1.handle.learn(known);
    control.closed().await;
    bulk.closed().await;
    inbound.closed().await;
    assert!(matches!(n1.next().await, PeerEvent::Lost { peer: NodeId(2) }));
    let (hello, mut wire) = n2.accept_hello().await;
    assert_eq!(hello.receiver_incarnation, [3; 16]);
    wire.send(FrameType::Welcome, &n2.greeting(1, hello.kind())).await;
    let (kind, _) = wire.receive().await.expect("a refusal");
    assert_eq!(kind, FrameType::Refused);
}

#[tokio::test]
async fn a_cluster_identity_that_turns_out_different_ends_the_connections() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let theirs = Known { cluster_id: Some(ClusterId([2; 16])), ..Known::default() };
    let mut n1 = Node::start(one, &members, 1, 101);
    let mut n2 = Node::start_as(two, &members, identity(2, 102), theirs);
    n1.reach(&mut n2, heartbeat(1, 2, 0)).await;
    n2.reach(&mut n1, heartbeat(2, 1, 0)).await;
    let ours = Known { cluster_id: Some(ClusterId([1; 16])), ..Known::default() };
    n1.handle.learn(ours);
    while !matches!(n1.next_other().await, PeerEvent::Lost { peer: NodeId(2) }) {}
    refused(&[&n1, &n2], 4).await;
    while let Ok(event) = n1.events.try_recv() {
        assert!(!matches!(event, PeerEvent::Connected { .. }), "{event:?}");
    }
}
