//! A member of the domain that does not play fair. Its papers are in order and it
//! claims to hold whatever it is asked for; its data port is another matter.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use potluck_content::{ContentId, Manifest};
use potluck_discovery::{
    Config, Holding, Holdings, Membership, PortTls, Revocations, Standing, Wanted,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio_util::sync::CancellationToken;

use crate::accept::next_caller;
use crate::ambush::credulous_server;
use crate::{Blob, Host, Node, Papers};

/// What its data port does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Sends other bytes than were asked for.
    WrongBytes,
    /// Sends half of what it announced, then hangs up.
    BreaksOff,
    /// Takes the question and never answers.
    Silent,
    /// Has a certificate of another domain there.
    OtherPapers,
}

/// A running one; it stops when dropped.
#[derive(Debug)]
pub struct Liar {
    id: String,
    stop: Arc<AtomicBool>,
    token: CancellationToken,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<Result<()>>>>,
}

impl Liar {
    /// Starts it in the place of `node`, which has joined the domain and whose daemon
    /// does not run. It claims that every name it is asked for is the blob's.
    pub fn start(node: &Node, peers: &[&Host], blob: &Blob, lie: Lie) -> Result<Self> {
        let membership = Membership::load(&node.data_dir())?.context("it has not joined")?;
        let host = node.host();
        let listen = SocketAddr::new(host.address(), Node::DATA_PORT);
        let listener = host.inside(|| TcpListener::bind(listen))??;
        listener.set_nonblocking(true)?;
        let config = match lie {
            Lie::OtherPapers => {
                let foreign = Papers::foreign_to(membership.domain_name())?;
                credulous_server(&foreign, b"potluck-data/1")?
            }
            _ => PortTls::data(&membership)?.server_config(),
        };
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let token = CancellationToken::new();
        let mut threads = Vec::new();
        let server = Server {
            config,
            lie,
            blob: blob.clone(),
            sent: sent.clone(),
        };
        let stopped = stop.clone();
        threads.push(host.spawn(move || {
            serve(&listener, &Arc::new(server), &stopped);
            Ok(())
        })?);

        let claims = Claims(Manifest::of(blob.bytes())?);
        let config = Config {
            static_peers: peers
                .iter()
                .map(|peer| format!("{}:{}", peer.address(), Node::DATA_PORT))
                .collect(),
            ..Config::for_listen(listen)
        };
        let (ended, member) = (token.clone(), membership.clone());
        threads.push(host.spawn(move || discover(&config, &member, claims, ended))?);
        Ok(Self {
            id: membership.peer_id().to_string(),
            stop,
            token,
            sent,
            threads,
        })
    }

    /// Its id in peer lists.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Bytes of bodies that it sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.token.cancel();
        for thread in self.threads.drain(..) {
            if let Ok(Ok(Err(error)) | Err(error)) = thread.join() {
                eprintln!("the liar: {error:#}");
            }
        }
    }
}

struct Claims(Manifest);

impl Holdings for Claims {
    fn have(&self, wanted: &[Wanted]) -> Vec<Option<Holding>> {
        let holding = Holding {
            content: self.0.id(),
            size: self.0.size(),
            bitfield: None,
            serves: None,
        };
        vec![Some(holding); wanted.len()]
    }

    fn manifest(&self, content: &ContentId) -> Option<Manifest> {
        (*content == self.0.id()).then(|| self.0.clone())
    }
}

struct Server {
    config: Arc<ServerConfig>,
    lie: Lie,
    blob: Blob,
    sent: Arc<AtomicU64>,
}

fn serve(listener: &TcpListener, server: &Arc<Server>, stop: &AtomicBool) {
    while let Some(socket) = next_caller(listener, stop) {
        let server = server.clone();
        // Ends when the other side hangs up, at the latest with the test.
        std::thread::spawn(move || server.answer(socket));
    }
}

impl Server {
    fn answer(&self, socket: TcpStream) -> Result<()> {
        let connection = ServerConnection::new(self.config.clone())?;
        let mut stream = BufReader::new(StreamOwned::new(connection, socket));
        loop {
            let Some((from, to)) = read_head(&mut stream, self.blob.size())? else {
                return Ok(());
            };
            if self.lie == Lie::Silent {
                // Until the other side gives up.
                stream.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
            let size = self.blob.size();
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}\r\n\
                Content-Length: {}\r\n\r\n",
                to - 1,
                to - from
            );
            let part = self
                .blob
                .bytes()
                .get(from as usize..to as usize)
                .context("a range")?;
            let mut part = part.to_vec();
            if self.lie == Lie::WrongBytes {
                // One bit in the middle of everything that it sends.
                let middle = part.len() / 2;
                part[middle] ^= 1;
            } else if self.lie == Lie::BreaksOff {
                part.truncate(part.len() / 2);
            }
            let out = stream.get_mut();
            out.write_all(head.as_bytes())?;
            out.write_all(&part)?;
            out.flush()?;
            self.sent.fetch_add(part.len() as u64, Ordering::Relaxed);
            if self.lie == Lie::BreaksOff {
                return Ok(());
            }
        }
    }
}

/// The range that is asked for; `None` when nothing more is.
fn read_head(stream: &mut impl BufRead, size: u64) -> Result<Option<(u64, u64)>> {
    let mut range = (0, size);
    let mut lines = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            return Ok((lines > 0).then_some(range));
        }
        lines += 1;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            let (from, to) = value.trim().split_once('-').context("a range")?;
            let to = if to.is_empty() {
                size
            } else {
                to.parse::<u64>()? + 1
            };
            range = (from.parse()?, to.min(size));
        }
    }
}

fn discover(
    config: &Config,
    membership: &Membership,
    claims: Claims,
    stop: CancellationToken,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let standing = Standing::new(membership, Revocations::in_memory(membership))?;
        let (_handle, service) =
            potluck_discovery::start(config, &standing, Arc::new(claims), None, stop)?;
        Ok(service.join().await?)
    })
}
