//! A web server that misbehaves on purpose.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_linger;

use crate::accept::next_caller;
use crate::{Blob, Host};

/// What it does wrong.
#[derive(Debug, Clone)]
pub enum Misdeed {
    /// Answers every request with this status and a short text.
    Status(u16),
    /// Resets every connection as soon as a request has come.
    Reset,
    /// Answers the question rightly, then resets after this many bytes of the body.
    ResetAfter(u64),
    /// Says this size but sends only what it has, then closes.
    LyingLength(u64),
    /// Redirects `/a` to `/b` and `/b` to `/a`.
    RedirectCircle,
    /// Honest, but knows no ranges and says no length.
    NoLength,
    /// Honest about everything but HEAD, which it refuses with 405.
    NoHead,
    /// Takes the request and never answers.
    Silent,
}

/// A running one; it stops when dropped.
#[derive(Debug)]
pub struct BadOrigin {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU32>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl BadOrigin {
    /// Starts it on `host`; every path is the blob.
    pub fn start(host: &Host, blob: Blob, misdeed: Misdeed) -> Result<Self> {
        let place = SocketAddr::new(host.address(), 0);
        let listener = host.inside(|| TcpListener::bind(place))??;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicU32::new(0));
        let server = Server {
            blob,
            misdeed,
            requests: requests.clone(),
        };
        let thread = {
            let stop = stop.clone();
            host.spawn(move || serve(&listener, &Arc::new(server), &stop))?
        };
        Ok(Self {
            address,
            stop,
            requests,
            thread: Some(thread),
        })
    }

    /// The address of `path` on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// How many requests came.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BadOrigin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Server {
    blob: Blob,
    misdeed: Misdeed,
    requests: Arc<AtomicU32>,
}

fn serve(listener: &TcpListener, server: &Arc<Server>, stop: &AtomicBool) {
    // The thread ends with the origin: it looks up every now and then.
    let _ = listener.set_nonblocking(true);
    while let Some(stream) = next_caller(listener, stop) {
        let server = server.clone();
        std::thread::spawn(move || {
            // A client that goes away in the middle is none of our business.
            let _ = server.answer(&stream);
        });
    }
}

impl Server {
    fn answer(&self, stream: &TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let mut range = None;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("range:") {
                range = parse_range(value.trim(), self.blob.size());
            }
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut words = first.split_whitespace();
        let head = words.next() == Some("HEAD");
        let path = words.next().unwrap_or("/");
        self.misbehave(stream, head, path, range)
    }

    fn misbehave(
        &self,
        mut out: &TcpStream,
        head: bool,
        path: &str,
        range: Option<(u64, u64)>,
    ) -> Result<()> {
        let size = self.blob.size();
        match &self.misdeed {
            Misdeed::Silent => {
                // Until the other side gives up.
                std::io::copy(&mut out, &mut std::io::sink())?;
            }
            Misdeed::Reset => reset(out)?,
            Misdeed::Status(status) => {
                let text = "no, thank you\n";
                write!(
                    out,
                    "HTTP/1.1 {status} Misdeed\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    text.len()
                )?;
                if !head {
                    out.write_all(text.as_bytes())?;
                }
            }
            Misdeed::RedirectCircle => {
                let other = if path == "/a" { "/b" } else { "/a" };
                write!(
                    out,
                    "HTTP/1.1 302 Found\r\nLocation: {other}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )?;
            }
            Misdeed::NoLength => {
                write!(
                    out,
                    "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nConnection: close\r\n\r\n"
                )?;
                if !head {
                    out.write_all(self.blob.bytes())?;
                }
            }
            Misdeed::NoHead if head => {
                write!(
                    out,
                    "HTTP/1.1 405 No HEAD\r\nAllow: GET\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )?;
            }
            Misdeed::NoHead => self.honest(out, head, range, size, size)?,
            Misdeed::ResetAfter(after) => {
                self.honest(out, head, range, size, *after)?;
                if !head {
                    reset(out)?;
                }
            }
            Misdeed::LyingLength(said) => self.honest(out, head, range, *said, size)?,
        }
        Ok(())
    }

    /// Head and body, but never more than `most` bytes of the body and as if the
    /// whole were `size` bytes.
    fn honest(
        &self,
        mut out: &TcpStream,
        head: bool,
        range: Option<(u64, u64)>,
        size: u64,
        most: u64,
    ) -> Result<()> {
        let (status, from, to) = match range {
            Some((from, to)) => ("206 Partial Content", from, to.min(size - 1)),
            None => ("200 OK", 0, size - 1),
        };
        write!(
            out,
            "HTTP/1.1 {status}\r\nETag: \"one\"\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n",
            to + 1 - from
        )?;
        if range.is_some() {
            write!(out, "Content-Range: bytes {from}-{to}/{size}\r\n")?;
        }
        write!(out, "Connection: close\r\n\r\n")?;
        if !head {
            let have = self.blob.size();
            let to = (to + 1).min(have).min(from.saturating_add(most));
            if from < to {
                let part = self.blob.bytes().get(from as usize..to as usize);
                out.write_all(part.context("within the blob")?)?;
            }
        }
        Ok(())
    }
}

/// Closes with RST instead of FIN.
fn reset(stream: &TcpStream) -> Result<()> {
    set_socket_linger(stream.as_fd(), Some(std::time::Duration::ZERO))?;
    Ok(())
}

fn parse_range(value: &str, size: u64) -> Option<(u64, u64)> {
    let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok()?;
    let to = if to.is_empty() {
        size - 1
    } else {
        to.parse().ok()?
    };
    Some((from, to))
}
