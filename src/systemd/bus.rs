//! Calls on the message bus with a deadline, and what became of them.
//!
//! An answer is one of two kinds: the one who was asked has answered, or nobody knows whether it
//! has even read the question. The second kind is never taken for a refusal.

use std::pin::Pin;
use std::time::Duration;

use zbus::export::futures_core::Stream as _;
use zbus::message::Type;
use zbus::{Address, Connection, Message, MessageStream, connection};

/// The bus itself, as a peer.
pub(super) const BUS: (&str, &str, &str) =
    ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus");

/// Interface of the standard properties.
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Where the system bus is.
#[derive(Clone, Debug)]
pub struct BusAddress(Address);

impl BusAddress {
    /// `DBUS_SYSTEM_BUS_ADDRESS`, or the well-known socket.
    pub fn system() -> zbus::Result<BusAddress> {
        Address::system().map(BusAddress)
    }
}

impl std::str::FromStr for BusAddress {
    type Err = zbus::Error;
    fn from_str(text: &str) -> zbus::Result<BusAddress> {
        text.parse().map(BusAddress)
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The one who was asked said no.
    #[error("{call} was refused: {message} ({name})")]
    Refused {
        /// What was asked.
        call: &'static str,
        /// The error's name.
        name: String,
        /// Its text.
        message: String,
    },
    /// Nobody knows whether the call took effect: no connection, no answer in time, or the one who
    /// was asked went away (across `daemon-reexec` the bus answers `NoReply`).
    #[error("{call} got no answer: {problem}")]
    Unknown {
        /// What was asked.
        call: &'static str,
        /// What happened instead.
        problem: String,
    },
    /// The answer has another form than expected.
    #[error("the answer to {call} is not understood: {problem}")]
    NotUnderstood {
        /// What was asked.
        call: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl CallError {
    /// Whether the one who was asked answered with the error `name`.
    pub fn is_refusal(&self) -> bool {
        matches!(self, CallError::Refused { .. })
    }

    /// Whether it is the error `name`.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, CallError::Refused { name: got, .. } if got == name)
    }

    fn from_zbus(call: &'static str, error: zbus::Error) -> CallError {
        let (name, message) = match &error {
            zbus::Error::MethodError(name, text, _) => {
                (name.to_string(), text.clone().unwrap_or_default())
            }
            zbus::Error::FDO(error) => {
                let text = zbus::DBusError::description(&**error).unwrap_or_default();
                (zbus::DBusError::name(&**error).to_string(), text.to_owned())
            }
            _ => return CallError::Unknown { call, problem: error.to_string() },
        };
        match leaves_unknown(&name) {
            true => CallError::Unknown { call, problem: format!("{message} ({name})") },
            false => CallError::Refused { call, name, message },
        }
    }
}

/// Errors that the bus makes up when the one who was asked cannot answer.
fn leaves_unknown(name: &str) -> bool {
    let Some(name) = name.strip_prefix("org.freedesktop.DBus.Error.") else { return false };
    let known = [
        "NoReply",
        "Timeout",
        "TimedOut",
        "Disconnected",
        "NoServer",
        "NoNetwork",
        "IOError",
        "NoMemory",
        "LimitsExceeded",
        "ServiceUnknown",
        "NameHasNoOwner",
        "ZBus",
    ];
    known.contains(&name) || name.starts_with("Spawn.")
}

/// One method of one object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method<'a> {
    /// Destination, interface and member; the path may vary.
    pub to: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub name: &'static str,
}

/// Connects, greets the bus, and hears what it sends from the start.
pub(super) async fn connect(
    address: &BusAddress,
    within: Duration,
) -> Result<(Connection, Signals), CallError> {
    const CALL: &str = "Hello";
    let built = connection::Builder::address(address.0.clone()).build();
    let problem = |_| CallError::Unknown { call: CALL, problem: late(within) };
    let connection = tokio::time::timeout(within, built).await.map_err(problem)?;
    let connection = connection.map_err(|error| CallError::from_zbus(CALL, error))?;
    let signals = Signals { stream: MessageStream::from(&connection) };
    Ok((connection, signals))
}

/// Calls `method`. Dropping the call leaves its fate unknown, like a missing answer.
pub(super) async fn call<B>(
    connection: &Connection,
    method: Method<'_>,
    body: &B,
    within: Duration,
) -> Result<Message, CallError>
where
    B: serde::Serialize + zbus::DynamicType,
{
    let Method { to, path, interface, name } = method;
    let called = connection.call_method(Some(to), path, Some(interface), name, body);
    let problem = |_| CallError::Unknown { call: name, problem: late(within) };
    let answer = tokio::time::timeout(within, called).await.map_err(problem)?;
    answer.map_err(|error| CallError::from_zbus(name, error))
}

/// Asks the bus for the signals that fit `rule`.
pub(super) async fn add_match(
    connection: &Connection,
    rule: &str,
    within: Duration,
) -> Result<(), CallError> {
    let (to, path, interface) = BUS;
    let method = Method { to, path, interface, name: "AddMatch" };
    call(connection, method, &(rule,), within).await.map(drop)
}

/// Takes back [`add_match`].
pub(super) async fn remove_match(
    connection: &Connection,
    rule: &str,
    within: Duration,
) -> Result<(), CallError> {
    let (to, path, interface) = BUS;
    let method = Method { to, path, interface, name: "RemoveMatch" };
    call(connection, method, &(rule,), within).await.map(drop)
}

/// The unique name of the owner of `name`. The bus delivers signals that anybody sends to us
/// alone, so who sent one has to be compared with this.
pub(super) async fn owner(
    connection: &Connection,
    name: &str,
    within: Duration,
) -> Result<String, CallError> {
    let (to, path, interface) = BUS;
    let method = Method { to, path, interface, name: "GetNameOwner" };
    read(method.name, &call(connection, method, &(name,), within).await?)
}

/// The content of an answer.
pub(super) fn read<T>(call: &'static str, answer: &Message) -> Result<T, CallError>
where
    T: serde::de::DeserializeOwned + zbus::Type,
{
    let problem =
        |error: zbus::Error| CallError::NotUnderstood { call, problem: error.to_string() };
    answer.body().deserialize().map_err(problem)
}

fn late(within: Duration) -> String {
    format!("nothing within {} ms", within.as_millis())
}

/// What a connection receives. Has to be read all the time: the queue behind it is bounded, and
/// answers to calls wait behind a full one.
#[derive(Debug)]
pub(super) struct Signals {
    stream: MessageStream,
}

impl Signals {
    /// The next signal, or `None` once the connection is closed.
    pub(super) async fn next(&mut self) -> Option<Message> {
        loop {
            let next = std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_next(cx));
            let message = next.await?.ok()?;
            if message.message_type() == Type::Signal {
                return Some(message);
            }
        }
    }
}

/// Sender, interface and member of a signal, if it has all three.
pub(super) fn parts(signal: &Message) -> Option<(String, String, String)> {
    let header = signal.header();
    let (sender, interface) = (header.sender()?, header.interface()?);
    Some((sender.to_string(), interface.to_string(), header.member()?.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_the_one_who_was_asked_is_a_refusal() {
        for unknown in ["NoReply", "ServiceUnknown", "NameHasNoOwner", "Spawn.ChildExited"] {
            assert!(leaves_unknown(&format!("org.freedesktop.DBus.Error.{unknown}")), "{unknown}");
        }
        for answer in [
            "org.freedesktop.DBus.Error.AccessDenied",
            "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
            "org.freedesktop.systemd1.NoSuchUnit",
            "org.freedesktop.systemd1.TransactionIsDestructive",
            "System.Error.EIO",
        ] {
            assert!(!leaves_unknown(answer), "{answer}");
        }
    }
}
