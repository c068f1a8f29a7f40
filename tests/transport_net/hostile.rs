//! Whatever arrives, the real peers are served.

use std::future::Future;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike as _;
use raftctl::core::message::Message;
use raftctl::limits;
use raftctl::transport::PeerEvent;
use raftctl::transport::frame::{self, FrameType};
use raftctl::transport::wire::{ConnectionKind, Standing, StatusRequest};
use tokio::net::TcpStream;

use super::support::*;

/// Three members of which two are real; the third is what attacks them.
struct Scene {
    n1: Node,
    n2: Node,
    third: StandIn,
    address: String,
}

impl Scene {
    async fn new() -> Scene {
        let (listeners, members) = members(3);
        let [one, two, three] = <[_; 3]>::try_from(listeners).unwrap();
        let address = members[0].address.to_string();
        let n1 = Node::start(one, &members, 1, 101);
        let n2 = Node::start(two, &members, 2, 102);
        let third = StandIn::new(three, &members, 3, 103);
        let mut scene = Scene { n1, n2, third, address };
        scene.works().await;
        scene
    }

    async fn stranger(&self) -> Wire {
        Wire::new(soon("connect", TcpStream::connect(&self.address)).await.unwrap())
    }

    /// The real members reach each other on both connections.
    async fn works(&mut self) {
        let Scene { n1, n2, .. } = self;
        n1.reach(n2, heartbeat(1, 2, 1)).await;
        n2.reach(n1, heartbeat(2, 1, 1)).await;
        n2.reach(n1, append(2, 1, 1, 1000)).await;
    }
}

fn framed(kind: FrameType, payload: &impl prost::Message) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode_into(&mut out, kind, payload);
    out
}

/// A frame whose payload is not what its type says, with a right checksum.
fn sealed(kind: FrameType, payload: &[u8]) -> Vec<u8> {
    let mut out = framed(kind, &());
    out[..4].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&out[..8]), payload);
    out[8..12].copy_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Runs a test in a process of its own, for limits and measurements that hold for all of it.
fn in_own_process(name: &str, test: impl Future<Output = ()>) {
    const CHILD: &str = "RAFTCTL_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(test);
    }
    let name = format!("hostile::{name}");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", &name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn strangers_that_send_anything_are_closed() {
    let mut scene = Scene::new().await;
    let mut random = fastrand::Rng::with_seed(3);
    let hello = framed(FrameType::Hello, &scene.third.greeting(1, ConnectionKind::Control));
    let mut oversized = hello.clone();
    let over = limits::HANDSHAKE_PAYLOAD_MAX_BYTES as u32 + 1;
    oversized[..4].copy_from_slice(&over.to_be_bytes());
    let mut damaged = hello.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut attacks = vec![
        oversized,
        damaged,
        sealed(FrameType::Hello, &[0xff; 100]),
        framed(FrameType::Message, &heartbeat(3, 1, 0)),
        framed(FrameType::StatusRequest, &StatusRequest { request: 1 }),
        framed(FrameType::Standing, &Standing { eligible: false, priority: 1 }),
        framed(FrameType::Welcome, &scene.third.greeting(1, ConnectionKind::Bulk)),
        b"GET / HTTP/1.1\r\nHost: n1\r\n\r\n".to_vec(),
    ];
    for _ in 0..200 {
        let mut bytes = vec![0; random.usize(frame::HEADER_BYTES..6000)];
        random.fill(&mut bytes);
        attacks.push(bytes);
    }
    let count = attacks.len() as u64;
    for attack in attacks {
        let mut wire = scene.stranger().await;
        wire.write(&attack).await;
        wire.closed().await;
    }
    assert_eq!(scene.n1.handle.counters().faulty, count);
    scene.works().await;
}

#[tokio::test]
async fn half_a_greeting_is_not_waited_for_for_ever() {
    let mut scene = Scene::new().await;
    let hello = framed(FrameType::Hello, &scene.third.greeting(1, ConnectionKind::Control));
    let mut wires = Vec::new();
    for cut in [0, 1, frame::HEADER_BYTES - 1, frame::HEADER_BYTES, hello.len() - 1] {
        let mut wire = scene.stranger().await;
        wire.write(&hello[..cut]).await;
        wires.push(wire);
    }
    scene.works().await;
    for wire in &mut wires {
        wire.closed().await;
    }
    assert_eq!(scene.n1.handle.counters().faulty, wires.len() as u64);
    // The one whose other end just goes is not a fault.
    let mut wire = scene.stranger().await;
    wire.write(&hello[..20]).await;
    drop(wire);
    scene.works().await;
}

#[test]
fn thousands_of_idle_connections_cost_little_and_keep_nobody_out() {
    let name = "thousands_of_idle_connections_cost_little_and_keep_nobody_out";
    in_own_process(name, thousands_of_idle_connections());
}

async fn thousands_of_idle_connections() {
    const IDLE: u64 = 2000;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most.min(65536), most).unwrap();
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let mut n1 = Node::start(one, &members, 1, 101);
    let address = members[0].address.as_str();
    let before = resident_bytes();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(soon("connect", TcpStream::connect(address)).await.unwrap());
    }
    let waiting = limits::HANDSHAKING_CONNECTIONS_MAX as u64;
    let evictions = async {
        while n1.handle.counters().evicted < IDLE - waiting {
            tokio::task::yield_now().await;
        }
    };
    soon("room is made", evictions).await;
    // A member that comes now is served, and the strangers' connections are gone.
    let mut n2 = Node::start(two, &members, 2, 102);
    n2.reach(&mut n1, heartbeat(2, 1, 1)).await;
    n1.reach(&mut n2, append(1, 2, 1, 1000)).await;
    let mut first = Wire::new(idle.remove(0));
    first.closed().await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for {IDLE} idle connections");
}

