//! The command line's end of the control API: HTTP/1.1 over the daemon's Unix socket.
//!
//! Every call has a connection of its own: a stream that is followed never holds up
//! another call, and there is nothing to keep alive.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The `type` of the problem that only the caller may write a job's files.
pub const CALLER_PLACES: &str = "urn:potluck:caller-places";

/// How long a call may take: the daemon answers from memory, or after one write to
/// the disk, which can be slow when everybody writes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where the daemon reads or writes whole files first.
const LONG_PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// How long bytes of a file may be on their way.
const STALLED: Duration = Duration::from_secs(60);
/// The longest document: 300 jobs of 200 files each, with room to spare.
const MAX_DOCUMENT: usize = 64 << 20;
/// The longest line of a stream: one job.
const MAX_LINE: usize = 8 << 20;

/// Calls a daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    patience: Duration,
}

/// A call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers on {}: start one with potluck node, or name its socket with --socket",
        .0.display()
    )]
    NoDaemon(PathBuf),
    /// Somebody listens, but nothing is heard.
    #[error("the daemon on {} does not answer", .0.display())]
    Silent(PathBuf),
    /// The socket cannot be used.
    #[error("cannot use the socket {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon does not do it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The connection broke, or what came makes no sense.
    #[error("the daemon's answer cannot be used: {0}")]
    Broken(String),
    /// What was received cannot be written.
    #[error("cannot write what was received: {0}")]
    Write(io::Error),
}

/// The daemon's reason not to do something: a problem document (RFC 9457).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, thiserror::Error)]
#[serde(default)]
#[error("{detail}")]
pub struct Refused {
    /// What kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed, on what, and what to do, in one line.
    pub detail: String,
}

/// Lines of JSON that arrive as things happen.
#[derive(Debug)]
pub struct Lines {
    answer: Answer,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
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
        let client = Self {
            socket: socket.to_owned(),
            patience: PATIENCE,
        };
        client.dial().await?;
        Ok(client)
    }

    /// The same for calls at which the daemon reads or writes whole files.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self {
            socket: self.socket.clone(),
            patience: LONG_PATIENCE,
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.document(Method::GET, path, Bytes::new()).await
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
        let call = self.send(Method::DELETE, path, Bytes::new());
        self.in_time(self.patience, call).await.map(drop)
    }

    /// Follows a stream of lines.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn lines(&self, path: &str) -> Result<Lines, ClientError> {
        let call = self.send(Method::GET, path, Bytes::new());
        Ok(Lines {
            answer: self.in_time(self.patience, call).await?,
            buffer: BytesMut::new(),
            searched: 0,
        })
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
        let call = self.send(Method::GET, path, Bytes::new());
        let mut answer = self.in_time(self.patience, call).await?;
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
        let call = async {
            let answer = self.send(method, path, body).await?;
            let bytes = whole(answer.response).await?;
            serde_json::from_slice(&bytes).map_err(broken)
        };
        self.in_time(self.patience, call).await
    }

    /// The answer, once it is a good one.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let stream = TokioIo::new(self.dial().await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
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
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status.is_success() {
            return Ok(Answer {
                response,
                _connection: driver,
            });
        }
        let bytes = whole(response).await?;
        Err(refused(status, &bytes).into())
    }

    async fn dial(&self) -> Result<UnixStream, ClientError> {
        match timeout(PATIENCE, UnixStream::connect(&self.socket)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon(self.socket.clone()),
                _ => ClientError::Socket {
                    path: self.socket.clone(),
                    source: error,
                },
            }),
            Err(_) => Err(ClientError::Silent(self.socket.clone())),
        }
    }

    async fn in_time<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        timeout(limit, call)
            .await
            .unwrap_or_else(|_| Err(ClientError::Silent(self.socket.clone())))
    }
}

impl ClientError {
    /// Whether there is no daemon to talk to.
    #[must_use]
    pub const fn is_no_daemon(&self) -> bool {
        matches!(self, Self::NoDaemon(_) | Self::Silent(_))
    }

    /// Whether only the caller may write the files of a job.
    #[must_use]
    pub fn is_caller_places(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.kind == CALLER_PLACES)
    }
}

impl Lines {
    /// The next line, without its end; `None` when there are no more. May be called
    /// again after it was dropped half way.
    ///
    /// # Errors
    /// When the connection breaks or a line is too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let fresh = &self.buffer[self.searched..];
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Err(ClientError::Broken("a line without an end".to_owned()));
            }
            match self.answer.response.body_mut().frame().await {
                Some(frame) => {
                    if let Ok(bytes) = frame.map_err(broken)?.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ClientError::Broken("it ends within a line".to_owned())),
            }
        }
    }

    /// The next line, read.
    ///
    /// # Errors
    /// As [`Lines::next`], and when the line is something else.
    pub async fn next_document<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        let Some(line) = self.next().await? else {
            return Ok(None);
        };
        serde_json::from_slice(&line).map(Some).map_err(broken)
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

async fn whole(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), MAX_DOCUMENT);
    let body = body.collect().await.map_err(broken)?;
    Ok(body.to_bytes())
}

