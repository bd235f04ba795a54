//! An origin that does what a test tells it, however wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub head: String,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }

    /// First and last byte of `Range`.
    pub fn range(&self) -> Option<(u64, u64)> {
        let range = self.field("range")?;
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    }
}

/// What to send, and what then.
pub enum Reply {
    /// The bytes, then the next request.
    Keep(Vec<u8>),
    /// The bytes, then the end.
    Close(Vec<u8>),
    /// The bytes, then a reset.
    Reset(Vec<u8>),
    /// The bytes, then silence.
    Hang(Vec<u8>),
    /// The first bytes; once it is told to the others; then the next request.
    Once(Vec<u8>, watch::Receiver<bool>, Vec<u8>),
}

pub struct ScriptedOrigin {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl ScriptedOrigin {
    pub async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (Arc::clone(&asked), Arc::new(script));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self {
            address,
            asked,
            _tasks: tasks,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve<F>(mut stream: TcpStream, script: Arc<F>, log: Arc<Mutex<Vec<Asked>>>)
where
    F: Fn(&Asked) -> Reply,
{
    let mut head = Vec::new();
    loop {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
        let mut words = text.split_whitespace();
        let asked = Asked {
            method: words.next().unwrap_or_default().to_owned(),
            path: words.next().unwrap_or_default().to_owned(),
            head: text.clone(),
        };
        log.lock().unwrap().push(asked.clone());
        match script(&asked) {
            Reply::Keep(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Close(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Reset(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
                return;
            }
            Reply::Once(first, mut told, bytes) => {
                if stream.write_all(&first).await.is_err()
                    || told.wait_for(|told| *told).await.is_err()
                    || stream.write_all(&bytes).await.is_err()
                {
                    return;
                }
            }
            Reply::Hang(bytes) => {
                let _ = stream.write_all(&bytes).await;
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Text of an answer without a body.
pub fn head(status: &str, fields: &[(&str, String)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// A well-behaved answer to GET and HEAD, with ranges and an entity tag.
pub fn file(asked: &Asked, body: &[u8], etag: &str) -> Reply {
    let size = body.len() as u64;
    let mut fields = vec![
        ("ETag", format!("\"{etag}\"")),
        ("Accept-Ranges", "bytes".to_owned()),
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
    ];
    let fresh = asked
        .field("if-range")
        .is_none_or(|tag| tag == format!("\"{etag}\""));
    match asked.range().filter(|_| fresh) {
        Some(_) if asked.method == "GET" && size == 0 => {
            fields.push(("Content-Range", "bytes */0".to_owned()));
            fields.push(("Content-Length", "0".to_owned()));
            Reply::Keep(head("416 Range Not Satisfiable", &fields))
        }
        Some((first, last)) if asked.method == "GET" => {
            let last = last.min(size - 1);
            fields.push(("Content-Range", format!("bytes {first}-{last}/{size}")));
            fields.push(("Content-Length", (last + 1 - first).to_string()));
            let mut bytes = head("206 Partial Content", &fields);
            bytes.extend(&body[first as usize..=last as usize]);
            Reply::Keep(bytes)
        }
        _ => {
            fields.push(("Content-Length", size.to_string()));
            let mut bytes = head("200 OK", &fields);
            if asked.method == "GET" {
                bytes.extend(body);
            }
            Reply::Keep(bytes)
        }
    }
}
