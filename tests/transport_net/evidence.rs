//! What the transport finds out about the processes of its peers.

use std::net::TcpListener as StdListener;
use std::time::Instant;

use raftctl::core::{Incarnation, NodeId};
use raftctl::limits;
use raftctl::transport::PeerEvent;
use raftctl::transport::frame::FrameType;
use raftctl::transport::wire::ConnectionKind;

use super::support::*;

fn is_lost(event: &PeerEvent) -> bool {
    matches!(event, PeerEvent::Lost { peer: NodeId(2) })
}

fn is_silent(event: &PeerEvent) -> bool {
    matches!(event, PeerEvent::Silent { peer: NodeId(2) })
}

#[tokio::test]
async fn a_peer_whose_process_goes_is_lost_then_silent_and_comes_back_with_another() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let address = two.local_addr().unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let mut n2 = Node::start(two, &members, 2, 1);
    for process in 2..=6 {
        assert_eq!(n1.connected(2).await, process - 1);
        // Both of its connections stand; nothing is said twice.
        n1.reach(&mut n2, heartbeat(1, 2, 0)).await;
        n2.reach(&mut n1, heartbeat(2, 1, 0)).await;
        // What the end of a process does: listener and connections close.
        let gone = Instant::now();
        drop(n2);
        loop {
            // Copies of the heartbeat that `reach` sent may still come.
            match n1.next().await {
                PeerEvent::Message { .. } => {}
                event => break assert!(is_lost(&event), "{event:?}"),
            }
        }
        let event = n1.next().await;
        assert!(is_silent(&event), "{event:?}");
        // Each time at once, however soon after the time before: a process that dies young is not
        // a peer that closes connections.
        let after = gone.elapsed();
        eprintln!("process {}: silent after {after:?}", process - 1);
        assert!(after < limits::RECONNECT_MAX / 2, "{after:?}");
        n2 = Node::start(StdListener::bind(address).unwrap(), &members, 2, process);
    }
    assert_eq!(n1.connected(2).await, 6);
    n1.reach(&mut n2, append(1, 2, 1, 1)).await;
}

#[tokio::test]
async fn a_listener_that_outlives_its_process_does_not_hide_the_loss() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    // The service manager keeps its copy of the listener: the kernel goes on completing connects.
    let kept = two.try_clone().unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let mut n2 = Node::start(two, &members, 2, 1);
    assert_eq!(n1.connected(2).await, 1);
    n2.connected(1).await;
    n1.reach(&mut n2, heartbeat(1, 2, 0)).await;
    n2.handle.shutdown().await;
    let event = n1.next().await;
    assert!(is_lost(&event), "{event:?}");
    let lost = Instant::now();
    let event = n1.next().await;
    assert!(is_silent(&event), "{event:?}");
    eprintln!("silent {:?} after the loss", lost.elapsed());
    // The dial that was not answered in time waits in the backlog, and the next process takes it.
    let mut n2 = Node::start(kept, &members, 2, 2);
    assert_eq!(n1.connected(2).await, 2);
    n1.reach(&mut n2, heartbeat(1, 2, 1)).await;
}

#[tokio::test]
async fn a_restart_that_is_faster_than_the_redial_is_told_as_another_process() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let mut n2 = StandIn::new(two, &members, 2, 1);
    let [control, _bulk] = n2.accept_both().await;
    assert_eq!(n1.connected(2).await, 1);
    n2.identity.process = 2;
    drop(control);
    let event = n1.next().await;
    assert!(is_lost(&event), "{event:?}");
    let (kind, _control) = n2.accept().await;
    assert_eq!(kind, ConnectionKind::Control);
    match n1.next().await {
        PeerEvent::Connected { process: 2, incarnation: Incarnation(i), .. } => {
            assert_eq!(i, [2; 16])
        }
        event => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_breaks_without_its_process_is_made_again() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let n2 = StandIn::new(two, &members, 2, 1);
    let [control, _bulk] = n2.accept_both().await;
    assert_eq!(n1.connected(2).await, 1);
    drop(control);
    let event = n1.next().await;
    assert!(is_lost(&event), "{event:?}");
    let mut control = loop {
        // The bulk connection is made anew as well, in whichever order.
        if let (ConnectionKind::Control, wire) = n2.accept().await {
            break wire;
        }
    };
    assert_eq!(n1.connected(2).await, 1);
    n1.handle.send(heartbeat(1, 2, 5));
    assert_eq!(control.receive_message().await, heartbeat(1, 2, 5));
}

