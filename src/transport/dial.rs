//! The dialing side: one task for each outgoing connection.
//!
//! A dialer keeps one connection of one kind to one peer, and alone writes to it. When the
//! connection ends it dials again at once, then with growing pauses. A control dialer also finds
//! out whether a peer is still there: after a loss in either direction it dials a new connection,
//! beside the old one if that still stands, and what comes of it is evidence for the driver.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::handshake::Speaker;
use super::jitter::Jitter;
use super::lane::{Lane, Signals};
use super::link::Link;
use super::reach::{self, DialError, Outbound};
use super::shared::{Shared, count};
use super::tell;
use super::wire::ConnectionKind;
use crate::core::NodeId;
use crate::limits;

/// See the module.
pub(super) struct Dialer {
    shared: Arc<Shared>,
    peer: NodeId,
    kind: ConnectionKind,
    current: Option<Outbound>,
    attempt: Option<Attempt>,
    /// The current connection may belong to a process that is gone.
    doubtful: bool,
    retry_at: Option<Instant>,
    silent_at: Option<Instant>,
    /// Failed dials since the last one that worked.
    failures: u32,
    /// Connections in a row that did not last.
    quick_losses: u32,
    last_address: Option<SocketAddr>,
    last_process: Option<u64>,
    jitter: Jitter,
}

/// A dial under way.
struct Attempt {
    dial: Pin<Box<dyn Future<Output = Result<Outbound, DialError>> + Send>>,
    since: Instant,
}

/// What a dialer waits for.
enum Happened {
    Ended(io::Result<()>),
    Dialed(Result<Outbound, DialError>),
    Signalled,
    Writable,
    TimeCame,
}

impl Dialer {
    pub(super) fn new(shared: Arc<Shared>, peer: NodeId, kind: ConnectionKind, seed: u64) -> Self {
        let own = peer.0.wrapping_mul(2).wrapping_add(u64::from(kind == ConnectionKind::Bulk));
        Dialer {
            shared,
            peer,
            kind,
            current: None,
            attempt: None,
            doubtful: false,
            retry_at: None,
            silent_at: None,
            failures: 0,
            quick_losses: 0,
            last_address: None,
            last_process: None,
            jitter: Jitter::new(seed, own),
        }
    }

