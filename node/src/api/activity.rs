//! Whether a connection is being answered.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use tokio::time::Instant;

/// Whether a connection has a request under way. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<Rest>>);

#[derive(Debug)]
struct Rest {
    requests: usize,
    since: Instant,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Activity);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Rest {
            requests: 0,
            since: Instant::now(),
        })))
    }

    pub(super) fn begin(&self) -> Busy {
        self.with(|rest| rest.requests += 1);
        Busy(self.clone())
    }

    /// Since when there has been no request under way; nothing while there is one.
    pub(super) fn at_rest(&self) -> Option<Instant> {
        self.with(|rest| (rest.requests == 0).then_some(rest.since))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Rest) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with(|rest| {
            rest.requests = rest.requests.saturating_sub(1);
            rest.since = Instant::now();
        });
    }
}

impl Busy {
    /// The request is under way until all of the response is sent.
    pub(super) fn until_sent(self, response: Response) -> Response {
        response.map(|body| Body::new(BusyBody { body, _busy: self }))
    }
}

/// The body of a response, and what ends with it.
struct BusyBody {
    body: Body,
    _busy: Busy,
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
