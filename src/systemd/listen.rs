//! Descriptors that systemd passes (sd_listen_fds(3)), told apart by their names.
//!
//! They are taken from the environment, once, before there is another thread. One is known: the
//! Raft listener, named `raft` by `raftctl@.socket`. Anything else is a mistake in a unit and
//! refused: a descriptor that nobody reads would look like a service that hangs.

use std::net::TcpListener;

use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt};

use crate::limits;

/// The name of the Raft listener, `FileDescriptorName=` of its socket unit.
pub const RAFT: &str = "raft";

/// What was passed under the name `raft`.
#[derive(Debug)]
pub enum RaftSocket {
    /// A listener.
    Listener(TcpListener),
    /// The socket of a unit that has no address: systemd has not read this node's configuration,
    /// or the address there is a host name, which a socket unit cannot have.
    Unset,
}

/// A descriptor that was passed and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// More than any unit of ours could pass.
    #[error("{count} descriptors were passed: expected at most {}", limits::LISTEN_FDS_MAX)]
    TooMany {
        /// `LISTEN_FDS`.
        count: usize,
    },
    /// A name that is not known here, or none.
    #[error(
        "descriptor {number} was passed under the name {name:?}: expected \"raft\", which is \
         FileDescriptorName= in raftctl@.socket"
    )]
    Name {
        /// Its number.
        number: usize,
        /// Its name.
        name: String,
    },
    /// The name was used twice.
    #[error(
        "two descriptors were passed under the name \"raft\": expected one address to listen on"
    )]
    Twice,
    /// Not a socket that listens on TCP.
    #[error("descriptor {number}, \"raft\": {found}: expected a TCP socket that listens")]
    Kind {
        /// Its number.
        number: usize,
        /// What it is.
        found: String,
    },
}

/// Takes what was passed to this process; `None` if it was not started by a socket unit.
///
/// BEFORE any thread is started: it changes the environment.
pub fn take() -> Result<Option<RaftSocket>, ListenError> {
    let count = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok());
    if let Some(count) = count.filter(|&count: &usize| count > limits::LISTEN_FDS_MAX) {
        return Err(ListenError::TooMany { count });
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    assign(&mut ListenFd::from_env(), &names)
}

fn assign(passed: &mut ListenFd, names: &str) -> Result<Option<RaftSocket>, ListenError> {
    let mut names = names.split(':');
    let mut raft = None;
    for at in 0..passed.len() {
        let number = FIRST + at;
        let name = names.next().unwrap_or_default();
        if name != RAFT {
            return Err(ListenError::Name { number, name: name.to_owned() });
        }
        if raft.replace(raft_socket(passed, at)?).is_some() {
            return Err(ListenError::Twice);
        }
    }
    Ok(raft)
}

fn raft_socket(passed: &mut ListenFd, at: usize) -> Result<RaftSocket, ListenError> {
    let kind = |found| ListenError::Kind { number: FIRST + at, found };
    // What fails stays where it is, to be tried as something else.
    if let Ok(Some(_)) = passed.take_unix_listener(at) {
        return Ok(RaftSocket::Unset);
    }
    let taken = passed.take_tcp_listener(at).map_err(|error| kind(error.to_string()))?;
    let listener = taken.ok_or_else(|| kind("it was taken before".to_owned()))?;
    match getsockopt(&listener, sockopt::AcceptConn) {
        Ok(true) => Ok(RaftSocket::Listener(listener)),
        Ok(false) => Err(kind("it does not listen".to_owned())),
        Err(errno) => Err(kind(errno.to_string())),
    }
}

/// `SD_LISTEN_FDS_START`.
const FIRST: usize = 3;
