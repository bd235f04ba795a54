//! The interfaces of this machine, and which of them a node uses.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use if_addrs::IfAddr;

/// `IFF_MULTICAST` in an interface's flags.
const CAN_MULTICAST: u32 = 0x1000;

/// One address of one interface, and the network that it is on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    /// Of the address's family.
    pub(crate) netmask: IpAddr,
    pub(crate) can_multicast: bool,
}

/// Which links a node uses: those of the address that it listens on, or if that is no
/// particular one, of the named interfaces, or all.
#[derive(Clone, Debug)]
pub(crate) struct LinkChoice {
    pub(crate) listen: IpAddr,
    pub(crate) names: Vec<String>,
}

impl Link {
    /// Whether an address is reached without a router. A link-local one counts on the
    /// interface of its scope only.
    pub(crate) fn is_on_link(&self, address: SocketAddr) -> bool {
        match (self.address, self.netmask, address) {
            (IpAddr::V4(own), IpAddr::V4(mask), SocketAddr::V4(other)) => {
                let mask = mask.to_bits();
                mask != 0 && other.ip().to_bits() & mask == own.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(mask), SocketAddr::V6(other)) => {
                if other.ip().is_unicast_link_local() {
                    return own.is_unicast_link_local() && other.scope_id() == self.index;
                }
                let mask = mask.to_bits();
                mask != 0 && other.ip().to_bits() & mask == own.to_bits() & mask
            }
            _ => false,
        }
    }

    /// This address with a port, and with its scope where it needs one.
    pub(crate) fn socket_address(&self, port: u16) -> SocketAddr {
        match self.address {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                std::net::SocketAddrV6::new(ip, port, 0, self.index).into()
            }
            ip => SocketAddr::new(ip, port),
        }
    }
}

/// The links that are up now. Linux tells by `/sys` what can multicast; where it does
/// not say, trying is harmless.
pub(crate) fn links() -> io::Result<Vec<Link>> {
    let all = if_addrs::get_if_addrs()?.into_iter();
    // Without its cable an interface still has its addresses.
    let links = all.filter(if_addrs::Interface::is_oper_up);
    let links = links.filter_map(|interface| {
        let (address, netmask): (IpAddr, IpAddr) = match interface.addr {
            IfAddr::V4(v4) => (v4.ip.into(), v4.netmask.into()),
            IfAddr::V6(v6) => (v6.ip.into(), v6.netmask.into()),
        };
        Some(Link {
            index: interface.index?,
            can_multicast: can_multicast(&interface.name),
            name: interface.name,
            address,
            netmask,
        })
    });
    let mut links: Vec<Link> = links.collect();
    links.sort();
    Ok(links)
}

impl LinkChoice {
    /// The links that beacons go through. They leave from the listen address where
    /// there is one. Of IPv6 one address of each interface will do, the link-local one
    /// if there is one: whoever hears it can answer it.
    pub(crate) fn for_beacons(&self, links: &[Link]) -> Vec<Link> {
        let mut chosen: Vec<Link> = links.to_vec();
        match self.listen {
            IpAddr::V4(listen) if listen.is_loopback() => {
                chosen.retain(|link| link.address.is_loopback() && link.address.is_ipv4());
                chosen.truncate(1);
                for link in &mut chosen {
                    link.address = listen.into();
                }
            }
            listen if !listen.is_unspecified() => {
                chosen.retain(|link| link.address == listen && !listen.is_loopback());
            }
            listen => {
                chosen.retain(|link| match &self.names[..] {
                    [] => link.can_multicast && !link.address.is_loopback(),
                    names => names.contains(&link.name),
                });
                chosen.retain(|link| link.address.is_ipv4() || listen.is_ipv6());
                chosen.sort_by_key(|link| rank(link.address));
                let mut spoken = BTreeSet::new();
                chosen.retain(|link| link.address.is_ipv4() || spoken.insert(link.index));
            }
        }
        chosen.sort();
        chosen
    }

    /// Whether an address is on a subnet that this node uses.
    pub(crate) fn is_on_link(&self, links: &[Link], address: SocketAddr) -> bool {
        let listening = links.iter().find(|link| link.address == self.listen);
        links.iter().any(|link| {
            let ours = match (listening, &self.names[..]) {
                (Some(listening), _) => link.index == listening.index,
                (None, []) => true,
                (None, names) => names.contains(&link.name),
            };
            ours && link.is_on_link(address)
        })
    }
}

/// Which address of an interface is taken first.
fn rank(address: IpAddr) -> u8 {
    match address {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 0,
        IpAddr::V6(ip) if ip.is_unique_local() => 1,
        _ => 2,
    }
}

/// An address as it is compared and shown: IPv4 that came in by a socket of IPv6 is
/// IPv4.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None if is_scoped(*v6.ip()) => {
                std::net::SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into()
            }
            None => SocketAddr::new((*v6.ip()).into(), v6.port()),
        },
        SocketAddr::V4(_) => address,
    }
}

