//! The interfaces that beacons go through.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use if_addrs::IfAddr;

/// `IFF_MULTICAST` in an interface's flags.
const CAN_MULTICAST: u32 = 0x1000;

/// One IPv4 address of one interface, and the network that it is on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) netmask: Ipv4Addr,
    pub(crate) can_multicast: bool,
}

impl Link {
    /// Whether an address is reached without a router.
    pub(crate) fn is_on_link(&self, address: Ipv4Addr) -> bool {
        let mask = self.netmask.to_bits();
        mask != 0 && address.to_bits() & mask == self.address.to_bits() & mask
    }
}

/// The links that are up now. Linux tells by `/sys` what can multicast; where it does
/// not say, trying is harmless.
pub(crate) fn links() -> io::Result<Vec<Link>> {
    let all = if_addrs::get_if_addrs()?.into_iter();
    let links = all.filter_map(|interface| match interface.addr {
        IfAddr::V4(v4) => Some(Link {
            index: interface.index?,
            can_multicast: can_multicast(&interface.name),
            name: interface.name,
            address: v4.ip,
            netmask: v4.netmask,
        }),
        IfAddr::V6(_) => None,
    });
    Ok(links.collect())
}

/// The links that a node with this listen address and these chosen interfaces uses.
/// Beacons leave from the listen address where there is one.
pub(crate) fn choose(mut links: Vec<Link>, listen: IpAddr, chosen: &[String]) -> Vec<Link> {
    match listen {
        IpAddr::V4(listen) if listen.is_loopback() => {
            links.retain(|link| link.address.is_loopback());
            links.truncate(1);
            for link in &mut links {
                link.address = listen;
            }
        }
        IpAddr::V4(listen) if !listen.is_unspecified() => {
            links.retain(|link| link.address == listen);
        }
        IpAddr::V6(listen) if !listen.is_unspecified() => links.clear(),
        _ => links.retain(|link| match chosen {
            [] => link.can_multicast && !link.address.is_loopback(),
            names => names.contains(&link.name),
        }),
    }
    links.sort();
    links
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

    fn link(name: &str, address: &str, netmask: &str) -> Link {
        Link {
            index: 1,
            name: name.to_owned(),
            address: address.parse().unwrap(),
            netmask: netmask.parse().unwrap(),
            can_multicast: name != "lo" && name != "tun0",
        }
    }

    fn chosen(listen: &str, names: &[&str]) -> Vec<String> {
        let all = vec![
            link("lo", "127.0.0.1", "255.0.0.0"),
            link("eth0", "10.0.0.5", "255.255.255.0"),
            link("eth1", "10.0.1.5", "255.255.255.0"),
            link("tun0", "10.9.0.5", "255.255.255.255"),
        ];
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let links = choose(all, listen.parse().unwrap(), &names);
        links
            .iter()
            .map(|link| format!("{} {}", link.name, link.address))
            .collect()
    }

    #[test]
    fn the_listen_address_and_the_names_choose() {
        assert_eq!(chosen("0.0.0.0", &[]), ["eth0 10.0.0.5", "eth1 10.0.1.5"]);
        assert_eq!(chosen("0.0.0.0", &["eth1"]), ["eth1 10.0.1.5"]);
        assert_eq!(chosen("0.0.0.0", &["lo"]), ["lo 127.0.0.1"]);
        assert_eq!(chosen("127.0.0.2", &[]), ["lo 127.0.0.2"]);
        assert_eq!(chosen("10.0.1.5", &[]), ["eth1 10.0.1.5"]);
        assert_eq!(chosen("10.0.7.5", &[]), [""; 0]);
        assert_eq!(chosen("::", &[]).len(), 2);
        assert_eq!(chosen("::1", &[]), [""; 0]);
    }

    #[test]
    fn only_the_own_network_is_on_link() {
        let eth0 = link("eth0", "10.0.0.5", "255.255.255.0");
        assert!(eth0.is_on_link("10.0.0.77".parse().unwrap()));
        assert!(!eth0.is_on_link("10.0.1.77".parse().unwrap()));
        let unknown = link("eth0", "10.0.0.5", "0.0.0.0");
        assert!(!unknown.is_on_link("10.0.0.77".parse().unwrap()));
    }
}
