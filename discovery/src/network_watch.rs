//! Whether this machine has a network beyond itself.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::link::Link;
use crate::link_watch::LinkWatch;

/// Follows whether there is a link by which others can be reached. It serves nodes
/// without a domain as well.
pub struct NetworkWatch {
    links: LinkWatch,
    latest: watch::Receiver<Arc<[Link]>>,
    is_up: watch::Sender<bool>,
}

impl NetworkWatch {
    /// Looks once. Must be called on the runtime.
    ///
    /// # Errors
    /// When the interfaces cannot be listed.
    pub fn new() -> io::Result<(Self, watch::Receiver<bool>)> {
        let (links, latest) = LinkWatch::new()?;
        let (is_up, told) = watch::channel(leads_out(&latest.borrow()));
        let watch = Self {
            links,
            latest,
            is_up,
        };
        Ok((watch, told))
    }

    /// Tells every change until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (mut latest, is_up) = (self.latest, self.is_up);
        let tell = async {
            while latest.changed().await.is_ok() {
                let now = leads_out(&latest.borrow_and_update());
                is_up.send_if_modified(|before| std::mem::replace(before, now) != now);
            }
        };
        tokio::select! {
            () = self.links.run(stop) => {}
            () = tell => {}
        }
    }
}

/// Whether any of the links that are up leads beyond this machine. An IPv6 address of
/// its link alone comes with every cable and reaches no origin.
fn leads_out(links: &[Link]) -> bool {
    links.iter().any(|link| match link.address {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reaches_others_is_a_network() {
        let link = |address: &str| Link {
            index: 1,
            name: "eth0".to_owned(),
            address: address.parse().unwrap(),
            netmask: "255.0.0.0".parse().unwrap(),
            can_multicast: true,
        };
        let home = [link("127.0.0.1"), link("::1"), link("fe80::5")];
        assert!(!leads_out(&home));
        assert!(!leads_out(&[]));
        for address in ["10.0.0.1", "169.254.3.4", "2001:db8::5", "fd00::5"] {
            assert!(leads_out(&[link("127.0.0.1"), link(address)]), "{address}");
        }
    }
}
