//! The private bus and clients that mean no good: none ends the agent, grows its memory or
//! disturbs another client.

mod dbus_support;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use dbus_support::{DEADLINE, FakeNode, as_user, leader_of_three, name};
use raftctl::core::kv::Written;
use raftctl::dbus::client::{Client, ClientError};
use raftctl::dbus::key_value::{Bytes, WriteOptions};
use raftctl::dbus::private::{self, BindError};
use raftctl::dbus::{KEY_VALUE_INTERFACE, NODE_INTERFACE, ROOT_PATH};
use raftctl::limits;
use raftctl::node::handle::Request;
use raftctl::node::kv::KvRequest;
use zbus::Message;

/// A panic anywhere in the process fails the test: in the agent it would be the end.
fn abort_on_panic_in_a_task() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        std::process::abort();
    }));
}

/// A bus in a thread of its own, so that the hostile client may block.
struct Bus {
    socket: PathBuf,
    requests: std::sync::mpsc::Receiver<Request>,
    _directory: tempfile::TempDir,
}

fn serve() -> Bus {
    serve_for(None)
}

fn serve_for(group: Option<u32>) -> Bus {
    abort_on_panic_in_a_task();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let (socket_sender, socket) = std::sync::mpsc::sync_channel(1);
    let (request_sender, requests) = std::sync::mpsc::sync_channel(1024);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut node = FakeNode::new(leader_of_three());
            let (socket, _serving) = node.serve_for(&path, group);
            socket_sender.send(socket).unwrap();
            while let Some(request) = node.requests.recv().await {
                if request_sender.send(request).is_err() {
                    return;
                }
            }
        });
    });
    let socket = socket.recv_timeout(DEADLINE).unwrap();
    Bus { socket, requests, _directory: directory }
}

fn describe(socket: &Path) -> Result<String, ClientError> {
    raftctl::dbus::client::with_client(socket, DEADLINE, async |client: Client| {
        Ok(client.describe().await?.name)
    })
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A stream past its authentication.
fn authenticated(socket: &Path) -> UnixStream {
    let mut stream = connect(socket);
    stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n").unwrap();
    let mut answer = Vec::new();
    while answer.iter().filter(|byte| **byte == b'\n').count() < 2 {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    stream
}

/// The bytes of a call of ours.
fn message(method: &str, body: Option<&str>) -> Vec<u8> {
    let call = Message::method_call(ROOT_PATH, method).interface(NODE_INTERFACE);
    let call = match body {
        Some(text) => call.build(&(text,)),
        None => call.build(&()),
    };
    call.unwrap().data().bytes().to_vec()
}

/// Waits until the bus has closed the connection; what it sends before is thrown away.
fn assert_closed(mut stream: UnixStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("still open: {error}"),
        }
    }
}

#[test]
fn a_client_that_says_nothing_is_closed_and_disturbs_nobody() {
    let bus = serve();
    let silent = connect(&bus.socket);
    let mut half = connect(&bus.socket);
    half.write_all(b"\0AUTH EXTER").unwrap();
    assert_eq!(describe(&bus.socket).unwrap(), "n1");
    assert_closed(silent);
    assert_closed(half);
    assert_eq!(describe(&bus.socket).unwrap(), "n1");
}

#[test]
fn a_greeting_without_end_is_cut() {
    let bus = serve();
    let mut stream = connect(&bus.socket);
    let endless = vec![b'A'; limits::DBUS_AUTH_MAX_BYTES * 64];
    // The write fails when the bus closes; how much the kernel took before does not matter.
    let _ = stream.write_all(b"\0").and_then(|()| stream.write_all(&endless));
    assert_closed(stream);
    assert_eq!(describe(&bus.socket).unwrap(), "n1");
}

#[test]
fn a_message_above_the_limit_is_refused_before_it_is_read() {
    let bus = serve();
    for (body, fields) in [(100 << 20, 16u32), (0, 100 << 20), (u32::MAX, u32::MAX)] {
        let mut stream = authenticated(&bus.socket);
        let mut header = vec![b'l', 1, 0, 1];
        header.extend_from_slice(&u32::to_le_bytes(body));
        header.extend_from_slice(&u32::to_le_bytes(1));
        header.extend_from_slice(&u32::to_le_bytes(fields));
        stream.write_all(&header).unwrap();
        assert_closed(stream);
    }
    assert_eq!(describe(&bus.socket).unwrap(), "n1");
}

