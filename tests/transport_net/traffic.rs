//! What is sent arrives, and small things do not wait for large ones.

use raftctl::core::NodeId;
use raftctl::limits;
use raftctl::transport::frame::FrameType;
use raftctl::transport::wire::ConnectionKind;
use raftctl::transport::{Counters, PeerEvent};

use super::support::*;

#[tokio::test]
async fn every_member_reaches_every_other_on_both_connections() {
    for count in [1, 2, 3, 7] {
        let (listeners, members) = members(count);
        let start = |(listener, id)| Node::start(listener, &members, id, 100 + id);
        let mut nodes: Vec<Node> = listeners.into_iter().zip(1..).map(start).collect();
        for from in 1..=count {
            for to in (1..=count).filter(|to| *to != from) {
                let mut receiver = nodes.remove(to as usize - 1);
                let sender = &nodes[from as usize - 1 - usize::from(from > to)];
                sender.reach(&mut receiver, heartbeat(from, to, from * 10 + to)).await;
                sender.reach(&mut receiver, append(from, to, from * 10 + to, 100)).await;
                nodes.insert(to as usize - 1, receiver);
            }
        }
        for node in nodes {
            node.handle.shutdown().await;
        }
    }
}

/// The next word of member 1 about itself.
async fn standing(node: &mut Node) -> (bool, u32) {
    loop {
        if let PeerEvent::Standing { from, eligible, priority, .. } = node.next().await {
            assert_eq!(from, NodeId(1));
            return (eligible, priority);
        }
    }
}

#[tokio::test]
async fn a_standing_is_said_on_every_connection_and_at_every_change() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let again = two.try_clone().unwrap();
    let n1 = Node::start(one, &members, 1, 101);
    n1.handle.set_standing(true, 100);
    let mut n2 = Node::start(two, &members, 2, 102);
    // Before it, who says so: another process of the same node starts unknown.
    assert_eq!(n2.connected(1).await, 101);
    assert_eq!(standing(&mut n2).await, (true, 100));
    n1.handle.set_standing(false, 7);
    assert_eq!(standing(&mut n2).await, (false, 7));
    drop(n2);
    let mut n2 = Node::start(again, &members, 2, 103);
    assert_eq!(standing(&mut n2).await, (false, 7));
    n1.handle.set_standing(true, u32::MAX);
    assert_eq!(standing(&mut n2).await, (true, u32::MAX));
}

/// An agent from before there were standings would close the connection.
#[tokio::test]
async fn nothing_is_said_about_itself_to_a_peer_that_would_not_understand() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let n1 = Node::start(one, &members, 1, 101);
    n1.handle.set_standing(true, 100);
    let n2 = StandIn::new(two, &members, 2, 102);
    let mut control = loop {
        let (hello, mut wire) = n2.accept_hello().await;
        let mut welcome = n2.greeting(1, hello.kind());
        welcome.protocol_max = 1;
        wire.send(FrameType::Welcome, &welcome).await;
        if hello.kind() == ConnectionKind::Control {
            break wire;
        }
    };
    n1.handle.set_standing(false, 100);
    n1.handle.send(heartbeat(1, 2, 5));
    let message = control.receive_message().await;
    assert_eq!(message.commit, 5);
}

#[tokio::test]
async fn messages_of_one_connection_keep_their_order() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let n1 = Node::start(one, &members, 1, 101);
    let mut n2 = Node::start(two, &members, 2, 102);
    n1.reach(&mut n2, append(1, 2, 0, 0)).await;
    for index in 1..=500 {
        n1.handle.send(append(1, 2, index, (index as usize * 37) % 5000));
    }
    let mut expected = 1;
    while expected <= 500 {
        let (from, message) = n2.message().await;
        assert_eq!(from, NodeId(1));
        // The first ones may still be on their way from `reach`.
        if message.index != 0 {
            assert_eq!(message.index, expected);
            assert_eq!(message.entries[0].data.len(), (expected as usize * 37) % 5000);
            expected += 1;
        }
    }
    let Counters { dropped_full, sent_frames, sent_bytes, .. } = n1.handle.counters();
    assert_eq!(dropped_full, 0);
    assert!(sent_frames > 500 && sent_bytes > 500 * 2000, "{sent_frames} {sent_bytes}");
}

#[tokio::test]
async fn a_message_of_the_largest_size_arrives() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let n1 = Node::start(one, &members, 1, 101);
    let mut n2 = Node::start(two, &members, 2, 102);
    n1.reach(&mut n2, append(1, 2, 1, 0)).await;
    let large = append(1, 2, 2, limits::FRAME_PAYLOAD_MAX_BYTES - 100);
    n1.handle.send(large.clone());
    loop {
        let (_, message) = n2.message().await;
        if message.index == 2 {
            assert!(message == large);
            break;
        }
    }
    n1.handle.send(append(1, 2, 3, limits::FRAME_PAYLOAD_MAX_BYTES));
    let mut too_large = heartbeat(1, 2, 0);
    too_large.context = vec![0; limits::CONTROL_PAYLOAD_MAX_BYTES];
    n1.handle.send(too_large);
    assert_eq!(n1.handle.counters().dropped_too_large, 2);
}

