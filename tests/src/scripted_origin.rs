//! An origin that does what a test tells it, byte by byte.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Result;

use crate::Host;
use crate::accept::next_caller;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET`, `HEAD`…
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names, in lower case, and values of its fields.
    pub fields: Vec<(String, String)>,
    /// When it came.
    pub at: Instant,
}

/// Whether a connection is used for the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is.
    Keep,
    /// It is closed.
    Close,
}

type Script = dyn Fn(&Asked, &mut TcpStream) -> io::Result<Then> + Send + Sync;

/// A running one; it stops when dropped.
#[derive(Debug)]
pub struct ScriptedOrigin {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Asked {
    /// The value of a field; its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// First and last byte that are asked for.
    pub fn range(&self) -> Option<(u64, u64)> {
        let range = self.field("range")?.strip_prefix("bytes=")?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    }
}

impl ScriptedOrigin {
    /// Starts it on `host`; `script` writes the answer to each request.
    pub fn start(
        host: &Host,
        script: impl Fn(&Asked, &mut TcpStream) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Result<Self> {
        let place = SocketAddr::new(host.address(), 0);
        let listener = host.inside(|| TcpListener::bind(place))??;
        let address = listener.local_addr()?;
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let thread = {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            host.spawn(move || serve(&listener, &Arc::new(script), &asked, &stop))?
        };
        Ok(Self {
            address,
            stop,
            asked,
            thread: Some(thread),
        })
    }

    /// The address of `path` on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ScriptedOrigin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    listener: &TcpListener,
    script: &Arc<impl Fn(&Asked, &mut TcpStream) -> io::Result<Then> + Send + Sync + 'static>,
    asked: &Arc<Mutex<Vec<Asked>>>,
    stop: &AtomicBool,
) {
    let _ = listener.set_nonblocking(true);
    while let Some(stream) = next_caller(listener, stop) {
        let (script, asked) = (Arc::clone(script), Arc::clone(asked));
        std::thread::spawn(move || {
            // A client that goes away in the middle is none of our business.
            let _ = answer_all(stream, &*script, &asked);
        });
    }
}

fn answer_all(mut stream: TcpStream, script: &Script, log: &Mutex<Vec<Asked>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut words = first.split_whitespace().map(str::to_owned);
        let mut asked = Asked {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            fields: Vec::new(),
            at: Instant::now(),
        };
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let name = name.trim().to_ascii_lowercase();
            asked.fields.push((name, value.trim().to_owned()));
        }
        let mut known = log.lock().unwrap_or_else(PoisonError::into_inner);
        known.push(asked.clone());
        drop(known);
        if script(&asked, &mut stream)? == Then::Close {
            return Ok(());
        }
    }
}
