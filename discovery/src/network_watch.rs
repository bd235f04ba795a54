//! Whether this machine has a network beyond itself.

use std::collections::BTreeSet;
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
        let (is_up, told) = watch::channel(!ways_out(&latest.borrow()).is_empty());
        let watch = Self {
            links,
            latest,
            is_up,
        };
        Ok((watch, told))
    }

    /// Tells until `stop` when the last way out goes, and each that comes.
    pub async fn run(self, stop: CancellationToken) {
        let (mut latest, is_up) = (self.latest, self.is_up);
        let tell = async {
            let mut before = ways_out(&latest.borrow_and_update());
            while latest.changed().await.is_ok() {
                let now = ways_out(&latest.borrow_and_update());
                // Another way out is news as well: what could not be reached may be now.
                let is_news = !now.is_subset(&before) || now.is_empty() != before.is_empty();
                is_up.send_if_modified(|up| {
                    *up = !now.is_empty();
                    is_news
                });
                before = now;
            }
        };
        tokio::select! {
            () = self.links.run(stop) => {}
            () = tell => {}
        }
    }
}

/// The links that are up and lead beyond this machine. An IPv6 address of its link alone
/// comes with every cable and reaches no origin.
fn ways_out(links: &[Link]) -> BTreeSet<(u32, IpAddr)> {
    let leads_out = |link: &&Link| match link.address {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let ways = links.iter().filter(leads_out);
    ways.map(|link| (link.index, link.address)).collect()
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
        assert!(ways_out(&home).is_empty());
        assert!(ways_out(&[]).is_empty());
        for address in ["10.0.0.1", "169.254.3.4", "2001:db8::5", "fd00::5"] {
            let ways = ways_out(&[link("127.0.0.1"), link(address)]);
            assert_eq!(ways.len(), 1, "{address}");
        }
    }
}