    /// Dials and writes until told to close.
    pub(super) async fn run(mut self) {
        loop {
            let signals = self.lane().take_signals();
            self.obey(signals).await;
            let wanted = self.current.is_none() || self.doubtful;
            if wanted && self.attempt.is_none() && self.retry_at.is_none() {
                self.start_attempt();
            }
            let more = match self.write() {
                Ok(more) => more,
                Err(error) => {
                    self.lost(&error.to_string()).await;
                    continue;
                }
            };
            if signals.close {
                return self.flush().await;
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            match self.wait().await {
                Happened::Signalled | Happened::Writable => {}
                Happened::Ended(result) => {
                    let end = result.err().map_or("closed".to_owned(), |error| error.to_string());
                    self.lost(&end).await;
                }
                Happened::Dialed(Ok(outbound)) => self.connected(outbound).await,
                Happened::Dialed(Err(error)) => self.failed(&error).await,
                Happened::TimeCame => self.time_came().await,
            }
        }
    }

    async fn wait(&mut self) -> Happened {
        let lane = self.shared.lane(self.peer, self.kind);
        let next = [self.retry_at, self.silent_at].into_iter().flatten().min();
        let current = self.current.as_ref();
        tokio::select! {
            biased;
            result = ended(current) => Happened::Ended(result),
            result = dialed(self.attempt.as_mut()) => Happened::Dialed(result),
            () = lane.changed() => Happened::Signalled,
            () = writable(current) => Happened::Writable,
            () = reached(next) => Happened::TimeCame,
        }
    }

    async fn obey(&mut self, signals: Signals) {
        if signals.discard {
            self.attempt = None;
            if self.kind == ConnectionKind::Control {
                self.shared.report(self.peer, Link::discarded).await;
            }
            self.lost("it is not who it was").await;
        }
        if signals.wake {
            // The peer has just spoken to us, so it is there; a dial that has been waiting for
            // longer than an answer takes may be waiting for a host that was down.
            self.failures = 0;
            self.retry_at = None;
            let age = self.attempt.as_ref().map(|attempt| attempt.since.elapsed());
            if age.is_some_and(|age| age > limits::RECONNECT_MIN) {
                self.attempt = None;
            }
        }
        let Some(before) = signals.redial else { return };
        let since = self.current.as_ref().map(|current| current.since);
        let proven = match self.kind {
            ConnectionKind::Control => since.is_some_and(|since| since > before),
            _ => since.is_none_or(|since| since > before),
        };
        if proven {
            return;
        }
        self.doubtful = true;
        if self.attempt.is_none() {
            self.retry_at = self.pause_after(since.unwrap_or(before));
        }
        self.watch_for_silence();
    }

    fn start_attempt(&mut self) {
        self.lane().open();
        // After one dial to where the peer was a moment ago, its name is resolved again.
        let hint = self.last_address.take();
        let dial = reach::dial(Arc::clone(&self.shared), self.peer, self.kind, hint);
        self.attempt = Some(Attempt { dial: Box::pin(dial), since: Instant::now() });
        self.watch_for_silence();
    }

    /// If the dial under way must show whether the peer is still there, limits the wait for it.
    fn watch_for_silence(&mut self) {
        let is_probe = self.kind == ConnectionKind::Control && self.attempt.is_some();
        if is_probe && self.silent_at.is_none() && self.shared.link(self.peer).is_lost() {
            self.silent_at = Some(Instant::now() + limits::REDIAL_ANSWER);
        }
    }

    /// A new connection takes the place of the current one, if any.
    async fn connected(&mut self, outbound: Outbound) {
        let Speaker { incarnation, process, protocol, .. } = outbound.speaker;
        tell::connected(self.kind, self.name(), outbound.address);
        self.attempt = None;
        self.retry_at = None;
        self.silent_at = None;
        self.doubtful = false;
        self.failures = 0;
        if self.last_process.replace(process) != Some(process) {
            // Whatever the process before did, this one starts without blame.
            self.quick_losses = 0;
        }
        self.last_address = Some(outbound.address);
        self.current = Some(outbound);
        self.shared.introduce(self.peer, self.kind, protocol);
        if self.kind == ConnectionKind::Control {
            self.shared.report(self.peer, |link| link.connected(incarnation, process)).await;
        }
    }

    /// The current connection has ended, or is given up.
    async fn lost(&mut self, why: &str) {
        let Some(outbound) = self.current.take() else { return };
        tell::lost(self.kind, self.name(), why);
        self.retry_at = self.pause_after(outbound.since);
        if self.retry_at.is_some() && self.attempt.is_none() {
            self.shut_lane();
        }
        if self.kind == ConnectionKind::Control {
            let process = outbound.speaker.process;
            self.shared.report(self.peer, |link| link.closed(process)).await;
            // A host that comes back after a partition answers at once; the bulk connection would
            // find that out only when its own retransmission is due.
            let lost = Instant::now();
            let bulk = self.shared.lane(self.peer, ConnectionKind::Bulk);
            bulk.signal(|signals| signals.redial = Some(lost));
            self.watch_for_silence();
        }
    }

    async fn failed(&mut self, error: &DialError) {
        self.attempt = None;
        self.complain(error);
        let link = self.shared.link(self.peer);
        let gone = match error.mismatch() {
            Some((_, process)) => link.is_other_than(process),
            None => error.is_rejection(),
        };
        if gone || error.mismatch().is_some() {
            self.silent_at = None;
        }
        if gone && self.kind == ConnectionKind::Control {
            self.shared.report(self.peer, Link::unanswered).await;
        }
        let pause = match error.mismatch() {
            Some(_) => self.jitter.spread(limits::RECONNECT_MAX),
            None => self.jitter.back_off(self.failures),
        };
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + pause);
        if self.current.is_none() {
            self.shut_lane();
        }
    }

