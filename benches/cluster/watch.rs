//! Watches an agent over its private D-Bus socket: one open connection, one task that stamps each
//! change when it arrives.

use std::collections::HashMap;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zbus::export::futures_core::Stream as _;
use zbus::{Connection, Message, MessageStream, Variant, connection};

const PATH: &str = "/org/raftctl/Agent1";
const INTERFACE: &str = "org.raftctl.Agent1.Node";

/// Changes waiting to be looked at. At the limit: the watching task waits.
const EVENTS_MAX: usize = 1024;

/// What an agent said, and when.
pub struct Event {
    /// Position of the agent in the cluster.
    pub node: usize,
    /// When it arrived here.
    pub at: Instant,
    /// What it was.
    pub what: News,
}

/// What an agent said.
pub enum News {
    /// Whether it is active.
    Active(bool),
    /// The leader it follows; empty for none.
    Leader(String),
    /// The connection ended.
    Gone,
}

/// The queue that all watches of a cluster fill.
pub fn queue() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    mpsc::channel(EVENTS_MAX)
}

/// The parts of `Describe()` that are looked at here.
#[derive(serde::Deserialize)]
pub struct Description {
    /// Whether this node is active.
    pub active: bool,
    /// The leader it follows.
    pub leader: Option<String>,
    /// How far this node has committed.
    pub commit_index: u64,
    /// All members; on the leader, with what they have.
    pub members: Vec<Member>,
}

/// One member in `Describe()`.
#[derive(serde::Deserialize)]
pub struct Member {
    /// Whether there is a working connection to it.
    pub connected: bool,
    /// On the leader: how far it is known to have the log.
    pub matched: Option<u64>,
}

impl Description {
    /// Whether this leader's followers are connected and have everything.
    pub fn is_settled(&self) -> bool {
        let has_all =
            |m: &Member| m.connected && m.matched.is_none_or(|at| at >= self.commit_index);
        self.active && self.members.iter().all(has_all)
    }
}

/// An open connection to one agent.
pub struct Watch {
    connection: Connection,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Connects to the agent on `socket`, tells `events` its state and then every change.
    pub async fn open(node: usize, socket: &Path, events: mpsc::Sender<Event>) -> Result<Watch> {
        let stream = std::os::unix::net::UnixStream::connect(socket)?;
        let connection = connection::Builder::unix_stream(stream).p2p().build().await?;
        // Listen BEFORE asking: a change in between is in one of the two, or in both.
        let stream = MessageStream::from(&connection);
        let now = describe(&connection).await?;
        let at = Instant::now();
        for what in [News::Active(now.active), News::Leader(now.leader.unwrap_or_default())] {
            events.send(Event { node, at, what }).await.ok();
        }
        // Only now, so that no change is told before the older answer.
        let task = tokio::spawn(tell(node, stream, events));
        Ok(Watch { connection, task })
    }

    /// Reads one property.
    pub async fn property(&self, name: &str) -> Result<()> {
        get(&self.connection, None, name).await
    }

    /// The shortest call there is: the library of the agent answers it, not the agent.
    pub async fn ping(&self) -> Result<()> {
        let interface = Some("org.freedesktop.DBus.Peer");
        let call = self.connection.call_method(None::<&str>, PATH, interface, "Ping", &());
        call.await.map(drop).context("Ping was refused")
    }

    /// What the agent says about itself now.
    pub async fn describe(&self) -> Result<Description> {
        describe(&self.connection).await
    }

    /// Asks this leader to hand over to whom it likes.
    pub async fn transfer(&self) -> Result<()> {
        call(&self.connection, "TransferLeadership", &("",)).await.map(drop)
    }
}

/// Reads one property of the agent at the other end, or of that called `name` on a message bus.
pub async fn get(connection: &Connection, name: Option<&str>, property: &str) -> Result<()> {
    let interface = Some("org.freedesktop.DBus.Properties");
    let body = (INTERFACE, property);
    let call = connection.call_method(name, PATH, interface, "Get", &body);
    call.await.map(drop).with_context(|| format!("{property} was refused"))
}

async fn describe(connection: &Connection) -> Result<Description> {
    let reply = call(connection, "Describe", &()).await?;
    let text: String = reply.body().deserialize()?;
    serde_json::from_str(&text).with_context(|| format!("cannot read Describe(): {text}"))
}

async fn call<B>(connection: &Connection, method: &str, body: &B) -> Result<Message>
where
    B: serde::Serialize + zbus::DynamicType,
{
    let call = connection.call_method(None::<&str>, PATH, Some(INTERFACE), method, body);
    call.await.with_context(|| format!("{method} was refused"))
}

/// Passes on what `stream` says until it ends.
async fn tell(node: usize, mut stream: MessageStream, events: mpsc::Sender<Event>) {
    while let Some(Ok(message)) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
        let at = Instant::now();
        for what in read(&message).unwrap_or_default() {
            events.send(Event { node, at, what }).await.ok();
        }
    }
    events.send(Event { node, at: Instant::now(), what: News::Gone }).await.ok();
}

/// The news in a `PropertiesChanged` of the node.
fn read(message: &Message) -> Option<Vec<News>> {
    if message.header().member()?.as_str() != "PropertiesChanged" {
        return None;
    }
    let body = message.body();
    let (interface, changed, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) =
        body.deserialize().ok()?;
    if interface != INTERFACE {
        return None;
    }
    let news = changed.into_iter().filter_map(|(name, value)| match name {
        "Active" => bool::try_from(value).ok().map(News::Active),
        "Leader" => String::try_from(value).ok().map(News::Leader),
        _ => None,
    });
    Some(news.collect())
}
