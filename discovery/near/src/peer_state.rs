//! What is known of one node, and how long it is left alone after a failure.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::PeerInfo;
use crate::known_addresses::KnownAddresses;

/// One node in the peer table.
#[derive(Debug)]
pub(crate) struct PeerEntry {
    /// The latest run of the node that was heard of.
    pub(crate) generation: u64,
    /// Where its control port is.
    pub(crate) addresses: KnownAddresses,
    /// The name that it goes by, unproven; empty while it is not known.
    pub(crate) name: String,
    pub(crate) state: PeerState,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// When it was heard of last.
    pub(crate) heard: Instant,
    /// It said goodbye: when its connection ends, it is forgotten.
    pub(crate) leaving: bool,
    /// It was a peer, its connection broke, and it has not come back.
    pub(crate) lost: bool,
}

/// A node is in exactly one of these.
#[derive(Debug)]
pub(crate) enum PeerState {
    /// Its address is known; it may be called from this time on.
    Candidate { from: Instant },
    /// It is being called.
    Dialing { address: SocketAddr },
    /// Its certificate is proven; its Hello is still to come.
    Connected,
    /// It is on the list. While its connection seems to be broken it is called again at
    /// an address.
    Listed {
        info: PeerInfo,
        since: Instant,
        called: Option<SocketAddr>,
    },
    /// It is not called before this time.
    BackedOff { until: Instant, why: Setback },
}

/// Why a node is left alone for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setback {
    /// Nobody answers there, or the connection broke.
    Unreachable,
    /// It has as many peers as it wants.
    Full,
    /// One side did not accept the other's certificate.
    Refused,
    /// It did wrong.
    Fault,
}

impl Setback {
    /// How long to wait after this many failures in a row. What time alone may heal
    /// is tried soon; what takes an operator is tried seldom.
    pub(crate) fn delay(self, failures: u32) -> Duration {
        let (first, longest) = match self {
            Self::Unreachable => (Duration::from_secs(1), Duration::from_secs(300)),
            Self::Full => (Duration::from_secs(30), Duration::from_secs(300)),
            Self::Refused => (Duration::from_secs(60), Duration::from_secs(3600)),
            Self::Fault => (Duration::from_secs(600), Duration::from_secs(3600)),
        };
        let doublings = failures.saturating_sub(1).min(16);
        (first * (1 << doublings)).min(longest)
    }
}

impl PeerState {
    /// Whether it takes a place among `max_peers`.
    pub(crate) const fn is_occupied(&self) -> bool {
        matches!(
            self,
            Self::Dialing { .. } | Self::Connected | Self::Listed { .. }
        )
    }

    pub(crate) const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected | Self::Listed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit() {
        let seconds = |why: Setback, failures| why.delay(failures).as_secs();
        assert_eq!(seconds(Setback::Unreachable, 1), 1);
        assert_eq!(seconds(Setback::Unreachable, 4), 8);
        assert_eq!(seconds(Setback::Unreachable, 400), 300);
        assert_eq!(seconds(Setback::Refused, 0), 60);
        assert_eq!(seconds(Setback::Fault, 9), 3600);
    }
}
