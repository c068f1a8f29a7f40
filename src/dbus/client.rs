//! The agent's other end: what the command line and tests use to talk to it, on its private socket
//! or over the system bus.
//!
//! One connection, no proxies and no introspection round trips: a query is one call and one
//! answer. Every wait has a deadline. Nothing is retried here. Over the system bus the agent
//! decides, with polkit, what this user may; on the private socket whoever comes in may everything.

mod error;
mod key_value;
mod signals;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use zbus::export::futures_core::Stream as _;
use zbus::message::{Flags, Type};
use zbus::{Connection, Message, MessageStream, OwnedVariant, connection};

use super::describe::{Describe, PeerView};
use super::{NODE_INTERFACE, ROOT_PATH};
use crate::limits;
pub use error::ClientError;
pub use key_value::{KvRow, KvTxn, KvTxnArguments};
pub use signals::{Signal, Signals};

/// Where an agent is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// On its private socket.
    Socket(PathBuf),
    /// On the system bus.
    Bus {
        /// Its name there.
        name: String,
        /// Whether the user may be asked for a password.
        interactive: bool,
    },
}

impl Target {
    /// The agent of `node` on the system bus.
    pub fn on_bus(node: &str, interactive: bool) -> Target {
        Target::Bus { name: format!("{BUS_NAME_PREFIX}.{node}"), interactive }
    }
}