/// The bytes of a call that puts a value of the greatest length.
fn long_put() -> Vec<u8> {
    let value = Bytes(vec![7; limits::KV_VALUE_MAX_BYTES]);
    let body = (Bytes(b"k".to_vec()), value, WriteOptions::default());
    let call = Message::method_call(ROOT_PATH, "Put").interface(KEY_VALUE_INTERFACE);
    call.build(&body).unwrap().data().bytes().to_vec()
}

#[test]
fn only_methods_that_take_values_may_be_called_at_length() {
    let bus = serve();
    let long = "x".repeat(limits::DBUS_SMALL_MESSAGE_MAX_BYTES);
    let mut without_interface = long_put();
    let name = KEY_VALUE_INTERFACE.as_bytes();
    let at = without_interface.windows(name.len()).position(|part| part == name).unwrap();
    without_interface[at + name.len() - 1] = b'X';
    for message in [message("DescribePeer", Some(&long)), without_interface] {
        let mut stream = authenticated(&bus.socket);
        // It may be closed before all of it is written.
        let _ = stream.write_all(&message);
        assert_closed(stream);
    }
    assert_eq!(describe(&bus.socket).unwrap(), "n1");
}

#[test]
fn few_long_messages_are_in_memory_at_once() {
    let bus = serve();
    let put = long_put();
    let most = limits::DBUS_LARGE_MESSAGES_MAX;
    let connections = most / limits::DBUS_CALLS_PER_CONNECTION_MAX + 2;
    let count = connections * limits::DBUS_CALLS_PER_CONNECTION_MAX;
    std::thread::scope(|scope| {
        for _ in 0..connections {
            let mut stream = authenticated(&bus.socket);
            let put = &put;
            scope.spawn(move || {
                for _ in 0..limits::DBUS_CALLS_PER_CONNECTION_MAX {
                    stream.write_all(put).unwrap();
                }
                // Until all are answered.
                let mut answers = [0; 16];
                stream.read_exact(&mut answers).unwrap();
            });
        }
        let next = || bus.requests.recv_timeout(DEADLINE).unwrap();
        let mut running: Vec<_> = (0..most).map(|_| next()).collect();
        // Others are served meanwhile.
        assert_eq!(describe(&bus.socket).unwrap(), "n1");
        assert!(bus.requests.try_recv().is_err(), "more long calls run than the limit");
        for _ in most..count {
            let Request::Kv(KvRequest::Write { reply, .. }) = running.remove(0) else { panic!() };
            reply.send(Ok(Written::default())).unwrap();
            running.push(next());
        }
    });
    assert_eq!(describe(&bus.socket).unwrap(), "n1");
}

#[test]
fn calls_beyond_the_limit_wait_in_the_socket() {
    let bus = serve();
    let mut stream = authenticated(&bus.socket);
    let more = limits::DBUS_CALLS_PER_CONNECTION_MAX + 3;
    for _ in 0..more {
        stream.write_all(&message("TransferLeadership", Some("n2"))).unwrap();
    }
    let next = || bus.requests.recv_timeout(DEADLINE).unwrap();
    let mut running: Vec<_> = (0..limits::DBUS_CALLS_PER_CONNECTION_MAX).map(|_| next()).collect();
    // Another client is served meanwhile, and by then nothing more has been started.
    assert_eq!(describe(&bus.socket).unwrap(), "n1");
    assert!(bus.requests.try_recv().is_err(), "more calls run than the limit");
    // Each answer lets in exactly one more.
    for _ in 0..3 {
        let Request::Transfer { reply, .. } = running.remove(0) else { panic!() };
        reply.send(Ok(name("n2"))).unwrap();
        running.push(next());
        assert_eq!(describe(&bus.socket).unwrap(), "n1");
        assert!(bus.requests.try_recv().is_err(), "more calls run than the limit");
    }
}

#[test]
fn calls_that_want_no_reply_are_bounded_and_get_none() {
    let bus = serve();
    let mut stream = authenticated(&bus.socket);
    for _ in 0..limits::DBUS_CALLS_PER_CONNECTION_MAX * 8 {
        let mut call = message("Describe", None);
        call[2] |= 1;
        stream.write_all(&call).unwrap();
    }
    stream.write_all(&message("TransferLeadership", Some("N 2"))).unwrap();
    let mut header = [0; 16];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header[1], 3, "the first answer is the error of the call that wants one");
}

