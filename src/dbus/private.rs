//! The private bus: the objects of the agent, served peer to peer on a Unix socket.
//!
//! Guarantees that only root, the agent's own user and the members of one group get in
//! ([`super::peer`], and the mode of the socket before that), that there are at most
//! `limits::DBUS_CONNECTIONS_MAX` connections, each with bounded memory, and that no client can
//! disturb another or the agent. Works on a current-thread runtime and does nothing while nobody
//! asks and nothing changes.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zbus::{Guid, connection};

use super::access::Access;
use super::auth;
use super::objects::{self, Served};
use super::peer::{self, PeerCreds};
use super::socket::{BoundedSocket, Bounds, Places};
use crate::limits;

/// Name of the socket in the runtime directory.
pub const SOCKET_NAME: &str = "bus";

/// The socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another agent listens there.
    #[error("socket {path:?} is in use by a running agent: expected no other agent there")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else than a socket has that name.
    #[error("{path:?} is not a socket: expected a socket or nothing; move it away")]
    NotASocket {
        /// What is there.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {what} socket {path:?}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A bound socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    listener: StdListener,
    path: PathBuf,
    group: Option<u32>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nothing to do about a failure: the next agent finds that nobody listens and takes over.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds the socket at `path`, mode 0660. Replaces a socket on which nobody listens any more.
/// Members of `group` may come in, see [`peer::administrators`].
pub fn bind(path: &Path, group: Option<u32>) -> Result<Listener, BindError> {
    let io = |what, source| BindError::Io { what, path: path.to_owned(), source };
    remove_stale(path)?;
    let listener = StdListener::bind(path).map_err(|error| io("bind", error))?;
    let listener = Listener { listener, path: path.to_owned(), group };
    if let Some(group) = group {
        peer::give_to(path, group).map_err(|error| io("set the group of", error))?;
    }
    let mode = std::fs::Permissions::from_mode(0o660);
    std::fs::set_permissions(path, mode).map_err(|error| io("set the mode of", error))?;
    listener.listener.set_nonblocking(true).map_err(|error| io("prepare", error))?;
    Ok(listener)
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let io = |what, source| BindError::Io { what, path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at", error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match StdStream::connect(path) {
        Ok(_) => Err(BindError::InUse { path: path.to_owned() }),
        // Nobody listens: the agent that bound it is gone.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| io("remove the stale", error))
        }
        Err(error) => Err(io("probe", error)),
    }
}

/// Serves `served` on `listener`, until this future is dropped: then all connections are closed.
///
/// Fails only if the listener cannot be given to the runtime.
pub async fn serve(listener: Listener, served: Served) -> io::Result<()> {
    let socket = UnixListener::from_std(listener.listener.try_clone()?)?;
    let guid = Guid::generate();
    let mut connections = JoinSet::new();
    let mut refusals = Refusals::default();
    let places = Places::default();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => match admit(&stream, listener.group, connections.len()) {
                    Ok(peer) => {
                        let own = (guid.clone(), served.clone(), places.clone());
                        connections.spawn(serve_connection(stream, peer, own));
                    }
                    Err(reason) => refusals.note(&reason),
                },
                Err(error) => {
                    refusals.note(&format!("cannot accept: {error}"));
                    tokio::time::sleep(limits::DBUS_ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Ok(Err(reason)) = ended {
                    refusals.note(&reason);
                }
            }
        }
    }
}

/// Who is there, if they may come in.
fn admit(stream: &UnixStream, group: Option<u32>, connections: usize) -> Result<PeerCreds, String> {
    let peer = peer::admit(stream, group)?;
    if connections >= limits::DBUS_CONNECTIONS_MAX {
        return Err(format!("already {connections} connections"));
    }
    Ok(peer)
}

/// One connection from authentication to its end. The error is a reason worth logging.
async fn serve_connection(
    mut stream: UnixStream,
    peer: PeerCreds,
    (guid, served, places): (Guid<'static>, Served, Places),
) -> Result<(), String> {
    let authenticated = auth::authenticate(&mut stream, peer.uid, &guid);
    let early = match tokio::time::timeout(limits::DBUS_AUTH_TIMEOUT, authenticated).await {
        Ok(Ok(early)) => early,
        // A client that connects and leaves, as the probe for a stale socket does.
        Ok(Err(auth::AuthError::Io(_))) => return Ok(()),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no authentication in time".to_owned()),
    };
    let socket = BoundedSocket::new(stream, early, Bounds::PRIVATE, places);
    let builder = connection::Builder::authenticated_socket(socket, guid).p2p();
    let built = objects::build(builder, served, Access::Peer(peer)).await;
    let (connection, announcer) = built.map_err(|e| format!("cannot serve a client: {e}"))?;
    // The connection may outlive the node's announcements: calls are answered with `Stopping`.
    let announce = async {
        let _ = announcer.run(&connection).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = connection.closed() => {}
        () = announce => {}
    }
    Ok(())
}

/// Log lines about refused clients, at most one in `limits::DBUS_REFUSAL_LOG_INTERVAL`.
#[derive(Default)]
struct Refusals {
    logged: Option<Instant>,
    unlogged: u64,
}

impl Refusals {
    fn note(&mut self, reason: &str) {
        let since = self.logged.map_or(Duration::MAX, |at| at.elapsed());
        if since < limits::DBUS_REFUSAL_LOG_INTERVAL {
            self.unlogged += 1;
            return;
        }
        tracing::warn!(reason, unlogged = self.unlogged, "refused a client of the private bus");
        *self = Refusals { logged: Some(Instant::now()), unlogged: 0 };
    }
}