fn refused(status: StatusCode, bytes: &[u8]) -> Refused {
    serde_json::from_slice::<Refused>(bytes)
        .ok()
        .filter(|refused| !refused.detail.is_empty())
        .unwrap_or_else(|| Refused {
            kind: "about:blank".to_owned(),
            status: status.as_u16(),
            detail: format!("the daemon answered {status}"),
        })
}

fn written(body: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> ClientError {
    ClientError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::header;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use serde_json::{Value, json};
    use tempfile::TempDir;
    use tokio::net::UnixListener;

    use super::*;

    /// A server on a socket, as long as both are kept.
    async fn serve(router: Router) -> (Client, TempDir, JoinSet<()>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut server = JoinSet::new();
        server.spawn(async { axum::serve(listener, router).await.unwrap() });
        (Client::connect(&path).await.unwrap(), dir, server)
    }

    #[tokio::test]
    async fn nobody_is_told_apart_from_somebody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let absent = Client::connect(&path).await.unwrap_err();
        assert!(absent.is_no_daemon(), "{absent}");
        // As after a crash.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(Client::connect(&path).await.unwrap_err().is_no_daemon());
        let too_long = dir.path().join("x".repeat(200));
        let wrong = Client::connect(&too_long).await.unwrap_err();
        assert!(!wrong.is_no_daemon(), "{wrong}");
    }

    #[tokio::test]
    async fn documents_go_both_ways() {
        let echo = async |body: axum::Json<Value>| body;
        let gone = async || StatusCode::NO_CONTENT;
        let router = Router::new().route("/v1/x", get(async || "[1,2]").post(echo).delete(gone));
        let (client, _dir, _server) = serve(router).await;
        assert_eq!(client.get::<Vec<u8>>("/v1/x").await.unwrap(), [1, 2]);
        let sent = json!({ "a": "ö" });
        let echoed: Value = client.post("/v1/x", &sent).await.unwrap();
        assert_eq!(echoed, sent);
        client.delete("/v1/x").await.unwrap();
        let wrong = client.get::<String>("/v1/x").await.unwrap_err();
        assert!(matches!(wrong, ClientError::Broken(_)), "{wrong}");
    }

    #[tokio::test]
    async fn a_problem_is_one_line() {
        let problem = async || {
            let body = json!({ "type": CALLER_PLACES, "status": 409, "detail": "not mine" });
            (StatusCode::CONFLICT, axum::Json(body)).into_response()
        };
        let (client, _dir, _server) = serve(Router::new().route("/places", get(problem))).await;
        let error = client.get::<Value>("/places").await.unwrap_err();
        assert!(error.is_caller_places());
        assert_eq!(error.to_string(), "not mine");
        let error = client.get::<Value>("/nothing").await.unwrap_err();
        assert_eq!(error.to_string(), "the daemon answered 404 Not Found");
    }

    #[tokio::test]
    async fn lines_are_whole_however_they_arrive() {
        let parts = ["{\"a\"", ":1}\n{\"a\":", "2}\n\n{\"a\":3}\n"];
        let body = move || {
            let parts = parts.map(|part| Ok::<_, io::Error>(Bytes::from(part)));
            Body::from_stream(futures::stream::iter(parts))
        };
        let torn = async || "{\"a\":1}\n{\"a\"";
        let router = Router::new()
            .route("/lines", get(async move || body()))
            .route("/torn", get(torn));
        let (client, _dir, _server) = serve(router).await;
        let mut lines = client.lines("/lines").await.unwrap();
        for a in 1..=3 {
            let line: Value = lines.next_document().await.unwrap().unwrap();
            assert_eq!(line, json!({ "a": a }));
        }
        assert_eq!(lines.next().await.unwrap(), None);
        let mut torn = client.lines("/torn").await.unwrap();
        assert!(torn.next().await.unwrap().is_some());
        assert!(matches!(torn.next().await, Err(ClientError::Broken(_))));
    }

    #[tokio::test]
    async fn bytes_cut_short_are_an_error() {
        let whole = vec![7; 300_000];
        let sent = whole.clone();
        let cut = async || {
            let chunks = [Ok(Bytes::from("abc")), Err(io::Error::other("gone"))];
            let body = Body::from_stream(futures::stream::iter(chunks));
            ([(header::CONTENT_LENGTH, "10")], body)
        };
        let router = Router::new()
            .route("/whole", get(async move || sent.clone()))
            .route("/cut", get(cut));
        let (client, _dir, _server) = serve(router).await;
        let mut bytes = Vec::new();
        let count = client.download("/whole", &mut bytes).await.unwrap();
        assert_eq!((count, &bytes), (300_000, &whole));
        let mut bytes = Vec::new();
        let cut = client.download("/cut", &mut bytes).await;
        assert!(matches!(cut, Err(ClientError::Broken(_))), "{cut:?}");
    }

    #[test]
    fn any_text_makes_one_part_of_a_path() {
        assert_eq!(escaped("b3:0a-"), "b3:0a-");
        assert_eq!(escaped("../a b?ö"), "..%2Fa%20b%3F%C3%B6");
    }
}
