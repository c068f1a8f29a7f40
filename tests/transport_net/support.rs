//! Nodes with a real transport, and a stand-in that speaks the protocol by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raftctl::core::message::{Entry, Kind, Message};
use raftctl::core::{Incarnation, NodeId};
use raftctl::limits;
use raftctl::transport::frame::{self, Decoded, FrameType, HEADER_BYTES};
use raftctl::transport::handshake::{self, Ours};
use raftctl::transport::wire::{ConnectionKind, Greeting};
use raftctl::transport::{self, Identity, Known, Peer, PeerEvent, TransportHandle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing_subscriber::fmt::MakeWriter;

/// Long enough for a loaded machine, short enough for a person.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {DEADLINE:?}"),
    }
}

/// Listeners on free ports, and the members that listen there, numbered from 1.
pub fn members(count: u64) -> (Vec<StdListener>, Vec<Peer>) {
    (1..=count).map(member).unzip()
}

fn member(id: u64) -> (StdListener, Peer) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let name = format!("n{id}").parse().unwrap();
    (listener, Peer { id: NodeId(id), name, address })
}

/// The identity of one run of a member.
pub fn identity(id: u64, process: u64) -> Identity {
    Identity {
        cluster_name: "main".to_owned(),
        node: format!("n{id}").parse().unwrap(),
        id: NodeId(id),
        incarnation: Incarnation([id as u8; 16]),
        process,
        bootstrap: [7; 16],
        election_min_ms: 200,
        version: "test".to_owned(),
    }
}

pub fn without(members: &[Peer], id: u64) -> Vec<Peer> {
    members.iter().filter(|peer| peer.id != NodeId(id)).cloned().collect()
}

pub fn heartbeat(from: u64, to: u64, commit: u64) -> Message {
    Message { kind: Kind::Heartbeat as i32, from, to, commit, ..Default::default() }
}

pub fn append(from: u64, to: u64, index: u64, bytes: usize) -> Message {
    let entries = vec![Entry { term: 1, index, data: vec![0x5a; bytes] }];
    Message { kind: Kind::Append as i32, from, to, index, entries, ..Default::default() }
}

/// A member with a real transport.
pub struct Node {
    pub handle: TransportHandle,
    pub events: mpsc::Receiver<PeerEvent>,
}

impl Node {
    /// Starts one run of member `id`.
    pub fn start(listener: StdListener, members: &[Peer], id: u64, process: u64) -> Node {
        Node::start_as(listener, members, identity(id, process), Known::default())
    }

    pub fn start_as(
        listener: StdListener,
        members: &[Peer],
        identity: Identity,
        known: Known,
    ) -> Node {
        let (sender, events) = mpsc::channel(limits::DRIVER_QUEUE_EVENTS);
        let peers = without(members, identity.id.0);
        let handle = transport::start(listener, identity, peers, known, sender, 1).unwrap();
        Node { handle, events }
    }

    pub async fn next(&mut self) -> PeerEvent {
        soon("an event", self.events.recv()).await.expect("the transport lives")
    }

    /// The next event that is not `Connected`.
    pub async fn next_other(&mut self) -> PeerEvent {
        loop {
            match self.next().await {
                PeerEvent::Connected { .. } => {}
                event => return event,
            }
        }
    }

    /// The next message, from whom it is; other events are passed over.
    pub async fn message(&mut self) -> (NodeId, Message) {
        loop {
            if let PeerEvent::Message { from, message, .. } = self.next().await {
                return (from, message);
            }
        }
    }

    /// Waits until `peer` is connected and says which of its processes; passes over the rest.
    pub async fn connected(&mut self, peer: u64) -> u64 {
        loop {
            match self.next().await {
                PeerEvent::Connected { peer: id, process, .. } if id == NodeId(peer) => {
                    return process;
                }
                _ => {}
            }
        }
    }

    /// Sends until it arrives at `to`: while connections are made, messages may be lost.
    pub async fn reach(&self, to: &mut Node, message: Message) {
        let arrive = async {
            let mut pause = tokio::time::interval(Duration::from_millis(10));
            loop {
                tokio::select! {
                    _ = pause.tick() => self.handle.send(message.clone()),
                    event = to.events.recv() => match event.expect("the transport lives") {
                        PeerEvent::Message { message: arrived, .. } if arrived == message => return,
                        _ => {}
                    },
                }
            }
        };
        soon("delivery", arrive).await;
    }
}

