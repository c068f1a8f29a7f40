//! The floors: the bare steps that any replicated log has to take, without its bookkeeping.
//!
//! Three child processes (this program, executed again) talk 320-byte messages over loopback and
//! write 512 bytes with fdatasync into preallocated blocks. The roles are fixed: 0 leads, 1 is its
//! only possible successor, 2 votes. An election is one vote round and one commit round, each with
//! a sync on both sides in parallel. No pre-vote, no log matching, no terms: what a real cluster
//! adds is the difference.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ELECTION_MIN;
use crate::HEARTBEAT;
use crate::stats::Samples;

/// The argument that makes this program a floor node: `--floor-node ID PARENT_PORT DIRECTORY`.
pub const CHILD_FLAG: &str = "--floor-node";

const LEADER: usize = 0;
const SUCCESSOR: usize = 1;
const PARENT: usize = 3;

const MESSAGE_BYTES: usize = 320;
const RECORD_BYTES: usize = 512;
const LOG_BYTES: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(5);

/// Kinds of messages: the first byte. The second is the round it belongs to.
const HELLO: u8 = b'H';
const BEAT: u8 = b'B';
const VOTE: u8 = b'V';
const GRANT: u8 = b'G';
const APPEND: u8 = b'A';
const ACK: u8 = b'K';
const WRITE: u8 = b'W';
const COMMITTED: u8 = b'C';
const TAKE_OVER: u8 = b'T';

type Message = [u8; MESSAGE_BYTES];

fn message(kind: u8, round: u8) -> Message {
    let mut message = [0; MESSAGE_BYTES];
    (message[0], message[1]) = (kind, round);
    message
}

/// Everything that the floors measure.
#[derive(Default)]
pub struct Floors {
    /// From before the first fork to the first commit.
    pub start: Samples,
    /// A client's durable replicated write.
    pub write: Samples,
    /// The leader is told to hand over, to the successor's first commit.
    pub transfer: Samples,
    /// From before kill(2) to the successor's first commit.
    pub kill: Samples,
    /// From the last moment of a leader that falls silent to the same.
    pub silence: Samples,
}

/// Measures all floors, `trials` times, with logs in `directory`.
pub fn measure(trials: usize, directory: &Path) -> Result<Floors> {
    let mut floors = Floors::default();
    for _ in 0..trials {
        let mut trio = Trio::start(directory, &mut floors.start)?;
        for _ in 0..10 {
            let began = Instant::now();
            trio.ask(LEADER, WRITE)?;
            trio.await_commit(LEADER)?;
            floors.write.push_since(began);
        }
        let began = Instant::now();
        trio.ask(LEADER, TAKE_OVER)?;
        trio.await_commit(SUCCESSOR)?;
        floors.transfer.push_since(began);
        trio.fault(Signal::SIGKILL, &mut floors.kill)?;
        drop(trio);
        let mut trio = Trio::start(directory, &mut Samples::default())?;
        // Anywhere between two heartbeats.
        std::thread::sleep(HEARTBEAT * 3 + HEARTBEAT.mul_f64(fastrand::f64()));
        trio.fault(Signal::SIGSTOP, &mut floors.silence)?;
    }
    Ok(floors)
}

/// Three running floor nodes, as their client sees them.
struct Trio {
    children: Vec<Child>,
    connections: Vec<TcpStream>,
}