#[tokio::test]
async fn heartbeats_overtake_a_stuck_bulk_connection_and_the_queue_stays_bounded() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let n1 = Node::start(one, &members, 1, 101);
    let n2 = StandIn::new(two, &members, 2, 102);
    let [mut control, _bulk] = n2.accept_both().await;
    // Nobody ever reads the bulk connection: the kernel's buffers fill, then the queue.
    let mut sent = 0;
    while n1.handle.counters().dropped_full == 0 {
        sent += 1;
        n1.handle.send(append(1, 2, sent, 1 << 20));
        n1.handle.send(heartbeat(1, 2, sent));
        assert_eq!(control.receive_message().await, heartbeat(1, 2, sent));
    }
    let held = (sent as usize) << 20;
    assert!(held >= limits::PEER_QUEUE_BYTES, "{sent} were enough");
    // What the kernel holds for one connection is limited by tcp_rmem and tcp_wmem.
    assert!(held <= limits::PEER_QUEUE_BYTES + (64 << 20), "{sent} were not enough");
    for _ in 0..limits::PEER_QUEUE_MESSAGES {
        n1.handle.send(append(1, 2, 0, 1 << 20));
    }
    assert_eq!(n1.handle.counters().dropped_full, 1 + limits::PEER_QUEUE_MESSAGES as u64);
}

#[tokio::test]
async fn a_driver_that_is_behind_with_bulk_messages_still_hears_control_messages() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let n1 = Node::start(one, &members, 1, 101);
    let mut n2 = Node::start(two, &members, 2, 102);
    n1.reach(&mut n2, append(1, 2, 0, 0)).await;
    let most = limits::INBOUND_BULK_BYTES / limits::INBOUND_BULK_MESSAGE_MIN_BYTES;
    let sent = most as u64 + 50;
    for index in 1..=sent {
        n1.handle.send(append(1, 2, index, 10));
    }
    let mut held = Vec::new();
    while held.len() < most {
        match n2.next().await {
            PeerEvent::Message { message, credit, .. } if message.index > 0 => {
                assert!(credit.bytes() >= limits::INBOUND_BULK_MESSAGE_MIN_BYTES);
                held.push(credit);
            }
            _ => {}
        }
    }
    // Nothing more of bulk comes in, but control does.
    n1.handle.send(heartbeat(1, 2, 77));
    let (_, message) = n2.message().await;
    assert_eq!(message, heartbeat(1, 2, 77));
    held.clear();
    for index in most as u64 + 1..=sent {
        assert_eq!(n2.message().await.1.index, index);
    }
}

#[tokio::test]
async fn a_status_is_asked_for_and_answered() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let mut n2 = Node::start(two, &members, 2, 102);
    n1.reach(&mut n2, heartbeat(1, 2, 0)).await;
    n2.reach(&mut n1, heartbeat(2, 1, 0)).await;
    assert!(n1.handle.send_status_request(NodeId(2), 42));
    loop {
        if let PeerEvent::StatusRequest { from, request, .. } = n2.next().await {
            assert_eq!((from, request), (NodeId(1), 42));
            break;
        }
    }
    let too_long = "x".repeat(limits::CONTROL_PAYLOAD_MAX_BYTES);
    assert!(!n2.handle.send_status_reply(NodeId(1), 42, too_long));
    assert!(n2.handle.send_status_reply(NodeId(1), 42, "{}".to_owned()));
    loop {
        if let PeerEvent::StatusReply { from, request, status, .. } = n1.next().await {
            assert_eq!((from, request, status.as_str()), (NodeId(2), 42, "{}"));
            break;
        }
    }
    assert!(!n1.handle.send_status_request(NodeId(9), 1), "there is no such member");
}

#[tokio::test]
async fn a_stopping_transport_sends_what_is_queued_and_closes_its_listener() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let n1 = Node::start(one, &members, 1, 101);
    let n2 = StandIn::new(two, &members, 2, 102);
    let [mut control, mut bulk] = n2.accept_both().await;
    let mut inbound = n2.dial(1, ConnectionKind::Control).await;
    for commit in 0..100 {
        n1.handle.send(heartbeat(1, 2, commit));
    }
    n1.handle.send(append(1, 2, 1, 5000));
    n1.handle.shutdown().await;
    for commit in 0..100 {
        assert_eq!(control.receive_message().await.commit, commit);
    }
    assert_eq!(bulk.receive_message().await.index, 1);
    control.closed().await;
    bulk.closed().await;
    inbound.closed().await;
    let refused = tokio::net::TcpStream::connect(members[0].address.as_str()).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn queued_messages_leave_together() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let n1 = Node::start(one, &members, 1, 101);
    let n2 = StandIn::new(two, &members, 2, 102);
    let [mut control, _bulk] = n2.accept_both().await;
    // The first message shows that the connection is up; then 50 are queued in one turn.
    n1.handle.send(heartbeat(1, 2, 0));
    control.receive_message().await;
    (1..=50).for_each(|commit| n1.handle.send(heartbeat(1, 2, commit)));
    soon("data", control.stream.readable()).await.unwrap();
    let mut bytes = [0; 4096];
    // One read finds all of them, so one write carried them.
    let count = control.stream.try_read(&mut bytes).unwrap();
    let frame = 12 + raftctl::core::message::Message::size_bytes(&heartbeat(1, 2, 1));
    assert_eq!(count, 50 * frame);
    assert_eq!(bytes[5], FrameType::Message as u8);
}
