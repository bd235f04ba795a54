//! The door of the control API: who comes in.
//!
//! A connection is let in as long as there is [room](super::room) for its user.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::caller_stream::CallerStream;
use super::problem::Problem;
use super::room::{Room, Seat};

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
    farewells: Arc<Semaphore>,
}

/// Somebody at the door.
#[derive(Debug)]
pub(super) struct Arrival<S> {
    stream: S,
    uid: Option<u32>,
    /// Where they are let in.
    seat: Option<Seat>,
    farewells: Arc<Semaphore>,
}

impl<D: Door> Gate<D> {
    pub(super) fn new(door: D, room: Room) -> Self {
        Self {
            door,
            room,
            farewells: Arc::new(Semaphore::new(TURNED_AWAY)),
        }
    }

    /// The next who comes. Safe to cancel.
    pub(super) async fn next(&self) -> Arrival<D::Stream> {
        loop {
            match self.door.next().await {
                Ok((stream, uid)) => {
                    return Arrival {
                        stream,
                        uid,
                        seat: self.room.enter(uid),
                        farewells: Arc::clone(&self.farewells),
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "nobody can be let in");
                    sleep(BREATHER).await;
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Arrival<S> {
    /// Whoever is let in. Others are told that there is no room, as many of them as there
    /// is time for.
    pub(super) async fn enter(mut self) -> Option<CallerStream<S>> {
        let Some(seat) = self.seat else {
            tracing::debug!("too many connections");
            let _farewell = self.farewells.try_acquire().ok()?;
            // Who does not listen needs no answer.
            let _ = timeout(FAREWELL, say_no(&mut self.stream)).await;
            return None;
        };
        Some(CallerStream::new(self.stream, self.uid, seat))
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
    // An answer before the question makes no sense to whoever asks.
    let mut asked = [0; 1_024];
    if stream.read(&mut asked).await? == 0 {
        return Ok(());
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Until they have sent what they want: a pipe that breaks under them hides the answer.
    while stream.read(&mut asked).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests;
