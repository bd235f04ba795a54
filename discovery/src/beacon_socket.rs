//! The sockets of one link.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::beacon_link::Link;
use potluck_near::MAX_DATAGRAM;

/// Datagrams read from one link in one second; the rest is left to the system to
/// drop. A thousand nodes that start together send a few hundred a second, and a
/// flood costs no more than this many decryptions, a few milliseconds.
const MAX_PER_SECOND: u32 = 2000;

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
    group: SocketAddrV4,
    shared: UdpSocket,
    own: UdpSocket,
}

/// A datagram, and by which link it came from where.
pub(crate) struct Datagram {
    pub(crate) interface: u32,
    pub(crate) from: SocketAddrV4,
    pub(crate) bytes: Vec<u8>,
}

impl BeaconSocket {
    /// Opens both sockets. Must be called on the runtime.
    pub(crate) fn open(link: Link, group: SocketAddrV4) -> io::Result<Self> {
        let shared = udp()?;
        shared.set_reuse_address(true)?;
        shared.bind(&SocketAddr::V4(group).into())?;
        // Else the socket would hear the group on links that other sockets joined.
        shared.set_multicast_all_v4(false)?;
        let interface = InterfaceIndexOrAddress::Index(link.index);
        shared.join_multicast_v4_n(group.ip(), &interface)?;

        let own = udp()?;
        own.bind(&SocketAddr::from((link.address, 0)).into())?;
        own.set_multicast_if_v4(&link.address)?;
        own.set_multicast_ttl_v4(1)?;
        own.set_ttl_v4(1)?;
        // Other nodes may run on this machine; the own datagrams are told apart later.
        own.set_multicast_loop_v4(true)?;
        Ok(Self {
            link,
            group,
            shared: UdpSocket::from_std(shared.into())?,
            own: UdpSocket::from_std(own.into())?,
        })
    }

    /// Sends to all nodes of the link. A full buffer loses the datagram, as a network
    /// may.
    pub(crate) fn broadcast(&self, datagram: &[u8]) -> io::Result<()> {
        self.answer(datagram, self.group)
    }

    /// Sends to one node.
    pub(crate) fn answer(&self, datagram: &[u8], to: SocketAddrV4) -> io::Result<()> {
        // Not through the runtime: it takes a new socket for one that cannot send yet,
        // and the first datagram would be lost.
        match SockRef::from(&self.own).send_to(datagram, &to.into()) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Hands what is heard to `heard` until the receiver is gone.
    pub(crate) async fn listen(&self, heard: mpsc::Sender<Datagram>) {
        let mut from_all = [0; MAX_DATAGRAM + 1];
        let mut from_one = [0; MAX_DATAGRAM + 1];
        let (mut second, mut count) = (Instant::now(), 0);
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
            if second.elapsed() >= Duration::from_secs(1) {
                (second, count) = (Instant::now(), 0);
            }
            count += 1;
            if count > MAX_PER_SECOND {
                tokio::time::sleep_until(second + Duration::from_secs(1)).await;
            }
            let IpAddr::V4(ip) = from.ip() else { continue };
            let datagram = Datagram {
                interface: self.link.index,
                from: SocketAddrV4::new(ip, from.port()),
                bytes: bytes[..length].to_vec(),
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

fn udp() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