#[tokio::test]
async fn the_end_of_an_incoming_control_connection_is_a_loss_that_is_looked_into() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let n2 = StandIn::new(two, &members, 2, 1);
    let [mut old, _bulk] = n2.accept_both().await;
    assert_eq!(n1.connected(2).await, 1);
    let inbound = n2.dial(1, ConnectionKind::Control).await;
    drop(inbound);
    let event = n1.next().await;
    assert!(is_lost(&event), "{event:?}");
    // It asks on a new connection, and the old one stands and works until there is an answer.
    let (hello, mut new) = n2.accept_hello().await;
    n1.handle.send(heartbeat(1, 2, 1));
    assert_eq!(old.receive_message().await, heartbeat(1, 2, 1));
    new.send(FrameType::Welcome, &n2.greeting(1, hello.kind())).await;
    old.closed().await;
    // Late enough to be silent, or not: in the end it is the same process.
    assert_eq!(n1.connected(2).await, 1);
    n1.handle.send(heartbeat(1, 2, 2));
    assert_eq!(new.receive_message().await, heartbeat(1, 2, 2));
}

#[tokio::test]
async fn two_peers_that_look_into_a_loss_do_not_keep_each_other_busy() {
    let (listeners, members) = members(3);
    let [one, two, three] = <[_; 3]>::try_from(listeners).unwrap();
    drop(three);
    let mut n1 = Node::start(one, &members, 1, 101);
    let mut n2 = Node::start(two, &members, 2, 102);
    n1.reach(&mut n2, heartbeat(1, 2, 0)).await;
    n2.reach(&mut n1, heartbeat(2, 1, 0)).await;
    // Somebody with the name of n2 takes its place at n1 and goes: n1 hears a loss.
    let free = StdListener::bind("127.0.0.1:0").unwrap();
    let stand_in = StandIn::new(free, &members, 2, 102);
    drop(stand_in.dial(1, ConnectionKind::Control).await);
    loop {
        if is_lost(&n1.next().await) {
            break;
        }
    }
    assert_eq!(n1.connected(2).await, 102);
    // n2 has lost its own connection to the intruder, has dialed again, and there it ends: what
    // comes from now on is messages.
    for round in 1..=200 {
        n1.reach(&mut n2, heartbeat(1, 2, round)).await;
        n2.reach(&mut n1, heartbeat(2, 1, round)).await;
    }
    while let Ok(event) = n1.events.try_recv() {
        assert!(matches!(event, PeerEvent::Message { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn a_newer_incoming_connection_replaces_the_older_without_a_loss() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let n2 = StandIn::new(two, &members, 2, 1);
    let [_control, _bulk] = n2.accept_both().await;
    let mut older = n2.dial(1, ConnectionKind::Control).await;
    let mut newer = n2.dial(1, ConnectionKind::Control).await;
    older.closed().await;
    newer.send(FrameType::Message, &heartbeat(2, 1, 9)).await;
    match n1.next_other().await {
        PeerEvent::Message { message, .. } => assert_eq!(message.commit, 9),
        event => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn a_peer_that_accepts_and_closes_is_not_dialed_in_a_loop() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let n2 = StandIn::new(two, &members, 2, 1);
    let start = Instant::now();
    let dials = 24;
    for _ in 0..dials {
        drop(n2.accept().await);
    }
    // Each kind has a few immediate redials, then pauses that double: 24 take some seconds' worth
    // of back-off, of which one hundred milliseconds are asked for here.
    assert!(start.elapsed() > 5 * limits::RECONNECT_MIN, "{:?}", start.elapsed());
    n1.connected(2).await;
}

#[tokio::test]
async fn a_peer_that_is_there_again_does_not_wait_for_the_end_of_a_back_off() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let address = two.local_addr().unwrap();
    drop(two);
    let mut n1 = Node::start(one, &members, 1, 101);
    // Long enough alone for the back-off to grow: dropped messages show that dials have failed.
    while n1.handle.counters().dropped_unreachable == 0 {
        n1.handle.send(heartbeat(1, 2, 0));
        tokio::task::yield_now().await;
    }
    let mut n2 = Node::start(StdListener::bind(address).unwrap(), &members, 2, 1);
    assert_eq!(n1.connected(2).await, 1);
    let start = Instant::now();
    n1.reach(&mut n2, heartbeat(1, 2, 1)).await;
    eprintln!("reached {:?} after it was heard of", start.elapsed());
}

#[tokio::test]
async fn the_loss_of_a_peer_that_nobody_answers_for_is_found_on_every_node() {
    let (listeners, members) = members(3);
    let [one, two, three] = <[_; 3]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let mut n3 = Node::start(three, &members, 3, 103);
    let n2 = Node::start(two, &members, 2, 102);
    n1.connected(2).await;
    n3.connected(2).await;
    drop(n2);
    for node in [&mut n1, &mut n3] {
        loop {
            match node.next().await {
                PeerEvent::Connected { peer: NodeId(1 | 3), .. } => {}
                event => break assert!(is_lost(&event), "{event:?}"),
            }
        }
        let event = node.next_other().await;
        assert!(is_silent(&event), "{event:?}");
    }
}
