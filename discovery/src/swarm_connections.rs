//! Connections of the control swarm: made, refused, lost.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use libp2p::core::ConnectedPoint;
use libp2p::core::transport::TransportError;
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use crate::control_handshake::HandshakeError;
use crate::control_swarm::ControlBehaviourEvent;
use crate::control_transport::socket_address;
use potluck_near::Setback;

use crate::swarm_connection::Connection;
use crate::swarm_task::{SwarmTask, now};
use crate::{Departure, Direction, PortKind, RejectReason, Rejected};
use potluck_near::{Admission, DialTarget};

/// Two connections that come up within this time mean that both nodes called. Later,
/// a new one means that the peer has lost the old one.
const TOGETHER: Duration = Duration::from_secs(5);

impl SwarmTask {
    pub(crate) fn on_event(&mut self, event: SwarmEvent<ControlBehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(ControlBehaviourEvent::Requests(event)) => {
                self.on_request_event(event);
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.on_established(peer_id, connection_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                cause,
                ..
            } => self.on_closed(peer_id, connection_id, num_established, cause.as_ref()),
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error,
                peer_id,
                ..
            } => self.on_caller_failed(&send_back_addr, peer_id, &error),
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => self.on_dial_failed(connection_id, &error),
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "control connection not accepted");
            }
            SwarmEvent::ListenerClosed { reason, .. } => {
                tracing::error!(?reason, "the control port was closed");
            }
            _ => {}
        }
    }

    fn on_established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let dialed = self.state.dials.remove(&id);
        let remote = socket_address(endpoint.get_remote_address());
        let proven = remote.and_then(|remote| {
            let proven = self.handshake.take_proven(peer, remote)?;
            Some((remote, proven))
        });
        let Some((remote, proven)) = proven else {
            self.swarm.close_connection(id);
            return;
        };
        if self.revoked.is_revoked(&peer) {
            // Between its handshake and now.
            self.swarm.close_connection(id);
            return;
        }
        let target = dialed.map(|(target, _)| target);
        // Whoever calls while the other connection is silent has lost it.
        let silent = self.state.checks.contains_key(&peer) || self.table.is_called_again(&peer);
        let admission = self.table.handle_connected(peer, target, now());
        let direction = if endpoint.is_dialer() {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        tracing::debug!(%peer, %remote, ?direction, ?admission, "control connection");
        let connection = Connection {
            peer,
            remote,
            direction,
            name: proven.peer.name.as_str().to_owned(),
            certificate: proven.peer.certificate,
            expires: proven.peer.expires,
            ends: proven.ends,
            control: None,
            since: Instant::now(),
            in_vain: admission != Admission::Welcome,
            revoked: None,
            surplus: None,
        };
        let in_vain = connection.in_vain;
        let duplicate = self.duplicate_of(&connection);
        self.state.connections.insert(id, connection);
        if admission == Admission::Shunned || (in_vain && direction == Direction::Outbound) {
            self.swarm.close_connection(id);
            return;
        }
        if let Some(other) = duplicate {
            self.settle(id, other, silent);
        }
        if !in_vain {
            self.introduce(peer);
        }
    }

    fn duplicate_of(&self, connection: &Connection) -> Option<ConnectionId> {
        let mut others = self.state.connections.iter();
        let other = others.find(|(_, other)| other.peer == connection.peer && other.is_in_use());
        other.map(|(id, _)| *id)
    }

    /// Ends one of two connections with a peer. When both nodes called, both must choose
    /// the same one: what the smaller id called stays.
    fn settle(&mut self, new: ConnectionId, old: ConnectionId, silent: bool) {
        let connections = &mut self.state.connections;
        let (Some(newer), Some(older)) = (connections.get(&new), connections.get(&old)) else {
            return;
        };
        if silent {
            if let Some(older) = connections.get_mut(&old) {
                older.surplus = Some(Instant::now());
            }
            self.swarm.close_connection(old);
            return;
        }
        if newer.since.saturating_duration_since(older.since) >= TOGETHER {
            if newer.direction == Direction::Inbound {
                // The peer calls because it has lost the old one, or leaves it for
                // newer certificates.
                self.swarm.close_connection(old);
            } else if let Some(older) = connections.get_mut(&old) {
                // We called for newer certificates, and may yet be turned away.
                older.surplus = Some(Instant::now());
            }
            return;
        }
        let ours = if self.me < newer.peer {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        let keep_old = older.direction != newer.direction && older.direction == ours;
        if let Some(loser) = connections.get_mut(if keep_old { &new } else { &old }) {
            loser.surplus = Some(Instant::now());
        }
    }

    fn on_closed(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        remaining: u32,
        cause: Option<&ConnectionError>,
    ) {
        let connection = self.state.connections.remove(&id);
        if remaining > 0 {
            let mut others = self.state.connections.values_mut();
            if let Some(other) = others.find(|other| other.peer == peer && !other.in_vain) {
                // Even a surplus one is better than none.
                let needed = connection.is_some_and(|connection| connection.is_in_use());
                other.surplus = other.surplus.filter(|_| !needed);
            }
            return;
        }
        self.state.alive.remove(&peer);
        self.state.checks.remove(&peer);
        self.forget_list_of(&peer);
        let mut setback = Setback::Unreachable;
        // With TLS 1.3 who called believes in the connection before the other side
        // has looked at its certificate: a refusal comes as an alert on it.
        if let (Some(reason), Some(connection)) = (cause.and_then(refusal), connection)
            && self.table.info(&peer).is_none()
            && connection.direction == Direction::Outbound
        {
            setback = Setback::Refused;
            let (remote, name) = (connection.remote, Some(connection.name));
            self.note_rejection(remote, Some(peer), name, reason, connection.direction);
        }
        let why = cause.map_or_else(|| "closed".to_owned(), innermost);
        let departure = Departure::Lost(why);
        self.table
            .handle_disconnected(&peer, departure, setback, now());
    }

    fn on_caller_failed(&mut self, from: &Multiaddr, peer: Option<PeerId>, error: &ListenError) {
        let Some(remote) = socket_address(from) else {
            return;
        };
        if let Some(peer) = peer {
            self.handshake.take_proven(peer, remote);
        }
        let handshake = match error {
            ListenError::Transport(TransportError::Other(error)) => handshake_error(error),
            _ => None,
        };
        match handshake {
            // Who only knocks and goes was not refused: a port scan, a node that stops.
            Some(HandshakeError::Refused(reason)) if *reason != RejectReason::Closed => {
                self.note_rejection(remote, None, None, reason.clone(), Direction::Inbound);
            }
            _ => tracing::debug!(%remote, %error, "caller turned away"),
        }
    }

    pub(crate) fn on_dial_failed(&mut self, id: ConnectionId, error: &DialError) {
        let Some((target, address)) = self.state.dials.remove(&id) else {
            return;
        };
        let handshake = match error {
            DialError::Transport(errors) => errors.iter().find_map(|(_, error)| match error {
                TransportError::Other(error) => handshake_error(error),
                TransportError::MultiaddrNotSupported(_) => None,
            }),
            DialError::WrongPeerId { obtained, .. } => {
                self.handshake.take_proven(*obtained, address);
                // Who was called did nothing wrong: it may be called again soon.
                self.note_failed_call(target, address, RejectReason::WrongPeer);
                None
            }
            _ => None,
        };
        let setback = match handshake {
            Some(HandshakeError::Myself) => return self.table.handle_myself(target),
            Some(HandshakeError::Refused(RejectReason::Timeout | RejectReason::Closed)) => {
                Setback::Unreachable
            }
            Some(HandshakeError::Refused(reason)) => {
                self.note_failed_call(target, address, reason.clone());
                Setback::Refused
            }
            _ => Setback::Unreachable,
        };
        tracing::debug!(%address, %error, "call failed");
        self.table.handle_dial_failed(target, setback, now());
    }

    fn note_failed_call(&self, target: DialTarget, address: SocketAddr, reason: RejectReason) {
        let peer = match target {
            DialTarget::Peer(peer) => Some(peer),
            DialTarget::Static(_) => None,
        };
        let name = peer.and_then(|peer| self.table.name(&peer));
        self.note_rejection(address, peer, name, reason, Direction::Outbound);
    }

    pub(crate) fn note_rejection(
        &self,
        address: SocketAddr,
        id: Option<PeerId>,
        name: Option<String>,
        reason: RejectReason,
        direction: Direction,
    ) {
        self.shared.note_rejection(Rejected {
            address,
            id,
            name,
            reason,
            at: SystemTime::now(),
            direction,
            port: PortKind::Control,
            count: 1,
        });
    }
}

/// The error of our own transport in libp2p's wrapping.
fn handshake_error(error: &io::Error) -> Option<&HandshakeError> {
    error.get_ref()?.downcast_ref()
}

/// Whether a connection ended with the other side's refusal.
fn refusal(cause: &ConnectionError) -> Option<RejectReason> {
    let mut error: Option<&(dyn Error + 'static)> = Some(cause);
    while let Some(current) = error {
        if let Some(tls @ rustls::Error::AlertReceived(_)) = current.downcast_ref() {
            return Some(RejectReason::from(tls));
        }
        error = inner(current);
    }
    None
}

fn innermost(cause: &ConnectionError) -> String {
    let mut error: &(dyn Error + 'static) = cause;
    while let Some(next) = inner(error) {
        error = next;
    }
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        // What rustls says here is a page long.
        Some(io::ErrorKind::UnexpectedEof) => "cut off".to_owned(),
        _ => error.to_string(),
    }
}

/// `io::Error` does not give what it wraps as its source.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}
