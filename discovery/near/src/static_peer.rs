//! Peers that were named in the configuration.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Instant;

use libp2p_identity::PeerId;

use crate::DEFAULT_PORT;

/// A peer of which only the address is known before it is called.
#[derive(Debug)]
pub struct StaticPeer {
    /// As it was written: the host, and the data port.
    pub(crate) host: String,
    pub(crate) data_port: u16,
    /// Its control port, once the host is resolved.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) state: StaticState,
    pub(crate) failures: u32,
}

/// A configured peer is in exactly one of these.
#[derive(Debug)]
pub(crate) enum StaticState {
    /// It may be called from this time on.
    Waiting { from: Instant },
    /// It is being called.
    Dialing,
    /// It answered as this peer: the peer's own entry says the rest.
    Known(PeerId),
    /// It is this node itself.
    Myself,
}

impl StaticPeer {
    /// Reads `host:port` or `host`; `None` if it is neither. An IPv6 address with a port
    /// stands in brackets, one of link-local scope names its interface: `[fe80::1%eth0]`.
    #[must_use]
    pub fn parse(text: &str, now: Instant) -> Option<Self> {
        let text = text.trim();
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                let ip = host.split_once('%').map_or(host, |(ip, _)| ip);
                ip.parse::<Ipv6Addr>().ok()?;
                (
                    host,
                    port.strip_prefix(':').or(port.is_empty().then_some("")),
                )
            }
            None => match text.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') => (host, Some(port)),
                _ => (text, Some("")),
            },
        };
        let data_port = match port? {
            "" if text.ends_with(':') => return None,
            "" => DEFAULT_PORT,
            port => port.parse().ok()?,
        };
        let host = host.to_owned();
        let good = !host.is_empty() && (1..u16::MAX).contains(&data_port);
        good.then_some(Self {
            host,
            data_port,
            address: None,
            state: StaticState::Waiting { from: now },
            failures: 0,
        })
    }

    /// The control port is the one after the data port.
    pub(crate) const fn control_port(&self) -> u16 {
        self.data_port + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_with_and_without_a_port() {
        let now = Instant::now();
        for (text, host, port) in [
            ("cellar", "cellar", 7381),
            ("cellar.example:9000", "cellar.example", 9000),
            ("127.0.0.3:7000", "127.0.0.3", 7000),
            ("[::1]:7000", "::1", 7000),
            ("[::1]", "::1", 7381),
            ("::1", "::1", 7381),
            ("[fe80::1%eth0]:7000", "fe80::1%eth0", 7000),
            ("[fe80::1%3]", "fe80::1%3", 7381),
            ("10.0.0.1", "10.0.0.1", 7381),
        ] {
            let read = StaticPeer::parse(text, now).unwrap();
            assert_eq!((read.host.as_str(), read.data_port), (host, port));
            assert_eq!(read.control_port(), port + 1);
        }
        for bad in [
            "",
            ":7000",
            "cellar:0",
            "cellar:65535",
            "cellar:many",
            "[::1]7",
            "[cellar]:7",
            "cellar:",
        ] {
            assert!(StaticPeer::parse(bad, now).is_none(), "{bad:?}");
        }
    }
}
