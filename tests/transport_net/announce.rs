//! Releases: between peers, and announced by somebody who is no peer.

use raftctl::core::NodeId;
use raftctl::core::command::Release;
use raftctl::core::release::ReleaseOutcome;
use raftctl::limits;
use raftctl::transport::frame::{self, FrameType};
use raftctl::transport::wire::{Announce, Announced, ConnectionKind, Refusal};
use raftctl::transport::{AnnouncementReply, Credit, PeerEvent};
use tokio::net::TcpStream;

use super::support::*;

fn announce(receiver: &str, node: u64) -> Announce {
    let (invocation, secret) = (vec![5; 16], vec![6; 32]);
    Announce {
        protocol: 1,
        cluster_name: "main".to_owned(),
        receiver: receiver.to_owned(),
        release: Some(Release { node, invocation, token: 0, secret }),
    }
}

fn own_release(node: u64, token: u64) -> Release {
    Release { node, invocation: vec![5; 16], token, secret: Vec::new() }
}

fn framed(payload: &Announce) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode_into(&mut out, FrameType::Announce, payload);
    out
}

/// Member 1, real, on its own so far; and stand-ins for the other two.
struct Scene {
    n1: Node,
    n2: Option<StandIn>,
    n3: StandIn,
    address: String,
}

impl Scene {
    fn new() -> Scene {
        let (listeners, members) = members(3);
        let [one, two, three] = <[_; 3]>::try_from(listeners).unwrap();
        let address = members[0].address.to_string();
        let n1 = Node::start(one, &members, 1, 101);
        let n2 = StandIn::new(two, &members, 2, 102);
        let n3 = StandIn::new(three, &members, 3, 103);
        Scene { n1, n2: Some(n2), n3, address }
    }

    fn n2(&self) -> &StandIn {
        self.n2.as_ref().expect("it is there until it goes")
    }

    async fn announce(&self, announce: &Announce) -> Wire {
        let stream = soon("connect", TcpStream::connect(&self.address)).await.unwrap();
        let mut wire = Wire::new(stream);
        wire.write(&framed(announce)).await;
        wire
    }

    /// The next announcement; nothing else may have happened before.
    async fn announced(&mut self) -> (Release, AnnouncementReply) {
        match self.n1.next().await {
            PeerEvent::Announced { release, reply } => (release, reply),
            other => panic!("{other:?}"),
        }
    }
}

impl Node {
    /// The next release of a peer; other events are passed over.
    async fn release(&mut self) -> (NodeId, Release, Credit) {
        loop {
            if let PeerEvent::Release { from, release, credit } = self.next().await {
                return (from, release, credit);
            }
        }
    }
}

async fn outcome(wire: &mut Wire) -> ReleaseOutcome {
    let (kind, payload) = wire.receive().await.expect("an answer");
    assert_eq!(kind, FrameType::Announced);
    let announced: Announced = prost::Message::decode(payload.as_slice()).unwrap();
    wire.closed().await;
    announced.outcome()
}

#[tokio::test]
async fn an_announcement_is_handed_over_and_answered() {
    let mut scene = Scene::new();
    let outcomes = [
        ReleaseOutcome::NotLeader,
        ReleaseOutcome::Over,
        ReleaseOutcome::Proposed,
        ReleaseOutcome::Forged,
    ];
    for expected in outcomes {
        let mut wire = scene.announce(&announce("n1", 2)).await;
        let (release, reply) = scene.announced().await;
        assert_eq!(Some(release), announce("n1", 2).release);
        assert!(!reply.is_closed());
        reply.send(expected);
        assert_eq!(outcome(&mut wire).await, expected);
    }
    // One that the driver drops ends without an answer.
    let mut wire = scene.announce(&announce("n1", 3)).await;
    drop(scene.announced().await);
    assert!(wire.receive().await.is_none());
    let counters = scene.n1.handle.counters();
    assert_eq!((counters.announcements, counters.faulty, counters.refused), (5, 0, 0));
}

