//! Bodies on their way: frames are passed on as they are, and watched.
//!
//! Invariant: nothing is buffered here. That a body stands still is noticed in both directions: a
//! request's by [`Progress`], a response's by a clock that runs only while nothing comes.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

/// How far the body of a request has come.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// How many frames of it have been sent on.
    pub(crate) fn frames(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The body of a request on its way to a backend.
pub(crate) struct RequestBody {
    inner: Incoming,
    /// Of a request without a body there is none.
    progress: Option<Progress>,
}

impl RequestBody {
    /// Counts its frames, if anybody wants to know.
    pub(crate) fn new(inner: Incoming, progress: Option<Progress>) -> Self {
        Self { inner, progress }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let (Poll::Ready(_), Some(progress)) = (&polled, &self.progress) {
            progress.0.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response on its way to the client. It ends with an error if nothing comes for a
/// time.
pub(crate) struct ResponseBody {
    inner: Incoming,
    limit: Duration,
    /// Set while nothing comes.
    silence: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    /// Allows this much silence.
    pub(crate) fn new(inner: Incoming, limit: Duration) -> Self {
        Self { inner, limit, silence: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = self.limit;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(limit)));
        silence.as_mut().poll(cx).map(|()| Some(Err(Stalled.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The backend began to answer and was silent for too long.
#[derive(Debug)]
struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response stalled")
    }
}

impl Error for Stalled {}
