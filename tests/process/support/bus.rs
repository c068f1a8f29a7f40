//! The private bus of several agents at once: ask all, wait for a change of any, ask again.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use raftctl::dbus::client::Client;
use raftctl::dbus::describe::Describe;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use zbus::export::futures_core::Stream as _;
use zbus::message::Type;
use zbus::{Connection, MessageStream, connection};

use super::DEADLINE;

/// Asks the agents on `sockets` again after every signal of any, until `fits` takes what they say.
/// `Err`: what they said last, at the deadline.
pub async fn until<T>(
    sockets: &[&Path],
    mut fits: impl FnMut(&[Describe]) -> Option<T>,
) -> Result<T, Vec<Describe>> {
    let changed = Arc::new(Notify::new());
    let mut listening = JoinSet::new();
    let mut clients = Vec::new();
    for socket in sockets {
        // Listens BEFORE it asks: no change is missed.
        let signals = signals(socket).await;
        listening.spawn(tell(signals, Arc::clone(&changed)));
        clients.push(Client::connect(socket, DEADLINE).await.unwrap());
    }
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        let mut all = Vec::new();
        for client in &clients {
            all.push(client.describe().await.unwrap());
        }
        if let Some(found) = fits(&all) {
            return Ok(found);
        }
        if tokio::time::timeout_at(end, changed.notified()).await.is_err() {
            return Err(all);
        }
    }
}

async fn signals(socket: &Path) -> (Connection, MessageStream) {
    let stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let built = connection::Builder::unix_stream(stream).p2p().build();
    let connection = tokio::time::timeout(DEADLINE, built).await.unwrap().unwrap();
    let stream = MessageStream::from(&connection);
    (connection, stream)
}

async fn tell((_connection, mut stream): (Connection, MessageStream), changed: Arc<Notify>) {
    loop {
        let next = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await;
        match next {
            Some(Ok(message)) if message.message_type() == Type::Signal => changed.notify_one(),
            Some(Ok(_)) => {}
            _ => return,
        }
    }
}
