//! The sockets of one link.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Config;
use crate::link::{Link, canonical};
use potluck_near::MAX_DATAGRAM;

/// Datagrams read from one link in one slice of time; the rest of the slice is left to
/// the system, which keeps some of what comes and drops the others. So a flood costs no
/// more than reading 20,000 a second, and nobody is deaf for long.
const PER_SLICE: u32 = 200;
const SLICE: Duration = Duration::from_millis(10);

/// Sends to and hears one link.
///
/// One socket is bound to the group and shared with other nodes on this machine:
/// `SO_REUSEADDR` is enough on Linux for every one of them to get each multicast
/// datagram, whoever runs it; `SO_REUSEPORT` would want one user for all. What goes
/// to one node only must not go there, since a shared port would give it to any of
/// them. So the other socket has a port of its own: it sends everything, and the
/// answers to a PROBE come back to it.
pub(crate) struct BeaconSocket {
    pub(crate) link: Link,
    group: SocketAddr,
    shared: UdpSocket,
    own: UdpSocket,
}

/// A datagram, and by which link it came from where.
pub(crate) struct Datagram {
    pub(crate) interface: u32,
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// The groups of the beacon: one for each family of addresses, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Groups {
    pub(crate) v4: Option<SocketAddrV4>,
    pub(crate) v6: Option<SocketAddrV6>,
}

impl Groups {
    /// Those of a configuration. IPv6 is spoken only where the node can be called by it.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            v4: config.beacon,
            v6: config.beacon6.filter(|_| config.listen.is_ipv6()),
        }
    }

    /// The group that is heard on a link.
    pub(crate) fn on(&self, link: &Link) -> Option<SocketAddr> {
        match link.address {
            IpAddr::V4(_) => self.v4.map(SocketAddr::V4),
            // The same group on another link is another group.
            IpAddr::V6(_) => self
                .v6
                .map(|group| SocketAddrV6::new(*group.ip(), group.port(), 0, link.index).into()),
        }
    }
}

impl BeaconSocket {
    /// Opens both sockets, for a group of the link's family. Must be called on the
    /// runtime.
    pub(crate) fn open(link: Link, group: SocketAddr) -> io::Result<Self> {
        if link.address.is_ipv4() != group.is_ipv4() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            shared: shared_socket(&link, group)?,
            own: own_socket(&link)?,
            link,
            group,
        })
    }

    /// Sends to all nodes of the link. A full buffer loses the datagram, as a network
    /// may.
    pub(crate) fn broadcast(&self, datagram: &[u8]) -> io::Result<()> {
        self.answer(datagram, self.group)
    }

    /// Sends to one node.
    pub(crate) fn answer(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        send(&self.own, datagram, to)
    }

    /// Hands what is heard and admitted to `heard` until the receiver is gone.
    pub(crate) async fn listen(
        &self,
        heard: mpsc::Sender<Datagram>,
        admit: impl Fn(SocketAddr, &[u8]) -> bool,
    ) {
        let mut from_all = [0; MAX_DATAGRAM + 1];
        let mut from_one = [0; MAX_DATAGRAM + 1];
        let (mut slice, mut count) = (Instant::now(), 0);
        loop {
            let (length, from, bytes) = tokio::select! {
                read = self.shared.recv_from(&mut from_all) => match read {
                    Ok((length, from)) => (length, from, &from_all),
                    Err(error) => { self.pause_after(&error).await; continue }
                },
                read = self.own.recv_from(&mut from_one) => match read {
                    Ok((length, from)) => (length, from, &from_one),
                    Err(error) => { self.pause_after(&error).await; continue }
                },
            };
            count += 1;
            if count >= PER_SLICE {
                tokio::time::sleep_until(slice + SLICE).await;
                (slice, count) = (Instant::now(), 0);
            }
            let (from, bytes) = (canonical(from), &bytes[..length]);
            if !admit(from, bytes) {
                continue;
            }
            let datagram = Datagram {
                interface: self.link.index,
                from,
                bytes: bytes.to_vec(),
            };
            if heard.send(datagram).await.is_err() {
                return;
            }
        }
    }

    /// An interface that goes away makes errors until its socket is closed.
    async fn pause_after(&self, error: &io::Error) {
        tracing::debug!(link = self.link.name, %error, "beacon not received");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A socket that hears what is sent to the group on a link, as others on this machine
/// do. A group of IPv6 has the link's scope.
pub(crate) fn shared_socket(link: &Link, group: SocketAddr) -> io::Result<UdpSocket> {
    let shared = match group {
        SocketAddr::V4(group) => {
            let shared = udp(Domain::IPV4)?;
            shared.set_reuse_address(true)?;
            shared.bind(&SocketAddr::V4(group).into())?;
            // Else the socket would hear the group on links that other sockets joined.
            shared.set_multicast_all_v4(false)?;
            let interface = InterfaceIndexOrAddress::Index(link.index);
            shared.join_multicast_v4_n(group.ip(), &interface)?;
            shared
        }
        SocketAddr::V6(group) => {
            let shared = udp(Domain::IPV6)?;
            shared.set_only_v6(true)?;
            shared.set_reuse_address(true)?;
            shared.bind(&SocketAddr::V6(group).into())?;
            shared.set_multicast_all_v6(false)?;
            shared.join_multicast_v6(group.ip(), link.index)?;
            shared
        }
    };
    UdpSocket::from_std(shared.into())
}

/// A socket of the node's own, which sends to a link only and hears what is sent to it
/// alone.
pub(crate) fn own_socket(link: &Link) -> io::Result<UdpSocket> {
    let own = match link.address {
        IpAddr::V4(address) => {
            let own = udp(Domain::IPV4)?;
            own.bind(&SocketAddr::from((address, 0)).into())?;
            own.set_multicast_if_v4(&address)?;
            own.set_multicast_ttl_v4(1)?;
            own.set_ttl_v4(1)?;
            // Other nodes may run on this machine; the own datagrams are told apart later.
            own.set_multicast_loop_v4(true)?;
            own
        }
        IpAddr::V6(_) => {
            let own = udp(Domain::IPV6)?;
            own.set_only_v6(true)?;
            own.bind(&link.socket_address(0).into())?;
            own.set_multicast_if_v6(link.index)?;
            own.set_multicast_hops_v6(1)?;
            own.set_unicast_hops_v6(1)?;
            own.set_multicast_loop_v6(true)?;
            own
        }
    };
    UdpSocket::from_std(own.into())
}

/// Sends a datagram; one that finds the buffer full is lost, as on a network.
pub(crate) fn send(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
    // Not through the runtime: it takes a new socket for one that cannot send yet,
    // and the first datagram would be lost.
    match SockRef::from(socket).send_to(datagram, &to.into()) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

fn udp(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
