//! The addresses that a node was heard at.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How many are remembered of one node: two interfaces, two families.
const MAX: usize = 4;
/// A node announces itself at all its addresses within this time. What it left out is
/// probably gone.
const TOGETHER: Duration = Duration::from_secs(10);

/// Where a node's control port is, by what was heard of it; empty for one that called
/// us and was never heard.
#[derive(Default, Debug)]
pub(crate) struct KnownAddresses(Vec<Known>);

#[derive(Debug)]
struct Known {
    address: SocketAddr,
    heard: Instant,
    /// Nobody answered there since.
    failed: bool,
}

impl KnownAddresses {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The node was heard there. Says whether that is news.
    pub(crate) fn note(&mut self, address: SocketAddr, now: Instant) -> bool {
        if let Some(known) = self.0.iter_mut().find(|known| known.address == address) {
            known.heard = now;
            return false;
        }
        if self.0.len() >= MAX {
            let oldest = (0..self.0.len()).min_by_key(|&index| self.0[index].heard);
            self.0.swap_remove(oldest.expect("there are some"));
        }
        self.0.push(Known {
            address,
            heard: now,
            failed: false,
        });
        true
    }

    /// Where to call: at the address heard last, and of those heard together IPv4
    /// before IPv6, and a link-local one last. Every node chooses alike, so one link
    /// is used while it works.
    pub(crate) fn best(&self) -> Option<SocketAddr> {
        let latest = self.0.iter().map(|known| known.heard).max()?;
        let best = self.0.iter().min_by_key(|known| {
            let late = latest.saturating_duration_since(known.heard) > TOGETHER;
            let silent = late.then_some(Reverse(known.heard));
            (known.failed, silent, rank(known.address), known.address)
        });
        best.map(|known| known.address)
    }

    /// A call to the address came to nothing. Says whether another one is worth trying;
    /// if none is, all are as good as new for the next time.
    pub(crate) fn fail(&mut self, address: SocketAddr) -> bool {
        if let Some(known) = self.0.iter_mut().find(|known| known.address == address) {
            known.failed = true;
        }
        let another = self.0.iter().any(|known| !known.failed);
        if !another {
            self.forgive();
        }
        another
    }

    /// The node answers again.
    pub(crate) fn forgive(&mut self) {
        for known in &mut self.0 {
            known.failed = false;
        }
    }
}

fn rank(address: SocketAddr) -> u8 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) if !v6.ip().is_unicast_link_local() => 1,
        SocketAddr::V6(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_freshest_is_best_and_of_those_the_simplest() {
        let (mut known, now) = (KnownAddresses::default(), Instant::now());
        assert_eq!(known.best(), None);
        let (local, global) = (address("[fe80::1%2]:7382"), address("[fd00::1]:7382"));
        let (v4, moved) = (address("10.0.0.1:7382"), address("10.0.0.2:7382"));
        for address in [local, global, v4] {
            assert!(known.note(address, now));
        }
        assert_eq!(known.best(), Some(v4));
        let later = now + TOGETHER * 2;
        assert!(known.note(moved, later));
        assert!(!known.note(local, later));
        assert_eq!(known.best(), Some(moved));
        assert!(known.fail(moved));
        assert_eq!(known.best(), Some(local));
        assert!(known.fail(local) && known.fail(v4));
        assert_eq!(known.best(), Some(global));
        assert!(!known.fail(global));
        assert_eq!(known.best(), Some(moved));
    }

    #[test]
    fn a_few_are_remembered() {
        let (mut known, now) = (KnownAddresses::default(), Instant::now());
        for last in 0..9_u8 {
            let when = now + Duration::from_secs(last.into());
            known.note(SocketAddr::from(([10, 0, 0, last], 7382)), when);
        }
        assert_eq!(known.0.len(), MAX);
        // The four heard last, within ten seconds of each other.
        assert_eq!(known.best(), Some(address("10.0.0.5:7382")));
    }
}
