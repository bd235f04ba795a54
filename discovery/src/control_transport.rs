//! The transport under the control swarm.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::net::TcpListener;
use tokio::time::Sleep;

use crate::control_handshake::{Handshake, HandshakeError};
use crate::link::canonical;

/// How long to wait after the system refused a connection, for want of files say:
/// asking again at once would only burn time.
const PAUSE: Duration = Duration::from_millis(100);

/// TCP on a listener that is open already, and calls that leave from the right
/// address and a fresh port.
pub(crate) struct ControlTransport {
    handshake: Handshake,
    listener: TcpListener,
    address: Multiaddr,
    state: ListenState,
    pause: Option<Pin<Box<Sleep>>>,
}

enum ListenState {
    Closed,
    Opened(ListenerId),
    Listening(ListenerId),
}

impl ControlTransport {
    pub(crate) fn new(handshake: Handshake, listener: TcpListener) -> io::Result<Self> {
        let address = multiaddr(listener.local_addr()?);
        Ok(Self {
            handshake,
            listener,
            address,
            state: ListenState::Closed,
            pause: None,
        })
    }
}

type Connecting = BoxFuture<'static, Result<(PeerId, StreamMuxerBox), HandshakeError>>;

impl Transport for ControlTransport {
    type Output = (PeerId, StreamMuxerBox);
    type Error = HandshakeError;
    type ListenerUpgrade = Connecting;
    type Dial = Connecting;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<HandshakeError>> {
        if address != self.address {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.state = ListenState::Opened(id);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let ours = match self.state {
            ListenState::Closed => false,
            ListenState::Opened(own) | ListenState::Listening(own) => own == id,
        };
        if ours {
            self.state = ListenState::Closed;
        }
        ours
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        _: DialOpts,
    ) -> Result<Connecting, TransportError<HandshakeError>> {
        match socket_address(&address) {
            Some(remote) => Ok(self.handshake.clone().call(remote).boxed()),
            None => Err(TransportError::MultiaddrNotSupported(address)),
        }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Connecting, HandshakeError>> {
        let listener_id = match self.state {
            ListenState::Closed => return Poll::Pending,
            ListenState::Opened(listener_id) => {
                self.state = ListenState::Listening(listener_id);
                return Poll::Ready(TransportEvent::NewAddress {
                    listener_id,
                    listen_addr: self.address.clone(),
                });
            }
            ListenState::Listening(listener_id) => listener_id,
        };
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        match std::task::ready!(self.listener.poll_accept(cx)) {
            Ok((tcp, remote)) => {
                let remote = canonical(remote);
                Poll::Ready(TransportEvent::Incoming {
                    listener_id,
                    upgrade: self.handshake.clone().accept(tcp, remote).boxed(),
                    local_addr: self.address.clone(),
                    send_back_addr: multiaddr(remote),
                })
            }
            Err(error) => {
                self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                cx.waker().wake_by_ref();
                Poll::Ready(TransportEvent::ListenerError {
                    listener_id,
                    error: HandshakeError::Unreachable(error),
                })
            }
        }
    }
}

/// The address as libp2p writes it. The scope of a link-local one stands before it, as
/// the number of the interface.
pub(crate) fn multiaddr(address: SocketAddr) -> Multiaddr {
    let mut written = Multiaddr::empty();
    if let SocketAddr::V6(v6) = address
        && v6.scope_id() != 0
    {
        written.push(Protocol::Ip6zone(v6.scope_id().to_string().into()));
    }
    written.push(address.ip().into());
    written.with(Protocol::Tcp(address.port()))
}

/// The address as everybody else writes it.
pub(crate) fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter().peekable();
    let scope = match parts.peek()? {
        Protocol::Ip6zone(scope) => Some(scope.parse().ok()?),
        _ => None,
    };
    if scope.is_some() {
        parts.next();
    }
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match (ip, scope, parts.next()?) {
        (IpAddr::V6(ip), Some(scope), Protocol::Tcp(port)) => {
            Some(SocketAddrV6::new(ip, port, 0, scope).into())
        }
        (ip, None, Protocol::Tcp(port)) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_meaning() {
        for text in ["127.0.0.2:7382", "[2001:db8::1]:9", "[fe80::1%7]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(socket_address(&multiaddr(address)), Some(address));
        }
        assert_eq!(socket_address(&Multiaddr::empty()), None);
    }
}
