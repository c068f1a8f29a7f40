//! The listener and its connections: a task for each, a bounded number of them.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::io::Io;
use super::{Api, Served, Settings, service};
use crate::limits;

/// Serves on a bound listener until `stop` changes or its other end is gone; then requests under
/// way have `limits::HTTP_STOP` left.
pub async fn serve(
    listener: TcpListener,
    served: Served,
    settings: watch::Receiver<Arc<Settings>>,
    mut stop: watch::Receiver<()>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let api = Arc::new(Api::new(served, settings));
    let mut connections = JoinSet::new();
    let mut complaints = Complaints::default();
    loop {
        api.served.metrics.http.connections(connections.len() as u64);
        let accepted = tokio::select! {
            biased;
            _ = stop.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                if connections.len() >= api.settings.borrow().connections as usize {
                    api.served.metrics.http.refused_connection();
                    complaints.full(from);
                    refuse(stream);
                    continue;
                }
                let (api, stop) = (Arc::clone(&api), stop.clone());
                connections.spawn(connection(stream, from.ip(), api, stop));
            }
            Err(error) => {
                complaints.failed(&error);
                tokio::select! {
                    () = tokio::time::sleep(limits::HTTP_ACCEPT_PAUSE) => {}
                    _ = stop.changed() => break,
                }
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(limits::HTTP_STOP, all).await;
    Ok(())
}

/// Says that there is no place, without waiting for anybody.
fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write_all(FULL);
    }
}

async fn connection(stream: TcpStream, from: IpAddr, api: Arc<Api>, mut stop: watch::Receiver<()>) {
    let Ok(io) = Io::new(stream) else { return };
    let late = io.late();
    let bucket = api.clients.bucket(from);
    let (shared, client) = (&api, &*bucket);
    let service = service_fn(move |request| async move {
        Ok::<_, Infallible>(service::answer(shared, client, request).await)
    });
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HTTP_HEAD_TIMEOUT)
        .max_buf_size(limits::HTTP_HEAD_MAX_BYTES)
        // An answer is small: one piece is written faster than two.
        .writev(false);
    // Not `pipeline_flush`: it keeps answers back while bytes of a next request are there, also the
    // answer to a request that cannot be read.
    let mut serving = pin!(builder.serve_connection(io, service));
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        _ = stop.changed() => {
            serving.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(limits::HTTP_STOP, serving).await;
            return;
        }
    };
    if let Err(error) = served {
        tracing::debug!(%from, "an HTTP connection ended: {error}");
        late.store(error.is_timeout(), Ordering::Relaxed);
    }
}

/// Log lines about connections that were not taken: a crowd must not fill the log.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    fn full(&mut self, from: SocketAddr) {
        self.say(|more| {
            tracing::warn!("no place for the HTTP connection from {from}{more}, refusing");
        });
    }

    fn failed(&mut self, error: &std::io::Error) {
        self.say(|more| tracing::warn!("cannot accept HTTP connections: {error}{more}, ignoring"));
    }

    fn say(&mut self, say: impl FnOnce(String)) {
        let pause = limits::HTTP_REFUSAL_LOG_INTERVAL;
        if self.last.is_some_and(|last| last.elapsed() < pause) {
            self.unsaid += 1;
            return;
        }
        self.last = Some(Instant::now());
        say(match std::mem::take(&mut self.unsaid) {
            0 => String::new(),
            unsaid => format!(" (and {unsaid} more since the last such line)"),
        });
    }
}

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\nretry-after: 1\r\ncontent-length: 74\r\n\
    connection: close\r\n\r\n\
    {\"error\":{\"code\":\"busy\",\"message\":\"too many connections, try again soon\"}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
