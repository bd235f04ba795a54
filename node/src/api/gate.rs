//! The door of the control API: who comes in, and who has to leave.
//!
//! A connection is let in as long as there is [room](super::room) for its user. It is
//! closed when it has had no request under way for a while, whatever it sends meanwhile,
//! and when it does not take what it is sent.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::problem::Problem;
use super::room::{Room, Seat};

/// How long a connection may be without a request, or a request on its way.
const IDLE: Duration = Duration::from_secs(30);
/// How long a caller may take nothing of what it is sent.
const STALLED: Duration = Duration::from_secs(120);
/// How long to wait where nobody can be let in, as without descriptors.
const BREATHER: Duration = Duration::from_secs(1);
/// Callers at once who are told that there is no room; others hear nothing.
const TURNED_AWAY: usize = 32;
/// How long such a caller may take to read it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where callers come from.
pub(super) trait Door: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next caller, and their user where it is known. Safe to cancel.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<u32>)>> + Send;
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Option<u32>)> {
        let (stream, _) = self.accept().await?;
        let uid = stream.peer_cred().ok().map(|peer| peer.uid());
        Ok((stream, uid))
    }
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Option<u32>)> {
        Ok((self.accept().await?.0, None))
    }
}

/// Lets callers in.
#[derive(Debug)]
pub(super) struct Gate<D> {
    door: D,
    room: Room,
    leaving: JoinSet<()>,
}

impl<D: Door> Gate<D> {
    pub(super) fn new(door: D, room: Room) -> Self {
        Self {
            door,
            room,
            leaving: JoinSet::new(),
        }
    }

    /// Says that there is no room, to as many as there is time for.
    fn turn_away(&mut self, mut stream: D::Stream) {
        while self.leaving.try_join_next().is_some() {}
        tracing::debug!("too many connections");
        if self.leaving.len() >= TURNED_AWAY {
            return;
        }
        self.leaving.spawn(async move {
            // Who does not listen needs no answer.
            let _ = timeout(FAREWELL, say_no(&mut stream)).await;
        });
    }
}

async fn say_no(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let problem = Problem::too_many(
        "too many connections to the daemon: close some, or let others end theirs, and try again",
    );
    let body = serde_json::to_string(&problem)?;
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Until they have sent what they want: a pipe that breaks under them hides the answer.
    let mut asked = [0; 1_024];
    while stream.read(&mut asked).await? > 0 {}
    Ok(())
}

impl<D: Door> Listener for Gate<D> {
    type Io = CallerStream<D::Stream>;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, ()) {
        loop {
            match self.door.next().await {
                Ok((stream, uid)) => match self.room.enter(uid) {
                    Some(seat) => return (CallerStream::new(stream, uid, seat), ()),
                    None => self.turn_away(stream),
                },
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "nobody can be let in");
                    sleep(BREATHER).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

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
    fn new() -> Self {
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
    fn at_rest(&self) -> Option<Instant> {
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
    fn new(stream: S, uid: Option<u32>, seat: Seat) -> Self {
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

#[cfg(test)]
mod tests;
