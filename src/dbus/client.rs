//! The other end of the private bus: what the command line and tests use to talk to an agent.
//!
//! One connection, no proxies and no introspection round trips: a query is one call and one
//! answer. Every wait has a deadline. Nothing is retried here.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use zbus::export::futures_core::Stream as _;
use zbus::message::{Sequence, Type};
use zbus::{Connection, Message, MessageStream, connection};

use super::describe::{Describe, PeerView};
use super::{NODE_INTERFACE, ROOT_PATH};
use crate::limits;

/// Why the agent did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent listens there.
    #[error("no agent answers on {path:?}")]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The agent does not let this user in.
    #[error("the agent on {path:?} does not admit this user: expected root or the agent's user")]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// No answer within the deadline.
    #[error("the agent did not answer {call} within {waited_ms} ms")]
    TimedOut {
        /// What was asked.
        call: &'static str,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The agent answered with an error of its own.
    #[error("{message}")]
    Refused {
        /// The last part of the error's name, for example `NotLeader`.
        name: String,
        /// What the agent says.
        message: String,
    },
    /// The connection broke.
    #[error("the agent closed the connection")]
    Closed,
    /// The answer is not what this version understands.
    #[error("the answer of the agent to {call} is not understood: {problem}")]
    NotUnderstood {
        /// What was asked.
        call: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
}

/// A connection to one agent.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    connection: Connection,
    timeout: Duration,
}

/// A change that the agent announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `RoleChanged`.
    Role {
        /// Role before.
        old: String,
        /// Role now.
        new: String,
        /// Term now.
        term: u64,
        /// Token of the activation in force, 0 for none.
        token: u64,
        /// Why.
        reason: String,
    },
    /// `LeaderChanged`; empty names mean none.
    Leader {
        /// Leader before.
        old: String,
        /// Leader now.
        new: String,
        /// Term now.
        term: u64,
    },
}

/// The changes that an agent announces after the state they are based on.
#[derive(Debug)]
pub struct Signals {
    stream: MessageStream,
    after: Sequence,
}

impl Client {
    /// Connects to the agent on `socket`; every later call has `timeout` too.
    pub async fn connect(socket: &Path, timeout: Duration) -> Result<Client, ClientError> {
        let path = || socket.to_owned();
        let stream =
            std::os::unix::net::UnixStream::connect(socket).map_err(|source| {
                match source.kind() {
                    std::io::ErrorKind::PermissionDenied => {
                        ClientError::NotPermitted { path: path() }
                    }
                    _ => ClientError::NotRunning { path: path(), source },
                }
            })?;
        let built = connection::Builder::unix_stream(stream).p2p().build();
        match within("the greeting", timeout, built).await? {
            Ok(connection) => Ok(Client { socket: path(), connection, timeout }),
            // The agent accepts and closes at once: it has read who we are.
            Err(_) => Err(ClientError::NotPermitted { path: path() }),
        }
    }

    /// Where the agent was reached.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The agent's own state.
    pub async fn describe(&self) -> Result<Describe, ClientError> {
        parse("Describe", &self.call("Describe", &(), self.timeout).await?)
    }

    /// The state of member `name` as it tells it itself.
    pub async fn describe_peer(&self, name: &str) -> Result<Describe, ClientError> {
        parse("DescribePeer", &self.call("DescribePeer", &(name,), self.timeout).await?)
    }

    /// The state of every member as it tells it itself, in the order of their numbers.
    pub async fn describe_cluster(&self) -> Result<Vec<PeerView>, ClientError> {
        parse("DescribeCluster", &self.call("DescribeCluster", &(), self.timeout).await?)
    }

    /// Declares the activation in force over; returns its token. Without `force` it is refused.
    pub async fn takeover(&self, force: bool) -> Result<u64, ClientError> {
        let reply = self.call("Takeover", &(force,), self.timeout).await?;
        let problem = |error: zbus::Error| ClientError::NotUnderstood {
            call: "Takeover",
            problem: error.to_string(),
        };
        reply.body().deserialize().map_err(problem)
    }