#[test]
fn a_client_that_floods_and_never_reads_is_closed_and_disturbs_nobody() {
    let bus = serve();
    let mut stream = authenticated(&bus.socket);
    stream.set_nonblocking(true).unwrap();
    let call = message("Describe", None);
    // Calls of the same serial are fine for the bus; what counts is that they stop being taken.
    let mut taken = 0_usize;
    let started = std::time::Instant::now();
    let error = loop {
        match stream.write(&call) {
            Ok(written) => taken += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert_eq!(describe(&bus.socket).unwrap(), "n1");
                assert!(started.elapsed() < DEADLINE, "still open after {taken} bytes");
            }
            Err(error) => break error,
        }
    };
    let closed = matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
    assert!(closed, "{error}");
    assert!(taken < 16 << 20, "{taken} bytes of calls were taken without one answer being read");
    assert_eq!(describe(&bus.socket).unwrap(), "n1");
}

#[test]
fn a_connection_above_the_limit_is_closed_and_room_is_made_again() {
    let bus = serve();
    let mut streams: Vec<_> =
        (0..limits::DBUS_CONNECTIONS_MAX).map(|_| authenticated(&bus.socket)).collect();
    assert_closed(connect(&bus.socket));
    drop(streams.pop());
    let started = std::time::Instant::now();
    while describe(&bus.socket).is_err() {
        assert!(started.elapsed() < DEADLINE, "no room was made");
    }
}

#[test]
fn damaged_messages_never_hurt() {
    let bus = serve();
    let mut rng = fastrand::Rng::with_seed(3);
    let good = [message("Describe", None), message("DescribePeer", Some("n1"))];
    for round in 0..3000 {
        let mut bytes = good[round % good.len()].clone();
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(0..bytes.len());
            match rng.u8(0..3) {
                0 => bytes[at] = rng.u8(..),
                1 => bytes[at] ^= 1 << rng.u8(0..8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut stream = connect(&bus.socket);
        let mut sent = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".to_vec();
        if round % 5 == 0 {
            let at = rng.usize(0..sent.len());
            sent[at] = rng.u8(..);
        }
        sent.extend_from_slice(&bytes);
        let _ = stream.write_all(&sent);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert_eq!(describe(&bus.socket).unwrap(), "n1");
}

const NOBODY: u32 = 65534;
const GROUP: u32 = 54321;

/// The mode of the file lets everybody through, so that only the agent's own look counts.
fn open_to_all(socket: &Path) {
    let directory = socket.parent().unwrap();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666)).unwrap();
}

#[test]
fn another_user_is_refused_even_if_the_file_mode_lets_it_through() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: only root can become another user");
        return;
    }
    for group in [None, Some(GROUP)] {
        let bus = serve_for(group);
        open_to_all(&bus.socket);
        let refused = as_user(NOBODY, NOBODY, &[GROUP + 1], || describe(&bus.socket));
        assert!(matches!(refused, Err(ClientError::NotPermitted { .. })), "{refused:?}");
        assert_eq!(describe(&bus.socket).unwrap(), "n1");
    }
    // Without a group of administrators no group helps.
    let bus = serve();
    open_to_all(&bus.socket);
    let refused = as_user(NOBODY, GROUP, &[0], || describe(&bus.socket));
    assert!(matches!(refused, Err(ClientError::NotPermitted { .. })), "{refused:?}");
}

#[test]
fn members_of_the_group_come_in_by_the_mode_of_the_file_and_by_their_groups() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: only root can become another user");
        return;
    }
    let bus = serve_for(Some(GROUP));
    let found = std::fs::metadata(&bus.socket).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (0, GROUP, 0o660));
    let directory = bus.socket.parent().unwrap();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let primary = as_user(NOBODY, GROUP, &[], || describe(&bus.socket));
    assert_eq!(primary.unwrap(), "n1");
    // More groups than are asked for at first.
    let groups: Vec<u32> = (60_000..60_200).chain([GROUP]).collect();
    let supplementary = as_user(NOBODY, NOBODY, &groups, || describe(&bus.socket));
    assert_eq!(supplementary.unwrap(), "n1");
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(private::SOCKET_NAME);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead agent leaves its socket behind");
    let live = private::bind(&path, None).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let refused = private::bind(&path, None).unwrap_err();
    assert!(matches!(refused, BindError::InUse { .. }), "{refused}");
    drop(live);
    assert!(!path.exists(), "a clean stop leaves nothing behind");

    std::fs::write(&path, "precious").unwrap();
    let refused = private::bind(&path, None).unwrap_err();
    assert!(matches!(refused, BindError::NotASocket { .. }), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}
