//! Somebody who waits to be called.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::{ServerConfig, ServerConnection, Stream};

use crate::accept::next_caller;
use crate::credulous::{Credulous, provider};
use crate::stranger::read_all;
use crate::{Host, Papers};

/// Waits on a port to be called, with these papers; takes any caller's.
#[derive(Debug)]
pub struct Ambush {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What came to an [`Ambush`].
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Connections.
    pub calls: u32,
    /// Bytes inside the encryption: nothing must be said to somebody unproven.
    pub bytes: Vec<u8>,
}

impl Ambush {
    /// Listens on `host` at `port`; 0 is any.
    pub fn new(host: &Host, port: u16, alpn: &[u8], papers: &Papers) -> Result<Self> {
        let config = credulous_server(papers, alpn)?;
        let place = SocketAddr::new(host.address(), port);
        let listener = host.inside(|| TcpListener::bind(place))??;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (seen, stop) = (
            Arc::new(Mutex::new(Seen::default())),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = {
            let (seen, stop) = (seen.clone(), stop.clone());
            host.spawn(move || {
                while let Some(socket) = next_caller(&listener, &stop) {
                    let bytes = hear(socket, config.clone()).unwrap_or_default();
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.calls += 1;
                    seen.bytes.extend(bytes);
                }
            })?
        };
        Ok(Self {
            address,
            seen,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came so far.
    pub fn seen(&self) -> Seen {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Ambush {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hear(mut socket: TcpStream, config: Arc<ServerConfig>) -> Result<Vec<u8>> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut connection = ServerConnection::new(config)?;
    let mut bytes = Vec::new();
    read_all(&mut Stream::new(&mut connection, &mut socket), &mut bytes);
    Ok(bytes)
}

/// A server with these papers that takes any caller's.
pub(crate) fn credulous_server(papers: &Papers, alpn: &[u8]) -> Result<Arc<ServerConfig>> {
    let shown = papers.shown()?.context("a server has a certificate")?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Credulous(provider())))
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}