#[test]
fn a_want_of_descriptors_is_said_once_and_costs_no_loop() {
    in_own_process("a_want_of_descriptors_is_said_once_and_costs_no_loop", want_of_descriptors());
}

async fn want_of_descriptors() {
    let (log, _guard) = Log::capture();
    let (listeners, members) = members(2);
    let [one, two] = <[_; 2]>::try_from(listeners).unwrap();
    let n2 = StandIn::new(two, &members, 2, 102);
    // The connections are made before anybody accepts, so their own descriptors are there.
    let mut wires = Vec::new();
    for _ in 0..20 {
        wires.push(n2.open(1).await);
    }
    let mut last = wires.pop().unwrap();
    last.send(FrameType::Hello, &n2.greeting(1, ConnectionKind::Control)).await;
    let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, next + 5, most).unwrap();
    let before = cpu_time();
    let n1 = Node::start(one, &members, 1, 101);
    // The first five are accepted, say nothing, and make room after the time for a handshake.
    wires[0].closed().await;
    let used = cpu_time() - before;
    assert!(used < limits::HANDSHAKE_TIMEOUT / 4, "{used:?} of processor time");
    let about = |line: &&String| line.contains("cannot accept connections");
    assert_eq!(log.lines().iter().filter(about).count(), 1, "{:#?}", log.lines());
    setrlimit(Resource::RLIMIT_NOFILE, most.min(65536), most).unwrap();
    let (kind, _) = last.receive().await.expect("an answer");
    assert_eq!(kind, FrameType::Welcome);
    assert_eq!(log.lines().iter().filter(about).count(), 1, "{:#?}", log.lines());
    drop(n1);
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let times = [usage.user_time(), usage.system_time()];
    times.iter().map(|t| Duration::from_micros(t.num_microseconds() as u64)).sum()
}

#[test]
fn a_slow_sender_of_large_frames_costs_no_memory() {
    in_own_process("a_slow_sender_of_large_frames_costs_no_memory", slow_sender());
}

async fn slow_sender() {
    let mut scene = Scene::new().await;
    let mut bulk = scene.third.dial(1, ConnectionKind::Bulk).await;
    let before = resident_bytes();
    let large = framed(FrameType::Message, &append(3, 1, 1, limits::FRAME_PAYLOAD_MAX_BYTES - 64));
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown > 4 << 20, "the measurement shows large buffers: {grown}");
    let before = resident_bytes();
    bulk.write(&large[..frame::HEADER_BYTES + 1]).await;
    for _ in 0..20 {
        scene.works().await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for one byte of payload");
    // Slow is allowed: the rest makes it a message.
    bulk.write(&large[frame::HEADER_BYTES + 1..]).await;
    loop {
        if scene.n1.message().await.0.0 == 3 {
            break;
        }
    }
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_is_closed_and_not_believed() {
    let mut scene = Scene::new().await;
    let mut damaged = framed(FrameType::Message, &heartbeat(3, 1, 0));
    *damaged.last_mut().unwrap() ^= 1;
    let large =
        Message { context: vec![0; limits::CONTROL_PAYLOAD_MAX_BYTES], ..heartbeat(3, 1, 0) };
    let attacks = [
        framed(FrameType::Message, &heartbeat(2, 1, 0)),
        framed(FrameType::Message, &heartbeat(3, 2, 0)),
        framed(FrameType::Message, &heartbeat(0, 0, 0)),
        framed(FrameType::Message, &large),
        framed(FrameType::Hello, &scene.third.greeting(1, ConnectionKind::Control)),
        sealed(FrameType::Message, &[0xff; 20]),
        sealed(FrameType::Message, &[7 << 3 | 2, 0].repeat(30_000)),
        sealed(FrameType::StatusReply, &[0xff; 20]),
        sealed(FrameType::Standing, &[0xff; 20]),
        damaged,
    ];
    let mut faulty = 0;
    for attack in attacks {
        let mut wire = scene.third.dial(1, ConnectionKind::Control).await;
        wire.write(&attack).await;
        wire.closed().await;
        faulty += 1;
        assert_eq!(scene.n1.handle.counters().faulty, faulty);
    }
    let mut wire = scene.third.dial(1, ConnectionKind::Control).await;
    wire.send(FrameType::Message, &heartbeat(3, 1, 55)).await;
    loop {
        // Nothing that was forged has come through before it.
        match scene.n1.next().await {
            PeerEvent::Message { from, message, .. } if from.0 == 3 => {
                assert_eq!(message, heartbeat(3, 1, 55));
                break;
            }
            PeerEvent::Message { from, .. } => assert_eq!(from.0, 2),
            _ => {}
        }
    }
    scene.works().await;
}

#[tokio::test]
async fn a_peer_that_answers_a_dial_with_anything_is_only_dialed_again() {
    let mut scene = Scene::new().await;
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..12 {
        let (hello, mut wire) = scene.third.accept_hello().await;
        let welcome = framed(FrameType::Welcome, &scene.third.greeting(1, hello.kind()));
        let mut bytes = vec![0; 300];
        random.fill(&mut bytes);
        match round % 4 {
            0 => {}
            1 => bytes = welcome[..welcome.len() - 1].to_vec(),
            2 => bytes = framed(FrameType::Message, &heartbeat(3, 1, 0)),
            _ => bytes = [welcome, vec![0]].concat(),
        }
        wire.write(&bytes).await;
    }
    scene.works().await;
}