/// What is not meant for this node, or can match nothing, does not reach the driver.
#[tokio::test]
async fn what_does_not_fit_is_refused_with_the_reason() {
    let mut scene = Scene::new();
    let changed = |change: fn(&mut Announce)| {
        let mut announce = announce("n1", 2);
        change(&mut announce);
        announce
    };
    let unfit = [
        changed(|a| a.protocol = 99),
        changed(|a| a.cluster_name = "other".to_owned()),
        changed(|a| a.receiver = "n2".to_owned()),
        changed(|a| a.release = None),
        changed(|a| a.release.as_mut().unwrap().node = 1),
        changed(|a| a.release.as_mut().unwrap().node = 4),
        changed(|a| a.release.as_mut().unwrap().secret = vec![6; 31]),
        changed(|a| *a.release.as_mut().unwrap() = own_release(2, 9)),
        changed(|a| a.release.as_mut().unwrap().invocation.clear()),
    ];
    let count = unfit.len() as u64;
    for announce in unfit {
        let mut wire = scene.announce(&announce).await;
        let (kind, payload) = wire.receive().await.expect("an answer");
        assert_eq!(kind, FrameType::Refused, "{announce:?}");
        let refusal: Refusal = prost::Message::decode(payload.as_slice()).unwrap();
        assert!(!refusal.what.is_empty());
        wire.closed().await;
    }
    let counters = scene.n1.handle.counters();
    assert_eq!((counters.announcements, counters.refused), (0, count));
    let _wire = scene.announce(&announce("n1", 2)).await;
    scene.announced().await;
}

#[tokio::test]
async fn bytes_that_are_no_announcement_close_the_connection() {
    let mut scene = Scene::new();
    let whole = framed(&announce("n1", 2));
    let large = Announce {
        cluster_name: "x".repeat(limits::HANDSHAKE_PAYLOAD_MAX_BYTES),
        ..announce("n1", 2)
    };
    let mut attacks = vec![framed(&large)];
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(frame::HEADER_BYTES..bytes.len());
            bytes[at] = random.u8(..);
        }
        // Half of them with a right checksum, so that the payload is looked at.
        if random.bool() {
            let payload = &bytes[frame::HEADER_BYTES..];
            let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), payload);
            bytes[8..12].copy_from_slice(&sum.to_be_bytes());
        }
        attacks.push(bytes);
    }
    for attack in attacks {
        let stream = soon("connect", TcpStream::connect(&scene.address)).await.unwrap();
        let mut wire = Wire::new(stream);
        wire.write(&attack).await;
        // Some are still announcements, of something else: nobody answers them here.
        let closed = async {
            loop {
                tokio::select! {
                    biased;
                    frame = wire.receive() => match frame {
                        None => return,
                        Some((kind, _)) => assert_eq!(kind, FrameType::Refused),
                    },
                    event = scene.n1.events.recv() => {
                        assert!(matches!(event, Some(PeerEvent::Announced { .. })), "{event:?}");
                    }
                }
            }
        };
        soon("the end", closed).await;
    }
    let counters = scene.n1.handle.counters();
    assert!(counters.faulty > 100 && counters.refused > 0, "{counters:?}");
    // An answer, or a peer's release, is nothing to begin with.
    for kind in [FrameType::Announced, FrameType::Release] {
        let stream = soon("connect", TcpStream::connect(&scene.address)).await.unwrap();
        let mut wire = Wire::new(stream);
        wire.send(kind, &own_release(2, 9)).await;
        wire.closed().await;
    }
    assert_eq!(scene.n1.handle.counters().faulty, counters.faulty + 2);
}

/// Too many, and slow ones, cost the peers nothing; the places come back.
#[tokio::test]
async fn too_many_at_once_are_closed_and_the_peers_are_served() {
    let mut scene = Scene::new();
    let mut control = scene.n2().dial(1, ConnectionKind::Control).await;
    scene.n1.connected(2).await;
    let mut waiting = Vec::new();
    for _ in 0..limits::ANNOUNCEMENTS_WAITING_MAX {
        let wire = scene.announce(&announce("n1", 3)).await;
        waiting.push((wire, scene.announced().await.1));
    }
    let mut surplus = scene.announce(&announce("n1", 3)).await;
    assert!(surplus.receive().await.is_none());
    assert_eq!(scene.n1.handle.counters().dropped_announcements, 1);
    // Half an announcement occupies a place among the strangers, and none among these.
    let mut slow = Wire::new(TcpStream::connect(&scene.address).await.unwrap());
    slow.write(&framed(&announce("n1", 3))[..30]).await;
    control.send(FrameType::Message, &heartbeat(2, 1, 7)).await;
    assert_eq!(scene.n1.message().await.1, heartbeat(2, 1, 7));
    let (mut wire, reply) = waiting.pop().unwrap();
    reply.send(ReleaseOutcome::Over);
    assert_eq!(outcome(&mut wire).await, ReleaseOutcome::Over);
    let _wire = scene.announce(&announce("n1", 3)).await;
    let (_, reply) = scene.announced().await;
    // The others are not answered in time: closed, and nobody waits any more.
    for (wire, _) in &mut waiting {
        assert!(wire.receive().await.is_none());
    }
    assert!(waiting.iter().all(|(_, reply)| reply.is_closed()));
    drop(reply);
    slow.closed().await;
}

