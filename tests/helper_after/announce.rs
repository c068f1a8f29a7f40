//! What the helper says is what a real member takes.

use raftctl::core::release::ReleaseOutcome;
use raftctl::core::{Incarnation, NodeId};
use raftctl::helper::release::Outcome;
use raftctl::limits;
use raftctl::transport::{self, Identity, Known, Peer, PeerEvent};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::scene;
use super::support::*;
use super::systemd_support::within;

#[tokio::test]
async fn a_real_transport_hands_it_over_and_members_that_talk_nonsense_do_no_harm() {
    let mut scene = scene!("[authority]\ndemote_timeout = \"60s\"\n");
    scene.stop_target().await;
    let (owed, members) = {
        let cluster = scene.cluster.lock().unwrap();
        (cluster.owed.unwrap(), &mut scene.config.cluster.members)
    };
    // Member 2 is real, and what answers in the place of member 3 is no member at all.
    let real = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nonsense = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = |listener: std::net::SocketAddr| listener.to_string().parse().unwrap();
    members[1].address = address(real.local_addr().unwrap());
    members[2].address = address(nonsense.local_addr().unwrap());
    let talker = tokio::spawn(async move {
        loop {
            let (mut stream, _) = nonsense.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let identity = Identity {
        cluster_name: "main".to_owned(),
        node: "n2".parse().unwrap(),
        id: NodeId(2),
        incarnation: Incarnation([2; 16]),
        process: 2,
        bootstrap: [7; 16],
        election_min_ms: 200,
        version: "test".to_owned(),
    };
    let peer = |m: &raftctl::config::Member| Peer {
        id: m.id,
        name: m.name.clone(),
        address: m.address.clone(),
    };
    let peers = scene.config.cluster.members.iter().filter(|m| m.id != NodeId(2)).map(peer);
    let (sender, mut events) = mpsc::channel(limits::DRIVER_QUEUE_EVENTS);
    let handle =
        transport::start(real, identity, peers.collect(), Known::default(), sender, 1).unwrap();
    let task = scene.release();
    let mut told = false;
    while !task.is_finished() {
        let event = tokio::select! {
            event = events.recv() => event.unwrap(),
            () = tokio::task::yield_now() => continue,
        };
        let PeerEvent::Announced { release, reply } = event else { continue };
        assert_eq!((release.node, release.invocation.as_slice()), (1, RUN.0.as_slice()));
        let believed = raftctl::core::state::hash_of(&release.secret) == owed;
        reply.send(match (told, believed) {
            (true, _) => ReleaseOutcome::Over,
            (false, true) => ReleaseOutcome::Proposed,
            (false, false) => ReleaseOutcome::Forged,
        });
        told |= believed;
    }
    let outcome = within("end", task).await.unwrap().unwrap();
    assert_eq!(outcome, Outcome::Released("n2".parse().unwrap()));
    assert!(told);
    talker.abort();
    drop(handle);
}
