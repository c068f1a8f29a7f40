//! The server side of D-Bus authentication (D-Bus specification, "Authentication Protocol"),
//! mechanism EXTERNAL only.
//!
//! It is ours because a client must not be able to end the agent: the handshake of zbus 6.2.1
//! indexes before the first byte when a client begins with a line feed, which aborts the process,
//! and reads a line of any length. Here every client byte is checked and the whole conversation
//! is at most `limits::DBUS_AUTH_MAX_BYTES`. The caller holds the deadline, and has already
//! checked who the client is by `SO_PEERCRED`; what the client claims to be must agree with that.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zbus::Guid;

use crate::limits;

/// Why a client was not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthError {
    /// The connection broke, or the client left.
    #[error("connection lost while authenticating")]
    Io(#[from] std::io::Error),
    /// The client does not speak D-Bus.
    #[error("not a D-Bus client: {0}")]
    Protocol(&'static str),
}

/// Authenticates the client of user `uid`. Returns what it sent after `BEGIN`: the start of its
/// first message.
pub(super) async fn authenticate(
    stream: &mut UnixStream,
    uid: u32,
    guid: &Guid<'_>,
) -> Result<Vec<u8>, AuthError> {
    let mut server = Server { uid, guid, state: State::NeedNul, asked: false };
    let mut received = Vec::with_capacity(256);
    let mut total = 0;
    loop {
        let mut replies = Vec::new();
        let used = server.take_lines(&received, &mut replies)?;
        received.drain(..used);
        // A client may send everything in one go, so the answers are written before BEGIN counts.
        stream.write_all(&replies).await?;
        if server.state == State::Begun {
            return Ok(received);
        }
        let mut chunk = [0; 512];
        let room = (limits::DBUS_AUTH_MAX_BYTES - total).min(chunk.len());
        if room == 0 {
            return Err(AuthError::Protocol("too many bytes before BEGIN"));
        }
        let read = stream.read(&mut chunk[..room]).await?;
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        total += read;
        received.extend_from_slice(&chunk[..read]);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NeedNul,
    NeedAuth,
    NeedBegin,
    Begun,
}

struct Server<'a> {
    uid: u32,
    guid: &'a Guid<'a>,
    state: State,
    /// `AUTH EXTERNAL` came without an identity, and an empty `DATA` has asked for it.
    asked: bool,
}

impl Server<'_> {
    /// Handles the whole lines in `input`; returns how many bytes they were. Stops after `BEGIN`.
    fn take_lines(&mut self, input: &[u8], replies: &mut Vec<u8>) -> Result<usize, AuthError> {
        let mut used = 0;
        if self.state == State::NeedNul {
            match input.first() {
                None => return Ok(0),
                Some(0) => (used, self.state) = (1, State::NeedAuth),
                Some(_) => return Err(AuthError::Protocol("the first byte is not nul")),
            }
        }
        while self.state != State::Begun {
            let Some(end) = input[used..].iter().position(|byte| *byte == b'\n') else { break };
            let line = &input[used..used + end];
            used += end + 1;
            let line = line.strip_suffix(b"\r");
            let line = line.and_then(|line| std::str::from_utf8(line).ok());
            let line = line.ok_or(AuthError::Protocol("a line is not text ending in CR LF"))?;
            if let Some(reply) = self.take_line(line) {
                replies.extend_from_slice(reply.as_bytes());
                replies.extend_from_slice(b"\r\n");
            }
        }
        Ok(used)
    }

    fn take_line(&mut self, line: &str) -> Option<String> {
        let mut words = line.splitn(3, ' ');
        let command = (words.next().unwrap_or(""), words.next(), words.next());
        let asked = std::mem::take(&mut self.asked);
        match (self.state, command) {
            (State::NeedAuth, ("AUTH", Some("EXTERNAL"), Some(identity))) => {
                Some(self.check(identity))
            }
            (State::NeedAuth, ("AUTH", Some("EXTERNAL"), None)) => {
                self.asked = true;
                Some("DATA".to_owned())
            }
            (State::NeedAuth, ("DATA", identity, None)) if asked => {
                Some(self.check(identity.unwrap_or("")))
            }
            (State::NeedAuth, ("AUTH", ..)) => Some(REJECTED.to_owned()),
            (State::NeedBegin, ("BEGIN", None, None)) => {
                self.state = State::Begun;
                None
            }
            (_, ("CANCEL" | "ERROR", ..)) => {
                self.state = State::NeedAuth;
                Some(REJECTED.to_owned())
            }
            // No method of ours passes descriptors.
            (State::NeedBegin, ("NEGOTIATE_UNIX_FD", ..)) => {
                Some("ERROR \"descriptors are not accepted here\"".to_owned())
            }
            _ => Some("ERROR \"unknown or misplaced command\"".to_owned()),
        }
    }

    /// `identity` is the claimed user id in hexadecimal ASCII; empty means "as the socket says".
    fn check(&mut self, identity: &str) -> String {
        let hex = |digits: u8| format!("{digits:02x}");
        let ours: String = self.uid.to_string().bytes().map(hex).collect();
        if !identity.is_empty() && !identity.eq_ignore_ascii_case(&ours) {
            return REJECTED.to_owned();
        }
        self.state = State::NeedBegin;
        format!("OK {}", self.guid)
    }
}

