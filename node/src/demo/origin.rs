//! The demo's web server: one file, ranges, an entity tag, and a slow uplink.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE};
use hyper::http::response;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// Bytes sent at once. Small, so that the picture moves smoothly.
const CHUNK: u64 = 128 * 1024;
/// The name of the file at the origin.
const PATH: &str = "/image.bin";

/// A running origin; it stops when this is dropped.
pub(crate) struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    content: Bytes,
    etag: String,
    bytes_per_second: u64,
    sent: AtomicU64,
    requests: AtomicU64,
    /// When the uplink has sent all that was handed to it.
    free_at: Mutex<Instant>,
}

impl Origin {
    /// Serves `content` on a loopback port, at most `bytes_per_second` in all.
    ///
    /// # Errors
    /// When no port can be opened.
    pub(crate) async fn start(content: Bytes, bytes_per_second: u64) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let etag = format!(
            "\"{}\"",
            &potluck_content::ContentId::of(&content).to_hex()[..16]
        );
        let shared = Arc::new(Shared {
            content,
            etag,
            bytes_per_second,
            sent: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            free_at: Mutex::new(Instant::now()),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// The URL of the file.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Bytes of the file sent so far, to everybody together.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Requests answered so far.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this future, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::warn!(%error, "the demo's origin cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let response = answer(&request, &shared);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    if let Err(error) = connection
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(%error, "a connection to the demo's origin broke");
    }
}

type Body = BoxBody<Bytes, Infallible>;

fn answer(request: &Request<Incoming>, shared: &Arc<Shared>) -> Response<Body> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let size = shared.content.len() as u64;
    if request.uri().path() != PATH {
        return finish(
            Response::builder().status(StatusCode::NOT_FOUND),
            Empty::new().boxed(),
        );
    }
    let range = request
        .headers()
        .get(RANGE)
        .and_then(|value| value.to_str().ok());
    let (builder, span) = match range.map(|text| parse_range(text, size)) {
        None => (Response::builder(), 0..size),
        Some(Some(span)) => {
            let text = format!("bytes {}-{}/{size}", span.start, span.end - 1);
            let builder = Response::builder().status(StatusCode::PARTIAL_CONTENT);
            (builder.header(CONTENT_RANGE, text), span)
        }
        Some(None) => {
            let builder = Response::builder().status(StatusCode::RANGE_NOT_SATISFIABLE);
            let builder = builder.header(CONTENT_RANGE, format!("bytes */{size}"));
            return finish(builder, Empty::new().boxed());
        }
    };
    let builder = builder
        .header(ACCEPT_RANGES, "bytes")
        .header(ETAG, &shared.etag)
        .header(CONTENT_LENGTH, span.end - span.start);
    if request.method() == Method::HEAD {
        finish(builder, Empty::new().boxed())
    } else {
        finish(
            builder,
            StreamBody::new(paced(Arc::clone(shared), span)).boxed(),
        )
    }
}

fn finish(builder: response::Builder, body: Body) -> Response<Body> {
    builder
        .body(body)
        .expect("headers made of numbers and hexadecimal digits")
}

/// Reads `bytes=FIRST-[LAST]` (RFC 9110, section 14.1.2); `None` for anything else.
fn parse_range(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let end = match last {
        "" => size,
        last => last.parse::<u64>().ok()?.checked_add(1)?.min(size),
    };
    (first < end).then_some(first..end)
}

/// The bytes of `span`, no faster than the uplink.
fn paced(
    shared: Arc<Shared>,
    span: Range<u64>,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync + 'static {
    stream::unfold((shared, span), |(shared, span)| async move {
        if span.is_empty() {
            return None;
        }
        let end = span.end.min(span.start + CHUNK);
        let len = end - span.start;
        tokio::time::sleep_until(shared.book(len)).await;
        shared.sent.fetch_add(len, Ordering::Relaxed);
        let index = |n: u64| usize::try_from(n).expect("within the content");
        let chunk = shared.content.slice(index(span.start)..index(end));
        Some((Ok(Frame::data(chunk)), (shared, end..span.end)))
    })
}

impl Shared {
    /// Books the uplink for `len` bytes and says when they have gone out.
    fn book(&self, len: u64) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let nanos = u128::from(len) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        *free_at = (*free_at).max(Instant::now()) + time;
        *free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges() {
        assert_eq!(parse_range("bytes=0-9", 100), Some(0..10));
        assert_eq!(parse_range("bytes=90-", 100), Some(90..100));
        assert_eq!(parse_range("bytes=90-500", 100), Some(90..100));
        assert_eq!(parse_range("bytes=100-", 100), None);
        assert_eq!(parse_range("bytes=-5", 100), None);
        assert_eq!(parse_range("lines=0-9", 100), None);
    }
}
