//! Who is near enough to be spoken with.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::link::{Link, LinkChoice, canonical};

/// Tells whether an address belongs to a possible peer: it is on a subnet of this
/// node, on this very machine, or of a peer that was configured. A right certificate
/// from anywhere else is turned away. Clones tell the same.
#[derive(Clone)]
pub(crate) struct Neighbourhood {
    choice: LinkChoice,
    links: watch::Receiver<Arc<[Link]>>,
    /// The addresses of each configured peer, by its place in the list.
    statics: Arc<RwLock<BTreeMap<usize, Vec<IpAddr>>>>,
}

impl Neighbourhood {
    pub(crate) fn new(choice: LinkChoice, links: watch::Receiver<Arc<[Link]>>) -> Self {
        Self {
            choice,
            links,
            statics: Arc::default(),
        }
    }

    /// Whether who calls from there may be a peer.
    pub(crate) fn admits(&self, address: SocketAddr) -> bool {
        let address = canonical(address);
        let ip = address.ip();
        ip.is_loopback()
            || self.choice.is_on_link(&self.links.borrow(), address)
            || self.is_static(ip)
    }

    /// The host of a configured peer has these addresses now.
    pub(crate) fn set_static(&self, index: usize, addresses: Vec<IpAddr>) {
        let mut statics = self.statics.write().unwrap_or_else(PoisonError::into_inner);
        statics.insert(index, addresses);
    }

    fn is_static(&self, ip: IpAddr) -> bool {
        let statics = self.statics.read().unwrap_or_else(PoisonError::into_inner);
        statics.values().flatten().any(|known| *known == ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subnet_this_machine_and_the_configured_are_near() {
        let link = Link {
            index: 2,
            name: "eth0".to_owned(),
            address: "10.0.0.5".parse().unwrap(),
            netmask: "255.255.255.0".parse().unwrap(),
            can_multicast: true,
        };
        let choice = LinkChoice {
            listen: "::".parse().unwrap(),
            names: Vec::new(),
        };
        let (sender, links) = watch::channel(Arc::from([link]));
        let near = Neighbourhood::new(choice, links);
        let admits = |text: &str| near.admits(text.parse().unwrap());
        assert!(admits("10.0.0.9:1") && admits("[::ffff:10.0.0.9]:1"));
        assert!(admits("127.0.0.7:1") && admits("[::1]:1"));
        assert!(!admits("10.0.1.9:1") && !admits("[2001:db8::9]:1"));
        near.set_static(0, vec!["10.0.1.9".parse().unwrap()]);
        assert!(admits("10.0.1.9:1") && !admits("10.0.1.8:1"));
        sender.send_replace(Arc::from([]));
        assert!(!admits("10.0.0.9:1"));
    }
}
