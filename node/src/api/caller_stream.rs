//! The connection of a caller, and when it is given up.
//!
//! It is closed when it has had no request under way for a while, whatever it sends
//! meanwhile, and when it does not take what it is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::activity::Activity;
use super::room::Seat;

/// How long a connection may be without a request, or a request on its way.
pub(super) const IDLE: Duration = Duration::from_secs(30);
/// How long a caller may take nothing of what it is sent.
pub(super) const STALLED: Duration = Duration::from_secs(120);

/// The connection of a caller who was let in.
#[derive(Debug)]
pub(super) struct CallerStream<S> {
    stream: S,
    uid: Option<u32>,
    activity: Activity,
    idle: Pin<Box<Sleep>>,
    /// While something waits to be taken.
    stalled: Option<Pin<Box<Sleep>>>,
    _seat: Seat,
}

impl<S> CallerStream<S> {
    pub(super) fn new(stream: S, uid: Option<u32>, seat: Seat) -> Self {
        Self {
            stream,
            uid,
            activity: Activity::new(),
            idle: Box::pin(sleep(IDLE)),
            stalled: None,
            _seat: seat,
        }
    }

    /// The user at the other end, as the kernel vouches for it.
    pub(super) const fn uid(&self) -> Option<u32> {
        self.uid
    }

    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// Ready when there has been no request for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.idle.as_mut().poll(cx));
            let now = Instant::now();
            let rests = self.activity.at_rest().filter(|_| self.stalled.is_none());
            match rests.map(|since| since + IDLE) {
                Some(end) if end <= now => return Poll::Ready(()),
                end => self.idle.as_mut().reset(end.unwrap_or(now + IDLE)),
            }
        }
    }

    /// Watches over something that is being sent.
    fn watch<T>(&mut self, sent: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.stalled = None;
            return sent;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CallerStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            return read;
        }
        // As if they had hung up.
        self.poll_idle(cx).map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CallerStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(sent, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watch(sent, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(sent, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
