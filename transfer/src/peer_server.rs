//! Giving contents to peers: HTTP/1.1 over mutual TLS on a port of its own.

mod connections;
mod exchange;
mod pieces_question;
mod served_body;
mod turnstile;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use potluck_discovery::{CallerPlace, CallerPlaces, Direction, PeerId, RejectReason, canonical};
use potluck_plan::ServeQueueConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::buffers::BufferPool;
use crate::rates::Rates;
use crate::shelf::Shelf;
use crate::traffic::TrafficCounts;
use crate::trust::{Refusal, Trust, handshake_failure};
use connections::PeerConnections;
use exchange::Exchange;
use served_body::ServedShared;
use turnstile::Turnstile;

/// How peers are served.
#[derive(Clone, Debug)]
pub struct PeerServerConfig {
    /// Who is served when.
    pub queue: ServeQueueConfig,
    /// Connections of peers at once; more are closed at once. Each costs a few tens of
    /// KiB.
    pub max_connections: usize,
    /// Connections of one peer at once, so that none takes all. More than the requests
    /// of it that are served or wait.
    pub max_connections_of_peer: usize,
    /// Callers at once that are not proven, so that strangers cannot use up memory.
    pub max_handshakes: usize,
    /// Such callers of one address.
    pub max_handshakes_of_address: usize,
    /// How long a caller may take to prove who it is.
    pub handshake_timeout: Duration,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
}

impl Default for PeerServerConfig {
    fn default() -> Self {
        Self {
            queue: ServeQueueConfig::default(),
            max_connections: 512,
            max_connections_of_peer: 32,
            max_handshakes: 64,
            max_handshakes_of_address: 16,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
        }
    }
}

/// A running peer server. Dropping it closes its port and its connections.
pub struct PeerServer {
    address: SocketAddr,
    turnstile: Turnstile,
    _tasks: JoinSet<()>,
}

/// What the tasks of a server share.
struct Shared {
    config: PeerServerConfig,
    trust: Arc<dyn Trust>,
    shelf: Arc<dyn Shelf>,
    turnstile: Turnstile,
    served: Arc<ServedShared>,
    callers: CallerPlaces,
    connections: PeerConnections,
}

impl PeerServer {
    /// Serves what is on the shelf on a listener.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(
        config: PeerServerConfig,
        listener: TcpListener,
        trust: Arc<dyn Trust>,
        shelf: Arc<dyn Shelf>,
        rates: Rates,
        traffic: TrafficCounts,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let turnstile = Turnstile::new(config.queue);
        let shared = Arc::new(Shared {
            callers: CallerPlaces::new(config.max_handshakes, config.max_handshakes_of_address),
            connections: PeerConnections::new(
                config.max_connections,
                config.max_connections_of_peer,
            ),
            config,
            trust,
            shelf,
            turnstile: turnstile.clone(),
            served: Arc::new(ServedShared {
                buffers: BufferPool::new(16),
                rates,
                traffic,
            }),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(turnstile.clone().watch());
        tasks.spawn(accept(listener, shared));
        Ok(Self {
            address,
            turnstile,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Distinct peers that are served now, and requests that wait.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        self.turnstile.load()
    }

    /// Changes how many peers are served at once.
    pub fn set_max_clients(&self, max_clients: u32) {
        self.turnstile.set_max_clients(max_clients);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection to a peer failed");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let address = canonical(address);
                    // Here, not in the task: what was accepted is counted.
                    let place = shared.callers.take(address.ip());
                    connections.spawn(serve(stream, address, Arc::clone(&shared), place));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: it passes.
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, address: SocketAddr, shared: Arc<Shared>, place: CallerPlace) {
    let refuse = |id: Option<PeerId>, reason: RejectReason| {
        tracing::debug!(%address, %reason, "refused");
        shared.trust.note_refusal(Refusal {
            address,
            id,
            reason,
            direction: Direction::Inbound,
        });
    };
    if !shared.trust.admits(address) {
        return refuse(None, RejectReason::OffSubnet);
    }
    let limit = shared.config.handshake_timeout;
    let proving = tokio::time::timeout(limit, handshake(stream, &shared));
    let Some(proven) = place.hold(proving).await else {
        return tracing::debug!(%address, "others call: an unproven caller is sent away");
    };
    drop(place);
    let stream = match proven {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            match handshake_failure(&error) {
                Some(reason) => refuse(None, reason),
                None => tracing::debug!(%address, %error, "hung up before it said who it is"),
            }
            return;
        }
        Err(_) => {
            return refuse(None, RejectReason::Timeout);
        }
    };
    let judged = match shared.trust.judge_caller(stream.get_ref().1) {
        Ok(judged) => judged,
        Err(reason) => return refuse(None, reason),
    };
    let peer = judged.peer;
    let Some(_counted) = shared.connections.admit(peer) else {
        return tracing::debug!(%peer, %address, "too many connections: closed");
    };
    let ending = shared.trust.ending(&judged);
    let evict = CancellationToken::new();
    let exchange = Arc::new(Exchange {
        shelf: Arc::clone(&shared.shelf),
        turnstile: shared.turnstile.clone(),
        shared: Arc::clone(&shared.served),
        peer,
        evict: evict.clone(),
    });
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        async move { exchange.answer(request).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.idle_timeout)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = evict.cancelled() => tracing::debug!(%peer, "reads too slowly: closed"),
        ended = ending => tracing::debug!(%peer, "{ended}: closed"),
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended");
        },
    }
}

async fn handshake(stream: TcpStream, shared: &Shared) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    TlsAcceptor::from(shared.trust.server_config())
        .accept_with(stream, |connection| {
            connection.set_buffer_limit(Some(256 << 10))
        })
        .await
}