/// Warnings of the current thread.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn capture() -> (Log, tracing::subscriber::DefaultGuard) {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// A stand-in for a member: a listener and connections driven by the test.
pub struct StandIn {
    pub identity: Identity,
    pub listener: TcpListener,
    peers: BTreeMap<NodeId, Peer>,
}

impl StandIn {
    pub fn new(listener: StdListener, members: &[Peer], id: u64, process: u64) -> StandIn {
        listener.set_nonblocking(true).unwrap();
        let peers = without(members, id).into_iter().map(|peer| (peer.id, peer)).collect();
        let listener = TcpListener::from_std(listener).unwrap();
        StandIn { identity: identity(id, process), listener, peers }
    }

    pub fn greeting(&self, to: u64, kind: ConnectionKind) -> Greeting {
        let (known, seen) = (Known::default(), BTreeMap::new());
        let ours =
            Ours { identity: &self.identity, known: &known, peers: &self.peers, seen: &seen };
        handshake::greeting(ours, &self.peers[&NodeId(to)], kind)
    }

    /// Opens a connection to member `to` without a word.
    pub async fn open(&self, to: u64) -> Wire {
        let address = self.peers[&NodeId(to)].address.as_str();
        Wire::new(soon("connect", TcpStream::connect(address)).await.unwrap())
    }

    /// Dials member `to` and passes the handshake.
    pub async fn dial(&self, to: u64, kind: ConnectionKind) -> Wire {
        let mut wire = self.open(to).await;
        wire.send(FrameType::Hello, &self.greeting(to, kind)).await;
        let (answer, _) = wire.receive().await.expect("an answer");
        assert_eq!(answer, FrameType::Welcome);
        wire
    }

    /// Accepts the next connection and passes the handshake; says of which kind it is.
    pub async fn accept(&self) -> (ConnectionKind, Wire) {
        let (hello, mut wire) = self.accept_hello().await;
        wire.send(FrameType::Welcome, &self.greeting(hello.id, hello.kind())).await;
        (hello.kind(), wire)
    }

    /// Accepts the next connection and reads its greeting.
    pub async fn accept_hello(&self) -> (Greeting, Wire) {
        let (stream, _) = soon("a dial", self.listener.accept()).await.unwrap();
        let mut wire = Wire::new(stream);
        let (kind, payload) = wire.receive().await.expect("a greeting");
        assert_eq!(kind, FrameType::Hello);
        (prost::Message::decode(payload.as_slice()).unwrap(), wire)
    }

    /// Accepts one connection of each kind: control, bulk.
    pub async fn accept_both(&self) -> [Wire; 2] {
        let mut wires = BTreeMap::new();
        while wires.len() < 2 {
            let (kind, wire) = self.accept().await;
            wires.insert(kind, wire);
        }
        [ConnectionKind::Control, ConnectionKind::Bulk].map(|kind| wires.remove(&kind).unwrap())
    }
}

/// A raw connection.
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Wire {
        Wire { stream, buffer: Vec::new() }
    }

    pub async fn send(&mut self, kind: FrameType, payload: &impl prost::Message) {
        let mut out = Vec::new();
        frame::encode_into(&mut out, kind, payload);
        self.write(&out).await;
    }

    /// Writes bytes as they are; the other side may have closed already.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = soon("a write", self.stream.write_all(bytes)).await;
    }

    /// The next frame, or `None` when the other side has closed.
    pub async fn receive(&mut self) -> Option<(FrameType, Vec<u8>)> {
        loop {
            let decoded = frame::decode(&self.buffer, limits::FRAME_PAYLOAD_MAX_BYTES).unwrap();
            if let Decoded::Frame { kind, consumed, .. } = decoded {
                let mut frame: Vec<u8> = self.buffer.drain(..consumed).collect();
                return Some((kind, frame.split_off(HEADER_BYTES)));
            }
            match soon("a frame or the end", self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn receive_message(&mut self) -> Message {
        let (kind, payload) = self.receive().await.expect("a message");
        assert_eq!(kind, FrameType::Message);
        prost::Message::decode(payload.as_slice()).unwrap()
    }

    /// Waits until the other side has closed the connection.
    pub async fn closed(&mut self) {
        while self.receive().await.is_some() {}
    }
}
