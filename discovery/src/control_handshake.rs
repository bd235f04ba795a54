//! From a TCP connection to a proven one.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use libp2p::PeerId;
use libp2p::core::UpgradeInfo as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::upgrade::{InboundConnectionUpgrade as _, OutboundConnectionUpgrade as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use crate::caller_places::CallerPlaces;
use crate::gathered_io::GatheredIo;
use crate::neighbourhood::Neighbourhood;
use crate::{PortTls, RejectReason, Standing, VerifiedPeer};

/// Connecting and proving together take no longer than this. On a local network
/// both take milliseconds; an idle caller is sent away after it.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Callers that are being proven at the same time, in all and of one address.
const MAX_CALLERS: usize = 128;
const MAX_CALLERS_OF_ADDRESS: usize = 32;
/// Streams that a peer may have open at once: each question takes one.
const MAX_STREAMS: usize = 64;

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// Nobody answers there.
    #[error("cannot connect: {0}")]
    Unreachable(#[source] io::Error),
    /// One side did not accept the other.
    #[error("{0}")]
    Refused(RejectReason),
    /// The other side is this node.
    #[error("it is this node itself")]
    Myself,
    /// Others call, and this caller took long to prove itself.
    #[error("too many callers at once")]
    Crowded,
}

/// Makes connections: TCP, then TLS 1.3 with certificates on both sides from the
/// first byte, then the domain's policy, then yamux. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handshake {
    inner: Arc<Inner>,
}

struct Inner {
    me: PeerId,
    standing: Standing,
    near: Neighbourhood,
    /// Where calls come from, when the node listens on one address.
    bind: Option<IpAddr>,
    /// What was proven, until the swarm takes the connection over.
    proven: Mutex<BTreeMap<(PeerId, SocketAddr), Proven>>,
    callers: CallerPlaces,
}

/// What a handshake has proven.
pub(crate) struct Proven {
    pub(crate) peer: VerifiedPeer,
    /// When the connection must end: with the certificate on it that ends first.
    pub(crate) ends: SystemTime,
    at: Instant,
}

impl Handshake {
    pub(crate) fn new(me: PeerId, standing: Standing, listen: IpAddr, near: Neighbourhood) -> Self {
        Self {
            inner: Arc::new(Inner {
                me,
                standing,
                near,
                bind: (!listen.is_unspecified()).then_some(listen),
                proven: Mutex::default(),
                callers: CallerPlaces::new(MAX_CALLERS, MAX_CALLERS_OF_ADDRESS),
            }),
        }
    }

    /// Proves a caller, which is counted from now on.
    pub(crate) fn accept(
        self,
        tcp: TcpStream,
        remote: SocketAddr,
    ) -> impl Future<Output = Result<(PeerId, StreamMuxerBox), HandshakeError>> {
        let place = self.inner.callers.take(remote.ip());
        async move {
            let proven = place.hold(self.prove(tcp, remote)).await;
            proven.unwrap_or(Err(HandshakeError::Crowded))
        }
    }

    async fn prove(
        &self,
        tcp: TcpStream,
        remote: SocketAddr,
    ) -> Result<(PeerId, StreamMuxerBox), HandshakeError> {
        if !self.inner.near.admits(remote) {
            return Err(HandshakeError::Refused(RejectReason::OffSubnet));
        }
        let tls = self.inner.standing.control();
        // Small questions and answers should not wait for each other.
        let _ = tcp.set_nodelay(true);
        let accepted = TlsAcceptor::from(tls.server_config()).accept(tcp);
        let stream = limit(accepted).await?.map_err(|error| refused(&error))?;
        let peer = tls
            .check_server_side(stream.get_ref().1, SystemTime::now())
            .map_err(HandshakeError::Refused)?;
        let muxer = config()
            .upgrade_inbound(GatheredIo::new(stream.compat()), yamux_name())
            .await
            .map_err(|error| refused(&error))?;
        self.finish(&tls, peer, remote, StreamMuxerBox::new(muxer))
    }

    /// Calls a node and proves it.
    pub(crate) async fn call(
        self,
        remote: SocketAddr,
    ) -> Result<(PeerId, StreamMuxerBox), HandshakeError> {
        let tcp = limit(self.connect(remote)).await?;
        let tcp = tcp.map_err(HandshakeError::Unreachable)?;
        let _ = tcp.set_nodelay(true);
        let tls = self.inner.standing.control();
        let connected = TlsConnector::from(tls.client_config()).connect(tls.server_name(), tcp);
        let stream = limit(connected).await?.map_err(|error| refused(&error))?;
        let peer = tls
            .check_client_side(stream.get_ref().1, SystemTime::now())
            .map_err(HandshakeError::Refused)?;
        let muxer = config()
            .upgrade_outbound(GatheredIo::new(stream.compat()), yamux_name())
            .await
            .map_err(|error| refused(&error))?;
        self.finish(&tls, peer, remote, StreamMuxerBox::new(muxer))
    }

    /// What was proven about the other end of a connection. Each answer is given once.
    pub(crate) fn take_proven(&self, peer: PeerId, remote: SocketAddr) -> Option<Proven> {
        lock(&self.inner.proven).remove(&(peer, remote))
    }

    /// Each call has a port of its own: two nodes that call each other from their
    /// listening ports at the same moment would meet head on, both as clients.
    async fn connect(&self, remote: SocketAddr) -> io::Result<TcpStream> {
        let socket = match remote {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(bind) = self.inner.bind
            && bind.is_ipv4() == remote.is_ipv4()
        {
            socket.bind(SocketAddr::new(bind, 0))?;
        }
        socket.connect(remote).await
    }

    fn finish(
        &self,
        tls: &PortTls,
        peer: VerifiedPeer,
        remote: SocketAddr,
        muxer: StreamMuxerBox,
    ) -> Result<(PeerId, StreamMuxerBox), HandshakeError> {
        let id = peer.peer_id;
        if id == self.inner.me {
            return Err(HandshakeError::Myself);
        }
        let (mut proven, at) = (lock(&self.inner.proven), Instant::now());
        // The swarm may have given up a connection that it never asks about.
        proven.retain(|_, old| at.saturating_duration_since(old.at) < TIME_LIMIT);
        let ends = tls.end_with(&peer);
        proven.insert((id, remote), Proven { peer, ends, at });
        Ok((id, muxer))
    }
}

async fn limit<T>(step: impl Future<Output = T>) -> Result<T, HandshakeError> {
    tokio::time::timeout(TIME_LIMIT, step)
        .await
        .map_err(|_| HandshakeError::Refused(RejectReason::Timeout))
}

fn refused(error: &io::Error) -> HandshakeError {
    HandshakeError::Refused(RejectReason::from_io(error))
}

fn config() -> libp2p::yamux::Config {
    let mut config = libp2p::yamux::Config::default();
    config.set_max_num_streams(MAX_STREAMS);
    config
}

fn yamux_name() -> &'static str {
    config().protocol_info().next().unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
