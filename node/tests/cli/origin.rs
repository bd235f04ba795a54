//! An origin on 127.0.0.1 that can be slowed down.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Serves one file of pseudo-random bytes under any path with `file` in it, with ranges;
/// 404 under any other. Under a path with `slow` bytes come at about 2 MiB/s, under one
/// with `locked` only for [`LOGIN`], under one with `busy` never.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    /// Says which version the entity tag names.
    pub(super) version: Arc<AtomicU64>,
    pub(super) bytes: Arc<Vec<u8>>,
    sent: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

/// `me` with the password `s3cret`.
const LOGIN: &str = "Basic bWU6czNjcmV0";

impl Origin {
    pub(super) fn start(size: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = Arc::new(pseudo_random(size));
        let sent = Arc::new(AtomicU64::new(0));
        let (content, count) = (Arc::clone(&bytes), Arc::clone(&sent));
        let version = Arc::new(AtomicU64::new(1));
        let tag = Arc::clone(&version);
        let refused = Arc::new(AtomicU64::new(0));
        let busy = Arc::clone(&refused);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (content, count) = (Arc::clone(&content), Arc::clone(&count));
                let (tag, busy) = (Arc::clone(&tag), Arc::clone(&busy));
                // A client that goes away in the middle is no failure.
                std::thread::spawn(move || drop(serve(&stream, &content, &count, &tag, &busy)));
            }
        });
        Self {
            address,
            version,
            bytes,
            sent,
            refused,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Requests that found it busy.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn pseudo_random(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn serve(
    stream: &TcpStream,
    bytes: &[u8],
    sent: &AtomicU64,
    tag: &AtomicU64,
    refused: &AtomicU64,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let mut words = head[0].split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let mut out = stream;
        if !path.contains("file") {
            out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        if path.contains("busy") {
            refused.fetch_add(1, Ordering::Relaxed);
            out.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let login = head.iter().any(|line| line.ends_with(LOGIN));
        if path.contains("locked") && !login {
            out.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let range = head.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_range = name.eq_ignore_ascii_case("range");
            let (from, to) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
            let to = to.parse().unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
            is_range.then(|| (from.parse().unwrap_or(0), to))
        });
        let (status, from, to) = match range {
            Some((from, to)) => ("206 Partial Content", from, to),
            None => ("200 OK", 0, bytes.len() - 1),
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nETag: \"v{}\"\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n",
            tag.load(Ordering::Relaxed),
            to + 1 - from
        );
        if range.is_some() {
            answer += &format!("Content-Range: bytes {from}-{to}/{}\r\n", bytes.len());
        }
        out.write_all(format!("{answer}\r\n").as_bytes())?;
        if method == "HEAD" {
            continue;
        }
        for chunk in bytes[from..=to].chunks(64 << 10) {
            out.write_all(chunk)?;
            sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if path.contains("slow") {
                // The rate of the origin, not a wait for something.
                std::thread::sleep(Duration::from_millis(120));
            }
        }
    }
}
