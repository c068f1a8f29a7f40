//! The listener: bound before anything is served, and to others than this host only with a token.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use nix::sys::socket::Backlog;

/// Why it is not bound.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Whoever reaches this host could write.
    #[error(
        "[http] listen = {address:?} is not of the loopback interface and there is no token: \
         expected [http] token_file or the credential http-token, or a loopback address"
    )]
    NoToken {
        /// The address.
        address: String,
    },
    /// The system refuses.
    #[error("cannot listen on {address} for HTTP")]
    Io {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
}

/// Binds `address`.
pub fn bind(address: &str, has_token: bool) -> Result<TcpListener, ListenError> {
    let failed = |source| ListenError::Io { address: address.to_owned(), source };
    let resolved: Vec<SocketAddr> = address.to_socket_addrs().map_err(failed)?.collect();
    if !has_token && !resolved.iter().all(|found| found.ip().to_canonical().is_loopback()) {
        return Err(ListenError::NoToken { address: address.to_owned() });
    }
    let listener = TcpListener::bind(resolved.as_slice()).map_err(failed)?;
    // As many waiting connections as the kernel allows: a load generator opens hundreds at once.
    let longer = nix::sys::socket::listen(&listener, Backlog::MAXALLOWABLE);
    longer.map_err(|errno| failed(errno.into()))?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_served_only_with_a_token() {
        for open in ["0.0.0.0:0", "[::]:0"] {
            let refused = bind(open, false).unwrap_err();
            assert!(matches!(refused, ListenError::NoToken { .. }), "{refused}");
        }
        bind("0.0.0.0:0", true).unwrap();
        bind("127.0.0.1:0", false).unwrap();
        bind("localhost:0", false).unwrap();
    }
}