const REJECTED: &str = "REJECTED EXTERNAL";

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server answers to `input`, and what is left over once the client is in.
    fn talk(input: &[u8]) -> Result<(String, Option<Vec<u8>>), AuthError> {
        let guid = Guid::from_static_str("0123456789abcdef0123456789abcdef").unwrap();
        let mut server = Server { uid: 1000, guid: &guid, state: State::NeedNul, asked: false };
        let mut replies = Vec::new();
        let used = server.take_lines(input, &mut replies)?;
        let rest = (server.state == State::Begun).then(|| input[used..].to_vec());
        Ok((String::from_utf8(replies).unwrap().replace("\r\n", "|"), rest))
    }

    const OK: &str = "OK 0123456789abcdef0123456789abcdef|";

    #[test]
    fn the_dialogues_of_common_clients_succeed() {
        // sd-bus sends everything in one go, without an identity; GDBus and libdbus send one.
        let (replies, rest) =
            talk(b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\nl\x01").unwrap();
        assert!(replies.starts_with(&format!("DATA|{OK}ERROR ")), "{replies}");
        assert_eq!(rest.unwrap(), b"l\x01");
        let (replies, rest) = talk(b"\0AUTH EXTERNAL 31303030\r\nBEGIN\r\n").unwrap();
        assert_eq!((replies.as_str(), rest), (OK, Some(vec![])));
        let (replies, rest) = talk(b"\0AUTH\r\nAUTH EXTERNAL 31303030\r\nBEGIN\r\n").unwrap();
        assert_eq!((replies, rest), (format!("REJECTED EXTERNAL|{OK}"), Some(vec![])));
    }

    #[test]
    fn an_identity_that_is_not_the_users_is_rejected() {
        for identity in ["30", "313030", "31303031", "zz", "3130303"] {
            let (replies, rest) =
                talk(format!("\0AUTH EXTERNAL {identity}\r\nBEGIN\r\n").as_bytes()).unwrap();
            assert!(replies.starts_with("REJECTED EXTERNAL|ERROR "), "{identity}: {replies}");
            assert_eq!(rest, None);
        }
    }

    #[test]
    fn nothing_before_authentication_lets_a_client_begin() {
        for input in [
            "\0BEGIN\r\n",
            "\0DATA\r\nBEGIN\r\n",
            "\0DATA 31303030\r\nBEGIN\r\n",
            "\0AUTH ANONYMOUS\r\nDATA\r\nBEGIN\r\n",
            "\0AUTH EXTERNAL\r\nBEGIN\r\n",
            "\0AUTH EXTERNAL\r\nCANCEL\r\nDATA\r\nBEGIN\r\n",
            "\0AUTH EXTERNAL\r\nDATA\r\nCANCEL\r\nBEGIN\r\n",
            "\0NEGOTIATE_UNIX_FD\r\nBEGIN\r\n",
        ] {
            assert_eq!(talk(input.as_bytes()).unwrap().1, None, "{input:?}");
        }
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        for input in [&b"\n"[..], b"A", b"\0\n", b"\0AUTH\n", b"\0\xff\xfe\r\n", b"\0\0\r\r\n\n"] {
            assert!(talk(input).is_err(), "{input:?}");
        }
        let mut rng = fastrand::Rng::with_seed(7);
        let pieces =
            ["\0", "\r", "\n", "\r\n", "AUTH", " ", "EXTERNAL", "DATA", "BEGIN", "31", "é"];
        for _ in 0..20_000 {
            let mut input = b"\0".to_vec();
            for _ in 0..rng.usize(0..12) {
                input.extend_from_slice(pieces[rng.usize(0..pieces.len())].as_bytes());
            }
            let _ = talk(&input);
        }
    }
}
