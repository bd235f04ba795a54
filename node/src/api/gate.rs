//! The door of the control API: who comes in.
//!
//! A connection is let in as long as there is [room](super::room) for its user. Some more
//! wait until others leave, so that many short calls at once all come in.

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
/// How long somebody waits for a seat, below the patience of the command line.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
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
    queue: Room,
    farewells: Arc<Semaphore>,
}

/// Somebody at the door.
#[derive(Debug)]
pub(super) struct Arrival<S> {
    stream: S,
    uid: Option<u32>,
    welcome: Welcome,
}

/// What becomes of them.
#[derive(Debug)]
enum Welcome {
    In(Seat),
    /// They wait for a seat, in a place of the queue.
    Wait(Room, Seat),
    /// There are too many.
    Away(Arc<Semaphore>),
}

impl<D: Door> Gate<D> {
    /// Lets as many in as there is room for, and as many wait as there is room for in the
    /// queue.
    pub(super) fn new(door: D, room: Room, queue: Room) -> Self {
        Self {
            door,
            room,
            queue,
            farewells: Arc::new(Semaphore::new(TURNED_AWAY)),
        }
    }

    /// The next who comes. Safe to cancel.
    pub(super) async fn next(&self) -> Arrival<D::Stream> {
        loop {
            match self.door.next().await {
                Ok((stream, uid)) => {
                    let welcome = self.welcome(uid);
                    return Arrival {
                        stream,
                        uid,
                        welcome,
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

    fn welcome(&self, uid: Option<u32>) -> Welcome {
        if let Some(seat) = self.room.enter(uid) {
            return Welcome::In(seat);
        }
        match self.queue.enter(uid) {
            Some(place) => Welcome::Wait(self.room.clone(), place),
            None => Welcome::Away(Arc::clone(&self.farewells)),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Arrival<S> {
    /// Whoever is let in, perhaps after a while. Others are told that there is no room, as
    /// many of them as there is time for.
    pub(super) async fn enter(mut self) -> Option<CallerStream<S>> {
        match self.welcome {
            Welcome::In(seat) => Some(CallerStream::new(self.stream, self.uid, seat)),
            Welcome::Wait(room, place) => {
                if let Ok(seat) = timeout(PATIENCE, room.wait(self.uid)).await {
                    return Some(CallerStream::new(self.stream, self.uid, seat));
                }
                turn_away(&mut self.stream).await;
                drop(place);
                None
            }
            Welcome::Away(farewells) => {
                let _farewell = farewells.try_acquire().ok()?;
                turn_away(&mut self.stream).await;
                None
            }
        }
    }
}

async fn turn_away(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    tracing::debug!("too many connections");
    // Who does not listen needs no answer.
    let _ = timeout(FAREWELL, say_no(stream)).await;
}

async fn say_no(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let problem = Problem::crowded(
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
