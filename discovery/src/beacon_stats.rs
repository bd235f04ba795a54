//! What became of the datagrams on the subnet.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many datagrams were sent and heard, and what became of the heard ones.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BeaconStats {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams of other nodes that were taken in.
    pub accepted: u64,
    /// Ignored: not in the form of a beacon.
    pub malformed: u64,
    /// Ignored: of another domain, or forged.
    pub foreign: u64,
    /// Ignored: more than 60 s old, or a clock is wrong.
    pub stale: u64,
    /// Ignored: heard before.
    pub replayed: u64,
    /// Ignored unopened: its source, or all together, send too many.
    pub flooded: u64,
    /// Ignored: the sender is not on the same subnet.
    pub off_link: u64,
    /// Nodes that are heard, this one included.
    pub population: u64,
}

#[derive(Default)]
pub(crate) struct BeaconCounters {
    pub(crate) sent: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) foreign: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) replayed: AtomicU64,
    pub(crate) flooded: AtomicU64,
    pub(crate) off_link: AtomicU64,
    pub(crate) population: AtomicU64,
}

impl BeaconCounters {
    pub(crate) fn read(&self) -> BeaconStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BeaconStats {
            sent: get(&self.sent),
            accepted: get(&self.accepted),
            malformed: get(&self.malformed),
            foreign: get(&self.foreign),
            stale: get(&self.stale),
            replayed: get(&self.replayed),
            flooded: get(&self.flooded),
            off_link: get(&self.off_link),
            population: get(&self.population),
        }
    }
}