#[tokio::test]
async fn a_flood_is_cut_down_to_the_rate() {
    let mut scene = Scene::new();
    let begun = tokio::time::Instant::now();
    let mut answered = 0;
    const ALL: u64 = 400;
    for _ in 0..ALL {
        let mut wire = scene.announce(&announce("n1", 3)).await;
        let answer = async {
            loop {
                tokio::select! {
                    biased;
                    frame = wire.receive() => return frame.is_some(),
                    event = scene.n1.events.recv() => match event {
                        Some(PeerEvent::Announced { reply, .. }) => {
                            reply.send(ReleaseOutcome::NotLeader);
                        }
                        other => panic!("{other:?}"),
                    },
                }
            }
        };
        answered += u64::from(soon("an answer or the end", answer).await);
    }
    let most = f64::from(limits::ANNOUNCEMENTS_BURST)
        + begun.elapsed().as_secs_f64() * f64::from(limits::ANNOUNCEMENTS_PER_SECOND);
    let counters = scene.n1.handle.counters();
    assert_eq!(counters.announcements, answered);
    assert_eq!(counters.dropped_announcements, ALL - answered);
    assert!(answered >= u64::from(limits::ANNOUNCEMENTS_BURST).min(ALL), "{answered}");
    assert!(answered as f64 <= most + 1.0, "{answered} of {most}");
}

/// DESIGN 5.3: evidence is a process that answers. An announcement is none, whatever it says and
/// wherever it comes from.
#[tokio::test]
async fn an_announcement_is_no_sign_of_life_and_teaches_nothing() {
    let mut scene = Scene::new();
    let [control, bulk] = scene.n2().accept_both().await;
    assert_eq!(scene.n1.connected(2).await, 102);
    for node in [2, 3] {
        let mut wire = scene.announce(&announce("n1", node)).await;
        scene.announced().await.1.send(ReleaseOutcome::Proposed);
        assert_eq!(outcome(&mut wire).await, ReleaseOutcome::Proposed);
    }
    // The end of the announcement's connection was no loss, and member 2 is still who it was:
    // the first thing that is heard of it is the loss of its own connection, and then silence.
    drop((scene.n2.take(), control, bulk));
    assert!(matches!(scene.n1.next().await, PeerEvent::Lost { peer: NodeId(2) }));
    let mut wire = scene.announce(&announce("n1", 2)).await;
    let mut events = Vec::new();
    while events.len() < 2 {
        match scene.n1.next().await {
            PeerEvent::Announced { reply, .. } => {
                reply.send(ReleaseOutcome::Over);
                events.push("announced");
            }
            PeerEvent::Silent { peer: NodeId(2) } => events.push("silent"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(outcome(&mut wire).await, ReleaseOutcome::Over);
    let mut control = scene.n3.dial(1, ConnectionKind::Control).await;
    control.send(FrameType::Message, &heartbeat(3, 1, 1)).await;
    assert_eq!(scene.n1.connected(3).await, 103);
}

#[tokio::test]
async fn peers_send_each_other_releases_of_their_own() {
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let n1 = Node::start(one, &members, 1, 101);
    let mut n2 = Node::start(two, &members, 2, 102);
    n1.reach(&mut n2, heartbeat(1, 2, 1)).await;
    assert!(!n1.handle.send_release(NodeId(9), own_release(1, 7)));
    assert!(n1.handle.send_release(NodeId(2), own_release(1, 7)));
    let (from, release, credit) = n2.release().await;
    assert_eq!((from, release), (NodeId(1), own_release(1, 7)));
    assert_eq!(credit.bytes(), limits::INBOUND_CONTROL_MESSAGE_MIN_BYTES);
}

#[tokio::test]
async fn a_release_in_the_name_of_another_is_refused_and_counted() {
    let mut scene = Scene::new();
    let nothing = Release { token: 0, ..own_release(2, 0) };
    let odd = Release { secret: vec![1; 5], ..own_release(2, 7) };
    for (count, forged) in [own_release(3, 7), own_release(1, 7), nothing, odd].iter().enumerate() {
        let mut control = scene.n2().dial(1, ConnectionKind::Control).await;
        control.send(FrameType::Release, forged).await;
        control.closed().await;
        assert_eq!(scene.n1.handle.counters().faulty, count as u64 + 1);
    }
    let mut control = scene.n2().dial(1, ConnectionKind::Control).await;
    control.send(FrameType::Release, &own_release(2, 8)).await;
    let (from, release, _) = scene.n1.release().await;
    assert_eq!((from, release), (NodeId(2), own_release(2, 8)));
}
