//! Where to ask who lets in, and where to answer: on the links and in the groups of the
//! beacon.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::beacon_socket::Groups;
use crate::link::{Link, LinkChoice, links};

/// Where to ask and answer.
#[derive(Debug, Clone)]
pub struct SeekConfig {
    /// The multicast group and port of the beacon; `None`: not with IPv4.
    pub group: Option<SocketAddrV4>,
    /// The same of IPv6, which is spoken only where `listen` is of it.
    pub group6: Option<SocketAddrV6>,
    /// The address that this node listens on.
    pub listen: IpAddr,
    /// The interfaces to use, by name; empty: all that can multicast.
    pub interfaces: Vec<String>,
}

impl SeekConfig {
    /// The links to ask and answer on as they are now, each with its group.
    pub(crate) fn places(&self) -> io::Result<Vec<(Link, SocketAddr)>> {
        let choice = LinkChoice {
            listen: self.listen,
            names: self.interfaces.clone(),
        };
        let groups = Groups {
            v4: self.group,
            v6: self.group6.filter(|_| self.listen.is_ipv6()),
        };
        let links = choice.for_beacons(&links()?).into_iter();
        let places = links.filter_map(|link| groups.on(&link).map(|group| (link, group)));
        Ok(places.collect())
    }
}