    /// Until the next dial nothing is queued: by then it would be stale.
    fn shut_lane(&self) {
        let dropped = self.lane().shut();
        count(&self.shared.tally.dropped_unreachable, dropped);
    }

    async fn time_came(&mut self) {
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        if self.silent_at.is_some_and(|at| at <= now) {
            self.silent_at = None;
            self.shared.report(self.peer, Link::unanswered).await;
        }
    }

    /// Encodes what is queued and hands it to the kernel, until that takes no more. True if there
    /// may be more to write but it is the turn of others.
    fn write(&mut self) -> io::Result<bool> {
        let lane = self.shared.lane(self.peer, self.kind);
        let Some(outbound) = self.current.as_mut() else { return Ok(false) };
        let mut turn_bytes = 0;
        while turn_bytes < limits::WRITE_TURN_BYTES {
            if outbound.written == outbound.out.len() {
                outbound.out.clear();
                outbound.written = 0;
                outbound.out.shrink_to(limits::WRITE_BATCH_BYTES);
                let frames = lane.encode_batch(&mut outbound.out);
                if frames == 0 {
                    outbound.out.shrink_to(limits::CONNECTION_BUFFER_BYTES);
                    return Ok(false);
                }
                count(&self.shared.tally.sent_frames, frames);
            }
            match outbound.stream.try_write(&outbound.out[outbound.written..]) {
                Ok(bytes) => {
                    outbound.written += bytes;
                    turn_bytes += bytes;
                    count(&self.shared.tally.sent_bytes, bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes what is queued for as long as a stopping transport may.
    async fn flush(mut self) {
        let deadline = Instant::now() + limits::SHUTDOWN_FLUSH;
        while let Ok(more) = self.write() {
            let pending = self.current.as_ref().is_some_and(|c| c.written < c.out.len());
            if !more && !pending {
                return;
            }
            tokio::select! {
                () = writable(self.current.as_ref()), if pending => {}
                () = tokio::task::yield_now(), if !pending => {}
                () = sleep_until(deadline) => return,
            }
        }
    }

    /// When to dial again after a connection that stood since `since` ended.
    fn pause_after(&mut self, since: Instant) -> Option<Instant> {
        let lasted = since.elapsed() >= limits::RECONNECT_MAX;
        self.quick_losses = if lasted { 0 } else { self.quick_losses.saturating_add(1) };
        let beyond = self.quick_losses.checked_sub(limits::QUICK_LOSSES_MAX + 1)?;
        Some(Instant::now() + self.jitter.back_off(beyond))
    }

    fn complain(&self, error: &DialError) {
        let peer = &self.shared.peers[&self.peer];
        let line = format!("{} at {}: {error}", peer.name, peer.address);
        if let Some((mismatch, _)) = error.mismatch() {
            count(&self.shared.tally.refused, 1);
            self.shared.complain(Some(self.peer), &mismatch.to_string(), &line);
        } else if self.failures == 0 && self.kind == ConnectionKind::Control {
            tell::unreachable(peer, &error.to_string());
        } else {
            tracing::debug!("{line}");
        }
    }

    fn name(&self) -> &str {
        self.shared.peers[&self.peer].name.as_str()
    }

    fn lane(&self) -> &Lane {
        self.shared.lane(self.peer, self.kind)
    }
}

/// Completes when the other side closes the connection, on which it has nothing to say.
async fn ended(current: Option<&Outbound>) -> io::Result<()> {
    let Some(Outbound { stream, .. }) = current else { return pending().await };
    loop {
        stream.readable().await?;
        match stream.try_read(&mut [0; 16]) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(io::Error::other("it speaks where only the dialer may")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn dialed(attempt: Option<&mut Attempt>) -> Result<Outbound, DialError> {
    match attempt {
        Some(attempt) => attempt.dial.as_mut().await,
        None => pending().await,
    }
}

/// Completes when the kernel takes more of what is encoded.
async fn writable(current: Option<&Outbound>) {
    match current {
        // An error shows when it is written to.
        Some(outbound) if outbound.written < outbound.out.len() => {
            let _ = outbound.stream.writable().await;
        }
        _ => pending().await,
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
