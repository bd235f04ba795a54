//! Who is let through to the join port, and how fast.
//!
//! A crowd from one address is in its own way only: each address has a pace of its own
//! below the pace of all, and the caller of the most crowded address is sent away first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::caller_places::{CallerPlace, CallerPlaces};

/// The most callers at once, in all and from one address. One is a handshake and a
/// kilobyte.
const MAX_CALLERS: usize = 64;
const MAX_OF_ADDRESS: usize = 16;
/// The most new callers a second in the long run, and at once. Guessing at this rate
/// would take longer than the sun has left.
const PACE: Duration = Duration::from_millis(20);
const BURST: u32 = 50;
/// The same for one address.
const PACE_OF_ADDRESS: Duration = Duration::from_millis(100);
const BURST_OF_ADDRESS: u32 = 40;
/// What it costs of the pace to send a caller away: it takes a twentieth of the work.
const TURNED_AWAY: Duration = Duration::from_millis(1);
/// Addresses whose pace is known. More than a subnet has, and bounded.
const MAX_ADDRESSES: usize = 1024;

/// The gate of one join port.
pub(crate) struct JoinGate {
    places: CallerPlaces,
    paid: Instant,
    /// Until when what each address was let through is paid.
    of_address: HashMap<IpAddr, Instant>,
}

impl JoinGate {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            places: CallerPlaces::new(MAX_CALLERS, MAX_OF_ADDRESS),
            paid: now,
            of_address: HashMap::new(),
        }
    }

    /// When the next caller may be accepted.
    pub(crate) fn opens_at(&self) -> Instant {
        self.paid.checked_sub(PACE * BURST).unwrap_or(self.paid)
    }

    /// Keeps the gate shut for a while.
    pub(crate) fn shut(&mut self, until: Instant) {
        self.paid = self.paid.max(until + PACE * BURST);
    }

    /// A place for a caller that was accepted; `None` when it is to be sent away.
    pub(crate) fn admit(&mut self, address: IpAddr, now: Instant) -> Option<CallerPlace> {
        let own = self.of_address.get(&address).copied();
        let own = own.map_or(now, |paid| paid.max(now));
        let admitted = own <= now + PACE_OF_ADDRESS * BURST_OF_ADDRESS;
        self.paid = self.paid.max(now) + if admitted { PACE } else { TURNED_AWAY };
        if !admitted {
            return None;
        }
        if self.of_address.len() >= MAX_ADDRESSES {
            self.of_address.retain(|_, paid| *paid > now);
        }
        // Where even that leaves no room, the pace of all has to do.
        if self.of_address.len() < MAX_ADDRESSES || self.of_address.contains_key(&address) {
            self.of_address.insert(address, own + PACE_OF_ADDRESS);
        }
        Some(self.places.take(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    #[test]
    fn one_address_does_not_use_up_the_pace_of_all() {
        let now = Instant::now();
        let mut gate = JoinGate::new(now);
        let flood = (0..1000).filter(|_| gate.admit(address(1), now).is_some());
        assert_eq!(flood.count() as u32, BURST_OF_ADDRESS + 1);
        let waits = gate.opens_at().saturating_duration_since(now);
        assert!(waits < Duration::from_secs(1), "{waits:?}");
        assert!(gate.admit(address(2), now).is_some());
        let later = now + PACE_OF_ADDRESS;
        assert!(gate.admit(address(1), later).is_some());
        assert!(gate.admit(address(1), later).is_none());
    }

    #[test]
    fn all_together_keep_a_pace() {
        let now = Instant::now();
        let mut gate = JoinGate::new(now);
        let mut open = 0;
        while gate.opens_at() <= now {
            let _place = gate.admit(address(open), now);
            open += 1;
        }
        assert_eq!(u32::from(open), BURST + 1);
        gate.shut(now + Duration::from_secs(5));
        assert!(gate.opens_at() >= now + Duration::from_secs(5));
    }

    #[test]
    fn many_addresses_do_not_fill_the_memory() {
        let now = Instant::now();
        let mut gate = JoinGate::new(now);
        for n in 0..3000 {
            let _place = gate.admit(address(n), now);
        }
        assert_eq!(gate.of_address.len(), MAX_ADDRESSES);
        let _place = gate.admit(address(4000), now + Duration::from_secs(60));
        assert_eq!(gate.of_address.len(), 1);
    }
}