impl Drop for Trio {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Trio {
    fn start(directory: &Path, samples: &mut Samples) -> Result<Trio> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port().to_string();
        let program = std::env::current_exe()?;
        let began = Instant::now();
        let mut trio = Trio { children: Vec::new(), connections: Vec::new() };
        for id in 0..3 {
            let arguments = [CHILD_FLAG, &id.to_string(), &port];
            let child = Command::new(&program).args(arguments).arg(directory).spawn();
            trio.children.push(child.context("cannot start a floor node")?);
        }
        let mut arrived = Vec::new();
        let mut ports = message(HELLO, 0);
        for _ in 0..3 {
            let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, timeout(DEADLINE))? == 0 {
                bail!("a floor node did not start within {DEADLINE:?}");
            }
            let (mut stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            let hello = receive(&mut stream)?;
            let at = 2 + 2 * usize::from(hello[1]);
            ports[at..at + 2].copy_from_slice(&hello[2..4]);
            arrived.push((hello[1], stream));
        }
        arrived.sort_by_key(|(id, _)| *id);
        trio.connections = arrived.into_iter().map(|(_, stream)| stream).collect();
        for connection in &mut trio.connections {
            connection.write_all(&ports)?;
        }
        trio.await_commit(LEADER)?;
        samples.push_since(began);
        Ok(trio)
    }

    fn ask(&mut self, node: usize, kind: u8) -> Result<()> {
        Ok(self.connections[node].write_all(&message(kind, 0))?)
    }

    fn await_commit(&mut self, node: usize) -> Result<()> {
        let answer = receive(&mut self.connections[node])?;
        if answer[0] != COMMITTED {
            bail!("floor node {node} answered {:?}", char::from(answer[0]));
        }
        Ok(())
    }

    /// Sends `signal` to the leader and waits for the successor's first commit.
    fn fault(&mut self, signal: Signal, samples: &mut Samples) -> Result<()> {
        let leader = Pid::from_raw(self.children[LEADER].id() as i32);
        let began = Instant::now();
        kill(leader, signal)?;
        self.await_commit(SUCCESSOR)?;
        samples.push_since(began);
        Ok(())
    }
}

