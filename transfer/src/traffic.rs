//! Bytes between this node and its peers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use potluck_discovery::PeerId;

/// Bytes of content that went between this node and one peer since it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Received from the peer.
    pub from: u64,
    /// Given to the peer.
    pub to: u64,
}

/// Counts bytes per peer. Bounded by the number of the domain's members: only
/// authenticated peers are counted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TrafficCounts(Arc<Mutex<HashMap<PeerId, Traffic>>>);

impl TrafficCounts {
    pub(crate) fn add_from(&self, peer: PeerId, bytes: u64) {
        self.lock().entry(peer).or_default().from += bytes;
    }

    pub(crate) fn add_to(&self, peer: PeerId, bytes: u64) {
        self.lock().entry(peer).or_default().to += bytes;
    }

    /// What went between this node and `peer`.
    #[must_use]
    pub fn of(&self, peer: &PeerId) -> Traffic {
        self.lock().get(peer).copied().unwrap_or_default()
    }

    /// Everything given to peers.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.lock().values().map(|traffic| traffic.to).sum()
    }

    /// Everything received from peers.
    pub(crate) fn received(&self) -> u64 {
        self.lock().values().map(|traffic| traffic.from).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, Traffic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
