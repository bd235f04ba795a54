//! The sockets that the question who lets in goes through: the beacon's group and
//! port, beside the beacon's own sockets.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::link::{Link, LinkChoice, links};

/// Where to ask and answer.
#[derive(Debug, Clone)]
pub struct SeekConfig {
    /// The multicast group and port of the beacon.
    pub group: SocketAddrV4,
    /// The address that this node listens on.
    pub listen: IpAddr,
    /// The interfaces to use, by name; empty: all that can multicast.
    pub interfaces: Vec<String>,
}

impl SeekConfig {
    /// The links to ask and answer on, as they are now.
    pub(crate) fn links(&self) -> io::Result<Vec<Link>> {
        let choice = LinkChoice {
            listen: self.listen,
            names: self.interfaces.clone(),
        };
        let mut links = choice.for_beacons(&links()?);
        links.retain(|link| link.address.is_ipv4());
        Ok(links)
    }
}

/// A socket of this node's own on a link: what is sent from it can be answered.
pub(crate) fn own(link: &Link) -> io::Result<UdpSocket> {
    let IpAddr::V4(address) = link.address else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    let own = udp()?;
    own.bind(&SocketAddr::from((address, 0)).into())?;
    own.set_multicast_if_v4(&address)?;
    own.set_multicast_ttl_v4(1)?;
    own.set_ttl_v4(1)?;
    // The node that lets in may run on this machine.
    own.set_multicast_loop_v4(true)?;
    UdpSocket::from_std(own.into())
}

/// A socket that hears what is sent to the group on a link, as do others.
pub(crate) fn shared(link: &Link, group: SocketAddrV4) -> io::Result<UdpSocket> {
    let shared = udp()?;
    shared.set_reuse_address(true)?;
    shared.bind(&SocketAddr::V4(group).into())?;
    // Else the socket would hear the group on links that other sockets joined.
    shared.set_multicast_all_v4(false)?;
    let interface = InterfaceIndexOrAddress::Index(link.index);
    shared.join_multicast_v4_n(group.ip(), &interface)?;
    UdpSocket::from_std(shared.into())
}

fn udp() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