fn receive(stream: &mut TcpStream) -> std::io::Result<Message> {
    let mut message = [0; MESSAGE_BYTES];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// The main function of a child.
pub fn child(arguments: &[String]) -> Result<()> {
    let [id, port, directory] = arguments else { bail!("{CHILD_FLAG} ID PORT DIRECTORY") };
    Node::join(id.parse()?, port.parse()?, Path::new(directory))?.serve()
}

/// One floor node.
struct Node {
    id: usize,
    /// By number; `None` for itself and for whom it lost.
    connections: [Option<TcpStream>; 4],
    log: File,
    written: usize,
    round: u8,
}

impl Node {
    fn join(id: usize, parent: u16, directory: &Path) -> Result<Node> {
        let path = directory.join(format!("floor-{id}"));
        let log = File::options().create(true).truncate(false).write(true).open(path)?;
        if log.metadata()?.len() < LOG_BYTES as u64 {
            // Written once, so that the blocks exist and a sync is not about the file's size.
            log.write_all_at(&vec![0; LOG_BYTES], 0)?;
            log.sync_all()?;
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut hello = message(HELLO, id as u8);
        hello[2..4].copy_from_slice(&listener.local_addr()?.port().to_be_bytes());
        let connect = |port: u16| -> Result<TcpStream> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            stream.write_all(&hello)?;
            Ok(stream)
        };
        let mut connections = [const { None }; 4];
        let mut to_parent = connect(parent)?;
        let ports = receive(&mut to_parent)?;
        connections[PARENT] = Some(to_parent);
        for (peer, connection) in connections.iter_mut().enumerate().take(id) {
            let at = 2 + 2 * peer;
            *connection = Some(connect(u16::from_be_bytes([ports[at], ports[at + 1]]))?);
        }
        for _ in id + 1..3 {
            let (mut stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            let peer = usize::from(receive(&mut stream)?[1]);
            connections[peer] = Some(stream);
        }
        Ok(Node { id, connections, log, written: 0, round: 0 })
    }

    fn serve(mut self) -> Result<()> {
        if self.id == LEADER {
            self.elect()?;
        }
        let mut heard = Instant::now();
        let mut elected = false;
        loop {
            let wait = match self.id {
                LEADER => HEARTBEAT,
                SUCCESSOR if !elected => ELECTION_MIN.saturating_sub(heard.elapsed()),
                _ => DEADLINE,
            };
            let lost = match self.next(wait)? {
                Some((PARENT, None)) => return Ok(()),
                Some((from, None)) => {
                    self.connections[from] = None;
                    from == LEADER
                }
                Some((LEADER, Some(_))) if elected => false,
                Some((from, Some(message))) => {
                    if from == LEADER {
                        heard = Instant::now();
                    }
                    self.handle(from, message)?;
                    false
                }
                None if self.id == LEADER => {
                    self.tell_peers(BEAT);
                    false
                }
                None => true,
            };
            if lost && self.id == SUCCESSOR && !elected {
                elected = true;
                self.elect()?;
            }
        }
    }

    fn handle(&mut self, from: usize, message: Message) -> Result<()> {
        match message[0] {
            VOTE => self.sync_and_answer(from, GRANT, message[1]),
            APPEND => self.sync_and_answer(from, ACK, message[1]),
            WRITE => {
                self.replicate(APPEND, ACK)?;
                self.send(PARENT, COMMITTED, 0);
                Ok(())
            }
            TAKE_OVER if self.id == LEADER => {
                self.send(SUCCESSOR, TAKE_OVER, 0);
                Ok(())
            }
            TAKE_OVER => self.elect(),
            _ => Ok(()),
        }
    }

    fn elect(&mut self) -> Result<()> {
        self.replicate(VOTE, GRANT)?;
        self.replicate(APPEND, ACK)?;
        self.send(PARENT, COMMITTED, 0);
        Ok(())
    }

    /// One round: everybody syncs in parallel, one answer and our own sync are the majority.
    fn replicate(&mut self, ask: u8, answer: u8) -> Result<()> {
        self.round = self.round.wrapping_add(1);
        self.tell_peers(ask);
        self.sync()?;
        loop {
            match self.next(DEADLINE)? {
                Some((_, Some(message))) if message[..2] == [answer, self.round] => return Ok(()),
                Some((PARENT, None)) | None => bail!("no answer to {:?}", char::from(ask)),
                Some((from, None)) => self.connections[from] = None,
                Some(_) => {}
            }
        }
    }

    fn sync_and_answer(&mut self, to: usize, kind: u8, round: u8) -> Result<()> {
        self.sync()?;
        self.send(to, kind, round);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let offset = (self.written % (LOG_BYTES / RECORD_BYTES)) * RECORD_BYTES;
        self.log.write_all_at(&[1; RECORD_BYTES], offset as u64)?;
        self.log.sync_data()?;
        self.written += 1;
        Ok(())
    }

    fn tell_peers(&mut self, kind: u8) {
        for peer in 0..3 {
            self.send(peer, kind, self.round);
        }
    }

    /// Sends if the connection still stands; its end is noticed by reading.
    fn send(&mut self, to: usize, kind: u8, round: u8) {
        if let Some(stream) = &mut self.connections[to] {
            let _ = stream.write_all(&message(kind, round));
        }
    }

    /// The next message and whose it is, its end as `None`, or nothing within `wait`.
    fn next(&mut self, wait: Duration) -> Result<Option<(usize, Option<Message>)>> {
        let open = |(id, stream): (usize, &'_ Option<TcpStream>)| stream.as_ref().map(|_| id);
        let ids: Vec<usize> = self.connections.iter().enumerate().filter_map(open).collect();
        let streams = self.connections.iter().flatten();
        let mut fds: Vec<PollFd> =
            streams.map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut fds, timeout(wait))?;
        let ready = fds.iter().position(|fd| fd.any().unwrap_or(false));
        let Some(id) = ready.map(|at| ids[at]) else { return Ok(None) };
        let stream = self.connections[id].as_mut().context("a connection that was polled")?;
        match receive(stream) {
            Ok(message) => Ok(Some((id, Some(message)))),
            Err(error) if is_end(error.kind()) => Ok(Some((id, None))),
            Err(error) => Err(error.into()),
        }
    }
}

/// Rounded up: a timer that fires early would be a heartbeat too many.
fn timeout(wait: Duration) -> PollTimeout {
    PollTimeout::from(u16::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u16::MAX))
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
