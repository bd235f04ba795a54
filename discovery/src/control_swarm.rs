//! The libp2p swarm that carries the control connections.

use std::io;
use std::time::Duration;

use libp2p::core::transport::Transport as _;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, StreamProtocol, Swarm, connection_limits};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::control_codec::ControlCodec;
use crate::control_handshake::Handshake;
use crate::control_message::PROTOCOL;
use crate::control_transport::ControlTransport;

/// Callers that are being proven at once, or have lost their place to others and are
/// still to be told: a bound behind that of the handshake.
const MAX_PENDING_INCOMING: u32 = 512;
/// A second connection can come up while two nodes call each other; one of the two is
/// closed. A third is for a node that lost its connections and does not know it yet.
const MAX_PER_PEER: u32 = 3;
/// An answer that takes longer is not waited for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions and answers under way at once on one connection.
const MAX_STREAMS: usize = 32;
/// Connections stay open while they say nothing: they are ended by decisions only.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What runs on every control connection.
#[derive(NetworkBehaviour)]
pub(crate) struct ControlBehaviour {
    limits: connection_limits::Behaviour,
    pub(crate) requests: request_response::Behaviour<ControlCodec>,
}

/// Makes the swarm, listening. Its tasks are counted by `tasks`.
pub(crate) fn control_swarm(
    me: PeerId,
    handshake: Handshake,
    listener: TcpListener,
    max_peers: usize,
    tasks: TaskTracker,
) -> io::Result<Swarm<ControlBehaviour>> {
    let address = crate::control_transport::multiaddr(listener.local_addr()?);
    let transport = ControlTransport::new(handshake, listener)?.boxed();
    let max_established = u32::try_from(max_peers).unwrap_or(u32::MAX / 4);
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING_INCOMING))
        // Some more than peers, so that those who come in vain can be told so.
        .with_max_established(Some(max_established.saturating_mul(2).saturating_add(16)))
        .with_max_established_per_peer(Some(MAX_PER_PEER));
    let requests = request_response::Behaviour::with_codec(
        ControlCodec::default(),
        [(StreamProtocol::new(PROTOCOL), ProtocolSupport::Full)],
        request_response::Config::default()
            .with_request_timeout(REQUEST_TIMEOUT)
            .with_max_concurrent_streams(MAX_STREAMS),
    );
    let behaviour = ControlBehaviour {
        limits: connection_limits::Behaviour::new(limits),
        requests,
    };
    let config = libp2p::swarm::Config::with_executor(move |task| {
        tasks.spawn(task);
    })
    .with_idle_connection_timeout(NEVER);
    let mut swarm = Swarm::new(transport, behaviour, me, config);
    swarm
        .listen_on(address)
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(swarm)
}