    /// Hands leadership to `to`, or to the best follower; returns the name of the new leader. May
    /// take as long as the members of the active node take to stop.
    pub async fn transfer(&self, to: Option<&str>) -> Result<String, ClientError> {
        let body = (to.unwrap_or(""),);
        let reply = self.call("TransferLeadership", &body, limits::CLIENT_TRANSFER_TIMEOUT).await?;
        text("TransferLeadership", &reply)
    }

    /// The agent's state, and every change after it.
    pub async fn follow(&self) -> Result<(Describe, Signals), ClientError> {
        // Listen BEFORE asking: a change in between is in the state, in the stream, or in both.
        let stream = MessageStream::from(&self.connection);
        let reply = self.call("Describe", &(), self.timeout).await?;
        let after = reply.recv_position();
        Ok((parse("Describe", &reply)?, Signals { stream, after }))
    }

    async fn call<B>(
        &self,
        method: &'static str,
        body: &B,
        timeout: Duration,
    ) -> Result<Message, ClientError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let call = self.connection.call_method(
            None::<&str>,
            ROOT_PATH,
            Some(NODE_INTERFACE),
            method,
            body,
        );
        within(method, timeout, call).await?.map_err(ClientError::from)
    }
}

impl Signals {
    /// The next change, or `None` when the agent has closed the connection.
    pub async fn next(&mut self) -> Option<Signal> {
        loop {
            let next = std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_next(cx));
            let message = next.await?.ok()?;
            if message.recv_position() > self.after
                && let Some(signal) = Signal::read(&message)
            {
                return Some(signal);
            }
        }
    }
}

impl Signal {
    /// Reads a signal of ours; `None` for other messages and for signals of later versions.
    fn read(message: &Message) -> Option<Signal> {
        let header = message.header();
        if message.message_type() != Type::Signal || header.interface()? != NODE_INTERFACE {
            return None;
        }
        let body = message.body();
        match header.member()?.as_str() {
            "RoleChanged" => {
                let (old, new, term, token, reason) = body.deserialize().ok()?;
                Some(Signal::Role { old, new, term, token, reason })
            }
            "LeaderChanged" => {
                let (old, new, term) = body.deserialize().ok()?;
                Some(Signal::Leader { old, new, term })
            }
            _ => None,
        }
    }
}

impl From<zbus::Error> for ClientError {
    fn from(error: zbus::Error) -> ClientError {
        match error {
            zbus::Error::MethodError(name, message, _) => ClientError::Refused {
                name: name.rsplit('.').next().unwrap_or(&name).to_owned(),
                message: message.unwrap_or_else(|| name.to_string()),
            },
            zbus::Error::FDO(error) => ClientError::Refused {
                name: zbus::DBusError::name(&*error).to_string(),
                message: error.to_string(),
            },
            _ => ClientError::Closed,
        }
    }
}

/// Connects to `socket` and runs `with` on a small runtime of its own, for programs without one.
pub fn with_client<T, W, F>(socket: &Path, timeout: Duration, with: W) -> Result<T, ClientError>
where
    W: FnOnce(Client) -> F,
    F: Future<Output = Result<T, ClientError>>,
{
    block_on(async { with(Client::connect(socket, timeout).await?).await })
}

/// Runs `future` on a small current-thread runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a process can have a runtime").block_on(future)
}

async fn within<F: Future>(
    call: &'static str,
    timeout: Duration,
    future: F,
) -> Result<F::Output, ClientError> {
    let waited_ms = timeout.as_millis() as u64;
    let timed_out = |_| ClientError::TimedOut { call, waited_ms };
    tokio::time::timeout(timeout, future).await.map_err(timed_out)
}

fn text(call: &'static str, reply: &Message) -> Result<String, ClientError> {
    let problem =
        |error: zbus::Error| ClientError::NotUnderstood { call, problem: error.to_string() };
    reply.body().deserialize().map_err(problem)
}

fn parse<T: serde::de::DeserializeOwned>(
    call: &'static str,
    reply: &Message,
) -> Result<T, ClientError> {
    let problem =
        |error: serde_json::Error| ClientError::NotUnderstood { call, problem: error.to_string() };
    serde_json::from_str(&text(call, reply)?).map_err(problem)
}