/// A connection to one agent.
#[derive(Debug)]
pub struct Client {
    target: Target,
    connection: Connection,
    timeout: Duration,
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
            Ok(connection) => Ok(Client { target: Target::Socket(path()), connection, timeout }),
            // The agent accepts and closes at once: it has read who we are.
            Err(_) => Err(ClientError::NotPermitted { path: path() }),
        }
    }

    /// Connects to `target`; every later call has `timeout` too.
    pub async fn open(target: &Target, timeout: Duration) -> Result<Client, ClientError> {
        let name = match target {
            Target::Socket(path) => return Client::connect(path, timeout).await,
            Target::Bus { name, .. } => name,
        };
        let absent = |error: zbus::Error| ClientError::NotOnBus {
            name: name.clone(),
            problem: error.to_string(),
        };
        let built = connection::Builder::address(zbus::Address::system().map_err(absent)?).build();
        let connection = within("the greeting", timeout, built).await?.map_err(absent)?;
        let client = Client { target: target.clone(), connection, timeout };
        client.owner(name).await?;
        Ok(client)
    }

    /// Another connection to the same agent.
    pub async fn again(&self) -> Result<Client, ClientError> {
        Client::open(&self.target, self.timeout).await
    }

    /// Where the agent was reached.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The unique name of the agent on the bus.
    async fn owner(&self, name: &str) -> Result<String, ClientError> {
        let body = (name,);
        let (to, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
        let call = self.connection.call_method(Some(to), path, Some(to), "GetNameOwner", &body);
        let reply = within("GetNameOwner", self.timeout, call).await?;
        let absent = |error: zbus::Error| {
            let (name, problem) = (name.to_owned(), error.to_string());
            ClientError::NotOnBus { name, problem }
        };
        reply.and_then(|reply| reply.body().deserialize()).map_err(absent)
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
        read("Takeover", &self.change("Takeover", &(force,), self.timeout).await?)
    }

    /// Hands leadership to `to`, or to the best follower; returns the name of the new leader. May
    /// take as long as the members of the active node take to stop.
    pub async fn transfer(&self, to: Option<&str>) -> Result<String, ClientError> {
        let body = (to.unwrap_or(""),);
        let timeout = limits::CLIENT_TRANSFER_TIMEOUT;
        read("TransferLeadership", &self.change("TransferLeadership", &body, timeout).await?)
    }

    /// Takes the host of this agent out of service, or puts it back.
    pub async fn set_maintenance(&self, on: bool) -> Result<(), ClientError> {
        self.change("SetMaintenance", &(on,), limits::CLIENT_CHANGE_TIMEOUT).await.map(drop)
    }

    /// Forgets the failures of units on the host of this agent.
    pub async fn clear_failures(&self) -> Result<(), ClientError> {
        self.change("ClearFailures", &(), limits::CLIENT_CHANGE_TIMEOUT).await.map(drop)
    }

    /// Pauses the cluster.
    pub async fn pause(&self) -> Result<(), ClientError> {
        self.change("Pause", &(), limits::CLIENT_CHANGE_TIMEOUT).await.map(drop)
    }

    /// Lets the cluster go on; with `force` without the active node.
    pub async fn resume(&self, force: bool) -> Result<(), ClientError> {
        self.change("Resume", &(force,), limits::CLIENT_CHANGE_TIMEOUT).await.map(drop)
    }

    /// The level of the agent's log, in the words of syslog(3).
    pub async fn log_level(&self) -> Result<String, ClientError> {
        let (body, what) = ((LOG_INTERFACE, "LogLevel"), "Get");
        let message = self.message(LOG_PATH, PROPERTIES_INTERFACE, what, false, &body)?;
        let reply = self.send(what, message, self.timeout).await?;
        let value: OwnedVariant = read(what, &reply)?;
        let not_text = |error: zbus::Error| ClientError::NotUnderstood {
            call: "LogLevel",
            problem: error.to_string(),
        };
        String::try_from(value).map_err(not_text)
    }

    /// Changes the level of the agent's log until it is started again.
    pub async fn set_log_level(&self, level: &str) -> Result<(), ClientError> {
        let (body, what) = ((LOG_INTERFACE, "LogLevel", zbus::Variant::from(level)), "Set");
        let message = self.message(LOG_PATH, PROPERTIES_INTERFACE, what, true, &body)?;
        self.send(what, message, self.patience(self.timeout)).await.map(drop)
    }

    /// The agent's state, and every change after it.
    pub async fn follow(&self) -> Result<(Describe, Signals), ClientError> {
        // Listen BEFORE asking: a change in between is in the state, in the stream, or in both.
        let stream = MessageStream::from(&self.connection);
        let sender = match &self.target {
            Target::Socket(_) => None,
            Target::Bus { name, .. } => {
                let of_agent = format!("type='signal',sender='{name}'");
                let of_bus = format!("type='signal',member='NameOwnerChanged',arg0='{name}'");
                self.listen(&of_agent).await?;
                self.listen(&of_bus).await?;
                Some(self.owner(name).await?)
            }
        };
        let reply = self.call("Describe", &(), self.timeout).await?;
        let after = reply.recv_position();
        Ok((parse("Describe", &reply)?, Signals { stream, after, sender }))
    }

    /// Has the bus pass on what fits `rule`.
    async fn listen(&self, rule: &str) -> Result<(), ClientError> {
        let (to, path, body) = ("org.freedesktop.DBus", "/org/freedesktop/DBus", (rule,));
        let call = self.connection.call_method(Some(to), path, Some(to), "AddMatch", &body);
        within("AddMatch", self.timeout, call).await?.map(drop).map_err(ClientError::from)
    }

    /// A call that only asks.
    async fn call<B>(
        &self,
        method: &'static str,
        body: &B,
        timeout: Duration,
    ) -> Result<Message, ClientError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let message = self.message(ROOT_PATH, NODE_INTERFACE, method, false, body)?;
        self.send(method, message, timeout).await
    }

    /// A call that changes something, for which this user may have to prove who they are.
    async fn change<B>(
        &self,
        method: &'static str,
        body: &B,
        timeout: Duration,
    ) -> Result<Message, ClientError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let message = self.message(ROOT_PATH, NODE_INTERFACE, method, true, body)?;
        self.send(method, message, self.patience(timeout)).await
    }

    /// How long to wait for an answer before which somebody may type a password.
    fn patience(&self, timeout: Duration) -> Duration {
        match &self.target {
            Target::Bus { interactive: true, .. } => {
                timeout.max(limits::CLIENT_AUTHORIZATION_TIMEOUT)
            }
            _ => timeout,
        }
    }

    fn message<B>(
        &self,
        path: &str,
        interface: &str,
        method: &'static str,
        changes: bool,
        body: &B,
    ) -> Result<Message, ClientError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let mut message = Message::method_call(path, method).interface(interface);
        if let Target::Bus { name, interactive } = &self.target {
            message = message.destination(name.as_str());
            if *interactive && changes {
                message = message.with_flags(Flags::ALLOW_INTERACTIVE_AUTH);
            }
        }
        message.build(body).map_err(ClientError::from)
    }

    async fn send(
        &self,
        call: &'static str,
        message: Message,
        timeout: Duration,
    ) -> Result<Message, ClientError> {
        let mut stream = MessageStream::from(&self.connection);
        let serial = Some(message.primary_header().serial_num());
        let answered = async {
            self.connection.send(&message).await?;
            loop {
                let reply = next(&mut stream).await.ok_or(ClientError::Closed)?;
                if reply.header().reply_serial() == serial {
                    return match reply.message_type() {
                        Type::Error => Err(zbus::Error::from(reply).into()),
                        _ => Ok(reply),
                    };
                }
            }
        };
        within(call, timeout, answered).await?
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

/// The next message, or `None` when the connection is closed.
async fn next(stream: &mut MessageStream) -> Option<Message> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await?.ok()
}

fn read<T>(call: &'static str, reply: &Message) -> Result<T, ClientError>
where
    T: serde::de::DeserializeOwned + zbus::Type,
{
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
    serde_json::from_str(&read::<String>(call, reply)?).map_err(problem)
}

/// What the names of agents on the system bus begin with; the node's name follows.
pub const BUS_NAME_PREFIX: &str = "org.raftctl.Agent1";

const PROPERTIES_INTERFACE: &str = "org.freedesktop.DBus.Properties";

/// org.freedesktop.LogControl1(5).
const LOG_INTERFACE: &str = "org.freedesktop.LogControl1";
const LOG_PATH: &str = "/org/freedesktop/LogControl1";
