//! Bodies: reading one within its bounds, and what is sent back.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Bytes;
use axum::http::StatusCode;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::error::Refused;
use crate::limits;

/// The body of an answer.
pub(super) enum Reply {
    /// Nothing, or nothing more.
    Empty,
    /// Bytes at hand.
    Full(Bytes),
    /// From axum, with a place among large answers, which is held until it is sent.
    Large {
        body: axum::body::Body,
        /// Given back with the body.
        _place: OwnedSemaphorePermit,
    },
}

impl Body for Reply {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Reply::Empty => Poll::Ready(None),
            Reply::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Reply::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Reply::Large { body, .. } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Empty => true,
            Reply::Full(bytes) => bytes.is_empty(),
            Reply::Large { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Empty => SizeHint::with_exact(0),
            Reply::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Reply::Large { body, .. } => body.size_hint(),
        }
    }
}

/// A part of the memory for request bodies; given back when it is dropped.
pub(super) struct Reserved<'a> {
    bodies: &'a AtomicUsize,
    bytes: usize,
}

impl<'a> Reserved<'a> {
    fn nothing(bodies: &'a AtomicUsize) -> Reserved<'a> {
        Reserved { bodies, bytes: 0 }
    }

    fn add(&mut self, bytes: usize) -> Result<(), Refused> {
        self.bytes += bytes;
        let before = self.bodies.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > limits::HTTP_BODIES_MAX_BYTES {
            return Err(Refused::busy("too many large requests are under way"));
        }
        Ok(())
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.bodies.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body of at most `most` bytes, within `limits::HTTP_BODY_TIMEOUT`.
pub(super) async fn read<B>(
    mut body: B,
    most: usize,
    bodies: &AtomicUsize,
) -> Result<(Vec<u8>, Reserved<'_>), Refused>
where
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
    let mut reserved = Reserved::nothing(bodies);
    let expected = body.size_hint().lower();
    if expected > most as u64 {
        if expected <= limits::HTTP_DRAIN_MAX_BYTES as u64 {
            drain(body).await;
        }
        return Err(longer(most));
    }
    let mut bytes = Vec::new();
    // The timer is only made for a body that does not come with its head.
    let late = tokio::time::sleep(limits::HTTP_BODY_TIMEOUT);
    tokio::pin!(late);
    loop {
        let frame = tokio::select! {
            biased;
            frame = next(&mut body) => frame,
            () = &mut late => {
                let message = "the body did not come in time";
                return Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "timeout", message));
            }
        };
        match frame {
            None => return Ok((bytes, reserved)),
            Some(Err(error)) => {
                return Err(Refused::invalid(format!("the body cannot be read: {error}")));
            }
            // Trailers are nothing to us.
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if bytes.len() + data.len() > most {
                    drain(body).await;
                    return Err(longer(most));
                }
                reserved.add(data.len())?;
                match bytes.is_empty() {
                    true => bytes = Vec::from(data),
                    false => bytes.extend_from_slice(&data),
                }
            }
        }
    }
}

async fn next<B: Body + Unpin>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>> {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// Reads what a client still sends of a body that is refused, so that it gets to the answer.
async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let all = async {
        let mut left = limits::HTTP_DRAIN_MAX_BYTES;
        while let Some(Ok(frame)) = next(&mut body).await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(limits::HTTP_BODY_TIMEOUT, all).await;
}

fn longer(most: usize) -> Refused {
    Refused::too_large(format!("the body is too long, expected at most {most} bytes"))
}
