//! What the readers of all links pass on to be opened.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use potluck_near::FloodGate;
use tokio::time::Instant;

use crate::beacon_seal::BeaconSeal;
use crate::handle::Shared;

/// Drops what is no beacon or too much, before it costs anything, and counts it. Clones
/// share one gate.
#[derive(Clone)]
pub(crate) struct BeaconGate {
    gate: Arc<Mutex<FloodGate>>,
    shared: Arc<Shared>,
}

impl BeaconGate {
    pub(crate) fn new(seed: u64, shared: Arc<Shared>) -> Self {
        let gate = FloodGate::new(seed, Instant::now().into_std());
        Self {
            gate: Arc::new(Mutex::new(gate)),
            shared,
        }
    }

    /// Whether a datagram is to be opened.
    pub(crate) fn admit(&self, from: SocketAddr, bytes: &[u8]) -> bool {
        let counters = &self.shared.beacon;
        if !BeaconSeal::has_form(bytes) {
            counters.malformed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let admitted = self.lock().admit(from.ip(), Instant::now().into_std());
        if !admitted {
            counters.flooded.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// A datagram from there was authentic and new.
    pub(crate) fn know(&self, from: IpAddr) {
        self.lock().know(from, Instant::now().into_std());
    }

    fn lock(&self) -> MutexGuard<'_, FloodGate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