/// Whether an address means something on one link only.
fn is_scoped(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local() || ip.is_multicast()
}

fn can_multicast(name: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/sys/class/net/{name}/flags")) else {
        return true;
    };
    let digits = text.trim().trim_start_matches("0x");
    u32::from_str_radix(digits, 16).map_or(true, |flags| flags & CAN_MULTICAST != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, address: &str, netmask: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            address: address.parse().unwrap(),
            netmask: netmask.parse().unwrap(),
            can_multicast: name != "lo" && name != "tun0",
        }
    }

    fn all() -> Vec<Link> {
        vec![
            link(1, "lo", "127.0.0.1", "255.0.0.0"),
            link(1, "lo", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            link(2, "eth0", "10.0.0.5", "255.255.255.0"),
            link(2, "eth0", "2001:db8::5", "ffff:ffff:ffff:ffff::"),
            link(2, "eth0", "fe80::5", "ffff:ffff:ffff:ffff::"),
            link(3, "eth1", "10.0.1.5", "255.255.255.0"),
            link(3, "eth1", "10.0.2.5", "255.255.255.0"),
            link(3, "eth1", "fd00::5", "ffff:ffff:ffff:ffff::"),
            link(3, "eth1", "2001:db8:1::5", "ffff:ffff:ffff:ffff::"),
            link(4, "tun0", "10.9.0.5", "255.255.255.255"),
        ]
    }

    fn choice(listen: &str, names: &[&str]) -> LinkChoice {
        LinkChoice {
            listen: listen.parse().unwrap(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn chosen(listen: &str, names: &[&str]) -> Vec<String> {
        let links = choice(listen, names).for_beacons(&all());
        links
            .iter()
            .map(|link| format!("{} {}", link.name, link.address))
            .collect()
    }

    #[test]
    fn the_listen_address_and_the_names_choose() {
        let v4 = ["eth0 10.0.0.5", "eth1 10.0.1.5", "eth1 10.0.2.5"];
        assert_eq!(chosen("0.0.0.0", &[]), v4);
        assert_eq!(chosen("0.0.0.0", &["eth0"]), ["eth0 10.0.0.5"]);
        assert_eq!(chosen("0.0.0.0", &["lo"]), ["lo 127.0.0.1"]);
        assert_eq!(chosen("127.0.0.2", &[]), ["lo 127.0.0.2"]);
        assert_eq!(chosen("10.0.1.5", &[]), ["eth1 10.0.1.5"]);
        assert_eq!(chosen("10.0.7.5", &[]), [""; 0]);
        assert_eq!(
            chosen("::", &[]),
            [
                "eth0 10.0.0.5",
                "eth0 fe80::5",
                "eth1 10.0.1.5",
                "eth1 10.0.2.5",
                "eth1 fd00::5"
            ]
        );
        assert_eq!(chosen("2001:db8::5", &[]), ["eth0 2001:db8::5"]);
        assert_eq!(chosen("::1", &[]), [""; 0]);
    }

    #[test]
    fn only_the_own_networks_are_on_link() {
        let on_link = |listen, names, address: &str| {
            choice(listen, names).is_on_link(&all(), address.parse().unwrap())
        };
        assert!(on_link("0.0.0.0", &[], "10.0.0.77:1"));
        assert!(on_link("0.0.0.0", &[], "10.0.1.77:1"));
        assert!(!on_link("0.0.0.0", &[], "10.0.3.77:1"));
        assert!(!on_link("0.0.0.0", &["eth0"], "10.0.1.77:1"));
        assert!(!on_link("10.0.0.5", &[], "10.0.1.77:1"));
        assert!(on_link("::", &[], "[2001:db8::77]:1"));
        assert!(!on_link("::", &[], "[2001:db8:7::77]:1"));
        assert!(on_link("::", &[], "[fe80::77%2]:1"));
        assert!(!on_link("::", &[], "[fe80::77%4]:1"));
        let unknown = link(2, "eth0", "10.0.0.5", "0.0.0.0");
        assert!(!unknown.is_on_link("10.0.0.77:1".parse().unwrap()));
    }

    #[test]
    fn addresses_have_one_form() {
        for (given, wanted) in [
            ("[::ffff:10.0.0.1]:7", "10.0.0.1:7"),
            ("10.0.0.1:7", "10.0.0.1:7"),
            ("[fe80::1%3]:7", "[fe80::1%3]:7"),
            ("[2001:db8::1%3]:7", "[2001:db8::1]:7"),
        ] {
            let given: SocketAddr = given.parse().unwrap();
            assert_eq!(canonical(given).to_string(), wanted);
        }
        let link = link(9, "eth0", "fe80::5", "ffff:ffff:ffff:ffff::");
        assert_eq!(link.socket_address(7).to_string(), "[fe80::5%9]:7");
    }
}
