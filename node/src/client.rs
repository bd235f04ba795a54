//! The command line's end of the control API: HTTP/1.1 over the daemon's Unix socket.
//!
//! Every call has a connection of its own: a stream that is followed never holds up
//! another call, and there is nothing to keep alive.

mod descriptor;
mod error;
mod lines;
mod persistence;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, LINK};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use error::{broken, cut_off};

pub use error::{ClientError, Refused};
pub use lines::Lines;

/// How long a call may take: the daemon answers from memory, or after one write to
/// the disk, which can be slow when everybody writes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where the daemon reads or writes whole files first.
const LONG_PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// How long bytes of a file may be on their way.
const STALLED: Duration = Duration::from_secs(60);
/// The longest document: one job of root with as much text as it may have, every character
/// of it written as an escape of two, and what else is said of its files.
const MAX_DOCUMENT: usize = 512 << 20;
/// How long to wait where the system takes no more connections.
const BREATHER: Duration = Duration::from_millis(20);

/// Calls a daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    /// As whom the daemon runs.
    daemon: u32,
    patience: Duration,
}

/// An answer, and the task that drives its connection.
#[derive(Debug)]
struct Answer {
    response: Response<Incoming>,
    _connection: JoinSet<()>,
}

impl Client {
    /// Looks whether a daemon listens on a socket.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] when nobody does, [`ClientError::Socket`] when the
    /// socket is not for this user.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let stream = dial(socket).await?;
        let peer = stream.peer_cred();
        let peer = peer.map_err(|source| ClientError::Socket {
            path: socket.to_owned(),
            source,
        })?;
        Ok(Self {
            socket: socket.to_owned(),
            daemon: peer.uid(),
            patience: PATIENCE,
        })
    }

    /// The same for calls at which the daemon reads or writes whole files.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self {
            patience: LONG_PATIENCE,
            ..self.clone()
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.document(Method::GET, path, Bytes::new()).await
    }

    /// Reads a part of a list, and says where the next part is.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(Vec<T>, Option<String>), ClientError> {
        let call = async || {
            let answer = self.send(Method::GET, path, Bytes::new()).await?;
            let next = next_page(answer.response.headers());
            let bytes = whole(answer.response).await?;
            Ok((serde_json::from_slice(&bytes).map_err(broken)?, next))
        };
        self.persist(true, call).await
    }

    /// Sends a document and reads the answer.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.document(Method::POST, path, written(body)?).await
    }

    /// Changes something and reads what became of it.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn patch<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.document(Method::PATCH, path, written(body)?).await
    }

    /// Removes something.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        let call = || self.send(Method::DELETE, path, Bytes::new());
        self.persist(false, call).await.map(drop)
    }

    /// Removes things and reads what went.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn delete_many<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.document(Method::DELETE, path, Bytes::new()).await
    }

    /// Has something done that needs no more words, and reads what became of it.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn order<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.document(Method::POST, path, Bytes::new()).await
    }

    /// Follows a stream of lines.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn lines(&self, path: &str) -> Result<Lines, ClientError> {
        let call = || self.send(Method::GET, path, Bytes::new());
        Ok(Lines::of(self.persist(true, call).await?))
    }

    /// Reads bytes into `to` and flushes it. Says how many they were; fewer than the
    /// daemon announced are an error.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn download(
        &self,
        path: &str,
        to: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<u64, ClientError> {
        let call = || self.send(Method::GET, path, Bytes::new());
        let mut answer = self.persist(true, call).await?;
        let body = answer.response.body_mut();
        let mut received = 0;
        loop {
            let frame = async { body.frame().await.transpose().map_err(broken) };
            let Some(frame) = self.in_time(STALLED, frame).await? else {
                break;
            };
            if let Ok(mut bytes) = frame.into_data() {
                received += bytes.len() as u64;
                to.write_all_buf(&mut bytes)
                    .await
                    .map_err(ClientError::Write)?;
            }
        }
        to.flush().await.map_err(ClientError::Write)?;
        Ok(received)
    }

    async fn document<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let is_safe = method.is_safe();
        let call = async || {
            let answer = self.send(method.clone(), path, body.clone()).await?;
            let bytes = whole(answer.response).await?;
            serde_json::from_slice(&bytes).map_err(broken)
        };
        self.persist(is_safe, call).await
    }

    /// The answer, once it is a good one.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let stream = TokioIo::new(dial(&self.socket).await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(cut_off)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What goes wrong here is told to whoever reads the answer.
            let _ = connection.await;
        });
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "potluck")
            .header(ACCEPT, "application/json, */*");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(broken)?;
        let response = sender.send_request(request).await.map_err(cut_off)?;
        let status = response.status();
        if status.is_success() {
            return Ok(Answer {
                response,
                _connection: driver,
            });
        }
        let bytes = whole(response).await?;
        Err(Refused::read(status, &bytes).into())
    }
}

async fn dial(socket: &Path) -> Result<UnixStream, ClientError> {
    match timeout(PATIENCE, connected(socket)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon(socket.to_owned()),
            _ => ClientError::Socket {
                path: socket.to_owned(),
                source: error,
            },
        }),
        Err(_) => Err(ClientError::Silent(socket.to_owned())),
    }
}

/// Connects, and waits where more connect at once than the system keeps in mind.
async fn connected(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(BREATHER).await;
            }
            other => return other,
        }
    }
}

/// One part of a path, or a value after the question mark, whatever it holds.
#[must_use]
pub fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// The target of the link to what comes next (RFC 8288), where the daemon gives one.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let target = link.strip_suffix(">; rel=\"next\"")?;
    target.strip_prefix('<').map(str::to_owned)
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), MAX_DOCUMENT);
    let body = body.collect().await.map_err(broken)?;
    Ok(body.to_bytes())
}

fn written(body: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(broken)
}

#[cfg(test)]
mod tests;
