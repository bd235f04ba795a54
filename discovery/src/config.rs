//! What finding peers can be told.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use potluck_near::DEFAULT_PORT;

/// A transient group of link-local scope ([RFC 4291](https://www.rfc-editor.org/rfc/rfc4291),
/// section 2.7), numbered by this program's ports.
const BEACON6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x7381, 0x7383);

/// Settings of one node's discovery.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where this node serves data to peers. Only its address and port are used
    /// here: they are announced, and the control port is opened on the same address.
    pub listen: SocketAddr,
    /// TCP port of the control connections; the data port + 1 unless a test wants
    /// another. With 0 the system chooses one.
    pub control_port: u16,
    /// Interfaces to find peers on, by name. Empty: every interface that is up and
    /// can multicast, or the loopback when `listen` is a loopback address.
    pub interfaces: Vec<String>,
    /// Multicast group and port of the beacon; `None` finds peers by
    /// `static_peers` only.
    pub beacon: Option<SocketAddrV4>,
    /// The same with IPv6, where `listen` is an IPv6 address; `None` for IPv4 only.
    /// The group should be one of link-local scope, `ff12::/16`.
    pub beacon6: Option<SocketAddrV6>,
    /// Peers to dial where multicast is blocked, as `host:port` or `host`. The port
    /// is the peer's data port; its control port is the next one.
    pub static_peers: Vec<String>,
    /// How many peers the list holds at most. Three quarters of them are looked for;
    /// the rest is room for nodes that come later and look for us.
    pub max_peers: usize,
    /// A peer that does not answer for so long is taken off the list.
    pub peer_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)),
            control_port: DEFAULT_PORT + 1,
            interfaces: Vec::new(),
            beacon: Some(SocketAddrV4::new(Ipv4Addr::new(239, 255, 73, 81), 7383)),
            beacon6: Some(SocketAddrV6::new(BEACON6, 7383, 0, 0)),
            static_peers: Vec::new(),
            max_peers: 32,
            peer_timeout: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// The defaults for a node that serves data on `listen`.
    #[must_use]
    pub fn for_listen(listen: SocketAddr) -> Self {
        let control_port = match listen.port() {
            0 => 0,
            port => port.saturating_add(1),
        };
        Self {
            listen,
            control_port,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_port_is_the_next_one() {
        let config = Config::for_listen("127.0.0.2:9000".parse().unwrap());
        assert_eq!((config.control_port, config.max_peers), (9001, 32));
        assert_eq!(
            Config::for_listen("127.0.0.2:0".parse().unwrap()).control_port,
            0
        );
    }
}
